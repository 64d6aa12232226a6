"""Which points of a map a query is compared with: cheapest first, in portions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from camloc.data.types import FoundBy
from camloc.geometry.absolute_pose import project_points
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose
from camloc.inference.point_matching import NearestPoints
from camloc.mapping.retrieval import frame_similarities, frame_votes
from camloc.mapping.scene_map import SceneMap

# A turn by this many degrees counts as much as a move by this share of the map's length.
_NEAR_SHARE = 0.3
_NEAR_DEGREES = 25.0

# A point that frames saw along some direction and from some distances is expected to be seen from all but the
# back, and from a quarter of the least to four times the largest distance. Narrower bounds would hide the
# points that confirm a pose that no frame is near to.
_LEAST_COSINE = 0.1
_DISTANCE_FACTOR = 4.0


@dataclass(frozen=True, eq=False)
class PosePrior:
    """The expected pose of the camera, and the usual error of such poses.

    Attributes:
        world_from_cam: the expected pose.
        expected_meters: median error of such priors, in the unit of the map.
        expected_degrees: median error of their orientation.
    """

    world_from_cam: Pose
    expected_meters: float
    expected_degrees: float


@dataclass(frozen=True, eq=False)
class Portion:
    """Points of a map to compare a query with, after those of earlier portions.

    Attributes:
        found_by: why these.
        points: (p,) numbers of points of the map.
        frames: how many frames see them.
        is_fresh: whether the points of the portions before are to be forgotten.
    """

    found_by: FoundBy
    points: Int[np.ndarray, "p"]
    frames: int
    is_fresh: bool = False


class Candidates:
    """Candidate points of one map for queries; threads share it."""

    def __init__(self, scene_map: SceneMap) -> None:
        self._map = scene_map
        self._centers = scene_map.frame_centers()
        self._rotations = scene_map.frame_rotations()
        self.points = scene_map.points_in_world()
        self._length = _typical_length(self._centers, self.points)
        self._directions, self._nearest, self._farthest = _viewing_cones(
            scene_map, self._centers, self.points
        )
        frames = np.repeat(np.arange(len(self._centers)), np.diff(scene_map.seen_offsets))
        self._viewers = frames[np.argsort(scene_map.seen_points, kind="stable")]
        self._views = np.bincount(scene_map.seen_points, minlength=len(scene_map))
        self._first_viewers = np.cumsum(self._views) - self._views

    def portions(
        self,
        projected: Float32[np.ndarray, "m d"],
        scales: Float32[np.ndarray, "m"],
        prior: PosePrior | None,
        *,
        sources: Sequence[FoundBy],
        frame_counts: Sequence[int],
        coarse_keypoints: int,
        small_map: int,
    ) -> Iterator[Portion]:
        """The portions in the order in which they are compared; each is computed on demand.

        Args:
            projected: descriptors of the query's keypoints, projected.
            scales: of its keypoints.
            prior: where the camera is expected, or None.
            sources: those to be used.
            frame_counts: how many frames are taken from the prior's neighbourhood, and from those that look
                alike, in the first and in the following portions.
            coarse_keypoints: keypoints, largest first, that vote for frames.
            small_map: a map of at most this many points is one portion.
        """
        frames = len(self._centers)
        everything = np.arange(len(self._map))
        if prior is not None and "prior" in sources:
            order = self._by_pose(prior.world_from_cam, prior.expected_meters, prior.expected_degrees)
            for count in frame_counts:
                yield Portion("prior", self._seen_by(order[:count]), min(count, frames))
        if len(self._map) <= small_map:
            yield Portion("whole map", everything, frames)
            return
        if self._map.retrieval is not None and "retrieval" in sources:
            order = np.argsort(-frame_similarities(self._map.retrieval, projected), kind="stable")
            for count in frame_counts:
                yield Portion("retrieval", self._seen_by(order[:count]), min(count, frames))
        if "votes" in sources:
            order = self._by_votes(projected, scales, coarse_keypoints)
            yield Portion(
                "votes", self._seen_by(order[: frame_counts[0]]), min(frame_counts[0], frames), True
            )
        if "whole map" in sources:
            yield Portion("whole map", everything, frames)

    def visible(
        self,
        world_from_cam: Pose,
        camera: Camera,
        compared: Bool[np.ndarray, "n"],
        *,
        frames: int,
        most: int,
    ) -> tuple[Int[np.ndarray, "v"], Float[np.ndarray, "v 2"], Float[np.ndarray, "v"]]:
        """Points that a camera should see, their pixels and their depths.

        Args:
            world_from_cam: pose of the camera.
            camera: its pinhole intrinsics.
            compared: (n,) points to consider beside those of near frames: a query may see them from afar.
            frames: how many near frames' points are considered.
            most: points at most, evenly chosen.
        """
        considered = compared.copy()
        for frame in self._by_pose(world_from_cam)[:frames]:
            considered[self._map.points_seen_by(int(frame))] = True
        rows = np.flatnonzero(considered)
        pixels, depth = project_points(self.points[rows], world_from_cam, camera)
        ray = self.points[rows] - world_from_cam.translation
        distance = np.linalg.norm(ray, axis=1)
        cosine = np.einsum("ij,ij->i", ray, self._directions[rows]) / np.maximum(distance, 1e-12)
        seen = (
            (depth > 0)
            & (pixels >= 0).all(axis=1)
            & (pixels[:, 0] < camera.width)
            & (pixels[:, 1] < camera.height)
            & (cosine > _LEAST_COSINE)
            & (distance * _DISTANCE_FACTOR > self._nearest[rows])
            & (distance < _DISTANCE_FACTOR * self._farthest[rows])
        )
        chosen = np.flatnonzero(seen)
        if len(chosen) > most:
            chosen = chosen[np.linspace(0, len(chosen) - 1, most).astype(np.int64)]
        return rows[chosen], pixels[chosen], depth[chosen]

    def frames_nearer(self, world_from_cam: Pose, points: Int[np.ndarray, "k"]) -> Int[np.ndarray, "k"]:
        """How many frames are nearer to a pose than the nearest one that sees each of these points."""
        count = len(self._centers)
        ranks = np.empty(count, dtype=np.int64)
        ranks[self._by_pose(world_from_cam)] = np.arange(count)
        # The last number serves points at the end that no frame sees.
        nearest = np.minimum.reduceat(np.append(ranks[self._viewers], count), self._first_viewers)
        nearer: Int[np.ndarray, k] = np.where(self._views > 0, nearest, count)[points]
        return nearer

    def _by_pose(self, pose: Pose, meters: float = 0.0, degrees: float = 0.0) -> Int[np.ndarray, "f"]:
        """The frames in the order of their nearness to a pose that is off by so much."""
        distance = np.linalg.norm(self._centers - pose.translation, axis=1)
        cosine = np.clip(self._rotations[:, :, 2] @ pose.rotation[:, 2], -1.0, 1.0)
        far = distance / (_NEAR_SHARE * self._length + meters) + np.degrees(np.arccos(cosine)) / (
            _NEAR_DEGREES + degrees
        )
        order: Int[np.ndarray, f] = np.argsort(far, kind="stable")
        return order

    def _by_votes(
        self, projected: Float32[np.ndarray, "m d"], scales: Float32[np.ndarray, "m"], keypoints: int
    ) -> Int[np.ndarray, "f"]:
        largest = np.sort(np.argsort(-scales, kind="stable")[:keypoints])
        nearest = NearestPoints.start(projected[largest], len(self._map))
        nearest.add(self._map, np.arange(len(self._map)))
        votes = frame_votes(
            nearest.best,
            nearest.distinctiveness(),
            self._map.seen_points,
            self._map.seen_offsets,
            len(self._map),
        )
        order: Int[np.ndarray, f] = np.argsort(-votes, kind="stable")
        return order

    def _seen_by(self, frames: Int[np.ndarray, "f"]) -> Int[np.ndarray, "p"]:
        seen = np.zeros(len(self._map), dtype=bool)
        for frame in frames:
            seen[self._map.points_seen_by(int(frame))] = True
        return np.flatnonzero(seen)


def _typical_length(centers: Float[np.ndarray, "f 3"], points: Float[np.ndarray, "n 3"]) -> float:
    """Median distance of the map's points from their middle; of the cameras where there are no points."""
    of = points if len(points) else centers
    return max(float(np.median(np.linalg.norm(of - np.median(of, axis=0), axis=1))), 1e-9)


def _viewing_cones(
    scene_map: SceneMap, centers: Float[np.ndarray, "f 3"], points: Float[np.ndarray, "n 3"]
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """The mean direction each point was seen along, and the least and the largest distance."""
    frame = np.repeat(np.arange(len(centers)), np.diff(scene_map.seen_offsets))
    point = scene_map.seen_points
    ray = points[point] - centers[frame]
    distance = np.linalg.norm(ray, axis=1)
    unit: Float[np.ndarray, "o 3"] = ray / np.maximum(distance, 1e-12)[:, None]
    direction = np.stack([np.bincount(point, unit[:, axis], len(points)) for axis in range(3)], axis=1)
    direction = direction / np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-12)
    nearest = np.full(len(points), np.inf)
    farthest = np.zeros(len(points))
    np.minimum.at(nearest, point, distance)
    np.maximum.at(farthest, point, distance)
    return direction, nearest, farthest
