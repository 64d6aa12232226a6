"""The metadata of a checkpoint or of an exported file, and its training poses: nothing here needs torch."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from camloc.core.config import to_builtins
from camloc.data.image_io import Preprocess
from camloc.data.types import ExpectedError, Unit
from camloc.errors import CheckpointError
from camloc.geometry.arrays import Array, array_namespace
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose

FORMAT = 2
METADATA = "checkpoint.json"


@dataclass(frozen=True)
class Metadata:
    """The content of `checkpoint.json`.

    Attributes:
        format: version of this layout.
        model: name of the model, which is the name of its file.
        config: its settings.
        preprocess: how an image becomes the network's input.
        scenes: names of the scenes, in the order of their indices.
        expected_error: median (metres, degrees) on held-out frames, or None; for several scenes the mean of
            their medians.
        expected_errors: for several scenes, each scene's medians, by name.
        mean_pose_errors: for each scene with held-out frames, by name, their median errors (metres, degrees)
            if every answer were the mean training pose, as of a network that ignores its images.
        recipe: name of the recipe that the model was trained with.
        epoch: epoch of the weights.
        backbone_weights: initial weights of the backbone.
        outlier_filter: for models that align points, the filter with the smallest error on held-out frames.
        focal: typical focal length of the training images in units of their longer side, or None.
        cameras: the different cameras of the training images, as these are stored.
        units: of the positions in each scene; "m" where empty.
        novelty_threshold: largest novelty (`camloc.models.novelty`) of an accepted image; None if the
            checkpoint has no novelty detector.
    """

    format: int
    model: str
    config: dict[str, Any]
    preprocess: Preprocess
    scenes: tuple[str, ...]
    expected_error: tuple[float, float] | None = None
    expected_errors: dict[str, tuple[float, float]] = field(default_factory=dict)
    mean_pose_errors: dict[str, tuple[float, float]] = field(default_factory=dict)
    recipe: str = ""
    epoch: int = 0
    backbone_weights: str = "none"
    focal: float | None = None
    cameras: tuple[Camera, ...] = ()
    units: tuple[Unit, ...] = ()
    outlier_filter: Literal["weights", "none", "rigid-ransac", "pnp-ransac"] = "weights"
    novelty_threshold: float | None = None

    def unit_in(self, scene: int) -> Unit:
        """The unit of positions in a scene."""
        units = self.units
        return units[scene] if scene < len(units) else "m"

    def expected_error_in(self, scene: int) -> ExpectedError | None:
        """The expected error in a scene; None if the scene had no held-out frames."""
        found = self.expected_error
        if len(self.scenes) > 1:
            found = self.expected_errors.get(self.scenes[scene])
        return None if found is None else ExpectedError(*found)

    def has_learned(self, scene: int) -> bool:
        """Whether the network is better on a scene's held-out frames than the mean training pose.

        True if that is unknown. See `is_better`.
        """
        found = self.expected_error_in(scene)
        baseline = self.mean_pose_errors.get(self.scenes[scene])
        return found is None or baseline is None or is_better(found, ExpectedError(*baseline))


# Below these median errors the mean pose is right: the training cameras do not move, or do not turn.
_NO_METERS, _NO_DEGREES = 1e-6, 1.0


def is_better(found: ExpectedError, baseline: ExpectedError) -> bool:
    """Whether position and orientation errors together are smaller than those of a baseline.

    Each error is a share of the baseline's, and the product of both shares must be below 1. An error that the
    baseline does not have, because the cameras do not move or do not turn, is left out.
    """
    shares = [
        error / other
        for error, other, least in zip(found, baseline, (_NO_METERS, _NO_DEGREES), strict=True)
        if other > least
    ]
    return not shares or math.prod(shares) < 1.0


def metadata_for(model_name: str, config: Any, preprocess: Preprocess, scenes: tuple[str, ...]) -> Metadata:
    """The metadata of a model before its training."""
    return Metadata(FORMAT, model_name, to_builtins(config), preprocess, scenes)


def checkpoint_folder(run: Path) -> Path:
    """The folder of a run's checkpoint: `checkpoint` in it, or itself.

    Raises:
        CheckpointError: there is no checkpoint.
    """
    for folder in (run / "checkpoint", run):
        if (folder / METADATA).exists():
            return folder
    raise CheckpointError(
        f"{run} contains no checkpoint: {METADATA} is missing; train one with `camloc train` first"
    )


def has_checkpoint(run: Path) -> bool:
    """Whether a run's folder holds a network, whole or damaged."""
    return any((folder / METADATA).exists() for folder in (run / "checkpoint", run))


def checked_metadata(metadata: Metadata, *, source: Path) -> Metadata:
    """Return the metadata if this version of camloc can read them.

    Raises:
        CheckpointError: the format is another one, the novelty threshold is not positive, or no scene is
            named.
    """
    if metadata.format != FORMAT:
        raise CheckpointError(f"{source} has format {metadata.format}, this version of camloc reads {FORMAT}")
    threshold = metadata.novelty_threshold
    if threshold is not None and not threshold > 0.0:
        raise CheckpointError(f"{source} is damaged: its novelty threshold is {threshold}, not positive")
    if not metadata.scenes:
        raise CheckpointError(f"{source} names no scene; train the model again or copy the run again")
    return metadata


def training_poses(rows: Array | None, *, scene: str, source: Path) -> Pose:
    """Convert a scene's (n, 7) positions and quaternions, w first, to its (n,) training poses.

    Raises:
        CheckpointError: they are missing, have another shape, or are not finite.
    """
    if rows is None or rows.ndim != 2 or rows.shape[0] == 0 or rows.shape[1] != 7:
        raise CheckpointError(f"{source} lacks the training poses of '{scene}'; copy the run again")
    try:
        xp = array_namespace(rows)
        rows = xp.astype(rows, xp.float64)
        pose = Pose.from_quaternion_wxyz(rows[:, 3:], rows[:, :3])
    except ValueError:
        raise CheckpointError(f"{source} is damaged: training poses of '{scene}' are no rotations") from None
    if not bool(pose.is_finite().all()):
        raise CheckpointError(f"{source} is damaged: training poses of '{scene}' are not finite")
    return pose
