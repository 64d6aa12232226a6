"""Decisions by the held-out frames: the best weights, the outlier filter, and the novelty threshold.

Errors are taken scene by scene, since every scene has its own world frame.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from camloc.core.sampling import even_rows
from camloc.data.augment import centre_cut
from camloc.data.batch import Batch
from camloc.data.image_cache import ImageCache
from camloc.data.image_io import Preprocess
from camloc.geometry.pose import Pose, PoseError, pose_error
from camloc.geometry.pose_search import mean_pose
from camloc.models.base import GeometryModel, PoseModel
from camloc.models.novelty import NoveltyDetector, summary
from camloc.models.outlier_filters import OUTLIER_FILTERS, OutlierFilter, filtered_poses

Medians = tuple[float, float]

# Most summaries that a novelty detector keeps, of images evenly spaced over the training images.
MOST = 500

# With fewer held-out images than these, the novelty of images of the scene is not known.
FEWEST = 20

# The novelty threshold is `ALLOWANCE` times the novelty that this share of the held-out images stays below.
HELD_OUT_SHARE = 0.99
ALLOWANCE = 1.5

# Lowest threshold: equal images have a novelty from rounding to half precision, and more.
LEAST = 0.05


@dataclass(frozen=True)
class SceneErrors:
    """Errors of a model on held-out frames.

    Attributes:
        scenes: median (meters, degrees) of each scene that has frames, by its number. A frame that is put
            into another scene has an infinite error.
        right_scene: share of the frames that are put into their own scene.
    """

    scenes: Mapping[int, Medians]
    right_scene: float

    @property
    def mean(self) -> Medians:
        """The means over the scenes of both medians."""
        meters, degrees = zip(*self.scenes.values(), strict=True)
        return fmean(meters), fmean(degrees)

    def score(self, scale: Mapping[int, Medians]) -> float:
        """Sum of both medians as shares of those in `scale`, the mean over the scenes; less is better.

        Frames that are put into another scene may leave the medians unchanged. Each adds to the score as if
        the mean pose had been predicted.
        """
        shares = fmean(
            meters / scale[scene][0] + degrees / scale[scene][1]
            for scene, (meters, degrees) in self.scenes.items()
        )
        return shares + 2.0 * (1.0 - self.right_scene)


@torch.no_grad()
def validate(
    model: PoseModel[Any], images: ImageCache, size: Preprocess, device: torch.device, *, batch_size: int = 64
) -> SceneErrors:
    """Errors of the poses that a model predicts for images; poses that are not finite have infinite errors.

    `size` has the width and the height of the network's image.
    """
    was_training = model.training
    model.eval()
    meters: list[Tensor] = []
    degrees: list[Tensor] = []
    right: list[Tensor] = []
    for batch in _batches(images, torch.arange(len(images)), size, device, batch_size):
        decoded = model.decode(model(batch.images), intrinsics=batch.intrinsics)
        error = pose_error(decoded.world_from_cam, batch.world_from_cam)
        is_right = decoded.scene == batch.scene
        for values, found in zip(error, (meters, degrees), strict=True):
            values = values.where(is_right, torch.inf).cpu()
            found.append(values.nan_to_num(nan=torch.inf, posinf=torch.inf))
        right.append(is_right.cpu())
    model.train(was_training)
    all_meters, all_degrees = torch.cat(meters), torch.cat(degrees)
    return SceneErrors(
        {
            scene: (float(all_meters[rows].median()), float(all_degrees[rows].median()))
            for scene, rows in _rows_of_scenes(images).items()
        },
        float(torch.cat(right).double().mean()),
    )


def mean_pose_errors(train: Pose, train_scene: Int[Tensor, "n"], images: ImageCache) -> dict[int, Medians]:
    """Median errors of always predicting the mean training pose of a scene, by the scene's number.

    Args:
        train: (n,) training poses.
        train_scene: numbers of their scenes.
        images: held-out images.
    """
    found: dict[int, Medians] = {}
    for scene, rows in _rows_of_scenes(images).items():
        error = pose_error(mean_pose(train[train_scene == scene]), images.world_from_cam[rows])
        found[scene] = (max(float(error.meters.median()), 1e-9), max(float(error.degrees.median()), 1e-9))
    return found


def _rows_of_scenes(images: ImageCache) -> dict[int, Int[Tensor, "m"]]:
    """The rows of each scene that has images, by the scene's number."""
    return {int(scene): (images.scene == scene).nonzero().squeeze(1) for scene in images.scene.unique()}


@torch.no_grad()
def filter_errors(
    model: GeometryModel[tuple[Tensor, ...]],
    images: ImageCache,
    size: Preprocess,
    *,
    device: torch.device,
) -> dict[OutlierFilter, Medians]:
    """Median (meters, degrees) on images with each outlier filter; a missing pose has infinite errors."""
    model.eval().to(device)
    found: dict[OutlierFilter, list[PoseError]] = {name: [] for name in OUTLIER_FILTERS}
    for batch in _batches(images, torch.arange(len(images)), size, device, 32):
        assert batch.intrinsics is not None, "training has refused frames without intrinsics"
        cells = model.correspondences(model(batch.images), intrinsics=batch.intrinsics).double()
        truth = batch.world_from_cam.to("cpu").to(torch.float64)
        for name, errors in found.items():
            poses = filtered_poses(
                cells, name, intrinsics=batch.intrinsics.double(), image_height=size.height
            ).centered_from_cam
            errors.append(pose_error(model.to_world(poses).to("cpu"), truth))
    return {name: _medians(errors) for name, errors in found.items()}


def best_filter(errors: dict[OutlierFilter, Medians], images: ImageCache, train: Pose) -> OutlierFilter:
    """The filter with the least sum of both errors, each as a share of the error of the mean training pose.

    Args:
        errors: of each filter on `images`.
        images: held-out images.
        train: (n,) training poses.
    """
    worst = pose_error(mean_pose(train), images.world_from_cam)
    scale = [max(float(each.median()), 1e-9) for each in worst]
    return min(errors, key=lambda name: errors[name][0] / scale[0] + errors[name][1] / scale[1])


def _medians(errors: list[PoseError]) -> Medians:
    meters, degrees = (torch.cat(values).nan_to_num(nan=torch.inf) for values in zip(*errors, strict=True))
    return float(meters.median()), float(degrees.median())


@torch.no_grad()
def fit_novelty_detector(
    model: PoseModel[Any], train: ImageCache, held_out: ImageCache, size: Preprocess, *, device: torch.device
) -> tuple[NoveltyDetector, float] | None:
    """A detector with summaries of the training images, and the novelty threshold of the scene.

    None where too few images are held out to know the threshold.

    Args:
        model: trained; it is put on the device, in evaluation mode.
        train: training images.
        held_out: held-out images.
        size: width and height of the network's image.
        device: where to compute.
    """
    if len(held_out) < FEWEST:
        return None
    model.eval().to(device)
    detector = NoveltyDetector(
        torch.cat([summary(maps) for maps in _feature_maps(model, train, size, device)])
    )
    detector.to(device)
    novelty = torch.cat([detector(maps) for maps in _feature_maps(model, held_out, size, device)])
    threshold = ALLOWANCE * float(novelty.float().quantile(HELD_OUT_SHARE))
    return detector.cpu(), max(threshold, LEAST)


def _feature_maps(
    model: PoseModel[Any], images: ImageCache, size: Preprocess, device: torch.device
) -> Iterator[list[Tensor]]:
    """Intermediate feature maps of at most `MOST` images, evenly spaced over all, batch by batch."""
    for batch in _batches(images, torch.from_numpy(even_rows(len(images), MOST)), size, device, 50):
        yield model.backbone.forward_with_novelty_maps(batch.images)[1]


def _batches(
    images: ImageCache, rows: Int[Tensor, "n"], size: Preprocess, device: torch.device, batch_size: int
) -> Iterator[Batch]:
    """Rows of images as batches on a device, cut to the network's image about their centre."""
    for chosen in rows.split(batch_size):
        batch = images.batch(chosen, device=device)
        yield centre_cut(batch, width=size.width, height=size.height).to(device)
