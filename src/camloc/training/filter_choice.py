"""Which outlier filter suits a place: the one that is best on the held-out frames."""

import torch
from torch import Tensor

from camloc.core.augment import centre_cut
from camloc.core.model import GeometryModel
from camloc.geometry.neighbours import mean_pose
from camloc.geometry.pose import Pose, PoseError, pose_error
from camloc.refiners.outlier_filters import OUTLIER_FILTERS, OutlierFilter, filtered_poses
from camloc.training.pictures import Pictures
from camloc.training.plan import Plan


@torch.no_grad()
def filter_errors(
    model: GeometryModel[tuple[Tensor, ...]],
    pictures: Pictures,
    plan: Plan,
    *,
    device: torch.device,
    batch_size: int = 32,
) -> dict[OutlierFilter, tuple[float, float]]:
    """Median (meters, degrees) on pictures with each filter; where there is no pose they are infinite."""
    model.eval().to(device)
    found: dict[OutlierFilter, list[PoseError]] = {name: [] for name in OUTLIER_FILTERS}
    for first in range(0, len(pictures), batch_size):
        rows = torch.arange(first, min(first + batch_size, len(pictures)))
        batch = centre_cut(pictures.batch(rows, device=device), width=plan.width, height=plan.height)
        assert batch.intrinsics is not None, "training has refused frames without intrinsics"
        output = model(batch.images)
        cells = model.correspondences(output, intrinsics=batch.intrinsics.to(device)).double()
        for name, errors in found.items():
            poses = filtered_poses(
                cells, name, intrinsics=batch.intrinsics.double(), picture_height=plan.height
            ).centered_from_cam
            errors.append(pose_error(model.placed(poses).to("cpu"), batch.world_from_cam.to(torch.float64)))
    return {name: _medians(errors) for name, errors in found.items()}


def best_filter(
    errors: dict[OutlierFilter, tuple[float, float]], pictures: Pictures, train: Pose
) -> OutlierFilter:
    """The filter with the least sum of both errors, each as a share of what the mean pose reaches.

    Args:
        errors: of each filter on `pictures`.
        pictures: held out.
        train: (n,) poses that were learned from.
    """
    worst = pose_error(mean_pose(train), pictures.world_from_cam)
    scale = [max(float(each.median()), 1e-9) for each in worst]
    return min(errors, key=lambda name: errors[name][0] / scale[0] + errors[name][1] / scale[1])


def _medians(errors: list[PoseError]) -> tuple[float, float]:
    meters, degrees = (torch.cat(values).nan_to_num(nan=torch.inf) for values in zip(*errors, strict=True))
    return float(meters.median()), float(degrees.median())
