"""Training a run that is prepared: every file it leaves, and going on after an interruption."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

from camloc.data.types import Frame, oriented, poses_of
from camloc.geometry.pose import Pose
from camloc.models.base import GeometryModel, Regressor
from camloc.models.checkpoint import Metadata, load_checkpoint, metadata_for, save_checkpoint
from camloc.runs.manifest import LAST, STATE
from camloc.runs.prepare import Training
from camloc.training.log import TrainingLog
from camloc.training.loop import fit
from camloc.training.recipe import Epoch, Step
from camloc.training.validation import best_filter, filter_errors, fit_novelty_detector


def train(training: Training) -> Iterator[Step | Epoch]:
    """Train, and write checkpoint, log and state as training goes on.

    Leaves `checkpoint/` (best on the held-out frames), `last/` (of the last epoch), `log.jsonl`,
    `tensorboard/` and `state.safetensors`, from which a run that was interrupted goes on.
    """
    recipe, fabric, folder = training.recipe, training.fabric, training.folder
    names = tuple(scene.name for scene in training.scenes)
    metadata = metadata_for(recipe.model, recipe.config, recipe.preprocess, names)
    metadata = replace(metadata, recipe=training.metadata.recipe, backbone_weights=training.backbone)
    metadata = replace(metadata, focal=_typical_focal(training.learned))
    poses = tuple(poses_of(oriented(frames)).tensor() for frames in training.learned)
    log = TrainingLog(folder) if fabric.is_global_zero else None
    events = fit(
        training.model,
        training.train,
        recipe.plan(training.metadata.seed),
        validation=training.validation,
        fabric=fabric,
        state=folder / STATE,
    )
    try:
        for event in events:
            if log is not None and isinstance(event, Epoch):
                log.write(event)
                now = _reached(metadata, event)
                if event.is_best:
                    save_checkpoint(folder / "checkpoint", now, event.model, poses)
                if event.epoch == recipe.epochs:
                    save_checkpoint(folder / LAST, now, event.model, poses)
            yield event
    finally:
        if log is not None:
            log.close()
    if fabric.is_global_zero:
        for name in ("checkpoint", LAST):
            _learn_from_held_out(training, folder / name, poses)


def _reached(metadata: Metadata, event: Epoch) -> Metadata:
    """The metadata of an epoch's weights; errors that are infinite have no scene in a file."""
    spreads = {
        metadata.scenes[scene]: medians
        for scene, medians in event.scenes.items()
        if len(metadata.scenes) > 1 and all(map(math.isfinite, medians))
    }
    spread = event.validation
    if spread is not None and not all(map(math.isfinite, spread)):
        spread = None
    return replace(metadata, epoch=event.epoch, spread=spread, spreads=spreads)


def _learn_from_held_out(training: Training, folder: Path, poses: tuple[Pose, ...]) -> None:
    """Let the held-out frames say what is learned once the weights are there.

    That is how a model that aligns points leaves wrong ones out, and what the scenes are told from others by.
    """
    if training.validation is None:
        return
    checkpoint = load_checkpoint(folder)
    model, metadata, recognition = checkpoint.model, checkpoint.metadata, None
    plan, device = training.recipe.plan(training.metadata.seed), training.fabric.device
    if isinstance(model, GeometryModel):
        errors = filter_errors(model, training.validation, plan, device=device)
        best = best_filter(errors, training.validation, poses_of(training.learned[0]).tensor())
        metadata = replace(metadata, outlier_filter=best, spread=errors[best])
    if isinstance(model, GeometryModel | Regressor):
        found = fit_novelty_detector(model, training.images, training.validation, plan, device=device)
        if found is not None:
            recognition, within = found
            metadata = replace(metadata, novelty_threshold=within)
    if metadata == checkpoint.metadata:  # nothing was learned that is not written
        return
    # With the poses themselves: those that were read back would be rounded a second time.
    save_checkpoint(folder, metadata, model, poses, recognition)


def _typical_focal(learned: tuple[tuple[Frame, ...], ...]) -> float | None:
    """The middle one of the focal lengths, in units of the longer side of the images."""
    cameras = [frame.camera for frames in learned for frame in frames if frame.camera is not None]
    return median(camera.fx / max(camera.width, camera.height) for camera in cameras) if cameras else None
