"""The static market square: textures, shapes and lamps."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from market_square import furniture
from market_square.builder import Builder
from market_square.buildings import build_houses, house_textures
from market_square.catalogue import plain_textures
from market_square.primitives import Primitives
from market_square.textures import Atlas

_FOUNTAIN = (1.8, -1.8)
_STALLS = (
    (-10.7, 1.4, 90, "red stripes", 0),
    (5.6, -6.4, 174, "red stripes", 2),
    (9.6, -2.6, -80, "blue stripes", 4),
    (6.4, 6.6, 10, "blue stripes", 1),
)
_BENCHES = (
    (-3.6, 7.7, 0),
    (-9.6, -1.6, 90),
    (4.9, 1.2, -50),
    (-1.6, -4.6, 140),
    (4.8, -4.9, 220),
    (9.8, 7.6, 0),
)
_PLANTERS = (
    (-10.4, 8.9, 0, "red flowers"),
    (0.6, 8.5, 0, "yellow flowers"),
    (-12.3, 3.1, 90, "red flowers"),
    (11.2, -7.8, 0, "yellow flowers"),
    (-3.4, -8.2, 0, "red flowers"),
    (12.2, 0.6, 90, "red flowers"),
)
_TREES = (
    (-11.0, 5.0, 2.3, "leaves"),
    (-1.2, 6.5, 2.2, "bright leaves"),
    (7.2, -0.4, 2.5, "bright leaves"),
    (-5.2, -6.0, 2.2, "leaves"),
    (10.8, 3.2, 2.2, "leaves"),
)
_LAMPS = ((-9.2, 3.8), (-3.2, 6.1), (-7.6, -3.2), (4.6, 4.6), (8.4, -5.6), (-0.6, -6.8))
_PARASOLS = ((-9.6, -7.0), (-7.6, -7.9), (-11.2, -5.9))
_BARRELS = ((-7.0, 6.5), (-6.3, 6.7), (-10.2, 3.4), (8.9, 5.6))
_SIGNBOARDS = (
    (-4.7, 5.2, 20, "poster 3"),
    (-9.4, 0.0, 80, "poster 0"),
    (3.0, 7.0, -15, "poster 1"),
    (2.6, -7.6, 185, "poster 5"),
)


@dataclass(frozen=True, eq=False)
class Square:
    """Textures, static shapes and the positions (k, 3) of the lamps."""

    atlas: Atlas
    primitives: Primitives
    lamps: NDArray[np.float64]


@lru_cache(maxsize=2)
def build_square(seed: int) -> Square:
    """Build the square. The seed changes facades, roofs and trees, not the layout."""
    atlas = Atlas({**plain_textures(), **house_textures(seed)})
    builder = Builder(atlas.number)
    rng = np.random.default_rng((seed, 23))
    _build_ground(builder)
    build_houses(builder, rng)
    _build_furniture(builder, rng)
    lamps = np.array([(x, y, furniture.LAMP_HEIGHT) for x, y in _LAMPS])
    return Square(atlas, builder.primitives(), lamps)


def _build_ground(builder: Builder) -> None:
    # Layers two centimetres apart, like kerbs, so that the order of their depths is unambiguous.
    for height, half_x, half_y, texture, meters in (
        (-0.04, 80.0, 80.0, "grass", 4.0),
        (-0.02, 20.0, 17.0, "asphalt", 3.2),
        (0.0, 14.4, 11.2, "pavement", 3.2),
    ):
        corner, repeat = (-half_x, -half_y, height), (2 * half_x / meters, 2 * half_y / meters)
        builder.parallelogram(corner, (2 * half_x, 0, 0), (0, 2 * half_y, 0), texture, repeat=repeat)
    builder.disc((*_FOUNTAIN, 0.02), 4.6, "tiles", repeat=(2.9, 2.9))


def _build_furniture(builder: Builder, rng: np.random.Generator) -> None:
    furniture.fountain(builder.at(*_FOUNTAIN))
    furniture.statue(builder.at(-10.4, -3.9))
    furniture.advertising_column(builder.at(-5.4, 7.4))
    furniture.kiosk(builder.at(-8.8, 6.2, heading=np.radians(42)))
    for x, y, degrees, cloth, goods in _STALLS:
        furniture.stall(builder.at(x, y, heading=np.radians(degrees)), cloth=cloth, first_goods=goods)
    for x, y, degrees in _BENCHES:
        furniture.bench(builder.at(x, y, heading=np.radians(degrees)))
    for x, y, degrees, flowers in _PLANTERS:
        furniture.planter(builder.at(x, y, heading=np.radians(degrees)), flowers=flowers)
    for x, y, trunk, leaves in _TREES:
        furniture.tree(builder.at(x, y), leaves=leaves, trunk=trunk, rng=rng)
    for x, y in _LAMPS:
        furniture.lamp(builder.at(x, y))
    for x, y in _PARASOLS:
        furniture.parasol(builder.at(x, y))
    for x, y in _BARRELS:
        furniture.barrel(builder.at(x, y))
    for x, y, degrees, poster in _SIGNBOARDS:
        furniture.signboard(builder.at(x, y, heading=np.radians(degrees)), poster=poster)
    height = furniture.LAMP_HEIGHT - 0.2
    furniture.bunting(builder, start=(*_LAMPS[0], height), end=(*_LAMPS[1], height))
    furniture.bunting(builder, start=(*_LAMPS[1], height), end=(*_LAMPS[3], height))
