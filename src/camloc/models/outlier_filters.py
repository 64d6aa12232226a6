"""From correspondences to a pose, with wrong ones left out in one of four ways.

Source: "Implicit Learning of Scene Geometry" 2023, Table III.
"""

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from camloc.data.masks import mask_at
from camloc.geometry.alignment import alignment_residual, weighted_kabsch
from camloc.geometry.pose import Pose
from camloc.models.base import Correspondences, Decoded, GeometryModel, single_scene

if TYPE_CHECKING:
    import pycolmap

# "weights": aligned by the learned weights, as published. "none": all cells count alike. "rigid-ransac":
# the alignment that most cells agree with. "pnp-ransac": the camera that sees most world points where
# they are in the image; depths are not used.
OutlierFilter = Literal["weights", "none", "rigid-ransac", "pnp-ransac"]
OUTLIER_FILTERS: tuple[OutlierFilter, ...] = get_args(OutlierFilter)

# A cell agrees with an alignment within this share of the median distance of the points from the camera,
# and with a camera within this many pixels of an image 480 high. Chosen on frames held out of the training
# frames of Red Kitchen, among 3, 6 and 10 % and 4 to 40 pixels: points are known to some 10 cm.
RIGID_SHARE = 0.03
PNP_PIXELS = 30.0
IMAGE_HEIGHT = 480.0

# A pose needs three points; fewer agreeing cells than this, and than this share of all, are chance.
FEWEST_INLIERS = 8
LEAST_SHARE = 0.1


class FilteredPose(NamedTuple):
    """What an image's correspondences agree on.

    Attributes:
        centered_from_cam: (b,) poses in the frame of the world points; NaN where too few cells agree.
        residual: (b,) root mean square distance in metres between the aligned points that counted.
        inliers: (b,) share of the cells that counted.
    """

    centered_from_cam: Pose
    residual: Float[Tensor, "b"]
    inliers: Float[Tensor, "b"]


def filtered_poses(
    cells: Correspondences,
    outlier_filter: OutlierFilter,
    *,
    intrinsics: Float[Tensor, "b 3 3"],
    image_height: int,
    seen: Float[Tensor, "b n"] | None = None,
    seed: int = 0,
) -> FilteredPose:
    """Poses from the correspondences of b images.

    Args:
        cells: of the network's output, in double precision.
        outlier_filter: what leaves wrong ones out.
        intrinsics: for the pixels of the cells.
        image_height: of the image that the pixels belong to.
        seen: 0 for cells that must not count, whatever the filter (people, cars, sky); None for none.
        seed: of the random samples.
    """
    allowed = torch.ones_like(cells.weight) if seen is None else seen.to(cells.weight)
    if outlier_filter in ("weights", "none"):
        counted = allowed * (cells.weight if outlier_filter == "weights" else 1.0)
        return _aligned(cells, counted, inliers=(counted > 0).double().mean(-1))
    found = [
        _robust(cells, allowed[row] > 0, row, outlier_filter, intrinsics[row], image_height, seed)
        for row in range(len(cells.weight))
    ]
    return FilteredPose(
        Pose.stack([each.centered_from_cam for each in found]),
        torch.stack([each.residual for each in found]),
        torch.stack([each.inliers for each in found]),
    )


def filtered_decoding(
    model: GeometryModel[Any],
    output: Any,
    outlier_filter: OutlierFilter,
    *,
    intrinsics: Float[Tensor, "b 3 3"],
    image_height: int,
    masks: Tensor | None = None,
) -> Decoded:
    """A model's `decode` with another filter, or (b, height, width) masks, False where nothing counts."""
    output = type(output)(*(value.to(intrinsics.device) for value in output))
    cells = model.correspondences(output, intrinsics=intrinsics).double()
    found = filtered_poses(
        cells,
        outlier_filter,
        intrinsics=intrinsics.double(),
        image_height=image_height,
        seen=None if masks is None else mask_at(masks.to(cells.pixels.device), cells.pixels),
    )
    return single_scene(model.placed(found.centered_from_cam), residual=found.residual)


def _aligned(cells: Correspondences, counted: Tensor, *, inliers: Tensor) -> FilteredPose:
    pose = weighted_kabsch(cells.camera, cells.world, counted)
    residual = alignment_residual(pose, cells.camera, cells.world, counted)
    return FilteredPose(pose, residual, inliers)


def _robust(
    cells: Correspondences,
    allowed: Tensor,
    row: int,
    outlier_filter: OutlierFilter,
    intrinsics: Tensor,
    image_height: int,
    seed: int,
) -> FilteredPose:
    """The pose of one image by random sampling, and the alignment's residual over what agrees with it."""
    one = Correspondences(*(value[row][allowed].double().cpu() for value in cells))
    if len(one.weight) < FEWEST_INLIERS:
        return _none()
    if outlier_filter == "rigid-ransac":
        found = _rigid_ransac(one, seed)
    else:
        found = _pnp_ransac(one, intrinsics, image_height, seed)
    if found is None:
        return _none()
    pose, agree = found
    if int(agree.sum()) < max(FEWEST_INLIERS, LEAST_SHARE * len(agree)):
        return _none()
    residual = alignment_residual(pose, one.camera, one.world, agree.double())
    return FilteredPose(pose, residual, agree.double().sum() / allowed.numel())


def _none() -> FilteredPose:
    nothing = torch.tensor(torch.nan, dtype=torch.float64)
    return FilteredPose(
        Pose(nothing.expand(3, 3), nothing.expand(3)), nothing, torch.zeros((), dtype=torch.float64)
    )


def _rigid_ransac(one: Correspondences, seed: int) -> tuple[Pose, Tensor] | None:
    import pycolmap

    pycolmap.set_random_seed(seed)
    options = _ransac_options(float(RIGID_SHARE * torch.linalg.vector_norm(one.camera, dim=-1).median()))
    # Its type stub leaves out the dictionary around the motion.
    found: Any = pycolmap.estimate_rigid3d_robust(one.camera.numpy(), one.world.numpy(), options)
    if found is None:
        return None
    agree = torch.as_tensor(found["inlier_mask"])
    # All that agree decide together, not the three that were drawn.
    return weighted_kabsch(one.camera, one.world, agree.double()), agree


def _pnp_ransac(
    one: Correspondences, intrinsics: Tensor, image_height: int, seed: int
) -> tuple[Pose, Tensor] | None:
    import pycolmap

    pycolmap.set_random_seed(seed)
    fx, fy, cx, cy = (float(intrinsics[index]) for index in ((0, 0), (1, 1), (0, 2), (1, 2)))
    camera = pycolmap.Camera(
        model="PINHOLE", width=max(1, round(2 * cx)), height=image_height, params=[fx, fy, cx, cy]
    )
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac = _ransac_options(PNP_PIXELS * image_height / IMAGE_HEIGHT)
    found = pycolmap.estimate_and_refine_absolute_pose(one.pixels.numpy(), one.world.numpy(), camera, options)
    if found is None:
        return None
    motion: pycolmap.Rigid3d = found["cam_from_world"]
    rotation, translation = torch.as_tensor(motion.rotation.matrix()), torch.as_tensor(motion.translation)
    return Pose(rotation, translation).inverse(), torch.as_tensor(found["inlier_mask"])


def _ransac_options(max_error: float) -> "pycolmap.RANSACOptions":
    import pycolmap

    options = pycolmap.RANSACOptions()
    options.max_error = max_error
    options.max_num_trials = 2000
    options.min_num_trials = 100
    return options
