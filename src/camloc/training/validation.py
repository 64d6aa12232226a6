"""How a model does on the frames that were held out: place by place, since every place has its own world."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from camloc.core.spread import evenly_spread
from camloc.data.augment import centre_cut
from camloc.data.image_cache import Pictures
from camloc.geometry.neighbours import mean_pose
from camloc.geometry.pose import Pose, PoseError, pose_error
from camloc.models.base import GeometryModel, PoseModel, WithBackbone
from camloc.models.novelty import Recognition, sights, summary
from camloc.models.outlier_filters import OUTLIER_FILTERS, OutlierFilter, filtered_poses
from camloc.training.recipe import Plan

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


# Summaries that are kept, of pictures spread evenly over those that were learned from.
MOST = 500

# With fewer held-out pictures than these it is not known how unlike a picture of the place may be.
FEWEST = 20

# A picture is foreign that is so many times as unlike as all but a hundredth of the held-out ones are.
HELD_OUT_SHARE = 0.99
ALLOWANCE = 1.5

# Of pictures that are equal, from rounding to half precision and more.
LEAST = 0.05


@torch.no_grad()
def learn_to_recognise(
    model: WithBackbone, train: Pictures, held_out: Pictures, plan: Plan, *, device: torch.device
) -> tuple[Recognition, float] | None:
    """Summaries of the pictures that were learned from, and how unlike them a picture of the place may be.

    None where too few pictures are held out to know that.

    Args:
        model: as it was trained; it is put on the device, in evaluation mode.
        train: what it learned from.
        held_out: what it did not.
        plan: of the training, which has the size of the network's picture.
        device: where to compute.
    """
    if len(held_out) < FEWEST:
        return None
    model.eval().to(device)
    recognition = Recognition(torch.cat([summary(seen) for seen in _sights(model, train, plan, device)]))
    recognition.to(device)
    unlikeness = torch.cat([recognition(seen) for seen in _sights(model, held_out, plan, device)])
    within = ALLOWANCE * float(unlikeness.float().quantile(HELD_OUT_SHARE))
    return recognition.cpu(), max(within, LEAST)


def _sights(
    model: WithBackbone, pictures: Pictures, plan: Plan, device: torch.device, *, batch_size: int = 50
) -> Iterator[list[Tensor]]:
    """The maps that pictures are recognised by, of pictures spread evenly over all, batch by batch."""
    rows = evenly_spread(len(pictures), MOST)
    for chosen in rows.split(batch_size):
        batch = centre_cut(pictures.batch(chosen, device=device), width=plan.width, height=plan.height)
        yield sights(model, batch.images)[1]
