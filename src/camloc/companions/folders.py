"""Companions in the run's folder: each a folder with weights and a JSON file, written and read."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from camloc.checkpoint import Checkpoint
from camloc.companions.facts import FORMAT, AutoencoderFacts, DecoderFacts, RelativeFacts
from camloc.core.config import from_json, to_json
from camloc.core.files import write_atomically
from camloc.errors import CheckpointError, RecipeError
from camloc.refiners.image_decoder import ImageDecoder
from camloc.refiners.pose_autoencoder import PoseAutoencoder
from camloc.refiners.relative_pose import RelativePoseRegressor

WEIGHTS = "weights.safetensors"
AUTOENCODER = "autoencoder"
DECODER = "decoder"
RELATIVE = "relative"

Facts = TypeVar("Facts")


def digest(network: nn.Module) -> str:
    """A digest of a network's weights."""
    facts = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        facts.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return facts.hexdigest()[:32]


def run_around(folder: Path) -> Path:
    """The run folder of a run folder, or of a checkpoint's folder in it."""
    return folder.parent if folder.name == "checkpoint" else folder


def save_autoencoder(run: Path, facts: AutoencoderFacts, encoder: PoseAutoencoder) -> None:
    """Write an auto-encoder beside a run's checkpoint; a reader sees the old one or the new one.

    Raises:
        CamlocError: the folder cannot be written.
    """
    _save(run / AUTOENCODER, facts, encoder.kept())


def autoencoder_facts(run: Path) -> AutoencoderFacts | None:
    """What is known about the auto-encoder in a run folder, whichever weights taught it, or None.

    Raises:
        CheckpointError: it is damaged.
    """
    return _facts(run_around(run) / AUTOENCODER, AutoencoderFacts)


def load_autoencoder(run: Path, checkpoint: Checkpoint) -> tuple[AutoencoderFacts, PoseAutoencoder] | None:
    """The auto-encoder of a checkpoint in a run folder, or None where none has learned from its weights.

    Raises:
        CheckpointError: it is damaged.
    """
    facts = autoencoder_facts(run)
    if facts is None or facts.scenes != checkpoint.facts.scenes or facts.teacher != digest(checkpoint.model):
        return None
    encoder = PoseAutoencoder(facts.config, latents=facts.latents, scenes=len(facts.scenes))
    _fill(encoder, run_around(run) / AUTOENCODER)
    return facts, encoder


def save_decoder(run: Path, facts: DecoderFacts, decoder: ImageDecoder) -> None:
    """Write an image decoder beside a run's auto-encoder.

    Raises:
        CamlocError: the folder cannot be written.
    """
    _save(run / DECODER, facts, decoder.state_dict())


def load_decoder(run: Path, encoder: PoseAutoencoder) -> tuple[DecoderFacts, ImageDecoder] | None:
    """The image decoder of an auto-encoder in a run folder, or None where none has learned from it.

    Raises:
        CheckpointError: it is damaged.
    """
    folder = run_around(run) / DECODER
    facts = _facts(folder, DecoderFacts)
    if facts is None or facts.encoder != digest(encoder):
        return None
    decoder = ImageDecoder(facts.config, latents=facts.latents, is_shared=facts.is_shared)
    _fill(decoder, folder)
    return facts, decoder


def save_relative(run: Path, facts: RelativeFacts, regressor: RelativePoseRegressor) -> None:
    """Write a relative pose regressor beside a run's auto-encoder.

    Raises:
        CamlocError: the folder cannot be written.
    """
    _save(run / RELATIVE, facts, regressor.state_dict())


def load_relative(run: Path, encoder: PoseAutoencoder) -> tuple[RelativeFacts, RelativePoseRegressor] | None:
    """The relative pose regressor of an auto-encoder in a run folder, or None where none learned from it.

    Raises:
        CheckpointError: it is damaged.
    """
    folder = run_around(run) / RELATIVE
    facts = _facts(folder, RelativeFacts)
    if facts is None or facts.encoder != digest(encoder):
        return None
    regressor = RelativePoseRegressor(facts.config, latents=facts.latents)
    _fill(regressor, folder)
    return facts, regressor


def _save(folder: Path, facts: object, state: Mapping[str, Tensor]) -> None:
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    write_atomically(folder / WEIGHTS, save(tensors))
    write_atomically(folder / f"{folder.name}.json", to_json(facts))


def _facts(folder: Path, kind: type[Facts]) -> Facts | None:
    """What a companion's JSON file says, or None where there is no companion."""
    path = folder / f"{folder.name}.json"
    if not path.exists():
        return None
    try:
        facts = from_json(path.read_bytes(), kind)
    except (RecipeError, OSError) as problem:
        raise CheckpointError(
            f"{path} cannot be read: {problem}; teach it anew with camloc autoencode"
        ) from None
    found = getattr(facts, "format", None)
    if found != FORMAT:
        raise CheckpointError(f"{path} has format {found}, this version of camloc reads {FORMAT}")
    return facts


def _fill(network: nn.Module, folder: Path) -> None:
    """Put a companion's weights into a network of its structure, in evaluation mode."""
    path = folder / WEIGHTS
    try:
        tensors: dict[str, Tensor] = load_file(path)
        network.load_state_dict(tensors)
    except (SafetensorError, OSError, RuntimeError):
        raise CheckpointError(
            f"{path} is missing, damaged or does not fit {folder.name}.json; teach it anew with camloc "
            f"autoencode"
        ) from None
    network.eval()
