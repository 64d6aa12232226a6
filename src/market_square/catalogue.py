"""All textures of the square except the facades, by name."""

import numpy as np

from market_square.arrays import FloatArray
from market_square.materials import (
    SIZE,
    Courses,
    Rgb,
    blossoms,
    clock_face,
    foliage,
    leaf_gaps,
    masonry,
    plain,
    planks,
    poster,
    railing_bars,
    stripes,
)
from market_square.noise import tileable_noise
from market_square.textures import Texture

POSTERS = ("OPERA", "JAZZ", "EXPO", "CIRCUS", "FILM", "MARKET")
COATS: tuple[Rgb, ...] = (
    (180, 40, 40),
    (40, 60, 140),
    (34, 34, 38),
    (210, 190, 60),
    (60, 120, 70),
    (220, 220, 220),
    (130, 70, 130),
)
TROUSERS: tuple[Rgb, ...] = ((40, 44, 60), (80, 70, 60), (28, 28, 32))
SKINS: tuple[Rgb, ...] = ((226, 184, 154), (150, 106, 80), (96, 66, 50))
GOODS: tuple[Rgb, ...] = (
    (200, 60, 40),
    (220, 170, 40),
    (90, 140, 50),
    (210, 110, 40),
    (140, 60, 110),
    (230, 220, 180),
)
_PLAIN: dict[str, Rgb] = {
    "dark": (58, 56, 58),
    "metal": (96, 102, 106),
    "bronze": (92, 124, 102),
    "white": (224, 218, 204),
    "soil": (84, 64, 48),
    "glass": (40, 46, 56),
    "parasol": (196, 60, 50),
    "van": (208, 210, 214),
}


def plain_textures() -> dict[str, Texture]:
    """All textures except the facades, each SIZE x SIZE texels."""
    textures = {**_stone(), **_wood_and_leaves(), **_printed()}
    colored = {
        **_PLAIN,
        **{f"coat {number}": color for number, color in enumerate(COATS)},
        **{f"trousers {number}": color for number, color in enumerate(TROUSERS)},
        **{f"skin {number}": color for number, color in enumerate(SKINS)},
        **{f"goods {number}": color for number, color in enumerate(GOODS)},
    }
    for seed, (name, color) in enumerate(colored.items()):
        textures[name] = Texture(plain(SIZE, color=color, seed=900 + seed))
    return textures


def _stone() -> dict[str, Texture]:
    def laid(
        rows: int, columns: int, joint: float, variation: float, stone: Rgb, mortar: Rgb, seed: int
    ) -> Texture:
        courses = Courses(rows, columns, joint, variation)
        return Texture(masonry(SIZE, courses=courses, stone=stone, mortar=mortar, seed=seed))

    asphalt = plain(SIZE, color=(96, 96, 100), seed=8, contrast=0.5)
    water = tileable_noise(SIZE, cells=8, octaves=5, seed=51)[..., None]
    return {
        "pavement": laid(16, 12, 0.07, 18, (150, 144, 134), (88, 86, 82), 5),
        "tiles": laid(24, 24, 0.10, 20, (166, 122, 98), (96, 88, 82), 6),
        "asphalt": Texture(asphalt),
        "red roof": laid(16, 16, 0.16, 18, (168, 84, 58), (80, 40, 30), 21),
        "slate roof": laid(16, 12, 0.14, 12, (88, 92, 104), (44, 46, 54), 22),
        "stone": laid(6, 3, 0.05, 10, (186, 178, 160), (128, 120, 108), 31),
        "tower": laid(40, 10, 0.10, 16, (176, 150, 120), (140, 132, 120), 81),
        "water": Texture(np.array((62, 112, 130), np.float32) * (0.6 + 0.9 * water)),
    }


def _wood_and_leaves() -> dict[str, Texture]:
    return {
        "wood": Texture(planks(SIZE, color=(126, 88, 54), seed=41)),
        "bark": Texture(planks(SIZE, color=(92, 76, 62), seed=42, count=14)),
        "kiosk": Texture(planks(SIZE, color=(58, 98, 86), seed=91, count=9)),
        "grass": Texture(foliage(SIZE, color=(86, 120, 56), seed=71)),
        "leaves": Texture(foliage(SIZE, color=(74, 112, 44), seed=61), solid=leaf_gaps(SIZE, seed=70)),
        "bright leaves": Texture(
            foliage(SIZE, color=(110, 122, 40), seed=62), solid=leaf_gaps(SIZE, seed=71)
        ),
        "red flowers": Texture(blossoms(SIZE, leaf=(70, 110, 50), blossom=(220, 60, 80), seed=63)),
        "yellow flowers": Texture(blossoms(SIZE, leaf=(62, 104, 52), blossom=(236, 190, 50), seed=64)),
    }


def _printed() -> dict[str, Texture]:
    posters = {
        f"poster {number}": poster(SIZE, text=text, seed=100 + number) for number, text in enumerate(POSTERS)
    }
    clock = clock_face(SIZE)
    railing = plain(SIZE, color=(48, 48, 52), seed=77)
    globe = np.full((SIZE, SIZE, 3), (255, 219, 158), np.float32)
    return {
        **{name: Texture(image) for name, image in posters.items()},
        "poster ring": Texture(_side_by_side([posters[f"poster {number}"] for number in range(4)])),
        "red stripes": Texture(stripes(SIZE, first=(236, 228, 210), second=(186, 44, 40))),
        "blue stripes": Texture(stripes(SIZE, first=(236, 228, 210), second=(36, 92, 120))),
        "clock": Texture(clock, glow=clock * 0.4),
        "lamp globe": Texture(plain(SIZE, color=(240, 236, 220), seed=78), glow=globe),
        "railing": Texture(railing, solid=railing_bars(SIZE)),
    }


def _side_by_side(images: list[FloatArray]) -> FloatArray:
    """Several images next to each other in one texture; each is averaged down to its part of the width."""
    count = len(images)
    wide = np.concatenate(images, axis=1)
    return np.asarray(wide.reshape(SIZE, SIZE, count, 3).mean(2), np.float32)
