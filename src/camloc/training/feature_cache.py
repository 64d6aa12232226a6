"""Features of pictures, computed once into a file on disk, from which every later step reads."""

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
from jaxtyping import Float
from torch import Tensor, nn

from camloc.core.augment import Augment, Draws, augmented, centre_cut
from camloc.core.cache_folder import cache_file, cache_folder
from camloc.core.config import to_json
from camloc.core.files import write_atomically
from camloc.core.model import GeometryModel, WithBackbone
from camloc.core.types import Batch
from camloc.models.parts.backbone import Backbone
from camloc.models.parts.backbone_split import LowerPart
from camloc.training.features import HEADS, FeatureVariants
from camloc.training.pictures import Pictures
from camloc.training.places import Joined, apart, count_on

# Pictures that pass through the backbone together.
CHUNK = 16


@dataclass(frozen=True)
class Variants:
    """Which variants of every picture there are.

    Attributes:
        augment: ranges that all but the first are drawn from; the first is the picture as it is.
        count: to a picture.
        width, height: of the network's picture.
        seed: of all randomness.
    """

    augment: Augment
    count: int
    width: int
    height: int
    seed: int

    def of(self, batch: Batch, number: int, generator: torch.Generator) -> Batch:
        """One variant of each picture of a batch."""
        if number == 0:
            return centre_cut(batch, width=self.width, height=self.height)
        draws = Draws(generator, len(batch), slice(0, len(batch)))
        return augmented(batch, self.augment, width=self.width, height=self.height, draws=draws)


def cached_features(
    model: WithBackbone,
    pictures: Pictures,
    variants: Variants,
    *,
    cut: str,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureVariants:
    """The features of all pictures, computed now or read from the cache of an earlier call.

    Every place has a cache of its own, whatever it is learned with. A cache's name is a digest of the weights
    before the cut, the pictures and the settings: recipes that differ in what comes later share it.

    Args:
        model: with the weights that stand still.
        pictures: in the size that `augmented` takes.
        variants: of each.
        cut: where in the model, as `still_part` says.
        device: where to compute.
        progress: called with the number of pictures done and of all.

    Raises:
        CamlocError: the cache cannot be written.
        RecipeError: pictures should turn and their intrinsics are unknown.
    """
    first_part = _first_part(model, cut)
    parts, done = [], 0
    for place in apart(pictures):
        counted = progress and partial(count_on, progress, done, len(pictures))
        parts.append(_of_place(model, first_part, place, variants, device=device, progress=counted))
        done += len(place)
    labels = {
        name: torch.cat([part.labels[name] for part in parts])
        for name in _LABELS
        if all(name in part.labels for part in parts)
    }
    return FeatureVariants(
        images=parts[0].images if len(parts) == 1 else Joined(tuple(part.images for part in parts)),
        cut=cut,
        world_from_cam=pictures.world_from_cam,
        rotation=labels["rotation"],
        intrinsics=labels.get("intrinsics"),
        inside=labels.get("inside"),
        scene=pictures.scene,
        sequence=pictures.sequence,
        seconds=sum(part.seconds for part in parts),
    )


@dataclass(frozen=True, eq=False)
class _OfPlace:
    """What the cache of a place holds."""

    images: Any
    labels: dict[str, Tensor]
    seconds: float


def _of_place(
    model: WithBackbone,
    first_part: Callable[[Tensor], Tensor],
    pictures: Pictures,
    variants: Variants,
    *,
    device: torch.device,
    progress: Callable[[int, int], None] | None,
) -> _OfPlace:
    path = cache_folder() / "features" / f"{_digest(model, first_part, pictures, variants)}.npy"
    labels = path.with_suffix(".labels.npz")
    if not (path.exists() and labels.exists()):
        was_training = model.training
        model.eval().to(device)
        try:
            _compute(model, first_part, pictures, variants, path, labels, device=device, progress=progress)
        finally:
            model.train(was_training)
    with np.load(labels) as read:
        found = {name: torch.from_numpy(read[name]) for name in _LABELS if name in read.files}
        seconds = float(read["seconds"])
    return _OfPlace(np.load(path, mmap_mode="r"), found, seconds)


_LABELS = ("rotation", "intrinsics", "inside")


def _first_part(model: WithBackbone, cut: str) -> Callable[[Tensor], Tensor]:
    if cut == HEADS:
        assert isinstance(model, GeometryModel), "heads with features of their own are a geometry model's"
        return model.features
    assert isinstance(model.backbone, Backbone), "only backbones are cut"
    return LowerPart(model.backbone, cut)


@torch.no_grad()
def _compute(
    model: WithBackbone,
    first_part: Callable[[Tensor], Tensor],
    pictures: Pictures,
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
    with cache_file(path, of="the cache of features") as file:
        for first in range(0, len(pictures), CHUNK):
            rows = torch.arange(first, min(first + CHUNK, len(pictures)))
            batches = [
                variants.of(pictures.batch(rows, device=device), number, generator)
                for number in range(variants.count)
            ]
            features = torch.stack([first_part(each.images) for each in batches], 1).cpu()
            if first == 0:
                shape = (len(pictures), *features.shape[1:])
                header = {"descr": "<f2", "fortran_order": False, "shape": tuple(map(int, shape))}
                np.lib.format.write_array_header_1_0(file, header)
                columns = _columns(model, batches[0].images)
            file.write(features.half().numpy().tobytes())
            for name, values in _labels(batches, columns).items():
                found.setdefault(name, []).append(values)
            if progress:
                progress(int(rows[-1]) + 1, len(pictures))
        packed = io.BytesIO()
        arrays: dict[str, Any] = {name: torch.cat(values).numpy() for name, values in found.items()}
        np.savez(packed, **arrays, seconds=np.float64(time.monotonic() - started))
        write_atomically(labels, packed.getvalue())


def _columns(model: WithBackbone, images: Float[Tensor, "b 3 h w"]) -> int:
    """Of the grid of cells that a model's output has; 0 where it has none."""
    return int(model.features(images[:1]).shape[-1]) if isinstance(model, GeometryModel) else 0


def _labels(batches: list[Batch], columns: int) -> dict[str, Tensor]:
    """What is known of the variants of the same pictures: (b, v, ...) of each."""
    labels = {"rotation": torch.stack([each.world_from_cam.rotation for each in batches], 1)}
    cameras = [each.intrinsics for each in batches if each.intrinsics is not None]
    if cameras:
        labels["intrinsics"] = torch.stack(cameras, 1)
    if columns:
        labels["inside"] = torch.stack([_cells(each, columns) for each in batches], 1)
    return labels


def _cells(batch: Batch, columns: int) -> Tensor:
    """Whether the middle of each cell shows the photograph."""
    height, width = batch.images.shape[-2:]
    stride = width // columns
    if batch.inside is None:
        return torch.ones(len(batch), height // stride, columns, dtype=torch.bool)
    return batch.inside[:, stride // 2 :: stride, stride // 2 :: stride].cpu()


def _digest(
    model: WithBackbone,
    first_part: Callable[[Tensor], Tensor],
    pictures: Pictures,
    variants: Variants,
) -> str:
    facts = hashlib.sha256(to_json(variants) + repr((*_LABELS, "seconds")).encode())
    if isinstance(model, GeometryModel):  # its cells are those of `inside`
        facts.update(repr(model.feature_settings).encode())
    part: nn.Module = model.backbone
    if isinstance(first_part, LowerPart):
        part = first_part
        # By number, for wrappers of timm have names of their own for the same layers.
        facts.update(repr((first_part.config, first_part.operations)).encode())
    for value in part.state_dict().values():
        facts.update(repr(tuple(value.shape)).encode() + value.cpu().contiguous().numpy().tobytes())
    facts.update(repr((pictures.images.shape, [str(pictures.images.filename)])).encode())
    if pictures.intrinsics is None:  # as those of another place may be unknown, beside which it is learned
        facts.update(b"no intrinsics")
    facts.update(pictures.world_from_cam.matrix().numpy().tobytes())
    return facts.hexdigest()[:24]
