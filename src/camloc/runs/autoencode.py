"""Open a finished run as the teacher of auxiliary networks, and measure its student."""

from pathlib import Path

import torch

from camloc.core.config import from_builtins
from camloc.core.device import torch_device
from camloc.data.splits import HoldOut, hold_out, keep_orientations
from camloc.data.types import oriented, poses_of
from camloc.errors import DatasetError, RecipeError
from camloc.geometry.pose import PoseError, pose_error
from camloc.models.base import Regressor
from camloc.models.checkpoint import load_checkpoint
from camloc.refinement.storage import run_around
from camloc.refinement.teacher import Teacher, frozen
from camloc.refinement.train import stored_encoder
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


def student_errors(run: Path) -> dict[str, PoseError]:
    """Errors of a run's heads on the encodings of the true poses of its test frames, by scene.

    These are the papers' rows of the student: the pose that goes in should come out.

    Raises:
        CheckpointError: the run has no pose auto-encoder, or is damaged.
        DatasetError: its frames cannot be read any more.
        RecipeError: its model is not a regressor.
    """
    teacher = load_teacher(run)
    encoder = stored_encoder(teacher)
    found = {}
    for number, scene in enumerate(teacher.scenes):
        if scene.test:
            truth = poses_of(scene.test).tensor().to(teacher.device)
            scenes = torch.full((len(truth),), number, device=teacher.device)
            with torch.no_grad():
                predicted = teacher.model.pose_in(encoder(truth, scenes), scenes)
            found[scene.name] = pose_error(predicted.to("cpu"), truth.to("cpu"))
    return found
