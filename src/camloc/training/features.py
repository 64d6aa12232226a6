"""Features of a backbone that stands still, computed once: every later step trains the heads alone.

Each picture is seen in several variants, turned and coloured as a training step would have it. A turn about
the camera's centre is exact, so each variant has its own exact pose and intrinsics.
"""

import contextlib
import hashlib
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from camloc.core.augment import Augment, Draws, augmented, centre_cut
from camloc.core.cache_folder import cache_folder, remove_stale_parts
from camloc.core.config import to_json
from camloc.core.device import CPU, moved
from camloc.core.files import write_atomically
from camloc.core.model import GeometryModel
from camloc.core.types import Batch
from camloc.errors import CamlocError
from camloc.geometry.pose import Pose
from camloc.training.pictures import Pictures
from camloc.training.plan import Plan

# Pictures that pass through the backbone together.
CHUNK = 16


@dataclass(frozen=True, eq=False)
class FeatureVariants:
    """Features of several variants of every picture, in memory-mapped half precision.

    Attributes:
        images: (n, v, c, h, w) features.
        world_from_cam: (n,) poses of the pictures as they were taken, double precision.
        rotation: (n, v, 3, 3) orientations of the variants.
        intrinsics: (n, v, 3, 3) of the variants.
        inside: (n, v, h, w) whether a cell shows the photograph.
        scene: (n,) numbers of the places.
        sequence: (n,) numbers of the recordings.
        seconds: that computing them took, whichever run it was for.
    """

    images: Any
    world_from_cam: Pose
    rotation: Float[Tensor, "n v 3 3"]
    intrinsics: Float[Tensor, "n v 3 3"]
    inside: Tensor
    scene: Int[Tensor, "n"]
    sequence: Int[Tensor, "n"]
    seconds: float = 0.0

    def __len__(self) -> int:
        return int(self.images.shape[0])

    def drawn(self, rows: Int[Tensor, "b"], plan: Plan, draws: Draws, *, device: torch.device = CPU) -> Batch:
        """The rows, each as one of its variants, on a device."""
        del plan  # pictures were changed when their features were computed
        variants = self.images.shape[1]
        chosen = draws.between(0.0, variants).long().clamp_max(variants - 1)
        features = np.stack([self.images[row, variant] for row, variant in zip(rows, chosen, strict=True)])
        images = moved(torch.from_numpy(features), device).float()
        batch = Batch(
            images=images.contiguous(memory_format=torch.channels_last),
            world_from_cam=Pose(self.rotation[rows, chosen], self.world_from_cam.translation[rows]),
            intrinsics=self.intrinsics[rows, chosen],
            scene=self.scene[rows],
            inside=self.inside[rows, chosen],
        )
        return batch.to(device)


class Heads(nn.Module):
    """What of a model comes after the features."""

    def __init__(self, model: GeometryModel[Any]) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Float[Tensor, "b c h w"]) -> Any:
        """The model's output."""
        return self.model.from_features(features)


def cached_features(
    model: GeometryModel[Any],
    pictures: Pictures,
    augment: Augment,
    *,
    variants: int,
    width: int,
    height: int,
    seed: int,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureVariants:
    """The features of all pictures, computed now or read from the cache of an earlier call.

    The first variant of each is the picture as it is. The cache's name is a digest of the backbone's
    weights, the pictures and the settings.

    Raises:
        CamlocError: the cache cannot be written.
        RecipeError: pictures should turn and their intrinsics are unknown.
    """
    settings = (augment, variants, width, height, seed)
    path = cache_folder() / "features" / f"{_digest(model, pictures, settings)}.npy"
    labels = path.with_suffix(".labels.npz")
    if not (path.exists() and labels.exists()):
        _compute(model, pictures, settings, path, labels, device=device, progress=progress)
    with np.load(labels) as read:
        rotation, intrinsics, inside = (torch.from_numpy(read[name]) for name in _LABELS)
        seconds = float(read["seconds"])
    return FeatureVariants(
        images=np.load(path, mmap_mode="r"),
        world_from_cam=pictures.world_from_cam,
        rotation=rotation,
        intrinsics=intrinsics,
        inside=inside,
        scene=pictures.scene,
        sequence=pictures.sequence,
        seconds=seconds,
    )


_LABELS = ("rotation", "intrinsics", "inside")


@torch.no_grad()
def _compute(
    model: GeometryModel[Any],
    pictures: Pictures,
    settings: tuple[Augment, int, int, int, int],
    path: Path,
    labels: Path,
    *,
    device: torch.device,
    progress: Callable[[int, int], None] | None,
) -> None:
    augment, variants, width, height, seed = settings
    generator = torch.Generator().manual_seed(seed)
    started = time.monotonic()
    was_training = model.training
    model.eval().to(device)
    unfinished = path.with_name(f".{uuid4().hex[:12]}.part")
    found: dict[str, list[Tensor]] = {name: [] for name in _LABELS}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale_parts(path.parent)
        # Written, not mapped: a mapped file on a full disk ends the process with a bus error.
        with unfinished.open("xb") as file:
            for first in range(0, len(pictures), CHUNK):
                rows = torch.arange(first, min(first + CHUNK, len(pictures)))
                batches = [
                    _variant(pictures.batch(rows, device=device), number, augment, width, height, generator)
                    for number in range(variants)
                ]
                features = torch.stack([model.features(each.images) for each in batches], 1).cpu()
                if first == 0:
                    shape = (len(pictures), *features.shape[1:])
                    header = {"descr": "<f2", "fortran_order": False, "shape": tuple(map(int, shape))}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(features.half().numpy().tobytes())
                found["rotation"].append(torch.stack([each.world_from_cam.rotation for each in batches], 1))
                found["intrinsics"].append(torch.stack([_known(each) for each in batches], 1))
                inside = torch.stack([_cells(each, features.shape[-1]) for each in batches], 1)
                found["inside"].append(inside)
                if progress:
                    progress(int(rows[-1]) + 1, len(pictures))
        packed = io.BytesIO()
        turns, cameras, shown = (torch.cat(found[name]).numpy() for name in _LABELS)
        seconds = np.float64(time.monotonic() - started)
        np.savez(packed, rotation=turns, intrinsics=cameras, inside=shown, seconds=seconds)
        write_atomically(labels, packed.getvalue())
        unfinished.replace(path)
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise CamlocError(
            f"the cache of features {path.parent} cannot be written ({reason}); name a folder with room for "
            f"it in CAMLOC_CACHE"
        ) from None
    finally:
        model.train(was_training)
        with contextlib.suppress(OSError):  # the folder itself may be what is wrong, and that is told
            unfinished.unlink()


def _variant(
    batch: Batch, number: int, augment: Augment, width: int, height: int, generator: torch.Generator
) -> Batch:
    if number == 0:
        return centre_cut(batch, width=width, height=height)
    draws = Draws(generator, len(batch), slice(0, len(batch)))
    return augmented(batch, augment, width=width, height=height, draws=draws)


def _known(batch: Batch) -> Float[Tensor, "b 3 3"]:
    assert batch.intrinsics is not None, "a model that aligns points is only given pictures with intrinsics"
    return batch.intrinsics


def _cells(batch: Batch, columns: int) -> Tensor:
    """Whether the middle of each cell shows the photograph."""
    height, width = batch.images.shape[-2:]
    stride = width // columns
    if batch.inside is None:
        return torch.ones(len(batch), height // stride, columns, dtype=torch.bool)
    return batch.inside[:, stride // 2 :: stride, stride // 2 :: stride].cpu()


def _digest(model: GeometryModel[Any], pictures: Pictures, settings: tuple[Any, ...]) -> str:
    facts = hashlib.sha256(to_json(settings) + repr((*_LABELS, "seconds")).encode())
    facts.update(repr(model.feature_settings).encode())
    for name, value in model.backbone.state_dict().items():
        facts.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    facts.update(repr(pictures.images.shape).encode() + str(pictures.images.filename).encode())
    facts.update(pictures.world_from_cam.matrix().numpy().tobytes())
    return facts.hexdigest()[:24]
