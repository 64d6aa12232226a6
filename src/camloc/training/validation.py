"""How a model does on the frames that were held out: place by place, since every place has its own world."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch

from camloc.core.augment import centre_cut
from camloc.core.model import PoseModel
from camloc.geometry.neighbours import mean_pose
from camloc.geometry.pose import Pose, pose_error
from camloc.training.pictures import Pictures
from camloc.training.plan import Plan

Medians = tuple[float, float]


@dataclass(frozen=True)
class Validation:
    """What a model makes of held-out frames.

    Attributes:
        places: median (meters, degrees) of each place that has frames, by its number. A frame that is put
            into another place is infinitely wrong.
        right_place: share of the frames that are put into their own.
    """

    places: Mapping[int, Medians]
    right_place: float

    @property
    def mean(self) -> Medians:
        """The means over the places of both medians."""
        meters, degrees = zip(*self.places.values(), strict=True)
        return fmean(meters), fmean(degrees)

    def score(self, scale: Mapping[int, Medians]) -> float:
        """Both medians as shares of `scale`, added; the mean over the places.

        Frames that are put into another place do not move a median. Each counts as if the mean pose had been
        answered.
        """
        shares = fmean(
            meters / scale[place][0] + degrees / scale[place][1]
            for place, (meters, degrees) in self.places.items()
        )
        return shares + 2.0 * (1.0 - self.right_place)


@torch.no_grad()
def validate(
    model: PoseModel[Any], pictures: Pictures, plan: Plan, device: torch.device, *, batch_size: int = 64
) -> Validation:
    """A model's answers to pictures; poses that are not finite are infinitely wrong."""
    was_training = model.training
    model.eval()
    meters, degrees, right = [], [], []
    for start_row in range(0, len(pictures), batch_size):
        rows = torch.arange(start_row, min(start_row + batch_size, len(pictures)))
        pictured = pictures.batch(rows, device=device)
        batch = centre_cut(pictured, width=plan.width, height=plan.height).to(device)
        decoded = model.decode(model(batch.images), intrinsics=batch.intrinsics)
        error = pose_error(decoded.world_from_cam, batch.world_from_cam)
        is_right = decoded.scene == batch.scene
        meters.append(
            error.meters.where(is_right, torch.inf).cpu().nan_to_num(nan=torch.inf, posinf=torch.inf)
        )
        degrees.append(
            error.degrees.where(is_right, torch.inf).cpu().nan_to_num(nan=torch.inf, posinf=torch.inf)
        )
        right.append(is_right.cpu())
    model.train(was_training)
    far, turned = torch.cat(meters), torch.cat(degrees)
    return Validation(
        {
            place: (float(far[rows].median()), float(turned[rows].median()))
            for place, rows in rows_of_places(pictures).items()
        },
        float(torch.cat(right).double().mean()),
    )


def mean_pose_errors(train: Pose, train_scene: torch.Tensor, pictures: Pictures) -> dict[int, Medians]:
    """Median errors of always answering a place's mean training pose, by the place's number.

    Args:
        train: (n,) poses that were learned from.
        train_scene: (n,) numbers of their places.
        pictures: held out.
    """
    found: dict[int, Medians] = {}
    for place, rows in rows_of_places(pictures).items():
        error = pose_error(mean_pose(train[train_scene == place]), pictures.world_from_cam[rows])
        found[place] = (max(float(error.meters.median()), 1e-9), max(float(error.degrees.median()), 1e-9))
    return found


def rows_of_places(pictures: Pictures) -> dict[int, torch.Tensor]:
    """The rows of each place that has pictures, by the place's number."""
    return {int(place): (pictures.scene == place).nonzero().squeeze(1) for place in pictures.scene.unique()}
