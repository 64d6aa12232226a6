"""Which known poses are nearest, by comparison with all of them or by a search in a tree; and their mean.

`nearest_pose` and `mean_pose` are the baselines of every result. `PoseIndex` finds the nearest of very
many poses without a look at all of them.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from camloc.geometry.arrays import Array, array_namespace, mean_over, to_numpy
from camloc.geometry.pose import Pose, pose_error
from camloc.geometry.rotation import nearest_rotation

Nearness = Literal["joint", "published"]
Rows = NDArray[np.float64]

# Where cameras do not move, or do not turn, distances are not divided by nothing.
_LEAST_SCALE = 1e-9

# Rotations that are converted at once, which bounds memory.
_CHUNK = 500_000

# Rounding must not lose a pose that lies exactly on the edge of the ball that is searched.
_MARGIN = 1.0 + 1e-9


def nearest_pose(
    queries: Pose, references: Pose, *, meters_per_degree: float, chunk: int = 1024
) -> tuple[Int[Array, "q"], Float[Array, "q"]]:
    """For each query the index of the nearest reference, and that distance.

    The distance is `meters + meters_per_degree * degrees`: a pose is far when its centre is far or
    when it looks elsewhere. With `meters_per_degree=0` only the centres count.

    Args:
        queries: (q,) poses, as `world_from_cam`.
        references: (r,) poses in the same world.
        meters_per_degree: how many metres one degree weighs.
        chunk: queries that are compared at once, which bounds memory at `chunk` x r.

    Raises:
        ValueError: there are no references.
    """
    if len(references) == 0:
        raise ValueError("there are no reference poses that could be nearest")
    xp = array_namespace(queries.translation, references.translation)
    nearest, distances = [], []
    for start in range(0, max(len(queries), 1), chunk):
        block = queries[start : start + chunk]
        rows = Pose(block.rotation[:, None], block.translation[:, None])
        columns = Pose(references.rotation[None], references.translation[None])
        error = pose_error(rows, columns)
        # Without a weight, orientations need not be known.
        distance = error.meters + meters_per_degree * error.degrees if meters_per_degree else error.meters
        nearest.append(xp.argmin(distance, axis=1))
        distances.append(xp.min(distance, axis=1))
    return xp.concat(nearest), xp.concat(distances)


def mean_pose(poses: Pose) -> Pose:
    """One pose in the middle of a batch: the mean centre, and the chordal mean of the rotations.

    Rotations that are not known do not count; where none is, neither is their mean.
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
    """How far two poses are from each other, of positions x, y and unit quaternions q, r.

    With the two terms

        a = |x - y| / s_x        b = turn_weight * min(|q - r|, |q + r|) / s_q

    (q and -q are the same rotation) the distance is `sqrt(a^2 + b^2)` if joint, `a + b` as published.

    Attributes:
        kind: "joint": s_x and s_q are the root mean square of those distances from the reference poses to
            their mean, the same for all queries. "published": they are the largest of those distances from
            the query to any reference, as in the code of "Camera Pose Auto-Encoders" (ECCV 2022), which did
            not look at signs; it costs a look at all references.
        turn_weight: how much orientations count.
    """

    kind: Nearness = "joint"
    turn_weight: float = 1.0


class PoseIndex:
    """The k nearest of n reference poses, exactly, in the time of a search in a tree.

    The tree holds seven numbers to a pose, its scaled position and quaternion, and its own distance is the
    joint one. The published one is at least as large but for its scales, so whatever it finds near lies in a
    ball of the tree, which is then looked at pose by pose.
    """

    def __init__(self, references: Pose, metric: PoseMetric | None = None) -> None:
        """Build the tree.

        Args:
            references: (n,) poses of one world, all with orientations.
            metric: what near means.

        Raises:
            ValueError: there are no references, or one of them is not finite.
        """
        if not len(references) or not bool(references.is_finite().all()):
            raise ValueError("the nearest poses are searched among one or more poses that are all finite")
        self.metric = metric or PoseMetric()
        self._positions, quaternions = _numbers(references)
        # Both signs of a quaternion are right; those that lie together are found together.
        self._middle = _middle(quaternions)
        self._quaternions = np.where(quaternions @ self._middle < 0.0, -1.0, 1.0)[:, None] * quaternions
        self._move_scale = _root_mean_square(self._positions - self._positions.mean(axis=0))
        self._turn_scale = _root_mean_square(self._quaternions - self._middle)
        self._tree = KDTree(self._coordinates(self._positions, self._quaternions))

    def __len__(self) -> int:
        return len(self._positions)

    def nearest(self, queries: Pose, count: int) -> tuple[Int[Array, "b count"], Float[Array, "b count"]]:
        """The numbers of the nearest references of each query and their distances, nearest first.

        Of references that are equally far the one with the lower number comes first. Where there are fewer
        than `count` references, there are as many columns as references.

        Args:
            queries: (b,) finite poses.
            count: how many.

        Raises:
            ValueError: `count` is not positive.
        """
        if count < 1:
            raise ValueError(f"one nearest pose or more can be searched, not {count}")
        count = min(count, len(self))
        rows = np.empty((len(queries), count), np.int64)
        distances = np.empty((len(queries), count))
        for query, (position, quaternion) in enumerate(zip(*_numbers(queries), strict=True)):
            near, far = self._nearest(position, quaternion, count)
            rows[query], distances[query] = near, far
        xp = array_namespace(queries.translation)
        return xp.asarray(rows), xp.asarray(distances)

    def nearest_of_all(
        self, queries: Pose, count: int
    ) -> tuple[Int[Array, "b count"], Float[Array, "b count"]]:
        """The same as `nearest` by comparing with every reference, for comparison."""
        count = min(count, len(self))
        every = np.arange(len(self))
        rows = np.empty((len(queries), count), np.int64)
        distances = np.empty((len(queries), count))
        for query, (position, quaternion) in enumerate(zip(*_numbers(queries), strict=True)):
            far = self._distances(every, position, quaternion, self._scales(position, quaternion))
            rows[query] = np.argsort(far, kind="stable")[:count]
            distances[query] = far[rows[query]]
        xp = array_namespace(queries.translation)
        return xp.asarray(rows), xp.asarray(distances)

    def _nearest(self, position: Rows, quaternion: Rows, count: int) -> tuple[NDArray[np.int64], Rows]:
        scales, wanted = self._scales(position, quaternion), [*range(1, count + 1)]
        side = float(quaternion @ self._middle)
        sign = -1.0 if side < 0.0 else 1.0
        one, other = (
            self._coordinates(position, turned) for turned in (sign * quaternion, -sign * quaternion)
        )
        # All references lie on the one side of the middle, so with the other sign none is nearer than this.
        least = self.metric.turn_weight / self._turn_scale * abs(side)
        far, near = self._tree.query(one, wanted)
        bound = self._distances(near, position, quaternion, scales).max()
        if least < far[-1]:
            # With the other sign only what is nearer still matters, which cuts most of the tree off.
            _, nearer = self._tree.query(other, wanted, distance_upper_bound=far[-1])
            if (nearer < len(self)).all():
                bound = min(bound, self._distances(nearer, position, quaternion, scales).max())
        # Whatever is within the bound by the metric lies in one of two balls of the tree.
        radius = _MARGIN * bound * max(scales[0] / self._move_scale, scales[1] / self._turn_scale)
        centers = (one,) if radius < least else (one, other)
        balls = [self._tree.query_ball_point(center, radius) for center in centers]
        candidates = np.unique(np.concatenate(balls).astype(np.int64))
        distances = self._distances(candidates, position, quaternion, scales)
        order = np.argsort(distances, kind="stable")[:count]
        return candidates[order], distances[order]

    def _coordinates(self, positions: Rows, quaternions: Rows) -> Rows:
        """Where poses are in the tree."""
        turn = self.metric.turn_weight / self._turn_scale
        return np.concatenate((positions / self._move_scale, turn * quaternions), axis=-1)

    def _scales(self, position: Rows, quaternion: Rows) -> tuple[float, float]:
        """What the two terms of the metric are divided by."""
        if self.metric.kind == "joint":
            return self._move_scale, self._turn_scale
        moved, turned = self._differences(slice(None), position, quaternion)
        return max(moved.max(), _LEAST_SCALE), max(turned.max(), _LEAST_SCALE)

    def _distances(
        self, rows: NDArray[np.int64], position: Rows, quaternion: Rows, scales: tuple[float, float]
    ) -> Rows:
        """The metric between a query and some references."""
        moved, turned = self._differences(rows, position, quaternion)
        a, b = moved / scales[0], self.metric.turn_weight * turned / scales[1]
        return np.hypot(a, b) if self.metric.kind == "joint" else a + b

    def _differences(
        self, rows: NDArray[np.int64] | slice, position: Rows, quaternion: Rows
    ) -> tuple[Rows, Rows]:
        """Distances of positions and of quaternions, of the nearer sign, to some references."""
        turns = (_length(self._quaternions[rows] - sign * quaternion) for sign in (1.0, -1.0))
        return _length(self._positions[rows] - position), np.minimum(*turns)


def _numbers(poses: Pose) -> tuple[Rows, Rows]:
    """Positions and unit quaternions, w first, in double precision."""
    positions, rotations = (to_numpy(part).astype(np.float64) for part in (poses.translation, poses.rotation))
    quaternions = np.empty((len(positions), 4))
    for first in range(0, len(positions), _CHUNK):
        rows = slice(first, first + _CHUNK)
        turned = Rotation.from_matrix(rotations[rows], assume_valid=True)  # as those of poses are
        quaternions[rows] = turned.as_quat(scalar_first=True)
    return positions, quaternions


def _middle(quaternions: Rows) -> Rows:
    """The mean orientation: the axis along which quaternions of any sign lie most (Markley et al. 2007)."""
    _, axes = np.linalg.eigh(quaternions.T @ quaternions)
    return np.asarray(axes[:, -1])


def _length(rows: Rows) -> Rows:
    return np.asarray(np.sqrt(np.square(rows).sum(axis=-1)))


def _root_mean_square(rows: Rows) -> float:
    return max(math.sqrt(np.square(rows).sum(axis=-1).mean()), _LEAST_SCALE)
