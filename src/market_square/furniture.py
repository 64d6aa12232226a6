"""Objects on the square. Each function builds one object at the origin of its builder."""

import numpy as np

from market_square.builder import Builder
from market_square.catalogue import GOODS
from market_square.primitives import Outline

LAMP_HEIGHT = 4.05


def fountain(builder: Builder) -> None:
    """A round basin of 2.3 m radius with a bowl on a column."""
    builder.cylinder((0, 0, 0), 2.3, 0.55, "stone", repeat=(5, 0.5))
    builder.disc((0, 0, 0.55), 2.3, "stone", repeat=(2, 2))
    builder.disc((0, 0, 0.56), 2.0, "water", repeat=(2, 2))
    builder.cylinder((0, 0, 0.5), 0.34, 1.5, "stone")
    builder.cylinder((0, 0, 1.9), 0.95, 0.22, "stone", repeat=(3, 0.3))
    builder.disc((0, 0, 2.12), 0.95, "water")
    builder.cylinder((0, 0, 2.0), 0.16, 0.8, "bronze")
    builder.sphere((0, 0, 2.95), 0.26, "bronze")


def statue(builder: Builder) -> None:
    """A bronze figure on a pedestal."""
    builder.box((-0.85, -0.85, 0), (0.85, 0.85, 0.3), "stone")
    builder.box((-0.7, -0.7, 0.3), (0.7, 0.7, 1.5), "stone", repeats_per_meter=0.7)
    builder.cylinder((0, 0, 1.5), 0.32, 1.3, "bronze")
    builder.box((-0.6, -0.15, 2.1), (0.6, 0.15, 2.35), "bronze", floor=True)
    builder.sphere((0, 0, 3.05), 0.3, "bronze")


def advertising_column(builder: Builder) -> None:
    """A round column with posters."""
    builder.cylinder((0, 0, 0), 0.75, 2.9, "poster ring")
    builder.cylinder((0, 0, 2.9), 0.85, 0.18, "bronze", lid="bronze")
    builder.sphere((0, 0, 3.05), 0.5, "bronze")


def kiosk(builder: Builder) -> None:
    """A wooden hut of 2.2 x 1.8 m with posters; its front faces along -y."""
    builder.box((-1.1, -0.9, 0), (1.1, 0.9, 2.6), "kiosk")
    builder.box((-1.4, -1.2, 2.6), (1.4, 1.2, 2.75), "dark", floor=True)
    front, height = -0.92, (0, 0, 1.25)
    builder.parallelogram((-0.98, front, 0.6), (0.85, 0, 0), height, "poster 4")
    builder.parallelogram((0.1, front, 0.6), (0.85, 0, 0), height, "poster 5")
    builder.parallelogram((-1.12, 0.6, 0.6), (0, -1.1, 0), height, "poster 2")
    builder.parallelogram((1.12, -0.6, 0.6), (0, 1.1, 0), height, "poster 1")


def stall(builder: Builder, *, cloth: str, first_goods: int) -> None:
    """A market stall under a striped roof; its counter faces along -y."""
    for x in (-1.23, 1.17):
        for y in (-0.83, 0.77):
            builder.box((x, y, 0), (x + 0.06, y + 0.06, 2.3), "wood")
    builder.box((-1.15, -0.6, 0), (1.15, 0.6, 0.9), "wood", repeats_per_meter=0.8)
    for turn in (0.0, np.pi):
        side = builder.at(0, 0, heading=turn)
        side.parallelogram((-1.4, -1.05, 2.15), (2.8, 0, 0), (0, 1.05, 0.6), cloth, one_sided=False)
    for number in range(5):
        left = -1.1 + number * 0.45
        goods = f"goods {(number + first_goods) % len(GOODS)}"
        builder.box((left, -0.5, 0.9), (left + 0.38, 0.4, 0.98), "wood", top=goods)
        for x in (0.10, 0.28):
            for y in (-0.3, 0.05):
                builder.sphere((left + x, y, 1.0), 0.09, goods)


def bench(builder: Builder) -> None:
    """A wooden bench; a person on it faces along -y."""
    builder.box((-0.9, -0.25, 0.40), (0.9, 0.25, 0.47), "wood", floor=True)
    builder.box((-0.9, 0.2, 0.47), (0.9, 0.26, 0.95), "wood")
    for x in (-0.8, 0.72):
        builder.box((x, -0.22, 0), (x + 0.08, 0.22, 0.4), "dark")


def planter(builder: Builder, *, flowers: str) -> None:
    """A stone trough with flowers."""
    builder.box((-0.7, -0.35, 0), (0.7, 0.35, 0.55), "stone", top="soil")
    for number in range(4):
        builder.sphere((-0.45 + 0.3 * number, 0, 0.68), 0.26, flowers)


def tree(builder: Builder, *, leaves: str, trunk: float, rng: np.random.Generator) -> None:
    """A tree in a stone ring; `trunk` is the height of the lowest leaves."""
    builder.cylinder((0, 0, 0), 0.17, trunk + 0.4, "bark", repeat=(1, 2))
    builder.box((-0.6, -0.6, 0), (0.6, 0.6, 0.12), "stone", top="soil")
    for _ in range(10):
        x, y, z = rng.normal(0, 1, 3).clip(-1.6, 1.6) * (0.7, 0.7, 0.45)
        builder.sphere((x, y, trunk + 1.1 + z), rng.uniform(0.6, 1.0), leaves, repeat=(3, 2))


def lamp(builder: Builder) -> None:
    """A street lamp with a globe at LAMP_HEIGHT."""
    builder.cylinder((0, 0, 0), 0.16, 0.5, "dark")
    builder.cylinder((0, 0, 0), 0.07, LAMP_HEIGHT - 0.15, "dark")
    builder.sphere((0, 0, LAMP_HEIGHT), 0.22, "lamp globe")


def parasol(builder: Builder) -> None:
    """A cafe table under an octagonal parasol."""
    builder.cylinder((0, 0, 0), 0.05, 2.7, "white")
    builder.cylinder((0, 0, 0), 0.45, 0.74, "white", lid="wood")
    radius, drop = 1.4, 0.55
    for number in range(8):
        angles = np.array([number, number + 1]) * np.pi / 4
        first, second = (np.array([radius * np.cos(a), radius * np.sin(a), -drop]) for a in angles)
        cloth = ("white", "parasol")[number % 2]
        top = (0, 0, 2.75)
        builder.parallelogram(top, first, second, cloth, outline=Outline.TRIANGLE, one_sided=False)


def signboard(builder: Builder, *, poster: str) -> None:
    """A sandwich board of a shop; one side faces along -y."""
    for turn in (0.0, np.pi):
        side = builder.at(0, 0, heading=turn)
        side.parallelogram((-0.35, -0.3, 0), (0.7, 0, 0), (0, 0.27, 1.1), poster, one_sided=False)


def barrel(builder: Builder) -> None:
    """A wooden barrel with an iron hoop."""
    builder.cylinder((0, 0, 0), 0.32, 0.85, "bark", repeat=(3, 1), lid="wood")
    builder.cylinder((0, 0, 0.55), 0.335, 0.07, "metal")


def bunting(builder: Builder, *, start: tuple[float, float, float], end: tuple[float, float, float]) -> None:
    """A sagging string of pennants between two points."""
    count = 18
    first, last = np.array(start), np.array(end)
    along = np.linspace(0, 1, count + 1)[:, None]
    knots = first + (last - first) * along - np.array([0, 0, 0.7]) * (4 * along * (1 - along))
    for number in range(count):
        edge = (knots[number + 1] - knots[number]) * 0.8
        drop = edge / 2 - np.array([0, 0, 0.34])
        cloth = f"goods {number % len(GOODS)}"
        builder.parallelogram(
            knots[number], edge, drop, cloth, outline=Outline.TRIANGLE, one_sided=False, repeat=(0.3, 0.3)
        )
