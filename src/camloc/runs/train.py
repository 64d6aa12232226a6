"""Training a prepared run, with every file that it leaves."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch

from camloc.data.types import ExpectedError, Frame, Unit, oriented, poses_of
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose
from camloc.models.base import GeometryModel, Regressor
from camloc.models.checkpoint import load_checkpoint, save_checkpoint
from camloc.models.metadata import Metadata, metadata_for
from camloc.runs.manifest import LAST, STATE
from camloc.runs.prepare import Training
from camloc.training.log import TrainingLog
from camloc.training.loop import Epoch, Step, fit
from camloc.training.validation import (
    Medians,
    best_filter,
    filter_errors,
    fit_novelty_detector,
    mean_pose_errors,
)


def train(training: Training) -> Iterator[Step | Epoch]:
    """Train a run, and write checkpoints, log and state on the way.

    Leaves `checkpoint/` (the best epoch on the held-out frames), `last/` (the last epoch), `log.jsonl`,
    `tensorboard/` and `state.safetensors`, from which an interrupted run resumes.
    """
    recipe, fabric, folder = training.recipe, training.fabric, training.folder
    names = tuple(scene.name for scene in training.scenes)
    metadata = replace(
        metadata_for(recipe.model, recipe.config, recipe.preprocess, names),
        recipe=training.manifest.recipe,
        backbone_weights=training.backbone,
        focal=typical_focal(training.train_frames),
        cameras=typical_cameras(training.train_frames),
        units=tuple(scene.unit for scene in training.scenes),
    )
    poses = tuple(poses_of(oriented(frames)).tensor() for frames in training.train_frames)
    metadata = replace(metadata, mean_pose_errors=_mean_pose_errors(training, poses))
    log = TrainingLog(folder) if fabric.is_global_zero else None
    events = fit(
        training.model,
        training.train,
        recipe,
        seed=training.manifest.seed,
        validation=training.validation,
        fabric=fabric,
        state=folder / STATE,
    )
    try:
        for event in events:
            if log is not None and isinstance(event, Epoch):
                log.write(event)
                with_errors = _with_errors(metadata, event)
                if event.is_best:
                    save_checkpoint(folder / "checkpoint", with_errors, event.model, poses)
                if event.epoch == recipe.epochs:
                    save_checkpoint(folder / LAST, with_errors, event.model, poses)
            yield event
    finally:
        if log is not None:
            log.close()
    if fabric.is_global_zero:
        for name in ("checkpoint", LAST):
            _calibrate(training, folder / name, poses)


def _with_errors(metadata: Metadata, event: Epoch) -> Metadata:
    """The metadata with the errors of an epoch; infinite errors are left out, which JSON cannot express."""
    expected = {
        metadata.scenes[scene]: errors
        for scene, errors in event.scenes.items()
        if len(metadata.scenes) > 1 and all(map(math.isfinite, errors))
    }
    medians = event.validation
    if medians is not None and not all(map(math.isfinite, medians)):
        medians = None
    return replace(metadata, epoch=event.epoch, expected_error=medians, expected_errors=expected)


def _mean_pose_errors(training: Training, poses: tuple[Pose, ...]) -> dict[str, Medians]:
    """Median errors of the mean training pose on the held-out frames, by the name of the scene."""
    if training.validation is None:
        return {}
    numbers = [torch.full((len(each),), scene) for scene, each in enumerate(poses)]
    found = mean_pose_errors(Pose.cat(list(poses)), torch.cat(numbers), training.validation)
    return {training.scenes[scene].name: medians for scene, medians in found.items()}


@dataclass(frozen=True)
class Unlearned:
    """A scene in which the network of a run is no better than always answering the mean training pose.

    Attributes:
        scene: its name.
        unit: of positions.
        found: median errors of the network on the held-out frames.
        mean_pose: median errors of the mean training pose.
    """

    scene: str
    unit: Unit
    found: ExpectedError
    mean_pose: ExpectedError


def unlearned_scenes(run: Path) -> tuple[Unlearned, ...]:
    """The scenes that the network of a run has not learned, according to its held-out frames.

    Raises:
        CheckpointError: the run has no checkpoint, or a damaged one.
    """
    checkpoint = load_checkpoint(run)
    unlearned = []
    for number, name in enumerate(checkpoint.metadata.scenes):
        found = checkpoint.metadata.expected_error_in(number)
        if found is not None and not checkpoint.metadata.has_learned(number):
            mean_pose = ExpectedError(*checkpoint.metadata.mean_pose_errors[name])
            unlearned.append(Unlearned(name, checkpoint.metadata.unit_in(number), found, mean_pose))
    return tuple(unlearned)


def _calibrate(training: Training, folder: Path, poses: tuple[Pose, ...]) -> None:
    """Choose the outlier filter and the novelty threshold of a checkpoint on the held-out frames."""
    if training.validation is None:
        return
    checkpoint = load_checkpoint(folder)
    model, metadata, detector = checkpoint.model, checkpoint.metadata, None
    size, device = training.recipe.preprocess, training.fabric.device
    if isinstance(model, GeometryModel):
        errors = filter_errors(model, training.validation, size, device=device)
        best = best_filter(errors, training.validation, poses_of(training.train_frames[0]).tensor())
        metadata = replace(metadata, outlier_filter=best, expected_error=errors[best])
    if isinstance(model, GeometryModel | Regressor):
        found = fit_novelty_detector(model, training.images, training.validation, size, device=device)
        if found is not None:
            detector, threshold = found
            metadata = replace(metadata, novelty_threshold=threshold)
    if metadata == checkpoint.metadata:  # the folder is up to date
        return
    # With the original poses: those of the checkpoint would be rounded a second time.
    save_checkpoint(folder, metadata, model, poses, detector)


# More cameras than these, such as one for every frame of a reconstruction, are not remembered.
MOST_CAMERAS = 64


def typical_cameras(train_frames: tuple[tuple[Frame, ...], ...]) -> tuple[Camera, ...]:
    """The different cameras of the training frames, or none where nearly every frame has one of its own."""
    cameras = dict.fromkeys(frame.camera for frames in train_frames for frame in frames)
    known = tuple(camera for camera in cameras if camera is not None)
    return known if len(known) <= MOST_CAMERAS else ()


def typical_focal(train_frames: tuple[tuple[Frame, ...], ...]) -> float | None:
    """The median focal length, in units of the longer side of the images."""
    cameras = [frame.camera for frames in train_frames for frame in frames if frame.camera is not None]
    return median(camera.fx / max(camera.width, camera.height) for camera in cameras) if cameras else None
