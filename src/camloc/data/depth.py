"""Depth images: 16 bits a pixel, millimetres."""

from pathlib import Path

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from camloc.errors import ImageError

# Some depth cameras write this where they measure nothing.
_NOTHING = 65535


def read_depth(path: Path) -> Float64[NDArray[np.float64], "h w"]:
    """Metres along the viewing direction; 0 where nothing was measured.

    Raises:
        ImageError: the file is missing, damaged, or not an image of 16 bits without colour.
    """
    try:
        with Image.open(path) as image:
            if not image.mode.startswith("I"):
                raise ImageError(
                    f"{path} is not a depth image: its mode is {image.mode}, and 16 bits a pixel are needed"
                )
            millimetres = np.asarray(image, dtype=np.int64)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as problem:
        raise ImageError(f"{path} cannot be read as a depth image: {problem}") from None
    return np.where(millimetres == _NOTHING, 0, millimetres) / 1000.0
