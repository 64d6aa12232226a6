"""Frame, Scene, View, Located and Lost: the values that camloc's parts exchange. Nothing here loads torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64, UInt8
from numpy.typing import NDArray

from camloc.geometry.arrays import Array
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose

# Of positions: metres, or those of a world whose scale is not known, such as a reconstruction from images.
Unit = Literal["m", "units"]


@dataclass(frozen=True, eq=False)
class Frame:
    """An image on disk with its camera and pose, as far as they are known.

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
    """

    name: str
    image: Path
    camera: Camera | None = None
    world_from_cam: Pose | None = None
    sequence: str = ""
    time: float | None = None
    depth: Path | None = None

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
        notes: facts that users should know about how the scene was read, each a sentence: frames that are
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


def poses_of(frames: Sequence[Frame]) -> Pose:
    """The (n,) poses of frames that all have one: NumPy arrays, as those of the frames."""
    return Pose.stack([frame.truth() for frame in frames])


def oriented(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """The frames without those of which only the position is known."""
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


class ExpectedError(NamedTuple):
    """How far off answers of this model were on frames held out of training, from their median.

    Half of the held-out frames were nearer than `meters` and half turned by less than `degrees`.
    """

    meters: float
    degrees: float


@dataclass(frozen=True, eq=False)
class Located:
    """Where an image was taken.

    Attributes:
        scene: name of the scene.
        world_from_cam: the camera's pose in that scene's world, double precision.
        spread: the accuracy to expect, or None where the model was never validated.
        probability: of the scene being this one among those that the model knows.
        residual: metres (root mean square) that are left between the points that a model aligned, or
            None where it aligns none. Wrong intrinsics and unknown sights make it large.
        novelty: of the image to those that were learned from, as a share of what is believed; 0 to 1, or
            None where the model did not learn to tell its scenes from others.
        unrefined: the network's own answer, where something has refined it, or None.
    """

    scene: str
    world_from_cam: Pose
    spread: ExpectedError | None = None
    probability: float = 1.0
    residual: float | None = None
    novelty: float | None = None
    unrefined: Pose | None = None


@dataclass(frozen=True)
class Lost:
    """An image that cannot be placed, and why. In metrics it is infinitely wrong."""

    reason: str


Estimate = Located | Lost
