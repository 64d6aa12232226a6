"""The choice of the points and frames that a map keeps within a bound of its bytes.

Points are chosen so that every frame keeps enough of them, spread over its image, rather than those that
most frames see: these crowd where many photographs were taken, and leave the others without a point.
"""

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from scipy.sparse import csr_array

# Cells of an image across and down; a point of a cell that has none yet counts more.
_CELLS = 3

# Beyond this number of points of a frame, further ones are worth much less: this many inliers are certain.
_ENOUGH = 20.0

# Points chosen before gains are computed anew, as a share of all that are to be chosen.
_SHARE = 0.02


def choose_points(
    point: Int64[np.ndarray, "o"],
    frame: Int64[np.ndarray, "o"],
    position: Float[np.ndarray, "o 2"],
    worth: Float[np.ndarray, "n"],
    count: int,
) -> Int64[np.ndarray, "m"]:
    """The numbers of `count` points that cover frames and their images best, in rising order.

    A frame's gain from a further point is 1 / (1 + n / 20)^2 where it has n, and the same for the cells of
    its image (n times as many as there are cells), so that points go where there are few: the greedy solution
    of a coverage problem, in rounds of many points at once.

    Args:
        point: (o,) the point of each observation.
        frame: (o,) its frame.
        position: (o, 2) where the frame's image shows it, -1 to 1 from border to border.
        worth: (n,) factor to a point's gain: how well it is known.
        count: points to choose; all of them where there are fewer.
    """
    points = len(worth)
    if points <= count:
        return np.arange(points)
    cell = np.clip((position + 1.0) / 2.0 * _CELLS, 0, _CELLS - 1).astype(np.int64)
    cells = (frame * _CELLS + cell[:, 1]) * _CELLS + cell[:, 0]
    frames = int(frame.max()) + 1
    ones = np.ones(len(point))
    by_frame = csr_array((ones, (point, frame)), shape=(points, frames))
    by_cell = csr_array((ones, (point, cells)), shape=(points, frames * _CELLS**2))
    has_frame, has_cell = np.zeros(frames), np.zeros(frames * _CELLS**2)
    free = np.ones(points, dtype=bool)
    step = max(1, round(_SHARE * count))
    chosen = 0
    while chosen < count:
        gain = worth * (by_frame @ _gain(has_frame) + by_cell @ _gain(_CELLS**2 * has_cell))
        rows = _best(np.where(free, gain, -1.0), min(step, count - chosen))
        free[rows] = False
        chosen += len(rows)
        has_frame += by_frame[rows].sum(axis=0)
        has_cell += by_cell[rows].sum(axis=0)
    return np.flatnonzero(~free)


def choose_frames(coordinates: Float[np.ndarray, "f k"], count: int) -> Int64[np.ndarray, "m"]:
    """`count` frames that stand for all: each next one is the farthest from those chosen (rising order).

    Args:
        coordinates: where frames are in the space of poses.
        count: how many; all of them where there are fewer.
    """
    if len(coordinates) <= count:
        return np.arange(len(coordinates))
    chosen = [0]
    distance = np.linalg.norm(coordinates - coordinates[0], axis=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(coordinates - coordinates[chosen[-1]], axis=1))
    return np.sort(np.array(chosen))


def _gain(count: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a further point is worth to frames, or to cells of their images, that have `count`."""
    return 1.0 / (1.0 + count / _ENOUGH) ** 2


def _best(gain: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """The rows of the largest gains; ties go to the lower numbers."""
    return np.lexsort((np.arange(len(gain)), -gain))[:count]
