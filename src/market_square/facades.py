"""Fronts of houses: rows of windows above a shop with its door, window and sign."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from market_square.arrays import FloatArray
from market_square.materials import (
    SIZE,
    Courses,
    Rgb,
    masonry,
    plaster,
    random_color,
    scaled_color,
    write_centered,
)
from market_square.noise import tileable_noise
from market_square.textures import Texture, halved

_PAINTS: tuple[Rgb, ...] = (
    (214, 190, 150),
    (196, 120, 92),
    (172, 186, 178),
    (222, 208, 186),
    (178, 150, 130),
    (205, 170, 96),
    (150, 164, 190),
    (206, 146, 138),
)
_SHUTTERS: tuple[Rgb, ...] = ((40, 84, 66), (110, 44, 40), (44, 66, 110), (92, 74, 50), (30, 60, 60))
_EAVES = 0.35
"""Height of the eaves above the top floor, as a part of a floor's height."""


@dataclass(frozen=True)
class FacadeStyle:
    """Settings that differ between fronts; all other details follow from the seed."""

    wall: str
    floors: int
    columns: int
    sign: str
    seed: int


def floor_height_fraction(floors: int) -> float:
    """Height of one floor as a part of the facade's height."""
    return 1 / (floors + _EAVES)


def facade(style: FacadeStyle) -> Texture:
    """Paint one front."""
    painter = _Painter(style)
    painter.windows()
    painter.cornices_and_pipe()
    painter.shop()
    return painter.finished()


class _Painter:
    def __init__(self, style: FacadeStyle) -> None:
        self.style = style
        self.rng = np.random.default_rng((style.seed, 17))
        self.size = SIZE * 2
        self.image = Image.fromarray(_wall(style, self.size).clip(0, 255).astype(np.uint8))
        self.draw = ImageDraw.Draw(self.image)
        self.glow = np.zeros((self.size, self.size, 3), np.float32)
        self.trim = scaled_color((236, 230, 214), self.rng.uniform(0.65, 1))
        self.shutter = _SHUTTERS[int(self.rng.integers(len(_SHUTTERS)))]
        self.floor = self.size * floor_height_fraction(style.floors)

    def windows(self) -> None:
        for floor in range(1, self.style.floors):
            top = self.size - (floor + 1) * self.floor
            for column in range(self.style.columns):
                if self.rng.random() < 0.05:
                    continue
                center = (column + 0.5) * self.size / self.style.columns + self.rng.normal(0, 2)
                half = self.size / self.style.columns * 0.2
                self._window(center - half, top + self.floor * 0.22, center + half, top + self.floor * 0.84)

    def _window(self, left: float, top: float, right: float, bottom: float) -> None:
        rng, draw = self.rng, self.draw
        width, height = right - left, bottom - top
        glass = int(rng.integers(30, 80))
        draw.rectangle([left - 6, top - 8, right + 6, bottom + 8], fill=self.trim)
        draw.rectangle([left, top, right, bottom], fill=(glass, glass + 8, glass + 20))
        reflection = [(left, top), (right, top), (left, top + height * rng.uniform(0.3, 0.9))]
        draw.polygon(reflection, fill=(glass + 70, glass + 86, glass + 100))
        if rng.random() < 0.5:
            curtain, part = random_color(rng, 120, 235), width * rng.uniform(0.2, 0.45)
            draw.rectangle([left, top, left + part, bottom], fill=curtain)
            draw.rectangle([right - part, top, right, bottom], fill=curtain)
        middle, bar = (left + right) / 2, top + height * 0.4
        draw.line([middle, top, middle, bottom], fill=self.trim, width=4)
        draw.line([left, bar, right, bar], fill=self.trim, width=4)
        if self.style.wall == "plaster":
            self._shutter(left - 8 - width * 0.42, top, left - 8, bottom)
            self._shutter(right + 8, top, right + 8 + width * 0.42, bottom)
        draw.rectangle([left - 10, bottom + 6, right + 10, bottom + 14], fill=scaled_color(self.trim, 0.8))
        if rng.random() < 0.45:
            self._light(left, top, right, bottom, (255, 190, 96), rng.uniform(0.5, 1))

    def _shutter(self, left: float, top: float, right: float, bottom: float) -> None:
        self.draw.rectangle([left, top - 2, right, bottom + 2], fill=self.shutter)
        for slat in range(int(top) + 3, int(bottom), 7):
            self.draw.line([left + 2, slat, right - 2, slat], fill=scaled_color(self.shutter, 0.65), width=2)

    def cornices_and_pipe(self) -> None:
        size, draw = self.size, self.draw
        for floor in range(1, int(self.rng.integers(2, 4))):
            height = size - self.floor * floor - 3
            draw.line([0, height, size, height], fill=self.trim, width=7)
        draw.rectangle([0, 0, size, 16], fill=self.trim)
        draw.rectangle([0, size - 26, size, size], fill=(92, 88, 82))
        pipe = self.rng.uniform(0.012, 0.03) * size
        draw.line([pipe, 0, pipe, size], fill=(84, 84, 80), width=9)
        draw.line([pipe + 3, 0, pipe + 3, size], fill=(130, 130, 126), width=2)

    def shop(self) -> None:
        size, top = self.size, self.size - self.floor
        door_is_left = self.rng.random() < 0.5
        door = size * (0.1 if door_is_left else 0.78)
        width = size * 0.12
        self._door(door, top, door + width)
        left, right = (door + width + 30, size - 20.0) if door_is_left else (20.0, door - 30)
        frame = scaled_color(self.shutter, 0.9)
        self.draw.rectangle([left - 8, top + self.floor * 0.26, right + 8, size - 20], fill=frame)
        self.draw.rectangle([left, top + self.floor * 0.34, right, size - 40], fill=(44, 50, 56))
        self._goods(left, top, right, frame)
        self._light(left, top + self.floor * 0.34, right, size - 40.0, (255, 214, 150), 0.9)
        self._sign(left - 8, top + self.floor * 0.02, right + 8, top + self.floor * 0.24)

    def _door(self, left: float, top: float, right: float) -> None:
        floor, draw = self.floor, self.draw
        draw.rectangle([left - 8, top + floor * 0.24, right + 8, self.size], fill=self.trim)
        draw.rectangle([left, top + floor * 0.28, right, self.size - 8], fill=self.shutter)
        for panel in (0.36, 0.62):
            box = [left + 8, top + floor * panel, right - 8, top + floor * (panel + 0.18)]
            draw.rectangle(box, outline=scaled_color(self.shutter, 0.6), width=5)
        knob = top + floor * 0.58
        draw.ellipse([right - 14, knob, right - 6, knob + 8], fill=(220, 190, 90))

    def _goods(self, left: float, top: float, right: float, frame: Rgb) -> None:
        panes = int(self.rng.integers(2, 4))
        pane_width = (right - left) / panes
        for pane in range(panes):
            for _ in range(14):
                x = left + pane_width * (pane + self.rng.uniform(0.08, 0.8))
                y = top + self.floor * self.rng.uniform(0.45, 0.8)
                extent = self.rng.uniform(5, 20)
                color = random_color(self.rng, 60, 250)
                self.draw.rectangle([x, y, x + extent, y + extent * self.rng.uniform(0.6, 1.4)], fill=color)
            bar = left + pane_width * pane
            self.draw.line([bar, top + self.floor * 0.34, bar, self.size - 40], fill=frame, width=7)

    def _sign(self, left: float, top: float, right: float, bottom: float) -> None:
        if not self.style.sign:
            return
        letters: Rgb = (250, 236, 190) if self.rng.random() < 0.7 else (255, 255, 255)
        board = random_color(self.rng, 16, 110)
        self.draw.rectangle([left, top, right, bottom], fill=board, outline=self.trim, width=4)
        center = ((left + right) / 2, (top + bottom) / 2)
        fits = ((right - left) * 0.92, (bottom - top) * 0.9)
        write_centered(self.draw, self.style.sign, center=center, fits=fits, color=letters)
        self._light(left, top, right, bottom, (255, 255, 255), 0.35)

    def _light(
        self, left: float, top: float, right: float, bottom: float, color: Rgb, strength: float
    ) -> None:
        rows, columns = slice(max(0, int(top)), int(bottom)), slice(max(0, int(left)), int(right))
        self.glow[rows, columns] = np.array(color, np.float32) * np.float32(strength)

    def finished(self) -> Texture:
        painted = np.asarray(self.image, np.float32)
        transmitted = (0.25 + 0.75 * painted / 160).clip(0, 1.3)
        weathering = 0.88 + 0.24 * tileable_noise(self.size, cells=4, octaves=6, seed=self.style.seed + 77)
        return Texture(halved(painted * weathering[..., None]), glow=halved(self.glow * transmitted))


def _wall(style: FacadeStyle, size: int) -> FloatArray:
    seed = style.seed
    if style.wall == "brick":
        stone = (150 + seed * 7 % 37 - 18, 82, 62)
        courses = Courses(rows=56, columns=18, joint=0.12, variation=20)
        return masonry(size, courses=courses, stone=stone, mortar=(176, 168, 156), seed=seed)
    if style.wall == "stone":
        courses = Courses(rows=22, columns=8, joint=0.06, variation=12)
        return masonry(size, courses=courses, stone=(176, 168, 150), mortar=(120, 114, 104), seed=seed)
    return plaster(size, color=_PAINTS[seed % len(_PAINTS)], seed=seed)
