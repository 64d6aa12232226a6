"""A plain query of a map, to compare `MapLocalizer` with: retrieval, matching and PnP, and nothing else.

The points, descriptors and retrieval vectors are those of the same map. There is one source of candidates, no
guided pass, no calibration: a pose counts as verified from a fixed number of inliers on.
"""

import numpy as np
import pycolmap
from jaxtyping import Float32, Int64

from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose
from camloc.mapping.features import Features
from camloc.mapping.retrieval import frame_similarities
from camloc.mapping.scene_map import SceneMap

RETRIEVED = 10
LEAST_INLIERS = 12
_RATIO = 0.85
_MAX_ERROR = 0.010


class PlainLocalizer:
    """Locates images by ten similar training images, mutual nearest descriptors, and COLMAP's PnP."""

    def __init__(self, scene_map: SceneMap) -> None:
        self._map = scene_map
        self._points = scene_map.points_in_world()

    def locate(self, features: Features, camera: Camera) -> tuple[Pose, int] | None:
        """A pose and its number of inliers, or None."""
        projected = self._map.codec.project(features.descriptors.astype(np.float32))
        if len(projected) < 2 or self._map.retrieval is None:
            return None
        similarities = frame_similarities(self._map.retrieval, projected)
        frames = np.argsort(-similarities, kind="stable")[:RETRIEVED]
        points = np.unique(np.concatenate([self._map.points_seen_by(int(frame)) for frame in frames]))
        if len(points) < 2:
            return None
        keypoints, chosen = matches(projected, self._map.codec.decode(self._map.descriptors[points]))
        options = pycolmap.AbsolutePoseEstimationOptions()
        options.ransac.max_error = _MAX_ERROR * max(camera.width, camera.height)
        options.ransac.random_seed = 0
        found = pycolmap.estimate_and_refine_absolute_pose(
            features.keypoints[keypoints].astype(np.float64),
            self._points[points[chosen]],
            camera.to_colmap(),
            options,
        )
        if found is None:
            return None
        pose = found["cam_from_world"].inverse()
        return Pose(np.asarray(pose.rotation.matrix()), np.asarray(pose.translation)), int(
            np.sum(found["inlier_mask"])
        )


def matches(
    queries: Float32[np.ndarray, "n d"], points: Float32[np.ndarray, "m d"]
) -> tuple[Int64[np.ndarray, "k"], Int64[np.ndarray, "k"]]:
    """Rows of mutual nearest descriptors whose distance is clearly below that to the second nearest."""
    squares = (queries**2).sum(axis=1)[:, None] + (points**2).sum(axis=1) - 2.0 * queries @ points.T
    two = np.argpartition(squares, 1, axis=1)[:, :2]
    values = np.take_along_axis(squares, two, axis=1)
    rows = np.arange(len(queries))
    nearest = two[rows, values.argmin(axis=1)]
    is_clear = values.min(axis=1) < _RATIO**2 * values.max(axis=1)
    is_mutual = squares.argmin(axis=0)[nearest] == rows
    kept = np.flatnonzero(is_clear & is_mutual)
    return kept, nearest[kept]
