"""Hand-held walks through an area of the square."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market_square.free_space import FreeSpace
from market_square.viewpoint import axes_looking_along
from market_square.waves import Wave

_RATE = 10.0
"""Path samples per second; between them a walk is interpolated."""
_ROUND_SECONDS = 75.0
_FASTEST = 2.0
"""Metres per second."""
_EYE_HEIGHT = 1.58


@dataclass(frozen=True)
class Area:
    """A part of the square for walks.

    Attributes:
        center, half_extent: the rectangle on the ground, in metres.
        heading_degrees: mean viewing direction, from x towards y; None for the direction of the path.
        swing_degrees: largest deviation from it to either side.
        clearance_meters: least distance from obstacles.
        crowd_center, crowd_half_extent: the rectangle in which people walk, in metres.
    """

    center: tuple[float, float]
    half_extent: tuple[float, float]
    heading_degrees: float | None
    swing_degrees: float
    clearance_meters: float
    crowd_center: tuple[float, float]
    crowd_half_extent: tuple[float, float]


AREAS: dict[str, Area] = {
    "corner": Area((-4.2, 1.5), (3.0, 2.0), 128.0, 40.0, 0.5, (-6.4, 3.9), (3.4, 2.6)),
    "square": Area((0.0, 0.0), (9.0, 6.2), None, 55.0, 0.8, (0.0, 0.0), (10.5, 7.0)),
}


class Walk:
    """One walk: the pose of the camera as a function of time."""

    def __init__(self, area: Area, free_space: FreeSpace, *, seconds: float, seed: int) -> None:
        """The same seed gives the same walk; `seconds` is its duration."""
        rng = np.random.default_rng((seed, 53))
        self._times = np.arange(0, seconds + 1 / _RATE, 1 / _RATE)
        path = (_rounds if area.heading_degrees is None else _stroll)(area, rng, self._times)
        self._x, self._y = free_space.pushed_clear(path, meters=area.clearance_meters + 0.15)
        self._is_free = free_space.clearance(self._x, self._y) >= area.clearance_meters
        # Between two obstacles the push may leap from one side to the other, faster than a person walks.
        self._is_free &= np.hypot(np.gradient(self._x), np.gradient(self._y)) * _RATE < _FASTEST
        self._z = _eye_height(rng, self._times)
        heading = np.radians(area.heading_degrees) if area.heading_degrees is not None else self._direction()
        swing, pitch, roll = (
            Wave.random(rng, period_seconds=period).at(self._times) for period in (11, 7, 5)
        )
        self._yaw = heading + np.radians(area.swing_degrees) * swing
        self._pitch = np.radians(1.5 + 6 * pitch)
        self._roll = np.radians(2.5 * roll)

    def free_times(self, count: int) -> NDArray[np.float64]:
        """`count` evenly chosen times (count,), in seconds, at which the camera keeps clear of obstacles."""
        free = self._times[self._is_free]
        assert len(free) > 0, "every area has free space"
        number = np.linspace(0, len(free) - 1, count)
        return np.asarray(np.interp(number, np.arange(len(free)), free), np.float64)

    def world_from_cam(self, seconds: float) -> NDArray[np.float64]:
        """The camera's pose at a time, as a 4 x 4 matrix; camera axes right, down, forward."""
        x, y, z, yaw, pitch, roll = (
            np.interp(seconds, self._times, values)
            for values in (self._x, self._y, self._z, self._yaw, self._pitch, self._roll)
        )
        level = np.cos(pitch)
        axes = axes_looking_along((np.cos(yaw) * level, np.sin(yaw) * level, np.sin(pitch)))
        cosine, sine = np.cos(roll), np.sin(roll)
        turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
        matrix = np.eye(4)
        matrix[:3, :3] = np.einsum("ij,jk->ik", axes, turn)
        matrix[:3, 3] = x, y, z
        return matrix

    def _direction(self) -> NDArray[np.float64]:
        along = np.arctan2(np.gradient(self._y), np.gradient(self._x))
        return np.asarray(np.unwrap(along), np.float64)


def _stroll(area: Area, rng: np.random.Generator, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """A path (2, n) back and forth in the whole area."""
    waves = np.array([Wave.random(rng, period_seconds=period).at(times) for period in (30, 23)])
    return _placed(area, waves)


def _rounds(area: Area, rng: np.random.Generator, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """A path (2, n) in rounds of varying radius about the middle of the area."""
    sense = rng.choice([-1, 1])
    angle = sense * 2 * np.pi * times / _ROUND_SECONDS + rng.uniform(0, 2 * np.pi)
    reach = 0.78 + 0.22 * Wave.random(rng, period_seconds=19).at(times)
    circle = np.array([np.cos(angle), np.sin(angle)])
    return _placed(area, reach * circle)


def _placed(area: Area, path: NDArray[np.float64]) -> NDArray[np.float64]:
    """A path (2, n) within -1..1 scaled to an area."""
    scaled = np.array(area.half_extent)[:, None] * path
    return np.asarray(np.array(area.center)[:, None] + scaled, np.float64)


def _eye_height(rng: np.random.Generator, times: NDArray[np.float64]) -> NDArray[np.float64]:
    person = _EYE_HEIGHT + rng.uniform(-0.06, 0.06)
    slow = 0.12 * Wave.random(rng, period_seconds=13).at(times)
    steps = 0.02 * np.sin(2 * np.pi * 1.8 * times)
    return np.asarray(person + slow + steps)
