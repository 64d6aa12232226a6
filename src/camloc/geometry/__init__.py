"""Rigid motions, cameras and alignment for NumPy arrays and torch tensors; no files, no networks."""

from camloc.geometry.alignment import umeyama, weighted_kabsch
from camloc.geometry.camera import Camera, pixel_grid, project, unproject
from camloc.geometry.pose import Pose, PoseError, pose_error
from camloc.geometry.pose_search import PoseIndex, PoseMetric, mean_pose
from camloc.geometry.rotation import nearest_rotation, rotation_angle

__all__ = [
    "Camera",
    "Pose",
    "PoseError",
    "PoseIndex",
    "PoseMetric",
    "mean_pose",
    "nearest_rotation",
    "pixel_grid",
    "pose_error",
    "project",
    "rotation_angle",
    "umeyama",
    "unproject",
    "weighted_kabsch",
]
