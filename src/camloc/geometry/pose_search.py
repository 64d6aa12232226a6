"""The mean pose, the camera radius, and the nearest of many poses by a search in a tree."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from camloc.geometry.arrays import Array, array_namespace, mean_over, to_numpy
from camloc.geometry.pose import Pose
from camloc.geometry.rotation import nearest_rotation

Nearness = Literal["joint", "published"]
Rows = NDArray[np.float64]

# Lower bound of scales, so that there is no division by zero where cameras do not move or do not turn.
_LEAST_SCALE = 1e-9

# Number of rotations that are converted at once, which bounds memory.
_CHUNK = 500_000

# The search ball is enlarged, so that rounding does not lose a pose exactly on its surface.
_MARGIN = 1.0 + 1e-9


def mean_pose(poses: Pose) -> Pose:
    """The mean centre and the chordal mean rotation of a batch of poses.

    Unknown rotations are ignored; if all are unknown, the mean rotation is unknown (NaN).
    """
    xp = array_namespace(poses.translation)
    known = poses.rotation[poses.has_orientation()]
    rotation = mean_over(known, axis=0) if len(known) else xp.full_like(poses.rotation[0], xp.nan)
    return Pose(nearest_rotation(rotation), mean_over(poses.translation, axis=0))


def camera_radius(world_from_cam: Pose) -> Float[Array, ""]:
    """The root mean square distance of the camera centres to their mean, in their precision."""
    xp = array_namespace(world_from_cam.translation)
    offsets = world_from_cam.translation - mean_over(world_from_cam.translation, axis=0)
    return xp.sqrt(mean_over(xp.sum(xp.square(offsets), axis=-1), axis=0))


@dataclass(frozen=True)
class PoseMetric:
    """A distance between two poses with positions x, y and unit quaternions q, r.

    With the two terms

        a = |x - y| / s_x        b = turn_weight * min(|q - r|, |q + r|) / s_q

    (q and -q are the same rotation) the distance is `sqrt(a^2 + b^2)` of kind "joint" and `a + b` of kind
    "published".

    Attributes:
        kind: "joint": s_x and s_q are the root mean square distances of the reference poses from their mean,
            the same for all queries. "published": s_x and s_q are the largest distances from the query to
            any reference, as in the code of "Camera Pose Auto-Encoders" (ECCV 2022), which ignores the sign
            of quaternions; each query is then compared with all references.
        turn_weight: weight of the orientation term.
    """

    kind: Nearness = "joint"
    turn_weight: float = 1.0


class PoseIndex:
    """Exact search for the k nearest of n reference poses, in a k-d tree.

    The tree holds seven numbers for each pose, its scaled position and quaternion; the Euclidean distance in
    the tree is the joint distance. Up to the scales, the published distance is at least as large, so its
    nearest poses lie within a ball of the tree, whose poses are then compared one by one.
    """

    def __init__(self, references: Pose, metric: PoseMetric | None = None) -> None:
        """Build the tree.

        Args:
            references: (n,) poses of one world, all with orientations.
            metric: distance between poses; None for the default `PoseMetric`.

        Raises:
            ValueError: there are no references, or one of them is not finite.
        """
        if not len(references) or not bool(references.is_finite().all()):
            raise ValueError(
                "a search needs one or more finite reference poses; drop those without orientation"
            )
        self.metric = metric or PoseMetric()
        self._positions, quaternions = _numbers(references)
        # Of q and -q the one nearer to the mean is stored, so that near rotations are near in the tree.
        self._middle = _middle(quaternions)
        self._quaternions = np.where(quaternions @ self._middle < 0.0, -1.0, 1.0)[:, None] * quaternions
        self._move_scale = _root_mean_square(self._positions - self._positions.mean(axis=0))
        self._turn_scale = _root_mean_square(self._quaternions - self._middle)
        from scipy.spatial import KDTree  # here, since most users of this module build no index

        self._tree = KDTree(self._coordinates(self._positions, self._quaternions))

    def __len__(self) -> int:
        return len(self._positions)

    def nearest(self, queries: Pose, count: int) -> tuple[Int[Array, "b count"], Float[Array, "b count"]]:
        """Indices and distances of the `count` nearest references of each query, nearest first.

        Of equally distant references the one with the lower index comes first. If there are fewer references
        than `count`, there are as many columns as references.

        Args:
            queries: (b,) finite poses.
            count: number of neighbours.

        Raises:
            ValueError: `count` is not positive.
        """
        if count < 1:
            raise ValueError(f"the number of nearest poses must be at least 1, not {count}")
        count = min(count, len(self))
        rows = np.empty((len(queries), count), np.int64)
        distances = np.empty((len(queries), count))
        for query, (position, quaternion) in enumerate(zip(*_numbers(queries), strict=True)):
            near, far = self._nearest(position, quaternion, count)
            rows[query], distances[query] = near, far
        xp = array_namespace(queries.translation)
        return xp.asarray(rows), xp.asarray(distances)

    def _nearest(self, position: Rows, quaternion: Rows, count: int) -> tuple[NDArray[np.int64], Rows]:
        scales, wanted = self._scales(position, quaternion), [*range(1, count + 1)]
        side = float(quaternion @ self._middle)
        sign = -1.0 if side < 0.0 else 1.0
        one, other = (
            self._coordinates(position, signed) for signed in (sign * quaternion, -sign * quaternion)
        )
        # All references lie on one side of the mean, so with the other sign none is nearer than this.
        least = self.metric.turn_weight / self._turn_scale * abs(side)
        far, near = self._tree.query(one, wanted)
        bound = self._distances(near, position, quaternion, scales).max()
        if least < far[-1]:
            # With the other sign only nearer references matter, which prunes most of the tree.
            _, nearer = self._tree.query(other, wanted, distance_upper_bound=far[-1])
            if (nearer < len(self)).all():
                bound = min(bound, self._distances(nearer, position, quaternion, scales).max())
        # Every reference within the bound lies in one of two balls of the tree.
        radius = _MARGIN * bound * max(scales[0] / self._move_scale, scales[1] / self._turn_scale)
        centers = (one,) if radius < least else (one, other)
        balls = [self._tree.query_ball_point(center, radius) for center in centers]
        candidates = np.unique(np.concatenate(balls).astype(np.int64))
        distances = self._distances(candidates, position, quaternion, scales)
        order = np.argsort(distances, kind="stable")[:count]
        return candidates[order], distances[order]

    def _coordinates(self, positions: Rows, quaternions: Rows) -> Rows:
        """Coordinates of poses in the tree."""
        turn = self.metric.turn_weight / self._turn_scale
        return np.concatenate((positions / self._move_scale, turn * quaternions), axis=-1)

    def _scales(self, position: Rows, quaternion: Rows) -> tuple[float, float]:
        """The divisors of the two terms of the metric, s_x and s_q."""
        if self.metric.kind == "joint":
            return self._move_scale, self._turn_scale
        meters, angles = self._differences(slice(None), position, quaternion)
        return max(meters.max(), _LEAST_SCALE), max(angles.max(), _LEAST_SCALE)

    def _distances(
        self, rows: NDArray[np.int64] | slice, position: Rows, quaternion: Rows, scales: tuple[float, float]
    ) -> Rows:
        """Distances by the metric between a query and some references."""
        meters, angles = self._differences(rows, position, quaternion)
        a, b = meters / scales[0], self.metric.turn_weight * angles / scales[1]
        return np.hypot(a, b) if self.metric.kind == "joint" else a + b

    def _differences(
        self, rows: NDArray[np.int64] | slice, position: Rows, quaternion: Rows
    ) -> tuple[Rows, Rows]:
        """Distances of positions and of quaternions (nearer sign) from a query to some references."""
        turns = (_length(self._quaternions[rows] - sign * quaternion) for sign in (1.0, -1.0))
        return _length(self._positions[rows] - position), np.minimum(*turns)


def _numbers(poses: Pose) -> tuple[Rows, Rows]:
    """Positions and unit quaternions, w first, in double precision."""
    positions, rotations = (to_numpy(part).astype(np.float64) for part in (poses.translation, poses.rotation))
    quaternions = np.empty((len(positions), 4))
    for first in range(0, len(positions), _CHUNK):
        rows = slice(first, first + _CHUNK)
        from scipy.spatial.transform import Rotation

        rotation = Rotation.from_matrix(rotations[rows], assume_valid=True)  # a `Pose` has valid rotations
        quaternions[rows] = rotation.as_quat(scalar_first=True)
    return positions, quaternions


def _middle(quaternions: Rows) -> Rows:
    """The mean orientation: the principal axis of quaternions of any sign (Markley et al. 2007)."""
    _, axes = np.linalg.eigh(quaternions.T @ quaternions)
    return np.asarray(axes[:, -1])


def _length(rows: Rows) -> Rows:
    return np.asarray(np.sqrt(np.square(rows).sum(axis=-1)))


def _root_mean_square(rows: Rows) -> float:
    return max(math.sqrt(np.square(rows).sum(axis=-1).mean()), _LEAST_SCALE)
