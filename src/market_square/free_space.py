"""Free space of the square: the distance from each point of the ground to the nearest obstacle."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from market_square.square import Square, build_square
from market_square.viewpoint import Intrinsics, Viewpoint, axes_looking_along
from market_square.visibility import visible_primitives

_CELL = 0.1
_HALF_EXTENT = 18.0
_KERB = 0.15
_ALTITUDE = 400.0
_PUSHES = 60
_SMOOTHINGS = 12


class FreeSpace:
    """A distance map of the square from above.

    Everything higher than a kerb is an obstacle, also the crowns of trees and awnings.
    """

    def __init__(self, square: Square) -> None:
        cells = round(2 * _HALF_EXTENT / _CELL)
        focal = _ALTITUDE / _CELL
        lens = Intrinsics(cells, cells, focal, focal, cells / 2, cells / 2)
        above = Viewpoint(lens, np.array([0, 0, _ALTITUDE]), axes_looking_along((0, 0, -1)))
        visible = visible_primitives(above, square.primitives, square.atlas)
        height = _ALTITUDE - 1 / visible.nearness.astype(np.float64)
        distance = distance_transform_edt(height < _KERB) * _CELL
        # The world directions of the map's columns and rows.
        self._east, self._north = above.axes[:2, 0], above.axes[:2, 1]
        self._distance = np.asarray(distance, np.float64)

    def clearance(
        self, x: float | NDArray[np.float64], y: float | NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Metres from ground points to the nearest obstacle, exact to 0.1 m; 0 inside an obstacle."""
        ground = np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=-1)
        last = len(self._distance) - 1
        column, row = (
            np.floor((np.einsum("...i,i->...", ground, axis) + _HALF_EXTENT) / _CELL)
            .astype(int)
            .clip(0, last)
            for axis in (self._east, self._north)
        )
        return np.asarray(self._distance[row, column])

    def pushed_clear(self, path: NDArray[np.float64], *, meters: float) -> NDArray[np.float64]:
        """The path (2, n), pushed smoothly off obstacles to `meters` of clearance where possible."""
        offset = np.zeros_like(path)
        for _ in range(_PUSHES):
            x, y = path + offset
            missing = np.maximum(meters - self.clearance(x, y), 0)
            uphill = np.stack(
                [
                    self.clearance(x + 0.2, y) - self.clearance(x - 0.2, y),
                    self.clearance(x, y + 0.2) - self.clearance(x, y - 0.2),
                ]
            )
            steepness = np.maximum(np.hypot(*uphill), 1e-3)
            offset = _smoothed(offset + missing * uphill / steepness)
        return np.asarray(path + offset, np.float64)


@lru_cache(maxsize=2)
def free_space_of(seed: int) -> FreeSpace:
    """The free space of the square with a seed."""
    return FreeSpace(build_square(seed))


def _smoothed(offset: NDArray[np.float64]) -> NDArray[np.float64]:
    """Offsets (2, n) after repeated averaging with their neighbours."""
    for _ in range(_SMOOTHINGS):
        padded = np.concatenate([offset[:, :1], offset, offset[:, -1:]], axis=1)
        offset = (padded[:, :-2] + 2 * offset + padded[:, 2:]) / 4
    return offset
