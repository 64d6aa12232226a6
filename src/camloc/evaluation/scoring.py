"""The one place where an estimate is held against the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from camloc.core.types import Estimate, Frame, Located, Lost, poses_of
from camloc.errors import CheckpointError, DatasetError
from camloc.evaluation.decision import PlaceDecision, place_decision
from camloc.geometry.pose import Pose, PoseError, pose_error

NO_REASON = "no reason given"


@dataclass(frozen=True, eq=False)
class EvaluatedSet:
    """Frames with a known pose, and what a model said about each.

    Attributes:
        name: what the set has in common: "day", "night", a sequence.
        frames: the frames, all with poses.
        estimates: the answers, in the same order.
        scene: name of the place, so that an answer in another place's world counts as lost; None
            where the model knows one place only.
        places: how many places the model knows.
        every_way: the estimates as each refiner leaves them, by its name, and by "none" the network's own;
            empty where nothing refines.
    """

    name: str
    frames: tuple[Frame, ...]
    estimates: tuple[Estimate, ...]
    scene: str | None = None
    places: int = 1
    every_way: Mapping[str, tuple[Estimate, ...]] = field(default_factory=dict)

    def truth(self) -> Pose:
        """The (n,) true poses."""
        return poses_of(self.frames)

    def answers(self) -> tuple[Estimate, ...]:
        """The estimates, where one in another place's world is `Lost`."""
        return tuple(self._answer(estimate) for estimate in self.estimates)

    def refined(self, way: str) -> "EvaluatedSet":
        """The same frames with the estimates of one way."""
        return replace(self, estimates=self.every_way[way])

    def errors(self) -> PoseError:
        """The (n,) errors of the answers; see `evaluate_set`."""
        return evaluate_set(self.frames, self.answers())

    def decision(self) -> PlaceDecision | None:
        """How often the right place was named, or None where there was nothing to decide."""
        if self.scene is None or self.places < 2:
            return None
        return place_decision(self.estimates, self.scene)

    def _answer(self, estimate: Estimate) -> Estimate:
        match estimate:
            case Located(scene=place) if self.scene is not None and place != self.scene:
                return Lost(f"placed in {place}")
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
    return pose_error(found, frame.world_from_cam.to(torch.float64))
