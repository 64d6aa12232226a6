"""The houses around the square, the clock tower behind them and the far blocks."""

from dataclasses import dataclass

import numpy as np

from market_square.builder import Builder
from market_square.facades import FacadeStyle, facade, floor_height_fraction
from market_square.materials import SIZE, Rgb, plaster
from market_square.primitives import Outline
from market_square.textures import Texture

HALF_EXTENT_X, HALF_EXTENT_Y = 13.2, 9.6
"""The fronts stand on the rectangle |x| <= HALF_EXTENT_X, |y| <= HALF_EXTENT_Y, up to small setbacks."""

_DEPTH = 7.0
_WALLS: tuple[Rgb, ...] = ((190, 176, 150), (160, 110, 90), (150, 150, 146))


@dataclass(frozen=True)
class House:
    """A house on one side of the square; `start` is its smaller coordinate along that side, in metres."""

    side: str
    start: float
    width: float
    setback: float
    height: float
    wall: str
    sign: str

    @property
    def floors(self) -> int:
        """Number of floors, including the shop's."""
        return round(self.height / 3.1)

    @property
    def columns(self) -> int:
        """Number of windows side by side."""
        return max(2, round(self.width / 1.9))


HOUSES: tuple[House, ...] = (
    House("north", -14.5, 6.0, 0.0, 9.2, "plaster", "BAKERY"),
    House("north", -8.5, 7.2, 0.5, 11.8, "brick", "CAFE SOL"),
    House("north", -1.3, 5.4, -0.3, 8.4, "plaster", "BOOKS"),
    House("north", 6.4, 8.4, 0.2, 10.4, "stone", "HOTEL ORION"),
    House("south", -14.5, 8.0, 0.2, 10.2, "plaster", "MUSEUM"),
    House("south", -6.5, 5.6, -0.4, 8.0, "brick", "TAILOR"),
    House("south", 1.8, 6.0, 0.3, 12.4, "plaster", "WINES"),
    House("south", 7.8, 7.0, 0.0, 9.0, "stone", "BANK"),
    House("east", -11.0, 7.5, 0.0, 9.4, "plaster", "TOYS"),
    House("east", -3.5, 5.4, 0.5, 11.0, "brick", "RADIO"),
    House("east", 1.9, 8.6, -0.2, 8.6, "plaster", "POST"),
    House("west", -11.0, 6.4, 0.3, 8.8, "brick", "HATS"),
    House("west", -2.4, 5.6, 0.0, 11.6, "plaster", "PHARMACY"),
    House("west", 3.2, 6.4, 0.4, 9.4, "stone", "FLORIST"),
)

_FAR_BLOCKS = (
    (-34, 10, 8, 11),
    (-32, -16, 9, 9),
    (30, 18, 8, 14),
    (28, -2, 6, 9),
    (-8, -32, 10, 12),
    (8, 34, 10, 15),
    (36, -20, 10, 10),
    (-22, 30, 9, 16),
)


def house_textures(seed: int) -> dict[str, Texture]:
    """Fronts and side walls of all houses, and the fronts of the far blocks."""
    textures = {}
    for number, house in enumerate(HOUSES):
        style = FacadeStyle(
            house.wall, house.floors, house.columns, house.sign, seed=seed * 100 + number * 13 + 14
        )
        textures[f"front {number}"] = facade(style)
    for number, color in enumerate(_WALLS):
        textures[f"wall {number}"] = Texture(plaster(SIZE, color=color, seed=31 * number))
    for number in range(2):
        textures[f"far {number}"] = facade(FacadeStyle("plaster", 4, 5, "", seed=1000 + number))
    return textures


def build_houses(builder: Builder, rng: np.random.Generator) -> None:
    """Put up all houses, the clock tower and the far blocks."""
    for number, house in enumerate(HOUSES):
        # Local axes: x along the front from left to right as seen from the square, y into the house.
        _build_house(_at_front(builder, house), house, number, rng)
    _build_tower(builder)
    for number, (x, y, width, height) in enumerate(_FAR_BLOCKS):
        builder.box((x, y, 0), (x + width, y + width, height), f"far {number % 2}", top="red roof")


def _at_front(builder: Builder, house: House) -> Builder:
    end = house.start + house.width
    match house.side:
        case "north":
            return builder.at(house.start, HALF_EXTENT_Y + house.setback)
        case "south":
            return builder.at(end, -HALF_EXTENT_Y - house.setback, heading=np.pi)
        case "east":
            return builder.at(HALF_EXTENT_X + house.setback, end, heading=-np.pi / 2)
        case _:
            return builder.at(-HALF_EXTENT_X - house.setback, house.start, heading=np.pi / 2)


def _build_house(front: Builder, house: House, number: int, rng: np.random.Generator) -> None:
    width, height = house.width, house.height
    wall = f"wall {number % len(_WALLS)}"
    front.parallelogram((0, 0, 0), (width, 0, 0), (0, 0, height), f"front {number}")
    front.parallelogram((width, 0, 0), (0, _DEPTH, 0), (0, 0, height), wall, repeat=(2, 2))
    front.parallelogram((0, _DEPTH, 0), (0, -_DEPTH, 0), (0, 0, height), wall, repeat=(2, 2))
    front.parallelogram((width, _DEPTH, 0), (-width, 0, 0), (0, 0, height), wall, repeat=(2, 2))
    _build_roof(front, house, wall, roof=("red roof", "slate roof")[number % 2], rise=rng.uniform(1.6, 3.0))
    if rng.random() < 0.8:
        left = rng.uniform(0.15, 0.8) * width
        front.box((left, 2.2, height), (left + 0.7, 2.9, height + 3.2), wall)
    floor = height * floor_height_fraction(house.floors)
    if rng.random() < 0.6:
        _build_awning(front, ("red stripes", "blue stripes")[number % 2], width, floor, rng)
    for storey in range(1, house.floors):
        if rng.random() < 0.4:
            column = int(rng.integers(house.columns))
            _build_balcony(front.at((column + 0.5) * width / house.columns, 0, z=floor * (storey + 0.08)))


def _build_roof(front: Builder, house: House, wall: str, *, roof: str, rise: float) -> None:
    width, half = house.width, _DEPTH / 2
    eaves, side, overhang = house.height - 0.15, 0.2, 0.35
    repeat = (width / 3, 1.5)
    along, up = (width + 2 * side, 0, 0), (0, half + overhang, rise)
    front.parallelogram((-side, -overhang, eaves), along, up, roof, repeat=repeat, one_sided=False)
    back = front.at(width, _DEPTH, heading=np.pi)
    back.parallelogram((-side, -overhang, eaves), along, up, roof, repeat=repeat, one_sided=False)
    for x in (0, width):
        for toward in (-half, half):
            foot, edge, top = (x, half, house.height), (0, toward, 0), (0, 0, rise)
            front.parallelogram(foot, edge, top, wall, outline=Outline.TRIANGLE, one_sided=False)


def _build_awning(front: Builder, cloth: str, width: float, floor: float, rng: np.random.Generator) -> None:
    extent = min(rng.uniform(2.4, 3.6), width - 1.0)
    left = rng.uniform(0.4, width - extent - 0.3)
    low = floor * 0.74
    front.parallelogram((left, -1.3, low), (extent, 0, 0), (0, 1.3, 0.4), cloth, one_sided=False)
    front.parallelogram((left, -1.3, low - 0.22), (extent, 0, 0), (0, 0, 0.22), cloth, one_sided=False)


def _build_balcony(middle: Builder) -> None:
    half, depth, rail = 0.75, 0.8, (0, 0, 0.8)
    middle.box((-half, -depth, 0), (half, 0, 0.14), "stone", floor=True)
    middle.parallelogram((-half, -depth, 0.14), (2 * half, 0, 0), rail, "railing", one_sided=False)
    for x in (-half, half):
        edge = (0, depth, 0)
        middle.parallelogram((x, -depth, 0.14), edge, rail, "railing", repeat=(0.5, 1), one_sided=False)


def _build_tower(builder: Builder) -> None:
    """The clock tower behind the north side, in the gap between two houses."""
    tower = builder.at(5.2, 15.0)
    half, height, eaves = 2.0, 19.0, 2.2
    tower.box((-half, -half, 0), (half, half, height), "tower", repeats_per_meter=0.12)
    tower.parallelogram((-1.4, -half - 0.04, 14.4), (2.8, 0, 0), (0, 0, 2.8), "clock")
    for quarter in range(4):
        side = tower.at(0, 0, heading=quarter * np.pi / 2)
        foot, to_top = (0, -eaves, height), (0, eaves, 5.0)
        for edge in (-eaves, eaves):
            along = (edge, 0, 0)
            side.parallelogram(foot, along, to_top, "slate roof", outline=Outline.TRIANGLE, one_sided=False)
