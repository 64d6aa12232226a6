"""Settings of a rendered scene, and its plan: walks, conditions, frames and poses."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market_square.atmosphere import CONDITIONS
from market_square.free_space import FreeSpace
from market_square.occluders import Crowd
from market_square.viewpoint import Intrinsics
from market_square.walks import AREAS, Walk

OCCLUDED = "occluded"
"""The test variant with the light of "day" and many people in view."""
VARIANTS: tuple[str, ...] = (*CONDITIONS, OCCLUDED)

_FRAMES_PER_SECOND = 2.5
_TRAIN_WALK_FRAMES = 100
_TEST_WALK_FRAMES = 40
_CROWD = 16
_SHUTTER_STEPS = 4


@dataclass(frozen=True)
class SquareSettings:
    """Settings of a rendered scene; equal settings give equal images.

    Attributes:
        area: "corner" (camera positions within 6 x 4 m, views to one side) or "square" (the whole square,
            views to all sides).
        width, height: size of the images in pixels.
        field_of_view_degrees: horizontal field of view of the images.
        train_frames: number of frames on the training walks, all in "day".
        test_frames: number of frames on the test walks; every variant has the same poses.
        variants: conditions of the test walks in addition to "day", or "occluded".
        train_people: number of people who walk in the training images.
        shutter_seconds: exposure time; a positive one gives motion blur.
        depth_every: one of this many frames has a depth image; 1 for all frames, 0 for none.
        seed: of the look of the square, the walks, the people and the sensor noise.

    Raises:
        ValueError: there is no such area or variant, or a number is out of range.
    """

    area: str = "corner"
    width: int = 128
    height: int = 96
    field_of_view_degrees: float = 68.0
    train_frames: int = 800
    test_frames: int = 80
    variants: tuple[str, ...] = ("day", "evening", "night", "winter", OCCLUDED)
    train_people: int = 0
    shutter_seconds: float = 0.0
    depth_every: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.area not in AREAS:
            raise ValueError(f"unknown area '{self.area}', choose from {', '.join(AREAS)}")
        unknown = set(self.variants) - set(VARIANTS)
        if unknown:
            raise ValueError(f"unknown variant '{min(unknown)}', choose from {', '.join(VARIANTS)}")
        if min(self.width, self.height) < 8 or not 10 <= self.field_of_view_degrees <= 120:
            raise ValueError("an image needs at least 8 x 8 pixels and a field of view of 10 to 120 degrees")
        if min(self.train_frames, self.test_frames) < 1 or min(self.depth_every, self.train_people) < 0:
            raise ValueError("a scene needs at least one training and one test frame, and no negative counts")
        if self.shutter_seconds < 0:
            raise ValueError("the shutter time cannot be negative; give shutter_seconds of 0 or more")

    def intrinsics(self) -> Intrinsics:
        """The pinhole camera of all frames."""
        focal = self.width / 2 / math.tan(math.radians(self.field_of_view_degrees) / 2)
        return Intrinsics(self.width, self.height, focal, focal, self.width / 2, self.height / 2)


@dataclass(frozen=True, eq=False)
class Shot:
    """A frame to be rendered.

    `image` and `depth` are paths in the scene's folder (`depth` may be empty). `exposure_path` holds further
    poses while the shutter is open; `crowd` is drawn as it is at `seconds`.
    """

    image: str
    depth: str
    split: str
    variant: str
    walk: str
    seconds: float
    world_from_cam: NDArray[np.float64]
    exposure_path: tuple[NDArray[np.float64], ...]
    crowd: Crowd | None
    seed: int

    @property
    def condition(self) -> str:
        """The name of the light and weather."""
        return "day" if self.variant == OCCLUDED else self.variant


def shots(scene: SquareSettings, free_space: FreeSpace) -> tuple[Shot, ...]:
    """All frames of a scene: the training walks by day, then the test walks in every variant."""
    planned = _walks(scene, free_space, "train", "day", scene.train_frames, _TRAIN_WALK_FRAMES)
    for variant in dict.fromkeys(("day", *scene.variants)):
        planned += _walks(scene, free_space, "test", variant, scene.test_frames, _TEST_WALK_FRAMES)
    return tuple(planned)


def _walks(
    scene: SquareSettings, free_space: FreeSpace, split: str, variant: str, frames: int, frames_per_walk: int
) -> list[Shot]:
    # At least two walks, so that one can be held out; every walk has at least one frame.
    count = min(frames, max(2, math.ceil(frames / frames_per_walk)))
    planned = []
    for number in range(count):
        frames_here = frames * (number + 1) // count - frames * number // count
        seconds = max(frames_here, 20) / _FRAMES_PER_SECOND
        seed = 1000 * scene.seed + 100 * (split == "test") + number
        walk = Walk(AREAS[scene.area], free_space, seconds=seconds, seed=seed)
        name = f"{split}/walk-{number:02d}" if split == "train" else f"{split}/{variant}/walk-{number:02d}"
        crowd = _crowd(scene, split, variant, seed)
        for index, moment in enumerate(walk.free_times(frames_here).tolist()):
            planned.append(_shot(scene, walk, moment, (split, variant, name), index, crowd, seed))
    return planned


def _shot(
    scene: SquareSettings,
    walk: Walk,
    moment: float,
    where: tuple[str, str, str],
    index: int,
    crowd: Crowd | None,
    walk_seed: int,
) -> Shot:
    split, variant, name = where
    has_depth = scene.depth_every > 0 and index % scene.depth_every == 0
    opened = scene.shutter_seconds * np.arange(1, _SHUTTER_STEPS + 1) / _SHUTTER_STEPS
    return Shot(
        image=f"{name}/{index:04d}.jpg",
        depth=f"{name}/{index:04d}.depth.png" if has_depth else "",
        split=split,
        variant=variant,
        walk=name,
        seconds=moment,
        world_from_cam=walk.world_from_cam(moment),
        exposure_path=tuple(walk.world_from_cam(moment + delay) for delay in opened) if opened.any() else (),
        crowd=crowd,
        seed=walk_seed * 100_000 + 1000 * VARIANTS.index(variant) + index,
    )


def _crowd(scene: SquareSettings, split: str, variant: str, seed: int) -> Crowd | None:
    area = AREAS[scene.area]
    people = _CROWD if variant == OCCLUDED else scene.train_people if split == "train" else 0
    if people == 0:
        return None
    return Crowd(people, variant == OCCLUDED, area.crowd_center, area.crowd_half_extent, seed)
