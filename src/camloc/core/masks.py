"""Masks: pictures beside the photographs, black where something does not belong to the place."""

from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from camloc.core.images import Preprocess
from camloc.core.types import Frame
from camloc.errors import ImageError

# Pixels at least this bright (8 bits) count.
BRIGHT = 128


def read_mask(folder: Path, frame: Frame, preprocess: Preprocess) -> Bool[Tensor, "height width"]:
    """The mask of a frame, scaled and cut as its photograph: True where the photograph counts.

    Masks are named as COLMAP names them: the photograph's name within the data set with `.png` after
    it. A photograph without one counts everywhere.

    Raises:
        ImageError: the mask cannot be decoded, or the folder does not exist.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder} is no folder with masks")
    names = dict.fromkeys((f"{frame.name}.png", f"{frame.image.name}.png"))
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        return torch.ones(preprocess.height, preprocess.width, dtype=torch.bool)
    view = preprocess.view(Frame(frame.name, found, frame.camera))
    return view.image.amin(0) >= BRIGHT


def mask_at(masks: Bool[Tensor, "b height width"], pixels: Float[Tensor, "b n 2"]) -> Float[Tensor, "b n"]:
    """1 for pixels that count, 0 for pixels that do not."""
    height, width = masks.shape[-2:]
    columns = pixels[..., 0].long().clamp(0, width - 1)
    rows = pixels[..., 1].long().clamp(0, height - 1)
    picked = masks.flatten(1).gather(1, rows * width + columns)
    return picked.to(pixels.dtype)
