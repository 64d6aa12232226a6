"""Poses and points adjusted together, for poses that come from odometry or depth SLAM.

Poses of structure from motion are consistent with the images already; those of a tracker are off by
centimetres, and so is every point that is triangulated from them. The adjustment leaves position, orientation
and scale of the whole free; the result is laid back onto the given poses by a similarity.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int64

from camloc.geometry.alignment import umeyama
from camloc.mapping.pairs import Views
from camloc.mapping.triangulation import Triangulated

if TYPE_CHECKING:
    import pycolmap

# Iterations of the solver, and pixels from which on an observation counts less (Cauchy's loss).
_ITERATIONS = 30
_LOSS_PIXELS = 1.0

# Frames with fewer points keep their poses.
_LEAST_POINTS = 12


@dataclass(frozen=True)
class PoseChanges:
    """How far the adjustment moved the frames.

    Attributes:
        median: distance that frames moved, in the unit of the scene.
        pixels_before, pixels_after: median reprojection error.
    """

    median: float
    pixels_before: float
    pixels_after: float


def refine_poses(found: Triangulated, views: Views) -> tuple[Views, PoseChanges]:
    """Views with adjusted poses. Points have to be triangulated from them anew.

    Args:
        found: points and their observations.
        views: with the given poses.
    """
    from camloc.geometry.colmap import pycolmap

    observations = found.observations
    counts = np.bincount(observations.frame, minlength=len(views))
    adjusted = np.flatnonzero(counts >= _LEAST_POINTS)
    reconstruction, pixel_errors = _reconstruction(found, views)
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_focal_length = False
    options.refine_extra_params = False
    options.print_summary = False
    options.ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
    options.ceres.loss_function_scale = _LOSS_PIXELS
    options.ceres.solver_options.max_num_iterations = _ITERATIONS
    options.ceres.solver_options.function_tolerance = 1e-6
    options.ceres.solver_options.num_threads = 1
    config = pycolmap.BundleAdjustmentConfig()
    for row in range(len(views)):
        config.add_image(row + 1)
    for row in np.flatnonzero(counts < _LEAST_POINTS).tolist():
        config.set_constant_rig_from_world_pose(row + 1)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    before = pixel_errors()
    pycolmap.create_default_bundle_adjuster(options, config, reconstruction).solve()
    after = pixel_errors()
    motions = [reconstruction.image(row + 1).cam_from_world().matrix() for row in range(len(views))]
    cam_from_world = np.array(motions)
    rotations = cam_from_world[:, :, :3].transpose(0, 2, 1)
    centers = -np.einsum("fij,fj->fi", rotations, cam_from_world[:, :, 3])
    rotations, centers = _laid_back(rotations, centers, views, adjusted)
    moved = np.linalg.norm(centers - views.centers, axis=1)[adjusted]
    changes = PoseChanges(
        median=float(np.median(moved)) if len(moved) else 0.0,
        pixels_before=before,
        pixels_after=after,
    )
    return replace(views, rotations=rotations, centers=centers), changes


def _reconstruction(
    found: Triangulated, views: Views
) -> "tuple[pycolmap.Reconstruction, Callable[[], float]]":
    """The map as COLMAP's model, and a function that gives its median reprojection error in pixels."""
    from camloc.geometry.colmap import pycolmap

    observations = found.observations
    model = pycolmap.Reconstruction()
    focals, camera_of = np.unique(views.focals, return_inverse=True)
    for number, focal in enumerate(focals.tolist(), start=1):
        model.add_camera_with_trivial_rig(
            pycolmap.Camera(
                model="SIMPLE_PINHOLE", width=1, height=1, params=[focal, 0.0, 0.0], camera_id=number
            )
        )
    pixels = observations.plane * views.focals[observations.frame][:, None]
    order = np.lexsort((observations.track, observations.frame))
    ends = np.searchsorted(observations.frame[order], np.arange(len(views) + 1))
    within = np.empty(len(observations), dtype=np.int64)
    for row in range(len(views)):
        own = order[ends[row] : ends[row + 1]]
        within[own] = np.arange(len(own))
        image = pycolmap.Image(
            name=str(row), keypoints=pixels[own], camera_id=int(camera_of[row]) + 1, image_id=row + 1
        )
        rotation = views.rotations[row].T
        motion = np.concatenate((rotation, -(rotation @ views.centers[row])[:, None]), axis=1)
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(motion))
    starts = np.searchsorted(observations.track, np.arange(len(found) + 1)).tolist()
    image_of, number_of = (observations.frame + 1).tolist(), within.tolist()
    for row, point in enumerate(found.points):
        track = pycolmap.Track()
        for place in range(starts[row], starts[row + 1]):
            track.add_element(image_of[place], number_of[place])
        model.add_point3D(point, track)

    def median_error() -> float:
        model.update_point_3d_errors()
        errors = [point.error for point in model.points3D.values()]
        return float(np.median(errors)) if errors else 0.0

    return model, median_error


def _laid_back(
    rotations: Float[np.ndarray, "f 3 3"],
    centers: Float[np.ndarray, "f 3"],
    views: Views,
    adjusted: Int64[np.ndarray, "a"],
) -> tuple[Float[np.ndarray, "f 3 3"], Float[np.ndarray, "f 3"]]:
    """Adjusted poses moved, turned and scaled as one so that they are nearest to the given ones."""
    if len(adjusted) < 3:
        return views.rotations, views.centers
    similarity = umeyama(centers[adjusted], views.centers[adjusted])
    turned, placed = views.rotations.copy(), views.centers.copy()
    turned[adjusted] = similarity.motion.rotation @ rotations[adjusted]
    placed[adjusted] = similarity.motion.apply(similarity.scale * centers[adjusted])
    return turned, placed
