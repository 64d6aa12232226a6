"""Scores test frames: errors of estimates and of baselines, their statistics, and decisions about scenes.

A lost frame is infinitely wrong.

A quantile is the smallest error that at least that share of the frames does not exceed (the inverse
of the empirical distribution, Hyndman and Fan 1996, definition 1). It is always the error of some
frame, so "half of the frames are within the median" is exactly true, and infinities never meet an
interpolation, where they would turn into NaN. With an even number of frames the median is the lower
of the middle two, where the papers average both.

An infinite number is written as None (`null` in JSON, which knows no infinity). The mean is None as
soon as one frame is lost, a quantile when too many are.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from camloc.data.types import Estimate, Frame, Located, Lost, poses_of
from camloc.errors import CheckpointError, DatasetError
from camloc.evaluation.baselines import BaselineErrors, baseline_errors, meters_per_degree_of
from camloc.geometry.arrays import Array, to_numpy
from camloc.geometry.pose import Pose, PoseError, pose_error

# Bounds in metres and degrees: 7Scenes, visuallocalization.net's three classes, and between them.
RECALL_BOUNDS = ((0.05, 5.0), (0.1, 1.0), (0.25, 2.0), (0.5, 5.0), (5.0, 10.0))


@dataclass(frozen=True)
class ErrorSummary:
    """Position errors in metres or orientation errors in degrees; None stands for infinity.

    Attributes:
        median: half of the frames are within it.
        mean: the average of all frames; infinite as soon as one is lost.
        quantile_90: nine of ten frames are within it.
        maximum: all frames are within it.
    """

    median: float | None
    mean: float | None
    quantile_90: float | None
    maximum: float | None


@dataclass(frozen=True)
class Recall:
    """The share of all frames, within [0, 1], whose error is at most `meters` and at most `degrees`."""

    meters: float
    degrees: float
    share: float


@dataclass(frozen=True)
class ErrorStatistics:
    """Statistics of the errors of several frames.

    Attributes:
        frames: number of frames, lost ones included.
        lost: number of frames without a pose.
        meters: errors of the camera centres, in the units of the world.
        degrees: errors of the orientations.
        recalls: the shares of frames within `RECALL_BOUNDS`, in that order.
    """

    frames: int
    lost: int
    meters: ErrorSummary
    degrees: ErrorSummary
    recalls: tuple[Recall, ...]

    def recall(self, meters: float, degrees: float) -> float:
        """The share of frames within one of `RECALL_BOUNDS`."""
        for recall in self.recalls:
            if (recall.meters, recall.degrees) == (meters, degrees):
                return recall.share
        raise KeyError(f"no recall was counted at {meters} m and {degrees} degrees")


def error_statistics(error: PoseError) -> ErrorStatistics:
    """The statistics of (n,) errors, infinite where a frame is lost.

    Raises:
        DatasetError: there are no frames.
        ValueError: an error is NaN or negative.
    """
    meters, degrees = (to_numpy(each).astype(np.float64) for each in error)
    if not len(meters):
        raise DatasetError("there are no frames to evaluate; name a test set that has some")
    if not bool(((meters >= 0) & (degrees >= 0)).all()):
        raise ValueError("an error is not a number or negative, which no comparison of two poses gives")
    lost = np.isinf(meters) | np.isinf(degrees)
    return ErrorStatistics(
        frames=len(meters),
        lost=int(lost.sum()),
        meters=_summary(np.where(lost, np.inf, meters)),
        degrees=_summary(np.where(lost, np.inf, degrees)),
        recalls=tuple(
            Recall(far, turned, float(((meters <= far) & (degrees <= turned)).mean()))
            for far, turned in RECALL_BOUNDS
        ),
    )


def empirical_quantile(values: Float[Array, "n"], share: float) -> float:
    """The smallest value that at least a share of all values do not exceed; may be infinite."""
    return float(np.quantile(to_numpy(values).astype(np.float64), share, method="inverted_cdf"))


def mean_of_all(values: Sequence[float | None]) -> float | None:
    """The mean; None where a value is missing or infinite, or where there are no values."""
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _summary(values: Float[NDArray[np.float64], "n"]) -> ErrorSummary:
    return ErrorSummary(
        median=_finite(empirical_quantile(values, 0.5)),
        mean=_finite(float(values.mean())),
        quantile_90=_finite(empirical_quantile(values, 0.9)),
        maximum=_finite(float(values.max())),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class SceneDecision:
    """The scenes that a model of several scenes chose for images of one scene.

    Attributes:
        frames: number of images.
        right: number of images that were located in their own scene; a lost image was not.
        taken_for: number of images that were located in each other scene, the most frequent first.
    """

    frames: int
    right: int
    taken_for: dict[str, int] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """The share of images that were located in their own scene; 1 where there are no images."""
        return self.right / self.frames if self.frames else 1.0


def scene_decision(estimates: Sequence[Estimate], scene: str) -> SceneDecision:
    """The scenes that were chosen for images of `scene`."""
    scenes = Counter(each.scene for each in estimates if isinstance(each, Located))
    right = scenes.pop(scene, 0)
    return SceneDecision(len(estimates), right, dict(scenes.most_common()))


def all_decisions(decisions: Sequence[SceneDecision]) -> SceneDecision:
    """The decisions about several scenes, added up."""
    taken: Counter[str] = Counter()
    for each in decisions:
        taken.update(each.taken_for)
    return SceneDecision(
        sum(each.frames for each in decisions),
        sum(each.right for each in decisions),
        dict(taken.most_common()),
    )


@dataclass(frozen=True, eq=False)
class EvaluatedSet:
    """Frames with a known pose, and the estimate of a model for each.

    Attributes:
        name: of the set: "day", "night", a sequence.
        frames: the frames, all with poses.
        estimates: the estimates, in the same order.
        scene: name of the scene, so that an estimate in another scene's world counts as lost; None where the
            model knows one scene only.
        scenes: number of scenes that the model knows.
        every_method: estimates by the name of the refinement method, and by "none" the network's own; empty
            where nothing refines.
        unrejected: the network's estimates if no image were rejected; None where it rejects none.
    """

    name: str
    frames: tuple[Frame, ...]
    estimates: tuple[Estimate, ...]
    scene: str | None = None
    scenes: int = 1
    every_method: Mapping[str, tuple[Estimate, ...]] = field(default_factory=dict)
    unrejected: tuple[Estimate, ...] | None = None

    def answers(self) -> tuple[Estimate, ...]:
        """The estimates; an estimate in another scene's world is `Lost`."""
        return tuple(self._answer(estimate) for estimate in self.estimates)

    def errors(self) -> PoseError:
        """The (n,) errors of the answers; see `pose_errors`."""
        return pose_errors(self.frames, self.answers())

    def _answer(self, estimate: Estimate) -> Estimate:
        match estimate:
            case Located(scene=scene) if self.scene is not None and scene != self.scene:
                return Lost(f"located in {scene}")
            case _:
                return estimate


@dataclass(frozen=True, eq=False)
class ScoredSet:
    """A test set with the errors of its estimates and of the baselines; tables, files and report read it.

    Attributes:
        name: of the set.
        frames: its n frames.
        answers: their estimates; an estimate in another scene's world is `Lost`.
        truth: (n,) true poses.
        errors: (n,) errors of the answers.
        baselines: (n,) errors of each baseline.
        meters_per_degree: weight of orientation errors where both errors are added.
        decision: how often the right scene was chosen; None for a model of one scene.
        every_method: (n,) errors by the name of the refinement method; empty where nothing refines.
        unrejected: (n,) errors of the network if no image were rejected; None where it rejects none.
    """

    name: str
    frames: tuple[Frame, ...]
    answers: tuple[Estimate, ...]
    truth: Pose
    errors: PoseError
    baselines: BaselineErrors
    meters_per_degree: float
    decision: SceneDecision | None
    every_method: Mapping[str, PoseError]
    unrejected: PoseError | None = None

    def combined(self, errors: PoseError) -> Float[NDArray[np.float64], "n"]:
        """(n,) metres plus weighted degrees, to sort frames by; infinite for lost frames."""
        meters: NDArray[np.float64] = errors.meters
        if self.meters_per_degree == 0.0:  # zero times infinity is not a number
            return meters
        combined: NDArray[np.float64] = meters + self.meters_per_degree * errors.degrees
        return combined


def score_sets(sets: Sequence[EvaluatedSet], training_poses: Pose) -> tuple[ScoredSet, ...]:
    """Score the test sets that have frames; the first of them is the headline of a result.

    Errors are NumPy arrays in double precision.

    Args:
        sets: test sets of one scene.
        training_poses: (m,) poses of the training frames, which the baselines copy.

    Raises:
        DatasetError: there are no test frames or no training poses, or a true pose is unknown.
        CheckpointError: an estimated pose is not finite.
    """
    filled = [each for each in sets if each.frames]
    if not filled:
        raise DatasetError("there are no test frames; name a split or a test set that has some")
    training_poses = training_poses.numpy()
    weight = meters_per_degree_of(training_poses) if len(training_poses) else 0.0
    return tuple(_scored(each, training_poses, weight) for each in filled)


def _scored(evaluated: EvaluatedSet, training_poses: Pose, meters_per_degree: float) -> ScoredSet:
    answers = evaluated.answers()
    errors = pose_errors(evaluated.frames, answers)
    truth = poses_of(evaluated.frames).numpy().to(np.float64)
    decides = evaluated.scene is not None and evaluated.scenes > 1
    every_method = {
        # The method that was chosen has been scored above.
        name: errors if estimates is evaluated.estimates else replace(evaluated, estimates=estimates).errors()
        for name, estimates in evaluated.every_method.items()
    }
    return ScoredSet(
        name=evaluated.name,
        frames=evaluated.frames,
        answers=answers,
        truth=truth,
        errors=errors,
        baselines=baseline_errors(truth, training_poses, meters_per_degree=meters_per_degree),
        meters_per_degree=meters_per_degree,
        decision=scene_decision(evaluated.estimates, evaluated.scene or "") if decides else None,
        every_method=every_method,
        unrejected=None
        if evaluated.unrejected is None
        else replace(evaluated, estimates=evaluated.unrejected).errors(),
    )


def pose_errors(frames: Sequence[Frame], estimates: Sequence[Estimate]) -> PoseError:
    """How far each estimate is from the truth: (n,) metres and degrees, both infinite for lost frames.

    Args:
        frames: n frames with poses.
        estimates: their n estimates, in the same order.

    Raises:
        DatasetError: there are no frames, or the pose of one is unknown or not finite.
        CheckpointError: an estimated pose is not finite.
        ValueError: the numbers of frames and estimates differ.
    """
    if len(frames) != len(estimates):
        raise ValueError(f"{len(frames)} frames have {len(estimates)} estimates")
    if not frames:
        raise DatasetError("there are no test frames to evaluate; name a test set that has some")
    errors = [_error(frame, estimate) for frame, estimate in zip(frames, estimates, strict=True)]
    meters, degrees = zip(*errors, strict=True)
    return PoseError(np.stack(meters), np.stack(degrees))


def _error(frame: Frame, estimate: Estimate) -> PoseError:
    if frame.world_from_cam is None or not bool(frame.world_from_cam.is_finite()):
        raise DatasetError(f"the true pose of {frame.name} is unknown; leave that frame out of the test set")
    if isinstance(estimate, Lost):
        infinite = np.array(np.inf)
        return PoseError(infinite, infinite)
    if not bool(estimate.world_from_cam.is_finite()):
        raise CheckpointError(
            f"the model's pose for {frame.name} is not a number: its weights are damaged or its training "
            f"diverged, so train it again with a lower learning rate"
        )
    found, truth = (each.numpy().to(np.float64) for each in (estimate.world_from_cam, frame.world_from_cam))
    return pose_error(found, truth)
