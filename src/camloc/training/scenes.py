"""The images of several scenes as one cache; each scene is decoded once, for all trainings that use it."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from camloc.data.image_cache import ImageCache, load_image_cache, with_margin
from camloc.data.image_io import Preprocess
from camloc.data.types import Frame
from camloc.geometry.pose import Pose

Progress = Callable[[int, int], None]


def load_scene_images(
    scenes: Sequence[Sequence[Frame]],
    preprocess: Preprocess,
    *,
    margin: bool = False,
    progress: Progress | None = None,
) -> ImageCache:
    """Images of the frames of one scene or of several, in their order; a scene's number is its index.

    Every scene has a cache file of its own. All images have the size that suits the first frame. The other
    arguments and the errors are those of `load_image_cache`.
    """
    first = next(frame for frames in scenes for frame in frames)
    reader = with_margin(preprocess, first) if margin else preprocess
    total, done = sum(len(frames) for frames in scenes), 0
    parts: list[ImageCache] = []
    for number, frames in enumerate(scenes):
        if frames:
            counted = progress and partial(add_to_progress, progress, done, total)
            parts.append(load_image_cache(frames, reader, scene=number, progress=counted))
            done += len(frames)
    return parts[0] if len(parts) == 1 else joined(parts)


def joined(parts: Sequence[ImageCache]) -> ImageCache:
    """Images of several scenes as one cache; recordings of different scenes keep different numbers.

    Intrinsics are None where those of any scene are unknown.
    """
    cameras = [part.intrinsics for part in parts if part.intrinsics is not None]
    recordings = accumulate((int(part.sequence.max()) + 1 for part in parts[:-1]), initial=0)
    return ImageCache(
        images=Joined(tuple(part.images for part in parts)),
        world_from_cam=Pose.cat([part.world_from_cam for part in parts]),
        intrinsics=torch.cat(cameras) if len(cameras) == len(parts) else None,
        scene=torch.cat([part.scene for part in parts]),
        sequence=torch.cat([part.sequence + first for part, first in zip(parts, recordings, strict=True)]),
    )


def split_scenes(images: ImageCache) -> list[ImageCache]:
    """The images of each scene, as they were before `joined`."""
    if not isinstance(images.images, Joined):
        return [images]
    found, first = [], 0
    for array in images.images.arrays:
        rows = slice(first, first + len(array))
        found.append(
            ImageCache(
                images=array,
                world_from_cam=images.world_from_cam[rows],
                intrinsics=None if images.intrinsics is None else images.intrinsics[rows],
                scene=images.scene[rows],
                sequence=images.sequence[rows],
            )
        )
        first = rows.stop
    return found


class Joined:
    """Arrays with rows of one shape, one behind the other, that are indexed like one array."""

    def __init__(self, arrays: tuple[Any, ...]) -> None:
        self.arrays = arrays
        self.ends = np.cumsum([len(array) for array in arrays])
        self.shape = (int(self.ends[-1]), *arrays[0].shape[1:])

    def __getitem__(self, index: "_Rows | tuple[_Rows, _Rows]") -> NDArray[Any]:
        """The rows; with a second index array, the entry of each row at its second index."""
        rows, *others = index if isinstance(index, tuple) else (index,)
        picked = np.empty((len(rows), *self.shape[1 + len(others) :]), self.arrays[0].dtype)
        owner = np.searchsorted(self.ends, rows, side="right")
        for number in np.unique(owner):
            is_here = owner == number
            first = self.ends[number] - len(self.arrays[number])
            picked[is_here] = self.arrays[number][
                rows[is_here] - first, *(other[is_here] for other in others)
            ]
        return picked


_Rows = NDArray[np.int64]


def add_to_progress(progress: Progress, before: int, total: int, done: int, in_scene: int) -> None:
    """Report `done` images of one scene to the progress of all scenes, `before` images of which are done."""
    del in_scene
    progress(before + done, total)
