"""Images of materials (brick, plaster, wood, ...): (size, size, 3) float32, sRGB in 0..255."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from market_square.arrays import FloatArray
from market_square.noise import tileable_noise

SIZE = 256
"""Width and height of a texture in texels; a power of two."""

Rgb = tuple[int, int, int]


class Courses(NamedTuple):
    """The stones of a wall or a pavement: rows, columns, joint as a part of a row, variation of the shade."""

    rows: int
    columns: int
    joint: float
    variation: float


def masonry(size: int, *, courses: Courses, stone: Rgb, mortar: Rgb, seed: int) -> FloatArray:
    """Bricks, stones or tiles in running bond, each of its own shade."""
    rng = np.random.default_rng(seed)
    row_position = np.arange(size) * courses.rows / size
    row = row_position.astype(np.intp)
    column_position = (np.arange(size) * courses.columns / size)[None] + 0.5 * (row[:, None] % 2)
    column = column_position.astype(np.intp) % courses.columns
    shades = np.array(stone, np.float32) + rng.normal(
        0, courses.variation, (courses.rows, courses.columns, 1)
    )
    shades = shades + rng.normal(0, 5, (courses.rows, courses.columns, 3))
    image = shades[row[:, None], column].astype(np.float32)
    joint_across = courses.joint * courses.columns / courses.rows
    in_joint = ((row_position % 1) < courses.joint)[:, None] | ((column_position % 1) < joint_across)
    image[in_joint] = mortar
    return _shaded(image, 0.84, 0.32, tileable_noise(size, cells=8, octaves=5, seed=seed + 1))


def plaster(size: int, *, color: Rgb, seed: int) -> FloatArray:
    """Painted plaster with patches and the stains that rain leaves below the eaves."""
    grain = tileable_noise(size, cells=4, octaves=6, seed=seed)
    patches = tileable_noise(size, cells=2, octaves=3, seed=seed + 7)
    streaks = tileable_noise(size, cells=16, octaves=4, seed=seed + 3)[:1] ** 3
    fading = np.linspace(1, 0.2, size, dtype=np.float32)[:, None]
    shade = (0.80 + 0.24 * grain + 0.16 * patches) * (1 - 0.35 * streaks * fading)
    return np.asarray(np.array(color, np.float32) * shade[..., None], np.float32)


def planks(size: int, *, color: Rgb, seed: int, count: int = 6) -> FloatArray:
    """Horizontal boards with grain along them and dark gaps between them."""
    rng = np.random.default_rng(seed)
    position = np.arange(size) * count / size
    tone = rng.uniform(0.75, 1.2, count).astype(np.float32)[position.astype(np.intp)]
    grain = tileable_noise(size, cells=8, octaves=5, seed=seed + 1)[:, np.arange(size) // 6]
    shade = tone[:, None] * (0.75 + 0.5 * grain)
    shade[(position % 1) < 0.05] *= 0.35
    return np.asarray(np.array(color, np.float32) * shade[..., None], np.float32)


def foliage(size: int, *, color: Rgb, seed: int) -> FloatArray:
    """Leaves or grass from a distance: light and dark clumps."""
    clumps = tileable_noise(size, cells=16, octaves=5, seed=seed)
    sprigs = tileable_noise(size, cells=32, octaves=4, seed=seed + 5) > 0.52
    return np.asarray(
        np.array(color, np.float32) * (0.35 + 1.1 * clumps + 0.35 * sprigs)[..., None], np.float32
    )


def leaf_gaps(size: int, *, seed: int) -> NDArray[np.bool_]:
    """Mask (size, size) of the solid parts of foliage; the other parts are holes."""
    return np.asarray(tileable_noise(size, cells=24, octaves=3, seed=seed) > 0.36)


def blossoms(size: int, *, leaf: Rgb, blossom: Rgb, seed: int) -> FloatArray:
    """A flower bed: foliage with spots of colour."""
    spots = np.random.default_rng(seed).random((size // 8, size // 8)) < 0.27
    image = foliage(size, color=leaf, seed=seed)
    image[np.kron(spots, np.ones((8, 8))).astype(bool)] = blossom
    return image


def stripes(size: int, *, first: Rgb, second: Rgb, count: int = 8) -> FloatArray:
    """Upright stripes of two colours, the cloth of an awning, with a little wear."""
    is_first = (np.arange(size) * 2 * count // size) % 2 == 0
    cloth = np.where(is_first[None, :, None], np.array(first, np.float32), np.array(second, np.float32))
    cloth = np.broadcast_to(cloth, (size, size, 3))
    return _shaded(cloth, 0.88, 0.2, tileable_noise(size, cells=4, octaves=4, seed=count))


def plain(size: int, *, color: Rgb, seed: int, contrast: float = 0.24) -> FloatArray:
    """One colour with a little grain."""
    noise = tileable_noise(size, cells=8, octaves=5, seed=seed)
    return np.asarray(
        np.array(color, np.float32) * (1 - contrast / 2 + contrast * noise)[..., None], np.float32
    )


def poster(size: int, *, text: str, seed: int) -> FloatArray:
    """A printed bill: coloured shapes above a word."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (size, size), random_color(rng, 30, 230))
    draw = ImageDraw.Draw(image)
    for number in range(12):
        x, y, extent = rng.uniform(0, size, 3)
        box = [x - extent / 3, y - extent / 3, x + extent / 3, y + extent / 3]
        paint = draw.ellipse if number % 2 else draw.rectangle
        paint(box, fill=random_color(rng, 0, 255))
    draw.rectangle([0, size * 0.62, size, size * 0.9], fill=(245, 240, 225))
    write_centered(
        draw, text, center=(size / 2, size * 0.76), fits=(size * 0.9, size * 0.22), color=(30, 30, 40)
    )
    return np.asarray(image, np.float32)


def clock_face(size: int) -> FloatArray:
    """A tower clock at ten past ten."""
    image = Image.new("RGB", (size, size), (206, 196, 172))
    draw = ImageDraw.Draw(image)
    middle, radius = size / 2, size * 0.4
    draw.ellipse([middle - radius, middle - radius, middle + radius, middle + radius], fill=(244, 240, 228))
    for turn, inner, outer, width in [(hour / 12, 0.8, 0.95, 7) for hour in range(12)] + [
        (10.2 / 12, 0.0, 0.5, 10),
        (2 / 12, 0.0, 0.8, 7),
    ]:
        direction = np.array([np.sin(2 * np.pi * turn), -np.cos(2 * np.pi * turn)])
        start, end = middle + radius * inner * direction, middle + radius * outer * direction
        draw.line([*start.tolist(), *end.tolist()], fill=(30, 30, 34), width=width)
    return np.asarray(image, np.float32)


def railing_bars(size: int) -> NDArray[np.bool_]:
    """Mask (size, size) of the iron of a balcony railing: two rails and upright bars."""
    solid = np.zeros((size, size), bool)
    solid[: size // 12] = True
    solid[-size // 20 :] = True
    solid[:, (np.arange(size) % (size // 9)) < size // 28] = True
    return solid


def random_color(rng: np.random.Generator, low: int, high: int) -> Rgb:
    """A colour with each channel in [low, high)."""
    red, green, blue = (int(channel) for channel in rng.integers(low, high, 3))
    return red, green, blue


def scaled_color(color: Rgb, factor: float) -> Rgb:
    """A lighter or darker shade, kept within 0..255."""
    red, green, blue = (min(255, max(0, int(channel * factor))) for channel in color)
    return red, green, blue


def write_centered(
    draw: ImageDraw.ImageDraw,
    text: str,
    *,
    center: tuple[float, float],
    fits: tuple[float, float],
    color: Rgb,
) -> None:
    """Write a word as large as fits into a width and a height, in pixels."""
    size = fits[1]
    while size > 8:
        font = ImageFont.load_default(size)
        if draw.textlength(text, font=font) <= fits[0]:
            break
        size *= 0.92
    draw.text(center, text, font=ImageFont.load_default(size), fill=color, anchor="mm")


def _shaded(image: FloatArray, base: float, contrast: float, noise: FloatArray) -> FloatArray:
    return np.asarray(image * (base + contrast * noise)[..., None], np.float32)
