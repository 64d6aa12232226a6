"""How a model does on the frames that were held out: scene by scene, since every scene has its own world."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from camloc.core.device import even_indices
from camloc.data.augment import centre_cut
from camloc.data.image_cache import ImageCache
from camloc.geometry.pose import Pose, PoseError, pose_error
from camloc.geometry.pose_search import mean_pose
from camloc.models.base import GeometryModel, PoseModel, WithBackbone
from camloc.models.novelty import NoveltyDetector, feature_maps, summary
from camloc.models.outlier_filters import OUTLIER_FILTERS, OutlierFilter, filtered_poses
from camloc.training.recipe import Plan

Medians = tuple[float, float]


@dataclass(frozen=True)
class Validation:
    """What a model makes of held-out frames.

    Attributes:
        scenes: median (meters, degrees) of each scene that has frames, by its number. A frame that is put
            into another scene is infinitely wrong.
        right_scene: share of the frames that are put into their own.
    """

    scenes: Mapping[int, Medians]
    right_scene: float

    @property
    def mean(self) -> Medians:
        """The means over the scenes of both medians."""
        meters, degrees = zip(*self.scenes.values(), strict=True)
        return fmean(meters), fmean(degrees)

    def score(self, scale: Mapping[int, Medians]) -> float:
        """Both medians as shares of `scale`, added; the mean over the scenes.

        Frames that are put into another scene do not move a median. Each counts as if the mean pose had been
        answered.
        """
        shares = fmean(
            meters / scale[scene][0] + degrees / scale[scene][1]
            for scene, (meters, degrees) in self.scenes.items()
        )
        return shares + 2.0 * (1.0 - self.right_scene)


@torch.no_grad()
def validate(
    model: PoseModel[Any], images: ImageCache, plan: Plan, device: torch.device, *, batch_size: int = 64
) -> Validation:
    """A model's answers to images; poses that are not finite are infinitely wrong."""
    was_training = model.training
    model.eval()
    meters, degrees, right = [], [], []
    for start_row in range(0, len(images), batch_size):
        rows = torch.arange(start_row, min(start_row + batch_size, len(images)))
        pictured = images.batch(rows, device=device)
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
            scene: (float(far[rows].median()), float(turned[rows].median()))
            for scene, rows in rows_of_scenes(images).items()
        },
        float(torch.cat(right).double().mean()),
    )


def mean_pose_errors(train: Pose, train_scene: torch.Tensor, images: ImageCache) -> dict[int, Medians]:
    """Median errors of always answering a scene's mean training pose, by the scene's number.

    Args:
        train: (n,) poses that were learned from.
        train_scene: (n,) numbers of their scenes.
        images: held out.
    """
    found: dict[int, Medians] = {}
    for scene, rows in rows_of_scenes(images).items():
        error = pose_error(mean_pose(train[train_scene == scene]), images.world_from_cam[rows])
        found[scene] = (max(float(error.meters.median()), 1e-9), max(float(error.degrees.median()), 1e-9))
    return found


def rows_of_scenes(images: ImageCache) -> dict[int, torch.Tensor]:
    """The rows of each scene that has images, by the scene's number."""
    return {int(scene): (images.scene == scene).nonzero().squeeze(1) for scene in images.scene.unique()}


@torch.no_grad()
def filter_errors(
    model: GeometryModel[tuple[Tensor, ...]],
    images: ImageCache,
    plan: Plan,
    *,
    device: torch.device,
    batch_size: int = 32,
) -> dict[OutlierFilter, tuple[float, float]]:
    """Median (meters, degrees) on images with each filter; where there is no pose they are infinite."""
    model.eval().to(device)
    found: dict[OutlierFilter, list[PoseError]] = {name: [] for name in OUTLIER_FILTERS}
    for first in range(0, len(images), batch_size):
        rows = torch.arange(first, min(first + batch_size, len(images)))
        batch = centre_cut(images.batch(rows, device=device), width=plan.width, height=plan.height)
        assert batch.intrinsics is not None, "training has refused frames without intrinsics"
        output = model(batch.images)
        cells = model.correspondences(output, intrinsics=batch.intrinsics.to(device)).double()
        for name, errors in found.items():
            poses = filtered_poses(
                cells, name, intrinsics=batch.intrinsics.double(), image_height=plan.height
            ).centered_from_cam
            errors.append(pose_error(model.placed(poses).to("cpu"), batch.world_from_cam.to(torch.float64)))
    return {name: _medians(errors) for name, errors in found.items()}


def best_filter(
    errors: dict[OutlierFilter, tuple[float, float]], images: ImageCache, train: Pose
) -> OutlierFilter:
    """The filter with the least sum of both errors, each as a share of what the mean pose reaches.

    Args:
        errors: of each filter on `images`.
        images: held out.
        train: (n,) poses that were learned from.
    """
    worst = pose_error(mean_pose(train), images.world_from_cam)
    scale = [max(float(each.median()), 1e-9) for each in worst]
    return min(errors, key=lambda name: errors[name][0] / scale[0] + errors[name][1] / scale[1])


def _medians(errors: list[PoseError]) -> tuple[float, float]:
    meters, degrees = (torch.cat(values).nan_to_num(nan=torch.inf) for values in zip(*errors, strict=True))
    return float(meters.median()), float(degrees.median())


# Summaries that are kept, of images spread evenly over those that were learned from.
MOST = 500

# With fewer held-out images than these it is not known how unlike an image of the scene may be.
FEWEST = 20

# An image is foreign that is so many times as unlike as all but a hundredth of the held-out ones are.
HELD_OUT_SHARE = 0.99
ALLOWANCE = 1.5

# Of images that are equal, from rounding to half precision and more.
LEAST = 0.05


@torch.no_grad()
def fit_novelty_detector(
    model: WithBackbone, train: ImageCache, held_out: ImageCache, plan: Plan, *, device: torch.device
) -> tuple[NoveltyDetector, float] | None:
    """Summaries of the images that were learned from, and how unlike them an image of the scene may be.

    None where too few images are held out to know that.

    Args:
        model: as it was trained; it is put on the device, in evaluation mode.
        train: what it learned from.
        held_out: what it did not.
        plan: of the training, which has the size of the network's image.
        device: where to compute.
    """
    if len(held_out) < FEWEST:
        return None
    model.eval().to(device)
    recognition = NoveltyDetector(
        torch.cat([summary(seen) for seen in _feature_maps(model, train, plan, device)])
    )
    recognition.to(device)
    novelty = torch.cat([recognition(seen) for seen in _feature_maps(model, held_out, plan, device)])
    within = ALLOWANCE * float(novelty.float().quantile(HELD_OUT_SHARE))
    return recognition.cpu(), max(within, LEAST)


def _feature_maps(
    model: WithBackbone, images: ImageCache, plan: Plan, device: torch.device, *, batch_size: int = 50
) -> Iterator[list[Tensor]]:
    """The maps that images are recognised by, of images spread evenly over all, batch by batch."""
    rows = even_indices(len(images), MOST)
    for chosen in rows.split(batch_size):
        batch = centre_cut(images.batch(chosen, device=device), width=plan.width, height=plan.height)
        yield feature_maps(model, batch.images)[1]
