"""Outlier filters: four ways to compute a pose from correspondences of which some are wrong.

Source: "Implicit Learning of Scene Geometry" 2023, Table III.
"""

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from camloc.data.masks import mask_at
from camloc.geometry.alignment import alignment_residual, weighted_kabsch
from camloc.geometry.arrays import Array, array_namespace, device, to_numpy
from camloc.geometry.pose import Pose
from camloc.models.decoding import Correspondences, Decoded, PointDecoding, double, single_scene

if TYPE_CHECKING:
    import pycolmap

# "weights": alignment with the learned weights, as published. "none": alignment with equal weights.
# "rigid-ransac": the alignment with the most inliers among the cells. "pnp-ransac": the camera pose with the
# most inliers among the cells' pixels and world points; depths are not used.
OutlierFilter = Literal["weights", "none", "rigid-ransac", "pnp-ransac"]
OUTLIER_FILTERS: tuple[OutlierFilter, ...] = get_args(OutlierFilter)

# Inlier thresholds: of an alignment, this share of the median distance of the points from the camera; of a
# camera pose, this many pixels of an image 480 high. Chosen on held-out training frames of Red Kitchen among
# 3, 6 and 10 % and 4 to 40 pixels; the points there have errors of some 10 cm.
RIGID_SHARE = 0.03
PNP_PIXELS = 30.0
IMAGE_HEIGHT = 480.0

# Smallest number of inliers, and smallest share of the cells. Three points determine a pose, so that few
# inliers occur by chance.
FEWEST_INLIERS = 8
LEAST_SHARE = 0.1


class FilteredPose(NamedTuple):
    """The poses from the correspondences of b images.

    Attributes:
        centered_from_cam: (b,) poses in the frame of the world points; NaN if there are too few inliers.
        residual: (b,) root mean square distance in metres between the aligned points of the inliers.
        inliers: (b,) share of the cells that are inliers.
    """

    centered_from_cam: Pose
    residual: Float[Array, "b"]
    inliers: Float[Array, "b"]


def filtered_poses(
    cells: Correspondences,
    outlier_filter: OutlierFilter,
    *,
    intrinsics: Float[Array, "b 3 3"],
    image_height: int,
    counted: Float[Array, "b n"] | None = None,
    seed: int = 0,
) -> FilteredPose:
    """Compute poses from the correspondences of b images.

    Args:
        cells: correspondences in double precision.
        outlier_filter: how wrong correspondences are handled.
        intrinsics: for the pixels of the cells.
        image_height: height of the image that the pixels belong to.
        counted: 0 for cells that are ignored by every filter (people, cars, sky); None if all count.
        seed: of the random samples.
    """
    xp, where = array_namespace(cells.weight), device(cells.weight)
    counted = xp.ones_like(cells.weight) if counted is None else xp.astype(counted, cells.weight.dtype)
    if outlier_filter in ("weights", "none"):
        weight = counted * (cells.weight if outlier_filter == "weights" else 1.0)
        pose = weighted_kabsch(cells.camera, cells.world, weight)
        residual = alignment_residual(pose, cells.camera, cells.world, weight)
        return FilteredPose(pose, residual, xp.mean(double(weight > 0), axis=-1))
    rows = Correspondences(*map(to_numpy, cells.double()))
    counts, matrices = to_numpy(counted) > 0, to_numpy(intrinsics)
    found = [
        _robust(
            Correspondences(*(value[row][counts[row]] for value in rows)),
            len(counts[row]),
            outlier_filter,
            matrices[row],
            image_height,
            seed,
        )
        for row in range(len(counts))
    ]
    rotation, translation, residual, inliers = (
        xp.asarray(np.stack(values), device=where) for values in zip(*found, strict=True)
    )
    return FilteredPose(Pose(rotation, translation), residual, inliers)


def filtered_decoding(
    decoding: PointDecoding,
    output: Any,
    outlier_filter: OutlierFilter,
    *,
    intrinsics: Float[Array, "b 3 3"],
    image_height: int,
    masks: Bool[Array, "b height width"] | None = None,
) -> Decoded:
    """Decode a model's output with an outlier filter.

    Args:
        decoding: of the model.
        output: its output for b images.
        outlier_filter: how wrong correspondences are handled.
        intrinsics: (b, 3, 3) calibration matrices.
        image_height: height of the network's image.
        masks: (b, height, width) False for pixels that are ignored; None if all count.
    """
    cells = decoding.correspondences(output, intrinsics=intrinsics).double()
    found = filtered_poses(
        cells,
        outlier_filter,
        intrinsics=double(intrinsics),
        image_height=image_height,
        counted=None if masks is None else mask_at(masks, cells.pixels),
    )
    return single_scene(decoding.to_world(found.centered_from_cam), residual=found.residual)


class _RobustPose(NamedTuple):
    """The pose of one image, the residual of its inliers, and their share of the cells."""

    rotation: Float[NDArray[np.float64], "3 3"]
    translation: Float[NDArray[np.float64], "3"]
    residual: float
    inliers: float


_NONE = _RobustPose(np.full((3, 3), np.nan), np.full(3, np.nan), np.nan, 0.0)


def _robust(
    one: Correspondences,
    cells: int,
    outlier_filter: OutlierFilter,
    intrinsics: Float[NDArray[np.float64], "3 3"],
    image_height: int,
    seed: int,
) -> _RobustPose:
    """The pose of one image by RANSAC, from those of its cells that count."""
    if len(one.weight) < FEWEST_INLIERS:
        return _NONE
    if outlier_filter == "rigid-ransac":
        found = _rigid_ransac(one, seed)
    else:
        found = _pnp_ransac(one, intrinsics, image_height, seed)
    if found is None:
        return _NONE
    pose, inliers = found
    if inliers.sum() < max(FEWEST_INLIERS, LEAST_SHARE * len(inliers)):
        return _NONE
    residual = alignment_residual(pose, one.camera, one.world, double(inliers))
    return _RobustPose(pose.rotation, pose.translation, float(residual), float(inliers.sum() / cells))


def _rigid_ransac(one: Correspondences, seed: int) -> tuple[Pose, Bool[np.ndarray, "n"]] | None:
    from camloc.geometry.colmap import pycolmap

    pycolmap.set_random_seed(seed)
    distances = np.sort(np.linalg.norm(one.camera, axis=-1))
    options = _ransac_options(float(RIGID_SHARE * distances[(len(distances) - 1) // 2]))
    # The type stub lacks the dictionary around the motion.
    found: Any = pycolmap.estimate_rigid3d_robust(one.camera, one.world, options)
    if found is None:
        return None
    inliers = np.asarray(found["inlier_mask"])
    # The final pose is the alignment of all inliers, not of the three points that were drawn.
    return weighted_kabsch(one.camera, one.world, double(inliers)), inliers


def _pnp_ransac(
    one: Correspondences, intrinsics: Float[NDArray[np.float64], "3 3"], image_height: int, seed: int
) -> tuple[Pose, Bool[np.ndarray, "n"]] | None:
    from camloc.geometry.colmap import pycolmap

    pycolmap.set_random_seed(seed)
    fx, fy, cx, cy = (float(intrinsics[index]) for index in ((0, 0), (1, 1), (0, 2), (1, 2)))
    camera = pycolmap.Camera(
        model="PINHOLE", width=max(1, round(2 * cx)), height=image_height, params=[fx, fy, cx, cy]
    )
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac = _ransac_options(PNP_PIXELS * image_height / IMAGE_HEIGHT)
    found = pycolmap.estimate_and_refine_absolute_pose(one.pixels, one.world, camera, options)
    if found is None:
        return None
    motion: pycolmap.Rigid3d = found["cam_from_world"]
    pose = Pose(np.asarray(motion.rotation.matrix()), np.asarray(motion.translation)).inverse()
    return pose, np.asarray(found["inlier_mask"])


def _ransac_options(max_error: float) -> "pycolmap.RANSACOptions":
    from camloc.geometry.colmap import pycolmap

    options = pycolmap.RANSACOptions()
    options.max_error = max_error
    options.max_num_trials = 2000
    options.min_num_trials = 100
    return options
