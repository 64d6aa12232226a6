"""Makes a run of weights that the papers' authors published."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from camloc.core.config import to_builtins
from camloc.data.image_io import Preprocess
from camloc.data.types import oriented, poses_of
from camloc.errors import CheckpointError, RecipeError
from camloc.inference.published_weights import convert_encoder, convert_weights
from camloc.models import build_model, presets
from camloc.models.base import Regressor
from camloc.models.checkpoint import load_checkpoint, save_checkpoint
from camloc.models.metadata import metadata_for
from camloc.refinement.pose_autoencoder import AutoencoderMetadata, PoseAutoencoder, PoseAutoencoderConfig
from camloc.refinement.storage import digest
from camloc.runs.manifest import LAST, DataSource, RunManifest, load_scenes
from camloc.runs.train import typical_cameras, typical_focal
from camloc.training.recipe import Recipe

POSE_AUTOENCODER = "pose_autoencoder"

# Keys under which training programs keep the state dict beside other things.
_HOLDERS = ("model_state_dict", "state_dict", "model")

# What the authors' data sets do with an image: AtLoc's input has 256 pixels, all others 224.
_SIDES = {"atloc": 256}


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a file of torch or of safetensors. Nothing in the file is executed.

    Raises:
        CheckpointError: the file is missing, or holds something else than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except Exception:
        raise CheckpointError(
            f"{path} is not a file of weights alone: it is damaged, or holds Python objects, which could "
            f"execute code when loaded; save the state dict of the network"
        ) from None
    for name in _HOLDERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)} if isinstance(
        content, dict
    ) else {}  # fmt: skip
    if not tensors:
        raise CheckpointError(f"{path} holds no weights; save the state dict of the network")
    return tensors


def convert_run(
    weights: Path, *, model: str, preset: str, data: tuple[DataSource, ...], folder: Path
) -> tuple[str, ...]:
    """Write a run with published weights, which is located with, exported and evaluated like any other.

    Args:
        weights: file of the authors' state dict.
        model, preset: the network and its settings.
        data: of each scene, in the order of the scenes in the weights; gives training poses and cameras.
        folder: of the run.

    Returns:
        The names of the authors' tensors that have no effect.

    Raises:
        CheckpointError: the weights are of another network.
        DatasetError: the data cannot be used.
        RecipeError: there is no such preset, or it has another number of scenes.
    """
    settings = presets(model)
    if preset not in settings:
        raise RecipeError(f"{model} has no preset '{preset}'; it has {', '.join(settings)}")
    theirs = read_weights(weights)
    scenes = load_scenes(data)
    side = _SIDES.get(model, 224)
    recipe = Recipe(model, settings[preset], Preprocess(side, side, short_side=256), ()).of_scenes(
        len(scenes)
    )
    poses = tuple(poses_of(oriented(scene.train)).tensor() for scene in scenes)
    network = build_model(model, recipe.config)
    network.observe_scenes(list(poses))
    converted = convert_weights(theirs, network, name=model)
    network.load_state_dict(converted.state)
    names = tuple(scene.name for scene in scenes)
    name = f"published/{model}/{preset}"
    frames = tuple(scene.train for scene in scenes)
    metadata = replace(
        metadata_for(model, recipe.config, recipe.preprocess, names),
        recipe=name,
        backbone_weights=weights.name,
        focal=typical_focal(frames),
        cameras=typical_cameras(frames),
        units=tuple(scene.unit for scene in scenes),
    )
    for checkpoint in ("checkpoint", LAST):
        save_checkpoint(folder / checkpoint, metadata, network.eval(), poses)
    RunManifest(name, to_builtins(recipe), data, names, backbone_weights=weights.name).save(folder)
    return converted.unused


def convert_autoencoder(weights: Path, run: Path) -> None:
    """Write published weights of a pose auto-encoder into the run of its teacher.

    Raises:
        CheckpointError: the weights are of another network, or the run is damaged.
        RecipeError: the run's model is not a regressor.
    """
    theirs = read_weights(weights)
    checkpoint = load_checkpoint(run)
    teacher, scenes = checkpoint.model, checkpoint.metadata.scenes
    if not isinstance(teacher, Regressor):
        raise RecipeError(f"{checkpoint.metadata.model} has no latents that a pose auto-encoder could encode")
    position, orientation = (_widths(theirs, prefix) for prefix in ("x_encoder", "q_encoder"))
    sizes, hidden = (position[-1], orientation[-1]), position[:-1]
    config = PoseAutoencoderConfig(with_pi=False, numbers="raw", scene_code="fourier", hidden=hidden)
    encoder = PoseAutoencoder(config, latents=sizes, scenes=len(scenes))
    encoder.load_state_dict(convert_encoder(theirs, encoder.state_dict()))
    metadata = AutoencoderMetadata(
        source=digest(teacher),
        scenes=scenes,
        config=config,
        latents=sizes,
        recipe=f"published/{weights.name}",
    )
    metadata.save(run, encoder)


def _widths(theirs: dict[str, Tensor], encoder: str) -> tuple[int, ...]:
    """The widths of the layers of an encoder, in their order."""
    biases = sorted(
        (int(name.rsplit(".", 2)[-2]), len(value))
        for name, value in theirs.items()
        if f"{encoder}." in name and name.endswith(".bias")
    )
    if not biases:
        raise CheckpointError(f"these are not weights of a pose auto-encoder: {encoder} is missing")
    return tuple(width for _, width in biases)
