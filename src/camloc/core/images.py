"""From a file that somebody gave us to a picture of the size that a network sees."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from camloc.core.types import Frame, View
from camloc.errors import ImageError
from camloc.geometry.camera import Camera, pixel_grid

# Smaller pictures say nothing about a place; larger ones are refused before they are decoded.
SMALLEST_SIDE = 16
MOST_PIXELS = 170_000_000

# A picture may be this much wider or higher, relatively, than its intrinsics say: rounding when
# it was resized. Beyond that the intrinsics belong to another picture.
ASPECT_TOLERANCE = 0.02

_SEVERAL_PICTURES_ALLOWED = ("MPO",)  # phones store a second picture behind the photograph
_EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")


def read_image(path: Path, *, upright: bool = True) -> UInt8[Tensor, "3 height width"]:
    """Decode a picture file as 8-bit RGB.

    Grey, palette, CMYK and transparent pictures are converted (transparency is dropped). A picture
    of more than 8 bits a channel without colour is refused: it is a depth map more often than not.

    Args:
        path: the file.
        upright: turn the picture as its EXIF orientation says.

    Raises:
        ImageError: missing, a folder, empty, not a picture, damaged or cut short, animated,
            smaller than 16 pixels, larger than 170 million pixels, or deeper than 8 bits.
    """
    return torch.from_numpy(np.array(_open(path, upright=upright))).permute(2, 0, 1).contiguous()


def _open(path: Path, *, upright: bool) -> Image.Image:
    if path.is_dir():
        raise ImageError(f"{path} is a folder, not a picture")
    if not path.exists():
        raise ImageError(f"{path} does not exist")
    if path.stat().st_size == 0:
        raise ImageError(f"{path} is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                _refuse(picture, path)
                picture.load()
                turned = ImageOps.exif_transpose(picture) if upright else picture
                return turned.convert("RGB")
    except UnidentifiedImageError:
        raise ImageError(f"{path} is not a picture in a format that can be read") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{path} says it has more than {MOST_PIXELS:,} pixels; resize it first") from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, OverflowError) as problem:
        raise ImageError(f"{path} is damaged or cut short: {_one_line(problem)}") from None


def _refuse(picture: Image.Image, path: Path) -> None:
    """Raise ImageError for a picture that should not be decoded at all."""
    width, height = picture.size
    if min(width, height) < SMALLEST_SIDE:
        raise ImageError(f"{path} has {width} x {height} pixels; {SMALLEST_SIDE} a side are the least")
    if width * height > MOST_PIXELS:
        raise ImageError(f"{path} says it has {width} x {height} pixels, more than {MOST_PIXELS:,}")
    if getattr(picture, "n_frames", 1) > 1 and picture.format not in _SEVERAL_PICTURES_ALLOWED:
        raise ImageError(f"{path} is animated or holds several pictures; save the one to use by itself")
    if picture.mode not in _EIGHT_BIT_MODES:
        raise ImageError(
            f"{path} has more than 8 bits a channel (mode {picture.mode}), as depth maps have; "
            f"save it as an 8-bit picture"
        )


def _one_line(problem: BaseException) -> str:
    return " ".join(str(problem).split()) or type(problem).__name__


@dataclass(frozen=True)
class Preprocess:
    """How a picture of any size becomes the picture that a network sees.

    The picture is scaled, its shape kept, until its shorter side has `short_side` pixels (or, when
    that is 0, until it just covers `width` x `height`), and `width` x `height` is cut from its
    middle. Lens distortion is removed on the way when `undistort` is set and the camera is known.

    Attributes:
        width, height: the network's picture in pixels.
        short_side: 0, or the shorter side before the cut: 256 for the papers' 224 x 224.
        undistort: whether to resample pictures of distorting lenses as a pinhole would see them.
    """

    width: int
    height: int
    short_side: int = 0
    undistort: bool = False

    def canvas_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of a `width` x `height` picture after scaling, before the cut."""
        cover = max(self.width / width, self.height / height)
        scale = max(cover, self.short_side / min(width, height))
        return max(self.width, round(width * scale)), max(self.height, round(height * scale))

    def view(self, frame: Frame) -> View:
        """Read, scale and cut a frame's picture for the network.

        Raises:
            ImageError: the file cannot be decoded, or the intrinsics are for another picture.
        """
        canvas = self.canvas(frame)
        _, height, width = canvas.image.shape
        left, top = (width - self.width) // 2, (height - self.height) // 2
        image = canvas.image[:, top : top + self.height, left : left + self.width]
        camera = canvas.camera and canvas.camera.cropped(
            left=left, top=top, width=self.width, height=self.height
        )
        return View(image.contiguous(), camera, frame.world_from_cam)

    def canvas(self, frame: Frame) -> View:
        """Read and scale a frame's picture, not yet cut: what random crops are taken from."""
        picture, camera = _read_with_camera(frame)
        width, height = self.canvas_size(picture.width, picture.height)
        scaled = picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
        image = torch.from_numpy(np.array(scaled)).permute(2, 0, 1)
        if camera is not None:
            camera = camera.resized(width=width, height=height)
            if self.undistort and not camera.is_pinhole:
                image = undistorted(image, camera)
            camera = camera.undistorted()
        return View(image.contiguous(), camera, frame.world_from_cam)


def _read_with_camera(frame: Frame) -> tuple[Image.Image, Camera | None]:
    """A frame's picture in the orientation that its intrinsics (and so its pose) are for."""
    picture = _open(frame.image, upright=True)
    camera = frame.camera
    if camera is None:
        return picture, None
    if _same_shape(picture, camera):
        return picture, camera.resized(width=picture.width, height=picture.height)
    stored = _open(frame.image, upright=False)
    if _same_shape(stored, camera):
        return stored, camera.resized(width=stored.width, height=stored.height)
    raise ImageError(
        f"{frame.image} has {picture.width} x {picture.height} pixels, but its intrinsics are for "
        f"{camera.width} x {camera.height}; correct the camera or the picture"
    )


def _same_shape(picture: Image.Image, camera: Camera) -> bool:
    ratio = (picture.width / picture.height) / (camera.width / camera.height)
    return abs(ratio - 1.0) < ASPECT_TOLERANCE


def undistorted(
    image: UInt8[Tensor, "3 height width"], camera: Camera
) -> UInt8[Tensor, "3 height width"]:
    """A picture as a pinhole camera of the same focal length and principal point would see it."""
    grid = pixel_grid(camera.width, camera.height)
    rays = camera.undistorted().unproject(grid.reshape(-1, 2))
    seen = camera.project(rays).reshape(grid.shape)
    size = torch.tensor([camera.width, camera.height], dtype=seen.dtype)
    sampled = torch.nn.functional.grid_sample(
        image[None].float(), (seen / size * 2 - 1)[None].float(), align_corners=False
    )
    return sampled[0].round().clamp(0, 255).to(torch.uint8)
