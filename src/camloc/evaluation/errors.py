"""From the errors of frames to the numbers of a table. A lost frame is infinitely wrong.

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

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from camloc.data.types import Estimate, Frame, Located, Lost, poses_of
from camloc.errors import CheckpointError, DatasetError
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
    """The errors of a number of frames in a few numbers.

    Attributes:
        frames: how many frames there are, lost ones included.
        lost: how many of them have no pose.
        meters: of the camera centres, in the units of the world.
        degrees: of the orientations.
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
    meters, degrees = error.meters.double(), error.degrees.double()
    if not len(meters):
        raise DatasetError("there are no frames to evaluate; name a test set that has some")
    if not bool(((meters >= 0) & (degrees >= 0)).all()):
        raise ValueError("an error is not a number or negative, which no comparison of two poses gives")
    lost = meters.isinf() | degrees.isinf()
    return ErrorStatistics(
        frames=len(meters),
        lost=int(lost.sum()),
        meters=_summary(meters.masked_fill(lost, torch.inf)),
        degrees=_summary(degrees.masked_fill(lost, torch.inf)),
        recalls=tuple(
            Recall(far, turned, ((meters <= far) & (degrees <= turned)).double().mean().item())
            for far, turned in RECALL_BOUNDS
        ),
    )


def empirical_quantile(values: Float[Tensor, "n"], share: float) -> float:
    """The smallest of the values that at least `share` of them do not exceed; may be infinite."""
    return float(np.quantile(values.double().numpy(), share, method="inverted_cdf"))


def _summary(values: Float[Tensor, "n"]) -> ErrorSummary:
    return ErrorSummary(
        median=_finite(empirical_quantile(values, 0.5)),
        mean=_finite(values.mean().item()),
        quantile_90=_finite(empirical_quantile(values, 0.9)),
        maximum=_finite(values.max().item()),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class SceneDecision:
    """What was decided about images of one scene.

    Attributes:
        frames: how many there were.
        right: how many were put into their scene; one without any answer was not.
        taken_for: how many were put into which other scene, the most frequent first.
    """

    frames: int
    right: int
    taken_for: dict[str, int] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Of the frames that were put into their scene; all of them where there was nothing to decide."""
        return self.right / self.frames if self.frames else 1.0


def scene_decision(estimates: Sequence[Estimate], scene: str) -> SceneDecision:
    """What was decided about images of `scene`."""
    scenes = Counter(each.scene for each in estimates if isinstance(each, Located))
    right = scenes.pop(scene, 0)
    return SceneDecision(len(estimates), right, dict(scenes.most_common()))


def all_decisions(decisions: Sequence[SceneDecision]) -> SceneDecision:
    """The decisions about several scenes together."""
    taken: Counter[str] = Counter()
    for each in decisions:
        taken.update(each.taken_for)
    return SceneDecision(
        sum(each.frames for each in decisions),
        sum(each.right for each in decisions),
        dict(taken.most_common()),
    )


NO_REASON = "no reason given"


@dataclass(frozen=True, eq=False)
class EvaluatedSet:
    """Frames with a known pose, and what a model said about each.

    Attributes:
        name: what the set has in common: "day", "night", a sequence.
        frames: the frames, all with poses.
        estimates: the answers, in the same order.
        scene: name of the scene, so that an answer in another scene's world counts as lost; None
            where the model knows one scene only.
        scenes: how many scenes the model knows.
        every_method: the estimates as each refiner leaves them, by its name, and by "none" the network's own;
            empty where nothing refines.
    """

    name: str
    frames: tuple[Frame, ...]
    estimates: tuple[Estimate, ...]
    scene: str | None = None
    scenes: int = 1
    every_method: Mapping[str, tuple[Estimate, ...]] = field(default_factory=dict)

    def truth(self) -> Pose:
        """The (n,) true poses, as tensors."""
        return poses_of(self.frames).tensor()

    def answers(self) -> tuple[Estimate, ...]:
        """The estimates, where one in another scene's world is `Lost`."""
        return tuple(self._answer(estimate) for estimate in self.estimates)

    def refined(self, way: str) -> "EvaluatedSet":
        """The same frames with the estimates of one way."""
        return replace(self, estimates=self.every_method[way])

    def errors(self) -> PoseError:
        """The (n,) errors of the answers; see `evaluate_set`."""
        return evaluate_set(self.frames, self.answers())

    def decision(self) -> SceneDecision | None:
        """How often the right scene was named, or None where there was nothing to decide."""
        if self.scene is None or self.scenes < 2:
            return None
        return scene_decision(self.estimates, self.scene)

    def _answer(self, estimate: Estimate) -> Estimate:
        match estimate:
            case Located(scene=scene) if self.scene is not None and scene != self.scene:
                return Lost(f"placed in {scene}")
            case _:
                return estimate


def evaluate_set(frames: Sequence[Frame], estimates: Sequence[Estimate]) -> PoseError:
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
    return PoseError(torch.stack(meters), torch.stack(degrees))


def _error(frame: Frame, estimate: Estimate) -> PoseError:
    if frame.world_from_cam is None or not bool(frame.world_from_cam.is_finite()):
        raise DatasetError(f"the true pose of {frame.name} is unknown; leave that frame out of the test set")
    if isinstance(estimate, Lost):
        infinite = torch.tensor(torch.inf, dtype=torch.float64)
        return PoseError(infinite, infinite)
    if not bool(estimate.world_from_cam.is_finite()):
        raise CheckpointError(
            f"the model's pose for {frame.name} is not a number: its weights are damaged or its training "
            f"diverged, so train it again with a lower learning rate"
        )
    found = estimate.world_from_cam.to("cpu").to(torch.float64)
    return pose_error(found, frame.world_from_cam.tensor(torch.float64))
