"""Moving objects that are not part of the scene: walking people and a delivery van."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from market_square.builder import Builder
from market_square.catalogue import COATS, SKINS, TROUSERS
from market_square.free_space import FreeSpace
from market_square.primitives import Primitives
from market_square.waves import Wave

_VAN = (-6.55, 9.15)
_PERSONAL_SPACE = 1.3
"""Least distance of people from the camera, in metres."""
_ELBOW_ROOM = 0.3


@dataclass(frozen=True)
class Crowd:
    """People who walk in a rectangle, and optionally a parked van.

    Attributes:
        people: number of people; those who would walk through an obstacle are left out.
        van: whether a van is parked in front of the cafe.
        center, half_extent: the rectangle on the ground, in metres.
        seed: of their looks and paths.
    """

    people: int
    van: bool
    center: tuple[float, float]
    half_extent: tuple[float, float]
    seed: int

    def at(
        self,
        seconds: float,
        *,
        camera: tuple[float, float],
        free_space: FreeSpace,
        texture_number: Mapping[str, int],
    ) -> Primitives:
        """The crowd at one time; people inside an obstacle or too near to the camera are left out."""
        builder = Builder(texture_number, occluders=True)
        if self.van:
            _build_van(builder.at(*_VAN))
        for number in range(self.people):
            rng = np.random.default_rng((self.seed, number, 41))
            x, y, heading = self._position_and_heading(rng, seconds)
            is_close = np.hypot(x - camera[0], y - camera[1]) < _PERSONAL_SPACE
            if is_close or free_space.clearance(x, y) < _ELBOW_ROOM:
                continue
            _build_person(builder.at(x, y, heading=heading), rng, seconds)
        return builder.primitives()

    def _position_and_heading(self, rng: np.random.Generator, seconds: float) -> tuple[float, float, float]:
        east, north = (Wave.random(rng, period_seconds=24) for _ in range(2))

        def position(moment: float) -> tuple[float, float]:
            x = self.center[0] + self.half_extent[0] * float(east.at(moment))
            return x, self.center[1] + self.half_extent[1] * float(north.at(moment))

        x, y = position(seconds)
        next_x, next_y = position(seconds + 0.1)
        return x, y, float(np.arctan2(next_y - y, next_x - x))


def _build_person(builder: Builder, rng: np.random.Generator, seconds: float) -> None:
    """A person at the origin, walking along x."""
    height = rng.uniform(1.58, 1.88)
    coat = f"coat {rng.integers(len(COATS))}"
    trousers = f"trousers {rng.integers(len(TROUSERS))}"
    skin, hair = f"skin {rng.integers(len(SKINS))}", f"trousers {rng.integers(len(TROUSERS))}"
    stride = 0.16 * np.sin(2 * np.pi * 0.9 * seconds + rng.uniform(0, 2 * np.pi))
    for side in (-1, 1):
        builder.cylinder((side * stride, side * 0.1, 0), 0.085, height * 0.48, trousers)
        builder.cylinder((-side * stride * 0.8, side * 0.25, height * 0.45), 0.055, height * 0.36, coat)
    builder.cylinder((0, 0, height * 0.45), 0.2, height * 0.37, coat)
    builder.sphere((0, 0, height * 0.82), 0.2, coat)
    builder.sphere((0, 0, height * 0.93), 0.12, skin)
    builder.sphere((-0.02, 0, height * 0.95), 0.122, hair)


def _build_van(builder: Builder) -> None:
    """A van of 3.8 x 1.7 m at the origin, facing along x."""
    builder.box((-1.9, -0.85, 0.35), (1.9, 0.85, 1.35), "van", floor=True)
    builder.box((-1.9, -0.8, 1.35), (1.1, 0.8, 2.1), "van")
    builder.box((1.1, -0.7, 1.35), (1.35, 0.7, 1.9), "glass")
    builder.box((-0.4, -0.83, 1.4), (0.9, 0.83, 1.95), "glass")
    for x in (-1.3, 1.2):
        for y in (-0.86, 0.78):
            builder.box((x - 0.3, y, 0), (x + 0.3, y + 0.08, 0.6), "dark")
