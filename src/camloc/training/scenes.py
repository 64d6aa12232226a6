"""Images of several scenes as one: each scene is decoded once, whatever it is learned with."""

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

    Every scene has a cache file of its own. All images have the size that suits the first frame there is.
    The other arguments and the errors are those of `load_image_cache`.
    """
    first = next(frame for frames in scenes for frame in frames)
    reader = with_margin(preprocess, first) if margin else preprocess
    total, done = sum(len(frames) for frames in scenes), 0
    parts: list[ImageCache] = []
    for number, frames in enumerate(scenes):
        if frames:
            counted = progress and partial(count_on, progress, done, total)
            parts.append(load_image_cache(frames, reader, scene=number, progress=counted))
            done += len(frames)
    return parts[0] if len(parts) == 1 else joined(parts)


def joined(parts: Sequence[ImageCache]) -> ImageCache:
    """Images of several scenes as one; recordings of different scenes stay apart.

    Intrinsics are None where those of any scene are.
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


def apart(images: ImageCache) -> list[ImageCache]:
    """The images of each scene, as they were before they were joined."""
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
    """Arrays of rows of one shape, one after the other, from which rows are picked as from one array."""

    def __init__(self, arrays: tuple[Any, ...]) -> None:
        self.arrays = arrays
        self.ends = np.cumsum([len(array) for array in arrays])
        self.shape = (int(self.ends[-1]), *arrays[0].shape[1:])

    def __getitem__(self, index: "_Rows | tuple[_Rows, _Rows]") -> NDArray[Any]:
        """Rows; or, with a second index for each row, what stands there in the row."""
        rows, *others = index if isinstance(index, tuple) else (index,)
        picked = np.empty((len(rows), *self.shape[1 + len(others) :]), self.arrays[0].dtype)
        owner = np.searchsorted(self.ends, rows, side="right")
        for number in np.unique(owner):
            mine = owner == number
            first = self.ends[number] - len(self.arrays[number])
            picked[mine] = self.arrays[number][rows[mine] - first, *(other[mine] for other in others)]
        return picked


_Rows = NDArray[np.int64]


def count_on(progress: Progress, before: int, total: int, done: int, of_this_scene: int) -> None:
    """Tell `progress` of all scenes what was done in one of them, when `before` were done in others."""
    del of_this_scene
    progress(before + done, total)
