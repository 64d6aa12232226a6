"""Shadow maps of the sun, and the part of the sky that is visible from each point.

A shadow map is a depth image of the square from a distant camera in the direction of the light.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market_square.arrays import FloatArray, single
from market_square.primitives import Primitives
from market_square.raster import Cutouts
from market_square.viewpoint import Intrinsics, Viewpoint, axes_looking_along
from market_square.visibility import visible_primitives

_DISTANCE = 400.0
_HALF_EXTENT = 26.0
_TARGET = (0.0, 0.0, 4.0)
_SUN_PIXELS = 1024
_SKY_PIXELS = 160
_SKY_DIRECTIONS = 32
_CELL = 0.5
_VOLUME_LOW, _VOLUME_HIGH = (-16.0, -13.0, 0.0), (16.0, 13.0, 14.0)


@dataclass(frozen=True, eq=False)
class ShadowMap:
    """Nearness (pixels, pixels) from a light, and the 3 x 4 matrix from points to pixels times depth."""

    nearness: FloatArray
    pixels_from_world: FloatArray

    @classmethod
    def towards(
        cls,
        direction: NDArray[np.float64],
        primitives: Primitives,
        cutouts: Cutouts,
        *,
        pixels: int = _SUN_PIXELS,
    ) -> "ShadowMap":
        """The map of a light in a direction (3,), a unit vector."""
        toward = np.asarray(direction, np.float64)
        focal = pixels * _DISTANCE / (2 * _HALF_EXTENT)
        lens = Intrinsics(pixels, pixels, focal, focal, pixels / 2, pixels / 2)
        light = Viewpoint(lens, np.array(_TARGET) + _DISTANCE * toward, axes_looking_along(-toward))
        visible = visible_primitives(light, primitives, cutouts)
        calibration = np.array([[focal, 0, pixels / 2], [0, focal, pixels / 2], [0, 0, 1]])
        turned = np.einsum("ij,kj->ik", calibration, light.axes)
        shift = -np.einsum("ij,j->i", turned, light.center)
        return cls(visible.nearness, np.concatenate([turned, shift[:, None]], axis=1).astype(np.float32))

    def lit(self, points: FloatArray, *, bias: float) -> FloatArray:
        """The part (n,) of the light that reaches points (n, 3), 0 to 1, with edges soft over one pixel.

        A point is lit if it lies at most `bias` metres behind the surface in the map.
        """
        x, y, limit = self._looked_up(points, bias)
        left, above = np.floor(x - np.float32(0.5)), np.floor(y - np.float32(0.5))
        across, down = x - np.float32(0.5) - left, y - np.float32(0.5) - above
        column, row = left.astype(np.int32), above.astype(np.int32)
        corners = [self._reaches(column + i, row + j, limit) for j in (0, 1) for i in (0, 1)]
        upper = corners[0] + (corners[1] - corners[0]) * across
        lower = corners[2] + (corners[3] - corners[2]) * across
        return np.asarray(upper + (lower - upper) * down)

    def reaches(self, points: FloatArray, *, bias: float) -> FloatArray:
        """1 where the light reaches points (n, 3), else 0 (n,)."""
        x, y, limit = self._looked_up(points, bias)
        return self._reaches(x.astype(np.int32), y.astype(np.int32), limit)

    def _looked_up(self, points: FloatArray, bias: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        scaled = np.einsum("ij,nj->in", self.pixels_from_world[:, :3], points)
        scaled += self.pixels_from_world[:, 3:]
        return scaled[0] / scaled[2], scaled[1] / scaled[2], 1 / (scaled[2] - np.float32(bias))

    def _reaches(self, column: NDArray[np.int32], row: NDArray[np.int32], limit: FloatArray) -> FloatArray:
        last = len(self.nearness) - 1
        return single(self.nearness[row.clip(0, last), column.clip(0, last)] < limit)


class SkyVisibility:
    """The visible part of the sky on a grid of half a metre, as four spherical harmonics."""

    def __init__(self, primitives: Primitives, cutouts: Cutouts) -> None:
        low, high = np.array(_VOLUME_LOW), np.array(_VOLUME_HIGH)
        self.shape = ((high - low) / _CELL).astype(int) + 1
        axes = [low[axis] + _CELL * np.arange(self.shape[axis]) for axis in range(3)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.float32).reshape(-1, 3)
        self.harmonics = np.zeros((len(points), 4), np.float32)
        for direction in _sky_directions(_SKY_DIRECTIONS):
            shadow = ShadowMap.towards(direction, primitives, cutouts, pixels=_SKY_PIXELS)
            open_sky = shadow.reaches(points, bias=0.15)
            self.harmonics += open_sky[:, None] * np.array([1, *direction], np.float32)
        self.harmonics /= _SKY_DIRECTIONS

    def toward(self, points: FloatArray, normals: FloatArray) -> FloatArray:
        """Visible part of the sky (n,), about 0 to 1, at points (n, 3) that face along normals (n, 3)."""
        # A point off the surface is looked up: cells inside of walls would darken it.
        cell = (points + normals * np.float32(0.35) - single(_VOLUME_LOW)) * np.float32(1 / _CELL)
        cell = np.clip(cell, 0, (self.shape - 1.001).astype(np.float32))
        first = cell.astype(np.int32)
        part = cell - np.floor(cell)
        _, size_y, size_z = self.shape.tolist()
        base = (first[:, 0] * size_y + first[:, 1]) * size_z + first[:, 2]
        x, y, z = part.T[..., None]

        def between(offset: int) -> FloatArray:
            low, high = (self.harmonics.take(base + offset + up, axis=0) for up in (0, 1))
            return np.asarray(low + (high - low) * z)

        near, far = between(0), between(size_y * size_z)
        near += (between(size_z) - near) * y
        far += (between(size_y * size_z + size_z) - far) * y
        near += (far - near) * x
        open_part = near[:, 0] * np.float32(0.5) + np.einsum("ni,ni->n", near[:, 1:], normals)
        return single(np.maximum(open_part, 0))


def _sky_directions(count: int) -> NDArray[np.float64]:
    """Unit vectors (count, 3) on a golden spiral over the upper half sphere."""
    number = np.arange(count) + 0.5
    z = 0.03 + 0.96 * number / count
    angle = number * np.pi * (3 - 5**0.5)
    level = np.sqrt(1 - z**2)
    return np.stack([level * np.cos(angle), level * np.sin(angle), z], axis=1)
