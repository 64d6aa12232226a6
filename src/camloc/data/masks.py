"""Masks: black-and-white images, black where pixels of an image do not belong to the scene.

masks/images/0001.jpg.png    for the frame images/0001.jpg
"""

import io
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import ExifTags, Image

from camloc.core.files import write_atomically
from camloc.data.image_io import Preprocess, exif_orientation, read_with_camera, turned_as_stored
from camloc.data.types import Frame
from camloc.errors import ImageError
from camloc.geometry.arrays import Array, array_namespace, to_numpy

# Pixels of a mask that are at least this bright (8 bits) count.
BRIGHT = 128


def mask_path(folder: Path, frame: Frame) -> Path:
    """The file of a frame's mask in a folder of masks.

    Raises:
        ImageError: the frame's name leads out of the folder.
    """
    name = PurePosixPath(frame.name)
    if name.is_absolute() or ".." in name.parts:
        raise ImageError(f"the frame {frame.name!r} has a name that leads out of {folder}; rename it")
    return folder / f"{frame.name}.png"


def read_mask(folder: Path, frame: Frame, preprocess: Preprocess) -> Bool[NDArray[np.bool_], "height width"]:
    """The mask of a frame, scaled and cut like its image: True where the image counts.

    Masks have COLMAP's names: the image's name within the data set and `.png`. An image without a mask
    counts everywhere.

    Raises:
        ImageError: the mask cannot be decoded, or the folder does not exist.
    """
    found = _mask_file(folder, frame)
    if found is None:
        return np.ones((preprocess.height, preprocess.width), dtype=np.bool_)
    return np.asarray(preprocess.cut(Frame(frame.name, found, frame.camera)).pixels.min(axis=-1) >= BRIGHT)


def read_mask_as_stored(folder: Path, frame: Frame) -> Bool[NDArray[np.bool_], "height width"] | None:
    """The mask of a frame in the pixels of its image as `read_with_camera` gives it; None where it has none.

    Raises:
        ImageError: the mask cannot be decoded, or the folder does not exist.
    """
    found = _mask_file(folder, frame)
    if found is None:
        return None
    image, _ = read_with_camera(Frame(frame.name, found, frame.camera))
    return np.asarray(np.asarray(image).min(axis=-1) >= BRIGHT)


def _mask_file(folder: Path, frame: Frame) -> Path | None:
    if not folder.is_dir():
        raise ImageError(f"{folder} is not a folder of masks")
    paths = dict.fromkeys((mask_path(folder, frame), folder / f"{frame.image.name}.png"))
    return next((path for path in paths if path.is_file()), None)


def write_mask(folder: Path, frame: Frame, counts: Bool[Array, "height width"]) -> None:
    """Write the mask that `read_mask` reads: white where the image counts, black elsewhere.

    `counts` is for the upright image. The mask is stored in the orientation of the image file, with its EXIF
    orientation, so that both are turned alike.

    Raises:
        CamlocError: the file cannot be written.
    """
    with Image.open(frame.image) as image:
        orientation = exif_orientation(image)
    grey = Image.fromarray(np.where(to_numpy(counts), 255, 0).astype(np.uint8))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    png = io.BytesIO()
    turned_as_stored(grey, orientation).save(png, format="PNG", exif=exif)
    write_atomically(mask_path(folder, frame), png.getvalue())


def mask_at(masks: Bool[Array, "b height width"], pixels: Float[Array, "b n 2"]) -> Float[Array, "b n"]:
    """The mask at some pixels: 1 where the image counts, 0 where it does not."""
    xp = array_namespace(masks, pixels)
    count, height, width = masks.shape
    columns = xp.clip(xp.astype(pixels[..., 0], xp.int64), 0, width - 1)
    rows = xp.clip(xp.astype(pixels[..., 1], xp.int64), 0, height - 1)
    picked = xp.take_along_axis(xp.reshape(masks, (count, height * width)), rows * width + columns, axis=1)
    return xp.astype(picked, pixels.dtype)
