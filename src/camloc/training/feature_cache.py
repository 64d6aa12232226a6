"""Cached features: the output of the backbone's frozen prefix for all images, computed once, kept on disk."""

import hashlib
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from camloc.core.config import to_json
from camloc.core.device import CPU, to_device
from camloc.core.files import cache_file, cache_folder, is_sound_cache, seal_cache, write_atomically
from camloc.data.augment import Augment, Draws, augmented, centre_cut
from camloc.data.batch import Batch
from camloc.data.image_cache import ImageCache
from camloc.errors import RecipeError
from camloc.geometry.pose import Pose
from camloc.models.base import GeometryModel, PoseModel
from camloc.models.layers.backbone import Backbone, BackbonePrefix, BackboneSuffix, frozen_cuts
from camloc.training.optim import start_stage
from camloc.training.recipe import Stage
from camloc.training.scenes import Joined, add_to_progress, split_scenes

# The cut of a `GeometryModel` whose whole backbone is frozen: the feature maps of its heads, on their grid.
HEADS = "heads"

# Images that pass through the backbone together.
CHUNK = 16

_CACHE = "the cache of features"

# Arrays of the variants that are stored beside the features.
_LABELS = ("rotation", "intrinsics", "inside")


@dataclass(frozen=True, eq=False)
class FeatureVariants:
    """Features of v variants of each of n images, in memory-mapped half precision.

    Attributes:
        images: (n, v, c, h, w) features.
        cut: where the backbone is cut, or `HEADS`.
        world_from_cam: (n,) poses of the images as they were taken, double precision.
        rotation: (n, v, 3, 3) orientations of the variants.
        intrinsics: (n, v, 3, 3) of the variants, or None where those of any image are unknown.
        inside: (n, v, rows, columns) whether a cell shows the image, or None for models without cells.
        scene: (n,) numbers of the scenes.
        sequence: (n,) numbers of the recordings.
        seconds: time of their computation, in this run or in an earlier one.
        map_points: (n, p, 3) points of a map that each image sees, see `Batch`; or None.
    """

    images: Any
    cut: str
    world_from_cam: Pose
    rotation: Float[Tensor, "n v 3 3"]
    intrinsics: Float[Tensor, "n v 3 3"] | None
    inside: Tensor | None
    scene: Int[Tensor, "n"]
    sequence: Int[Tensor, "n"]
    seconds: float = 0.0
    map_points: Float[Tensor, "n p 3"] | None = None

    def __len__(self) -> int:
        return int(self.images.shape[0])

    def drawn(
        self,
        rows: Int[Tensor, "b"],
        draws: Draws,
        *,
        augment: Augment,
        width: int,
        height: int,
        device: torch.device = CPU,
    ) -> Batch:
        """The rows as a batch on a device, each as one of its variants at random."""
        del augment, width, height  # images were augmented before their features were computed
        variants = self.images.shape[1]
        chosen = draws.between(0.0, variants).long().clamp_max(variants - 1)
        images = to_device(torch.from_numpy(self.images[rows.numpy(), chosen.numpy()]), device).float()
        batch = Batch(
            images=images.contiguous(memory_format=torch.channels_last),
            world_from_cam=Pose(self.rotation[rows, chosen], self.world_from_cam.translation[rows]),
            intrinsics=None if self.intrinsics is None else self.intrinsics[rows, chosen],
            scene=self.scene[rows],
            inside=None if self.inside is None else self.inside[rows, chosen],
            map_points=None if self.map_points is None else self.map_points[rows],
        )
        return batch.to(device)


def frozen_prefix(model: PoseModel[Any], stages: tuple[Stage, ...]) -> str:
    """The last cut of the backbone in front of all parameters that any stage trains, or `HEADS`.

    Raises:
        RecipeError: the model has no backbone, the backbone cannot be cut, or its first layer trains.
    """
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, Backbone):
        raise RecipeError(
            f"{type(model).__name__} has no backbone whose features could be cached; set cached_variants to 0"
        )
    if isinstance(model, GeometryModel) and all(_is_frozen(backbone, model, stage) for stage in stages):
        return HEADS
    found: list[tuple[str, ...]] = []
    for stage in stages:
        start_stage(stage, model)
        found.append(frozen_cuts(backbone))
    common = [cut for cut in found[0] if all(cut in others for others in found)]
    if not common:
        raise RecipeError(
            "features can be cached of the frozen prefix of a backbone only, and the backbone's first layer "
            "trains here; freeze 'backbone.*' or its first layers in every stage, or set cached_variants to 0"
        )
    return common[-1]


def _is_frozen(backbone: Backbone, model: PoseModel[Any], stage: Stage) -> bool:
    start_stage(stage, model)
    return not any(parameter.requires_grad for parameter in backbone.parameters())


class FromFeatures(nn.Module):
    """The layers of a model behind the cached features.

    It is made for a stage, after `camloc.training.optim.start_stage`: see `BackboneSuffix`.
    """

    def __init__(self, model: PoseModel[Any], cut: str, *, width: int, height: int) -> None:
        """Cut the model; `width` and `height` are those of its input image."""
        super().__init__()
        self.model, self.width, self.height = model, width, height
        self.upper = None
        if cut != HEADS:
            self.upper = BackboneSuffix(model.backbone, cut)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Any:
        """The model's output."""
        if self.upper is None:
            assert isinstance(self.model, GeometryModel), "only geometry models have the cut HEADS"
            return self.model.from_grid(features)
        return self.model.heads(self.upper(features), width=self.width, height=self.height)


@dataclass(frozen=True)
class Variants:
    """Settings of the variants of every image.

    Attributes:
        augment: ranges of the random changes of all variants but the first, which is the image as it is.
        count: variants of an image.
        width, height: of the network's image.
        seed: of all randomness.
    """

    augment: Augment
    count: int
    width: int
    height: int
    seed: int

    def of(self, batch: Batch, number: int, generator: torch.Generator) -> Batch:
        """Variant `number` of each image of a batch."""
        if number == 0:
            return centre_cut(batch, width=self.width, height=self.height)
        draws = Draws(generator, len(batch), slice(0, len(batch)))
        return augmented(batch, self.augment, width=self.width, height=self.height, draws=draws)


def cached_features(
    model: PoseModel[Any],
    images: ImageCache,
    variants: Variants,
    *,
    cut: str,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureVariants:
    """The features of all images, computed now or read from the cache of an earlier call.

    Every scene has a cache file of its own. Its name is a digest of the weights before the cut, of the images
    and of the settings: trainings on one scene or on several share it, and so do recipes that differ behind
    the cut.

    Args:
        model: with its frozen weights.
        images: of the size that `augmented` takes.
        variants: settings of the variants.
        cut: where the model is cut, from `frozen_prefix`.
        device: where to compute.
        progress: called with the number of finished images and of all.

    Raises:
        CamlocError: the cache cannot be written.
        RecipeError: the variants turn images whose intrinsics are unknown.
    """
    first_part = _first_part(model, cut)
    parts, done = [], 0
    for scene in split_scenes(images):
        counted = progress and partial(add_to_progress, progress, done, len(images))
        parts.append(_scene_features(model, first_part, scene, variants, device=device, progress=counted))
        done += len(scene)
    labels = {
        name: torch.cat([part.labels[name] for part in parts])
        for name in _LABELS
        if all(name in part.labels for part in parts)
    }
    return FeatureVariants(
        images=parts[0].images if len(parts) == 1 else Joined(tuple(part.images for part in parts)),
        cut=cut,
        world_from_cam=images.world_from_cam,
        rotation=labels["rotation"],
        intrinsics=labels.get("intrinsics"),
        inside=labels.get("inside"),
        scene=images.scene,
        sequence=images.sequence,
        seconds=sum(part.seconds for part in parts),
    )


@dataclass(frozen=True, eq=False)
class _SceneFeatures:
    """The content of the cache of a scene."""

    images: Any
    labels: dict[str, Tensor]
    seconds: float


def _scene_features(
    model: PoseModel[Any],
    first_part: Callable[[Tensor], Tensor],
    images: ImageCache,
    variants: Variants,
    *,
    device: torch.device,
    progress: Callable[[int, int], None] | None,
) -> _SceneFeatures:
    path = cache_folder() / "features" / f"{_digest(model, first_part, images, variants)}.npy"
    labels = path.with_suffix(".labels.npz")
    if not is_sound_cache(path, [labels], of=_CACHE):
        was_training = model.training
        model.eval().to(device)
        try:
            _compute(model, first_part, images, variants, path, labels, device=device, progress=progress)
        finally:
            model.train(was_training)
    with np.load(labels) as read:
        found = {name: torch.from_numpy(read[name]) for name in _LABELS if name in read.files}
        seconds = float(read["seconds"])
    return _SceneFeatures(np.load(path, mmap_mode="r"), found, seconds)


def _first_part(model: PoseModel[Any], cut: str) -> Callable[[Tensor], Tensor]:
    if cut == HEADS:
        assert isinstance(model, GeometryModel), "only geometry models have the cut HEADS"
        return model.features
    return BackbonePrefix(model.backbone, cut)


@torch.no_grad()
def _compute(
    model: PoseModel[Any],
    first_part: Callable[[Tensor], Tensor],
    images: ImageCache,
    variants: Variants,
    path: Path,
    labels: Path,
    *,
    device: torch.device,
    progress: Callable[[int, int], None] | None,
) -> None:
    generator = torch.Generator().manual_seed(variants.seed)
    started = time.monotonic()
    found: dict[str, list[Tensor]] = {}
    with cache_file(path, of=_CACHE) as file:
        for first in range(0, len(images), CHUNK):
            rows = torch.arange(first, min(first + CHUNK, len(images)))
            batches = [
                variants.of(images.batch(rows, device=device), number, generator)
                for number in range(variants.count)
            ]
            features = torch.stack([first_part(each.images) for each in batches], 1).cpu()
            if first == 0:
                shape = (len(images), *features.shape[1:])
                header = {"descr": "<f2", "fortran_order": False, "shape": tuple(map(int, shape))}
                np.lib.format.write_array_header_1_0(file, header)
                columns = _columns(model, batches[0].images)
            file.write(features.half().numpy().tobytes())
            for name, values in _labels(batches, columns).items():
                found.setdefault(name, []).append(values)
            if progress:
                progress(int(rows[-1]) + 1, len(images))
        packed = io.BytesIO()
        arrays: dict[str, Any] = {name: torch.cat(values).numpy() for name, values in found.items()}
        np.savez(packed, **arrays, seconds=np.float64(time.monotonic() - started))
        write_atomically(labels, packed.getvalue())
    seal_cache(path, [labels])


def _columns(model: PoseModel[Any], images: Float[Tensor, "b 3 h w"]) -> int:
    """Columns of the grid of cells of a model's output; 0 for models without cells."""
    return int(model.features(images[:1]).shape[-1]) if isinstance(model, GeometryModel) else 0


def _labels(batches: list[Batch], columns: int) -> dict[str, Tensor]:
    """Orientations, intrinsics and cells of the v variants of b images, each (b, v, ...)."""
    labels = {"rotation": torch.stack([each.world_from_cam.rotation for each in batches], 1)}
    cameras = [each.intrinsics for each in batches if each.intrinsics is not None]
    if cameras:
        labels["intrinsics"] = torch.stack(cameras, 1)
    if columns:
        labels["inside"] = torch.stack([_cells(each, columns) for each in batches], 1)
    return labels


def _cells(batch: Batch, columns: int) -> Tensor:
    """Whether the centre of each cell shows the image."""
    height, width = batch.images.shape[-2:]
    stride = width // columns
    if batch.inside is None:
        return torch.ones(len(batch), height // stride, columns, dtype=torch.bool)
    return batch.inside[:, stride // 2 :: stride, stride // 2 :: stride].cpu()


def _digest(
    model: PoseModel[Any],
    first_part: Callable[[Tensor], Tensor],
    images: ImageCache,
    variants: Variants,
) -> str:
    digest = hashlib.sha256(to_json(variants) + repr((*_LABELS, "seconds")).encode())
    if isinstance(model, GeometryModel):  # its cells are those of `inside`
        digest.update(repr(model.feature_settings).encode())
    part: nn.Module = model.backbone
    if isinstance(first_part, BackbonePrefix):
        part = first_part
        # By number: wrappers of timm give other names to the same layers.
        digest.update(repr((first_part.config, first_part.operations)).encode())
    for value in part.state_dict().values():
        digest.update(repr(tuple(value.shape)).encode() + value.cpu().contiguous().numpy().tobytes())
    digest.update(repr((images.images.shape, [str(images.images.filename)])).encode())
    if images.intrinsics is None:  # also where only those of another scene of the training are unknown
        digest.update(b"no intrinsics")
    digest.update(images.world_from_cam.matrix().numpy().tobytes())
    return digest.hexdigest()[:24]
