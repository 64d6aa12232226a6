"""Images decoded and resized once into a file on disk, from which every epoch reads."""

import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from camloc.core.config import to_json
from camloc.core.device import CPU, to_device
from camloc.core.files import cache_file, cache_folder, is_sound_cache, seal_cache, write_atomically
from camloc.core.progress import CountProgress
from camloc.data.augment import Augment, Draws, augmented
from camloc.data.batch import Batch
from camloc.data.image_io import Preprocess
from camloc.data.types import Frame, poses_of
from camloc.geometry.pose import Pose

_CACHE = "the image cache"


@dataclass(frozen=True, eq=False)
class ImageCache:
    """The images of many frames in memory-mapped bytes, with their poses.

    Attributes:
        images: (n, 3, height, width) RGB, 8 bits.
        world_from_cam: (n,) poses, double precision.
        intrinsics: (n, 3, 3), or None where any is unknown.
        scene: (n,) numbers of the scenes.
        sequence: (n,) numbers of the recordings; the images of a recording are in their order.
        map_points: (n, p, 3) points of a map that each image sees, see `Batch`; or None.
    """

    images: Any
    world_from_cam: Pose
    intrinsics: Tensor | None
    scene: Int[Tensor, "n"]
    sequence: Int[Tensor, "n"]
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
        """The rows as an augmented batch of `width` x `height` images on a device."""
        batch = self.batch(rows, device=device)
        return augmented(batch, augment, width=width, height=height, draws=draws).to(device)

    def batch(self, rows: Int[Tensor, "b"], *, device: torch.device = CPU) -> Batch:
        """The rows as a batch in [0, 1], its images on a device and the rest on the CPU."""
        picked = to_device(torch.from_numpy(np.asarray(self.images[rows.numpy()])), device)
        return Batch(
            images=picked.float().div_(255.0).contiguous(memory_format=torch.channels_last),
            world_from_cam=self.world_from_cam[rows],
            intrinsics=None if self.intrinsics is None else self.intrinsics[rows],
            scene=self.scene[rows],
            map_points=None if self.map_points is None else self.map_points[rows],
        )


def load_image_cache(
    frames: Sequence[Frame],
    preprocess: Preprocess,
    *,
    margin: bool = False,
    scene: int = 0,
    progress: CountProgress | None = None,
) -> ImageCache:
    """Images of frames, decoded now or read from the cache of an earlier call.

    The cache's name is a digest of the settings and of every file's path, size and date, so a
    image that changes is read again. A cache that does not have its checksums is made again, which a warning
    says.

    Args:
        frames: frames with poses.
        preprocess: how images become the network's size.
        margin: keep what random crops need around the network's image.
        scene: number of the scene.
        progress: called with the number of images done and of all.

    Raises:
        ImageError: an image cannot be decoded.
        CamlocError: the cache cannot be written.
    """
    reader = with_margin(preprocess, frames[0]) if margin else preprocess
    path = cache_folder() / "images" / f"{_digest(frames, reader)}.npy"
    cameras_path = path.with_suffix(".intrinsics.npy")
    if not is_sound_cache(path, [cameras_path], of=_CACHE):
        _decode(frames, reader, path, cameras_path, progress=progress)
    intrinsics = torch.from_numpy(np.load(cameras_path))
    recordings = {name: number for number, name in enumerate(dict.fromkeys(each.sequence for each in frames))}
    return ImageCache(
        images=np.load(path, mmap_mode="r"),
        world_from_cam=poses_of(frames).tensor(),
        intrinsics=None if intrinsics.isnan().any() else intrinsics,
        scene=torch.full((len(frames),), scene, dtype=torch.int64),
        sequence=torch.tensor([recordings[frame.sequence] for frame in frames]),
    )


def with_margin(preprocess: Preprocess, frame: Frame) -> Preprocess:
    """The settings that scale like `preprocess` and keep all of an image of the shape of `frame`."""
    height, width, _ = preprocess.canvas(frame).pixels.shape
    return replace(preprocess, width=width, height=height, short_side=0)


def _digest(frames: Sequence[Frame], preprocess: Preprocess) -> str:
    metadata = hashlib.sha256(to_json(preprocess))
    for frame in frames:
        state = frame.image.stat() if frame.image.exists() else None
        stamp = (state.st_size, state.st_mtime_ns) if state else None
        metadata.update(repr((str(frame.image.resolve()), stamp, frame.camera)).encode())
    return metadata.hexdigest()[:24]


def _decode(
    frames: Sequence[Frame],
    preprocess: Preprocess,
    path: Path,
    cameras_path: Path,
    *,
    progress: CountProgress | None,
) -> None:
    """Decode all images into a file that takes its name when it is whole."""
    shape = (len(frames), 3, preprocess.height, preprocess.width)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    intrinsics = np.full((len(frames), 3, 3), np.nan)
    with cache_file(path, of=_CACHE) as file:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            np.lib.format.write_array_header_1_0(file, header)
            for index, view in enumerate(pool.map(preprocess.view, frames)):
                file.write(view.image.numpy().tobytes())
                if view.camera is not None:
                    intrinsics[index] = view.camera.matrix()
                if progress:
                    progress(index + 1, len(frames))
        cameras = io.BytesIO()
        np.save(cameras, intrinsics)
        write_atomically(cameras_path, cameras.getvalue())
    seal_cache(path, [cameras_path])
