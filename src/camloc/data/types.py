"""Frame, Scene, View, Located and Lost: the values that camloc's parts exchange. Nothing here loads torch."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float64, UInt8
from numpy.typing import NDArray

from camloc.geometry.arrays import Array
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose

# Of positions: metres, or the units of a world without a known scale, such as a reconstruction from images.
Unit = Literal["m", "units"]


def common_unit(units: Iterable[Unit]) -> Unit:
    """The unit of numbers over several scenes, such as a mean: metres if all scenes have metres."""
    return "m" if all(unit == "m" for unit in units) else "units"


@dataclass(frozen=True, eq=False)
class ImageInMemory:
    """A decoded image that is not read from a file.

    Attributes:
        pixels: (height, width, 3) RGB, as stored.
        orientation: its EXIF orientation, from 1 (upright) to 8.
    """

    pixels: UInt8[NDArray[np.uint8], "height width 3"]
    orientation: int = 1


@dataclass(frozen=True, eq=False)
class Frame:
    """An image with its camera and pose, as far as they are known.

    Attributes:
        name: its name within the data set, with forward slashes; unique in a scene.
        image: the file.
        camera: intrinsics for the pixels as stored, or None where they are unknown.
        world_from_cam: the camera's pose, as NumPy arrays in double precision, or None for an image to
            be located. Where only the position is known, as from GPS, its rotation is NaN; such frames
            are for training and never for testing.
        sequence: the recording of the image; neighbours in a recording are nearly the same image, so
            validation frames are held out in blocks of it.
        time: seconds, in the data set's own clock, or None.
        depth: a 16-bit depth image in millimetres, or None.
        memory: the decoded image, where it is not in a file; `image` is then a name.
    """

    name: str
    image: Path
    camera: Camera | None = None
    world_from_cam: Pose | None = None
    sequence: str = ""
    time: float | None = None
    depth: Path | None = None
    memory: ImageInMemory | None = None

    @property
    def source(self) -> Path | ImageInMemory:
        """The file of the image, or the image in memory."""
        return self.image if self.memory is None else self.memory

    @property
    def is_position_only(self) -> bool:
        """Whether the position is known and the orientation is not."""
        if self.world_from_cam is None:
            return False
        # One entry is enough, and scenes have 100,000 frames.
        return math.isnan(float(self.world_from_cam.rotation[0, 0]))

    def truth(self) -> Pose:
        """The pose of a frame that is known to have one."""
        assert self.world_from_cam is not None, f"{self.name} has no pose"
        return self.world_from_cam


@dataclass(frozen=True, eq=False)
class Scene:
    """A scene with one world frame.

    Attributes:
        name: of the scene in predictions and folders.
        train: training frames, all with poses, some of which may be positions alone.
        test: test frames, all with poses.
        conditions: further test frames, by the name of their condition: "night", "winter".
        points: (n, 3) points of the scene in its world, or None.
        test_name: the data set's name for the condition of `test`, such as "day".
        unit: of positions: "m", or "units" where the scale of the world is not known.
        notes: sentences for users about how the scene was read: frames that are
            left out and why, an assumed camera, a split by blocks.
    """

    name: str
    train: tuple[Frame, ...]
    test: tuple[Frame, ...] = ()
    conditions: Mapping[str, tuple[Frame, ...]] = field(default_factory=dict)
    points: Float64[NDArray[np.float64], "n 3"] | None = None
    test_name: str = "test"
    unit: Unit = "m"
    notes: tuple[str, ...] = ()

    @property
    def frames(self) -> tuple[Frame, ...]:
        """All frames: of training, of testing, and of the conditions."""
        return (*self.train, *self.test, *(frame for each in self.conditions.values() for frame in each))


def poses_of(frames: Sequence[Frame]) -> Pose:
    """The (n,) poses of frames that all have one: NumPy arrays, as those of the frames."""
    return Pose.stack([frame.truth() for frame in frames])


def oriented(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """The frames without position-only frames."""
    return tuple(frame for frame in frames if not frame.is_position_only)


@dataclass(frozen=True, eq=False)
class View:
    """An image in memory for a network, and where it was taken.

    Attributes:
        image: a tensor, RGB, 8 bits.
        camera: pinhole intrinsics for these pixels, or None where they are unknown.
        world_from_cam: the pose, or None.
        scene: number of the scene in the model's list of scene names.
    """

    image: UInt8[Array, "3 height width"]
    camera: Camera | None
    world_from_cam: Pose | None
    scene: int = 0


# The median length of a normally distributed 3-vector, in standard deviations of one coordinate.
MEDIAN_OF_NORM = 1.538


class ExpectedError(NamedTuple):
    """Median errors of a model on frames that were held out of training.

    Half of the held-out frames had a smaller position error than `meters`, and half a smaller orientation
    error than `degrees`.
    """

    meters: float
    degrees: float

    @classmethod
    def of_covariance(cls, covariance: Float64[NDArray[np.float64], "6 6"]) -> "ExpectedError":
        """The median errors that a pose's covariance implies; its axes are `COVARIANCE_AXES`."""
        variances = np.diag(covariance)
        return cls(
            meters=MEDIAN_OF_NORM * float(np.sqrt(variances[3:].mean())),
            degrees=MEDIAN_OF_NORM * float(np.degrees(np.sqrt(variances[:3].mean()))),
        )


FoundBy = Literal["prior", "retrieval", "votes", "whole map"]
"""The source of the points that a query was compared with."""


@dataclass(frozen=True)
class Verification:
    """How a pose was found in the map, and how well the map agrees with it.

    Attributes:
        inliers: matches of the query with different points of the map that agree with the pose.
        ratio: their share of the matches in the windows of the guided pass.
        evidence: minus the decimal logarithm of the probability that so many of the matches in the windows
            are inliers by chance, where chance spreads matches evenly over the windows.
        visible_ratio: their share of the points of the map that the pose should see.
        coverage: share of the cells of a grid of 8 x 8 over the image that have an inlier.
        rival: inliers of the other pose that a plane allows, as a share of this one's; 0 where there is none.
        first_inliers: those before the guided pass, by descriptors alone.
        first_coverage: share of the cells that have one of these.
        candidates: frames whose points were compared in the last portion.
        points: points that were compared by descriptors alone.
        found_by: where the candidates came from that led to the pose.
        focal_length: "given", or "found" where it was unknown or the given one did not fit.
        seconds: of each step, of all portions together.
    """

    inliers: int
    ratio: float
    evidence: float
    visible_ratio: float
    coverage: float
    rival: float
    first_inliers: int
    first_coverage: float
    candidates: int
    points: int
    found_by: FoundBy
    focal_length: Literal["given", "found"]
    seconds: Mapping[str, float] = field(default_factory=dict)


# The rows of `Located.covariance`.
COVARIANCE_AXES = (
    *(f"rotation_{axis}_radians" for axis in "xyz"),
    *(f"center_{axis}_unit" for axis in "xyz"),
)


@dataclass(frozen=True, eq=False, repr=False)
class Located:
    """The pose of the camera that took an image.

    Attributes:
        scene: name of the scene.
        world_from_cam: the camera's pose in that scene's world, double precision.
        expected_error: of a verified pose the median error that its covariance implies; of an unverified one
            the median error of the network on held-out frames, or None if it was never validated.
        probability: of this scene, among the scenes that the model knows.
        residual: root mean square distance in metres between the points that the model aligned, or None for
            a model that aligns none. Wrong intrinsics and unknown objects increase it.
        novelty: of the image, divided by the novelty threshold: from 0 to 1, or None for a model without
            a threshold.
        unrefined: the network's own pose, if a refiner or the map has replaced it, or None.
        covariance: (6, 6) of a pose that a calibrated map verified, or None: rotation vector in radians
            (first three) and camera centre in `unit` (last three), both along the axes of the world.
        verification: how the map verified the pose, or None if it did not.
        unit: of positions: "m", or "units" where the scale of the scene is not known.
        time: of the query in seconds, where it was given.
        camera: intrinsics of the query, given, assigned or found by the map; None where they are unknown.
        is_bridged: whether the pose comes from the motion of a sequence, not from the image.
    """

    scene: str
    world_from_cam: Pose
    expected_error: ExpectedError | None = None
    probability: float = 1.0
    residual: float | None = None
    novelty: float | None = None
    unrefined: Pose | None = None
    covariance: Float64[NDArray[np.float64], "6 6"] | None = None
    verification: Verification | None = None
    unit: Unit = "m"
    time: float | None = None
    camera: Camera | None = None
    is_bridged: bool = False

    def __repr__(self) -> str:
        """The scene, the pose and how sure it is, in one line."""
        found = self.verification
        how = "unverified" if found is None else f"verified by {found.inliers} inliers"
        how = "bridged" if self.is_bridged else how
        error = self.expected_error
        off = "" if error is None else f", expected error {error.meters:.3g} {self.unit} {error.degrees:.2g}°"
        return f"Located({self.scene!r}, {self.world_from_cam!r}, {how}{off})"

    @property
    def is_verified(self) -> bool:
        """Whether the map of the scene confirms the pose."""
        return self.verification is not None

    @property
    def found_by(self) -> Literal["map", "network", "refined network", "motion"]:
        """The source of the pose."""
        if self.is_bridged:
            return "motion"
        if self.verification is not None:
            return "map"
        return "network" if self.unrefined is None else "refined network"

    def to_dict(self) -> dict[str, Any]:
        """The estimate as numbers, strings, lists and dicts that JSON can hold.

        `position` (3 numbers) is the camera centre in the scene's world, `quaternion_wxyz` the rotation of
        `world_from_cam`, and `world_from_cam` the same pose as a matrix of 4 rows of 4 numbers. Positions are
        in `unit`. `found_by` is "map", "network", "refined network" or "motion" (bridged in a sequence).
        `expected_error` has `meters` (in `unit`) and `degrees`, or is None. A verified pose has its
        `verification` and, if its map is calibrated, its `covariance` (6 rows of 6 numbers), whose rows
        `covariance_axes` names: rotation vector in radians and camera centre in `unit`, along the axes of
        the world. `time_seconds`, `camera` (pixels, COLMAP's names), `residual_meters`, `novelty` and
        `unrefined_position` are present where they are known.
        """
        pose, error, unrefined = self.world_from_cam, self.expected_error, self.unrefined
        optional = {
            "time_seconds": self.time,
            "covariance": None if self.covariance is None else self.covariance.tolist(),
            "covariance_axes": None if self.covariance is None else list(COVARIANCE_AXES),
            "verification": None if self.verification is None else asdict(self.verification),
            "residual_meters": self.residual,
            "novelty": self.novelty,
            "camera": None if self.camera is None else asdict(self.camera),
            "unrefined_position": None if unrefined is None else unrefined.translation.tolist(),
        }
        return {
            "located": True,
            "verified": self.is_verified,
            "found_by": self.found_by,
            "scene": self.scene,
            "unit": self.unit,
            "probability": self.probability,
            "position": pose.translation.tolist(),
            "quaternion_wxyz": pose.quaternion_wxyz().tolist(),
            "world_from_cam": pose.matrix().tolist(),
            "expected_error": None if error is None else error._asdict(),
            **{name: value for name, value in optional.items() if value is not None},
        }


@dataclass(frozen=True)
class Lost:
    """An image without a pose, and the reason. Metrics count its error as infinite.

    Attributes:
        reason: why there is no pose.
        time: of the query in seconds, where it was given.
        rejected: the best pose that the map did not confirm, or None. Most such poses are wrong; a filter
            that knows where the camera was before can tell.
    """

    reason: str
    time: float | None = field(default=None, compare=False, repr=False)
    rejected: "Located | None" = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """`located` (False), the `reason`, and `time_seconds` where it is known, as JSON can hold them."""
        known = {} if self.time is None else {"time_seconds": self.time}
        return {"located": False, "reason": self.reason, **known}


Estimate = Located | Lost

# Where a lost image has an empty reason.
NO_REASON = "no reason given"
