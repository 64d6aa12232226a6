"""Textures in memory: mip pyramids, and colour look-up in them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market_square.arrays import FloatArray
from market_square.materials import SIZE

LEVELS = SIZE.bit_length() - 2
"""Pyramid levels, from SIZE down to 4 texels a side."""

_GAMMA = 2.2
_FULL = 65535


@dataclass(frozen=True, eq=False)
class Texture:
    """A surface: `color` and `glow` (SIZE, SIZE, 3) sRGB in 0..255, `solid` (SIZE, SIZE) if it has holes."""

    color: FloatArray
    glow: FloatArray | None = None
    solid: NDArray[np.bool_] | None = None


def halved(images: FloatArray) -> FloatArray:
    """Images (..., h, w, channels) at half the size, averaged over blocks of 2 x 2."""
    rows = images[..., 0::2, :, :] + images[..., 1::2, :, :]
    return np.asarray((rows[..., 0::2, :] + rows[..., 1::2, :]) * np.float32(0.25))


class Pyramid:
    """Mip pyramids of several square textures, linear light, one row per texel."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        """`images` is (n, SIZE, SIZE, 3), sRGB in 0..255."""
        level = (np.clip(images, 0, 255) / np.float32(255)) ** np.float32(_GAMMA)
        levels, offsets = [], [0]
        for _ in range(LEVELS):
            levels.append((level * _FULL + 0.5).astype(np.uint16).reshape(-1, 3))
            offsets.append(offsets[-1] + len(levels[-1]))
            level = halved(level)
        self._texels = np.concatenate(levels)
        self._offset = np.array(offsets[:-1], np.int32)

    def look_up(
        self, texture: NDArray[np.int32], u: FloatArray, v: FloatArray, level: NDArray[np.int32]
    ) -> FloatArray:
        """Bilinear colours (n, 3), linear light in 0..1, at u to the right and v upwards, both modulo 1."""
        side = np.right_shift(SIZE, level).astype(np.int32)
        first = self._offset[level] + texture * side * side
        texels = side.astype(np.float32)
        x = (u - np.floor(u)) * texels - np.float32(0.5)
        y = (np.ceil(v) - v) * texels - np.float32(0.5)
        left, above = np.floor(x), np.floor(y)
        across, down = (x - left)[:, None], (y - above)[:, None]
        wrap = side - 1
        columns = left.astype(np.int32) & wrap, (left.astype(np.int32) + 1) & wrap
        rows = (
            first + (above.astype(np.int32) & wrap) * side,
            first + ((above.astype(np.int32) + 1) & wrap) * side,
        )
        lines = []
        for row in rows:
            near = self._texels.take(row + columns[0], axis=0).astype(np.float32)
            far = self._texels.take(row + columns[1], axis=0).astype(np.float32)
            lines.append(near + (far - near) * across)
        colors: FloatArray = (lines[0] + (lines[1] - lines[0]) * down) * np.float32(1 / _FULL)
        return colors


class Atlas:
    """All textures of the square, by number."""

    def __init__(self, textures: Mapping[str, Texture]) -> None:
        self.number = {name: number for number, name in enumerate(textures)}
        self.color = Pyramid(np.stack([texture.color for texture in textures.values()]))
        glowing = [texture.glow for texture in textures.values() if texture.glow is not None]
        self.glow = Pyramid(np.stack(glowing))
        glows = np.array([texture.glow is not None for texture in textures.values()])
        self.glow_number = np.where(glows, np.cumsum(glows) - 1, -1).astype(np.int32)
        self.solid = [texture.solid for texture in textures.values()]
        self.has_holes = np.array([solid is not None for solid in self.solid])

    def is_solid(self, texture: int, u: FloatArray, v: FloatArray) -> NDArray[np.bool_]:
        """Whether a texture with holes is solid at u, v (n,)."""
        solid = self.solid[texture]
        assert solid is not None, "the caller checks that the texture has holes"
        column = ((u - np.floor(u)) * SIZE).astype(np.int32) & (SIZE - 1)
        row = ((np.ceil(v) - v) * SIZE).astype(np.int32) & (SIZE - 1)
        return np.asarray(solid[row, column])
