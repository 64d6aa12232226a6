"""Matches between the keypoints of a query and the points of a map.

`NearestPoints` compares descriptors alone; `guided_matches` compares a point only with the keypoints near the
pixel that a first pose projects it to, so that similar points no longer exclude each other.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy.spatial import cKDTree

from camloc.mapping.scene_map import SceneMap

# Rows of the matrix of similarities that are computed at once: it stays in the cache of the core.
_BLOCK = 128

# Keypoints in the window of a projected point that are compared with it, nearest first.
_MOST_IN_WINDOW = 6

# The scale of a keypoint may differ by this factor from the one that the map expects.
_SCALE_FACTOR = 2.0


@dataclass(eq=False)
class NearestPoints:
    """For each keypoint the nearest and the second nearest of the points that it was compared with so far.

    Points are added in portions, each once, and the result is that of all portions at once.

    Attributes:
        descriptors: (m, d + 1) of the keypoints, projected as the map's, with a last column of ones.
        squares: (m,) their squared norms.
        best: (m,) the nearest point of each keypoint, -1 before any was compared.
        best_score, second_score: (m,) similarities of the nearest and of the second nearest point; larger is
            nearer. The squared distance is `squares - score`.
        point_score: (n,) for each point of the map the largest similarity with a keypoint.
        compared: (n,) the points that were compared.
    """

    descriptors: Float32[np.ndarray, "m e"]
    squares: Float32[np.ndarray, "m"]
    best: Int[np.ndarray, "m"]
    best_score: Float32[np.ndarray, "m"]
    second_score: Float32[np.ndarray, "m"]
    point_score: Float32[np.ndarray, "n"]
    compared: Bool[np.ndarray, "n"]

    @classmethod
    def start(cls, projected: Float32[np.ndarray, "m d"], points: int) -> "NearestPoints":
        """Of keypoints that were not compared with any of a map's `points` points yet."""
        count = len(projected)
        ones = np.ones((count, 1), dtype=np.float32)
        lowest = np.full(count, -np.inf, dtype=np.float32)
        return cls(
            np.hstack((projected, ones)),
            np.einsum("ij,ij->i", projected, projected),
            np.full(count, -1, dtype=np.int64),
            lowest,
            lowest.copy(),
            np.full(points, -np.inf, dtype=np.float32),
            np.zeros(points, dtype=bool),
        )

    def add(self, scene_map: SceneMap, rows: Int[np.ndarray, "p"]) -> None:
        """Compare with points of the map; those that were compared already are left out."""
        rows = rows[~self.compared[rows]]
        if len(rows) == 0 or len(self.descriptors) == 0:
            return
        codes = scene_map.codec.decode(scene_map.descriptors[rows])
        table = np.hstack((2.0 * codes, -np.einsum("ij,ij->i", codes, codes)[:, None])).T
        nearest_keypoint = np.full(len(rows), -np.inf, dtype=np.float32)
        for start in range(0, len(self.descriptors), _BLOCK):
            block = slice(start, start + _BLOCK)
            scores = self.descriptors[block] @ table
            np.maximum(nearest_keypoint, scores.max(axis=0), out=nearest_keypoint)
            index = np.arange(len(scores))
            column = scores.argmax(axis=1)
            first = scores[index, column]
            scores[index, column] = -np.inf
            second = scores.max(axis=1)
            self._merge(block, rows[column], first, second)
        self.point_score[rows] = nearest_keypoint
        self.compared[rows] = True

    def _merge(
        self,
        block: slice,
        points: Int[np.ndarray, "b"],
        first: Float32[np.ndarray, "b"],
        second: Float32[np.ndarray, "b"],
    ) -> None:
        old = self.best_score[block]
        nearer = first > old
        self.second_score[block] = np.maximum(
            np.minimum(first, old), np.maximum(second, self.second_score[block])
        )
        self.best[block] = np.where(nearer, points, self.best[block])
        self.best_score[block] = np.where(nearer, first, old)

    def distinctiveness(self) -> Float[np.ndarray, "m"]:
        """One minus the ratio of the distances to the nearest and to the second nearest point."""
        nearest = np.sqrt(np.maximum(self.squares - self.best_score, 0.0))
        second = np.sqrt(np.maximum(self.squares - self.second_score, 1e-12))
        return np.where(self.best >= 0, 1.0 - np.minimum(nearest / second, 1.0), 0.0)

    def matches(self, ratio: float) -> tuple[Int[np.ndarray, "k"], Int[np.ndarray, "k"]]:
        """Keypoints and points that are nearest to each other, clearly nearer than the second point.

        Args:
            ratio: of the distances to the nearest and to the second nearest point, at most.
        """
        found = np.flatnonzero(self.best >= 0)
        point = self.best[found]
        nearest = np.maximum(self.squares[found] - self.best_score[found], 0.0)
        second = np.maximum(self.squares[found] - self.second_score[found], 1e-12)
        mutual = self.best_score[found] >= self.point_score[point]
        kept = mutual & (nearest <= ratio * ratio * second)
        return found[kept], point[kept]


def guided_matches(
    tree: cKDTree,
    projected: Float32[np.ndarray, "m d"],
    scales: Float32[np.ndarray, "m"],
    pixels: Float[np.ndarray, "v 2"],
    expected_scales: Float[np.ndarray, "v"],
    codes: Float32[np.ndarray, "v d"],
    *,
    radius: float,
    most_distance: float,
    ratio: float,
) -> tuple[Int[np.ndarray, "k"], Int[np.ndarray, "k"]]:
    """Keypoints and rows of projected points that match: near in the image, with similar descriptors.

    Args:
        tree: of the pixels of the m keypoints.
        projected: their projected descriptors.
        scales: their scales in pixels; 0 where unknown.
        pixels: where the v points are expected.
        expected_scales: the scales in pixels expected of their keypoints; 0 where unknown.
        codes: decoded descriptors of the points.
        radius: of the window, in pixels.
        most_distance: between descriptors, in the units of the codes.
        ratio: of the distances to the nearest and to the second nearest keypoint in the window, at most.

    Returns:
        Each keypoint and each point at most once, in the order of the points.
    """
    none = np.zeros(0, dtype=np.int64)
    count = min(_MOST_IN_WINDOW, tree.n)
    if count == 0 or len(pixels) == 0:
        return none, none
    _, near = tree.query(pixels, k=np.arange(1, count + 1), distance_upper_bound=radius)
    row, column = np.nonzero(near < tree.n)
    keypoint = near[row, column]
    unknown = (scales[keypoint] <= 0) | (expected_scales[row] <= 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = scales[keypoint] / expected_scales[row]
    alike = unknown | ((factor < _SCALE_FACTOR) & (factor > 1 / _SCALE_FACTOR))
    row, column, keypoint = row[alike], column[alike], keypoint[alike]
    difference = projected[keypoint] - codes[row]
    distances = np.full(near.shape, np.inf, dtype=np.float32)
    distances[row, column] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    index = np.arange(len(distances))
    first_column = distances.argmin(axis=1)
    first = distances[index, first_column]
    distances[index, first_column] = np.inf
    second = distances.min(axis=1)
    kept = np.flatnonzero((first <= most_distance) & (first <= ratio * second))
    point, keypoint, first = kept, near[kept, first_column[kept]], first[kept]
    # Of several points that claim one keypoint the nearest keeps it.
    order = np.lexsort((point, first, keypoint))
    leader = np.ones(len(order), dtype=bool)
    leader[1:] = keypoint[order][1:] != keypoint[order][:-1]
    chosen = np.sort(order[leader])
    return keypoint[chosen], point[chosen]


def distance_of_different_points(scene_map: SceneMap) -> float:
    """The descriptor distance below which 5 % of the pairs of different points are: more is no match."""
    count = len(scene_map)
    if count < 2:
        return float("inf")
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.choice(count, min(300, count), replace=False))
    codes = scene_map.codec.decode(scene_map.descriptors[chosen])
    squares = np.einsum("ij,ij->i", codes, codes)
    between = squares[:, None] + squares - 2.0 * (codes @ codes.T)
    distances = np.sqrt(np.maximum(between[np.triu_indices(len(codes), 1)], 0.0))
    return float(np.quantile(distances, 0.05))
