"""Open a finished run as the teacher of auxiliary networks."""

from pathlib import Path

from camloc.core.config import from_builtins
from camloc.core.device import torch_device
from camloc.data.splits import HoldOut, hold_out, keep_orientations
from camloc.data.types import oriented
from camloc.errors import DatasetError, RecipeError
from camloc.models.base import Regressor
from camloc.models.checkpoint import load_checkpoint
from camloc.refinement.storage import run_around
from camloc.refinement.teacher import Teacher, frozen
from camloc.runs.manifest import RunManifest, load_scenes


def load_teacher(run: Path, *, device: str = "cpu") -> Teacher:
    """The regressor of a run with the run's training frames and held-out frames.

    Raises:
        CheckpointError: the run is incomplete or damaged.
        DatasetError: its frames cannot be read any more.
        RecipeError: its model is not a regressor, or this machine has no such device.
    """
    target, folder = torch_device(device), run_around(run)
    manifest, checkpoint = RunManifest.load(folder), load_checkpoint(folder)
    if not isinstance(checkpoint.model, Regressor):
        raise RecipeError(
            f"{checkpoint.metadata.model} has no latents from which a pose is regressed, so that no pose "
            f"auto-encoder can be trained from it; train a regressor such as hyperpose"
        )
    scenes = load_scenes(manifest.data)
    settings = from_builtins(manifest.settings["hold_out"], HoldOut)
    every = int(manifest.settings.get("keep_orientation_every", 0))
    split = [hold_out(scene.train, settings) for scene in scenes]
    train = tuple(oriented(keep_orientations(frames, every)) for frames, _ in split)
    for frames, source in zip(train, manifest.data, strict=True):
        if not frames:
            raise DatasetError(
                f"{source.root} has no training frame with an orientation any more; restore "
                f"the data of the run"
            )
    model, held = frozen(checkpoint.model).to(target), tuple(frames for _, frames in split)
    return Teacher(folder, checkpoint, model, scenes, train, held, target)
