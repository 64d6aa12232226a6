"""From a file that somebody gave us to an image of the size that a network sees."""

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, UInt8
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError, features

from camloc.core.silence import without_c_messages, without_warnings
from camloc.core.stages import stage
from camloc.data.types import Frame, ImageInMemory, View
from camloc.errors import ImageError, RecipeError, one_line
from camloc.geometry.arrays import Array
from camloc.geometry.camera import Camera, pixel_grid

# The turn that brings an image upright, for each value of the EXIF orientation but 1.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# The others undo themselves.
_UNDONE = {
    Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
    Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
}


def exif_orientation(image: Image.Image) -> int:
    """The EXIF orientation of an image, from 1 (upright) to 8; 1 where it has no valid one.

    Only the orientation is read: Pillow's own turning rewrites the other EXIF fields, and fails
    where these are damaged.
    """
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF beside a sound image
        return 1
    return found if found in _TURNS else 1


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Width and height of an image of some size once its EXIF orientation has turned it upright."""
    return size[::-1] if orientation >= 5 else size


def turned_upright(stored: Image.Image, orientation: int) -> Image.Image:
    """Turn an image upright by its EXIF orientation."""
    turn = _TURNS.get(orientation)
    return stored if turn is None else stored.transpose(turn)


def turned_as_stored(upright: Image.Image, orientation: int) -> Image.Image:
    """Turn an upright image as a camera with this EXIF orientation would store it."""
    turn = _TURNS.get(orientation)
    return upright if turn is None else upright.transpose(_UNDONE.get(turn, turn))


# Smaller images say nothing about a scene; larger ones are refused before they are decoded.
SMALLEST_SIDE = 16
MOST_PIXELS = 170_000_000

# An image that is so long and narrow that it needs more memory than this many images of the network's size is
# refused: scaled to the network's size, 16 x 400,000 pixels would need gigabytes.
MOST_CANVASES = 50

# Network sizes for portrait images: sides are multiples of a power of two up to this, which the strides of
# backbones divide, and the area differs by this share at most.
_LARGEST_STEP, _AREA_TOLERANCE = 16, 0.1

# An image may be this much wider or higher, relatively, than its intrinsics say: rounding when
# it was resized. Beyond that the intrinsics belong to another image.
ASPECT_TOLERANCE = 0.02

# Training cameras of one image size count as one camera if their rays agree to this share of the largest.
FOCAL_AGREEMENT = 0.05

# Some depth cameras write this where they measure nothing.
_NO_DEPTH = 65535

# The formats of photographs. Others are refused; one of them (EPS) is a program that decoding would run.
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
_SEVERAL_IMAGES_ALLOWED = ("HEIF", "MPO")  # phones store a second image behind the image
_EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")


def read_image(path: Path, *, upright: bool = True) -> UInt8[NDArray[np.uint8], "height width 3"]:
    """Decode an image file as 8-bit RGB.

    Grey, palette, CMYK and transparent images are converted (transparency is dropped). An image
    of more than 8 bits a channel without colour is refused: it is a depth map more often than not. With
    `upright`, the image is turned as its EXIF orientation says.

    Raises:
        ImageError: missing, not a file, empty, not an image, damaged or cut short, animated,
            smaller than 16 pixels, larger than 170 million pixels, or deeper than 8 bits.
    """
    stored, orientation = _open(path)
    return np.array(turned_upright(stored, orientation) if upright else stored)


def read_depth(path: Path) -> Float64[NDArray[np.float64], "height width"]:
    """A depth image of 16 bits, in millimetres, as metres along the viewing direction; 0 where it has none.

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
    except (OSError, ValueError, SyntaxError) as problem:
        raise ImageError(f"{path} cannot be read as a depth image: {problem}") from None
    return np.where(millimetres == _NO_DEPTH, 0, millimetres) / 1000.0


def image_tensor(image: UInt8[NDArray[np.uint8], "height width 3"]) -> UInt8[Array, "3 height width"]:
    """An image as torch's networks take it: a tensor with the colours first."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def image_in_memory(content: bytes | Image.Image, name: str) -> ImageInMemory:
    """An image from the bytes of a file, or from a Pillow image; checked as `read_image` checks files.

    Raises:
        ImageError: as `read_image`.
    """
    with _checked(io.BytesIO(content) if isinstance(content, bytes) else content, name) as image:
        _load(image)
        return ImageInMemory(np.array(image.convert("RGB")), exif_orientation(image))


def image_size(content: bytes, name: str) -> tuple[int, int]:
    """Width and height of an image file's content, checked; the pixels are not decoded."""
    with _checked(io.BytesIO(content), name) as image:
        return image.size


def _open(source: Path | ImageInMemory) -> tuple[Image.Image, int]:
    """An image as stored, and its EXIF orientation."""
    if isinstance(source, ImageInMemory):
        return Image.fromarray(source.pixels), source.orientation
    with _checked(source) as image:
        _load(image)
        # Converting RGB would copy hundreds of megabytes of a large image.
        return image if image.mode == "RGB" else image.convert("RGB"), exif_orientation(image)


def _load(image: Image.Image) -> None:
    """Decode an image, without the messages that libtiff prints."""
    with without_c_messages() if image.format == "TIFF" else nullcontext():
        image.load()


def _sizes(source: Path | ImageInMemory) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height of an image as stored, and upright; the pixels are not decoded."""
    if isinstance(source, ImageInMemory):
        height, width, _ = source.pixels.shape
        return (width, height), upright_size((width, height), source.orientation)
    with _checked(source) as image:
        return image.size, upright_size(image.size, exif_orientation(image))


@contextmanager
def _checked(source: Path | io.BytesIO | Image.Image, name: str = "") -> Iterator[Image.Image]:
    """An image, checked; whatever a decoder raises becomes an ImageError, with a name or that of the file."""
    name = name or (str(source) if str(source).isprintable() else ascii(str(source)))
    try:
        if isinstance(source, Image.Image):
            _refuse_image(source, name)
            yield source
            return
        _refuse_source(source, name)
        register_decoder(source)
        with without_warnings, Image.open(source) as image:
            _refuse_image(image, name)
            yield image
    except ImageError:
        raise
    except PermissionError:
        raise ImageError(f"{name} may not be read; change its permissions") from None
    except UnidentifiedImageError:
        raise ImageError(f"{name} {_why_unidentified(source)}") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{name} says it has more than {MOST_PIXELS:,} pixels; resize it first") from None
    except Exception as problem:  # decoders of damaged files raise anything, from TypeError to struct.error
        raise ImageError(f"{name} is damaged or cut short: {one_line(problem)}") from None


# Brands in the head of files of the formats that phones write beside JPEG.
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
}


def _brand(source: Path | io.BytesIO | Image.Image) -> str:
    """ "HEIC" or "AVIF" by the head of a file, or ""."""
    if isinstance(source, Image.Image):
        return ""
    with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
        file.seek(0)
        head = file.read(12)
        file.seek(0)
    return _BRANDS.get(head[8:12], "") if head[4:8] == b"ftyp" else ""


def register_decoder(source: Path | io.BytesIO) -> None:
    """Let Pillow read a HEIC file by pillow-heif if that is installed.

    Raises:
        OSError: the file cannot be read.
    """
    if _brand(source) == "HEIC":
        with suppress(ImportError):
            import_module("pillow_heif").register_heif_opener()


def _why_unidentified(source: Path | io.BytesIO | Image.Image) -> str:
    kind = _brand(source)
    is_readable = features.check("avif") if kind == "AVIF" else find_spec("pillow_heif") is not None
    if kind and not is_readable:
        return f"is a {kind} image, which needs pillow-heif; install camloc[heif], or save the image as JPEG"
    return f"is a damaged {kind} image" if kind else "is not an image in a format that can be read"


def _refuse_source(source: Path | io.BytesIO, name: str) -> None:
    """Raise ImageError for a path that is no file, and for a file without content."""
    if isinstance(source, Path):
        if source.is_dir():
            raise ImageError(f"{name} is a folder, not an image")
        if not source.exists():
            raise ImageError(f"{name} does not exist")
        if not source.is_file():
            raise ImageError(f"{name} is a pipe or a device, not an image")
    size = source.stat().st_size if isinstance(source, Path) else len(source.getbuffer())
    if size == 0:
        raise ImageError(f"{name} is empty")


def _refuse_image(image: Image.Image, name: str) -> None:
    """Raise ImageError for an image that should not be decoded at all."""
    width, height = image.size
    if image.format is not None and image.format not in _FORMATS:  # an image that was made has no format
        raise ImageError(f"{name} is in the format {image.format}; save it as JPEG or PNG")
    if min(width, height) < SMALLEST_SIDE:
        raise ImageError(f"{name} has {width} x {height} pixels; {SMALLEST_SIDE} a side are the least")
    if width * height > MOST_PIXELS:
        raise ImageError(f"{name} says it has {width} x {height} pixels, more than {MOST_PIXELS:,}")
    if getattr(image, "is_animated", False) and image.format not in _SEVERAL_IMAGES_ALLOWED:
        raise ImageError(f"{name} is animated or holds several images; save the one to use alone")
    if image.mode not in _EIGHT_BIT_MODES:
        raise ImageError(
            f"{name} has more than 8 bits a channel (mode {image.mode}), as depth maps have; "
            f"save it as an 8-bit image"
        )


def centered_camera(source: Path | ImageInMemory, focal: float | None = None) -> Camera:
    """A pinhole camera that looks through the middle of an image, upright as its EXIF orientation says.

    Its focal length is in pixels; by default 1.2 times the longer side, which COLMAP assumes too.

    Raises:
        ImageError: the file is not an image that can be decoded.
    """
    _, (width, height) = _sizes(source)
    return _assumed_camera(width, height, 1.2 if focal is None else focal / max(width, height))


class ScaledImage(NamedTuple):
    """An image of a size that a network sees, and the camera that took it.

    Attributes:
        pixels: RGB, 8 bits.
        camera: pinhole intrinsics for these pixels, or None where they are unknown.
    """

    pixels: UInt8[NDArray[np.uint8], "height width 3"]
    camera: Camera | None


@dataclass(frozen=True)
class Preprocess:
    """How an image of any size becomes the image that a network sees.

    The image is scaled, its shape kept, until its shorter side has `short_side` pixels (or, when
    that is 0, until it just covers `width` x `height`), and `width` x `height` is cut from its
    middle. Lens distortion is removed on the way when `undistort` is set and the camera is known.

    Attributes:
        width, height: the network's image in pixels.
        short_side: 0, or the shorter side before the cut: 256 for the papers' 224 x 224.
        undistort: whether to resample images of distorting lenses as a pinhole would see them.
            Without it such images stay as they are, and the view's camera leaves the distortion out.

    Raises:
        RecipeError: a size that is not positive, or larger than any image.
    """

    width: int
    height: int
    short_side: int = 0
    undistort: bool = False

    def __post_init__(self) -> None:
        most = max(self.width * self.height, self.short_side**2)
        if self.width < 1 or self.height < 1 or self.short_side < 0 or most > MOST_PIXELS:
            raise RecipeError(
                f"images of {self.width} x {self.height} pixels with a shorter side of {self.short_side} "
                f"cannot be made; give positive sizes of {MOST_PIXELS:,} pixels in all at the most"
            )

    def canvas_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of a `width` x `height` image after scaling, before the cut."""
        cover = max(self.width / width, self.height / height)
        scale = max(cover, self.short_side / min(width, height))
        return max(self.width, round(width * scale)), max(self.height, round(height * scale))

    def cut_off_share(self, width: int, height: int) -> float:
        """The share of a `width` x `height` image that the network does not see."""
        canvas_width, canvas_height = self.canvas_size(width, height)
        return 1.0 - self.width * self.height / (canvas_width * canvas_height)

    def for_portrait(self, ratio: float) -> "Preprocess":
        """The same area as a portrait image of about a ratio, its width by its height.

        Sides stay multiples of the power of two, up to 16, that divides both sides now; a size with
        `short_side` is turned. Square and portrait sizes stay as they are.
        """
        if self.width <= self.height:
            return self
        turned = replace(self, width=self.height, height=self.width)
        step = math.gcd(self.width, self.height, _LARGEST_STEP)
        if self.short_side or step == 1:
            return turned
        area = self.width * self.height

        def badness(size: Preprocess) -> float:
            """The share of an image that is cut off, and a tenth of the share by which the area differs."""
            return (
                size.cut_off_share(round(1e4 * ratio), 10_000) + abs(size.width * size.height / area - 1) / 10
            )

        candidates = [turned]
        for width in range(step, math.isqrt(area) + 1, step):
            height = round(area / width / step) * step
            if abs(width * height / area - 1) <= _AREA_TOLERANCE:
                candidates.append(replace(self, width=width, height=height))
        return min(candidates, key=badness)

    def view(self, frame: Frame, *, assumed_focal: float | None = None) -> View:
        """Read, scale and cut a frame's image, as a tensor for the network; arguments as `cut`."""
        cut = self.cut(frame, assumed_focal=assumed_focal)
        return View(image_tensor(cut.pixels), cut.camera, frame.world_from_cam)

    def cut(self, frame: Frame, *, assumed_focal: float | None = None) -> ScaledImage:
        """Read, scale and cut a frame's image.

        Args:
            frame: what to read.
            assumed_focal: focal length of a camera that is unknown, in units of the longer side of
                its images; None leaves it unknown.

        Raises:
            ImageError: the file cannot be decoded, or the intrinsics are for another image.
        """
        canvas = self.canvas(frame, assumed_focal=assumed_focal)
        height, width, _ = canvas.pixels.shape
        left, top = (width - self.width) // 2, (height - self.height) // 2
        camera = canvas.camera and canvas.camera.cropped(
            left=left, top=top, width=self.width, height=self.height
        )
        return ScaledImage(canvas.pixels[top : top + self.height, left : left + self.width], camera)

    def canvas(self, frame: Frame, *, assumed_focal: float | None = None) -> ScaledImage:
        """Read and scale a frame's image, not yet cut: what random crops are taken from."""
        with stage("reading the file"):
            source, camera = read_with_camera(frame)
        if camera is None and assumed_focal is not None:
            camera = _assumed_camera(source.width, source.height, assumed_focal)
        width, height = self.canvas_size(source.width, source.height)
        if width * height > MOST_CANVASES * max(self.width * self.height, self.short_side**2):
            raise ImageError(
                f"{frame.image} has {source.width} x {source.height} pixels, of which the network's image of "
                f"{self.width} x {self.height} would show a sliver; cut out a part of it"
            )
        with stage("resizing"):
            pixels = np.array(source.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0))
        if camera is not None:
            camera = camera.resized(width=width, height=height)
            if self.undistort and not camera.is_pinhole:
                with stage("resizing"):
                    pixels = undistorted(pixels, camera)
            camera = camera.undistorted()
        return ScaledImage(pixels, camera)


def decoded(frame: Frame) -> Frame:
    """The frame with its image in memory, as stored, so that several readers decode its file once.

    Raises:
        ImageError: the file is not an image that can be decoded.
    """
    if frame.memory is not None:
        return frame
    with stage("reading the file"):
        stored, orientation = _open(frame.image)
        return replace(frame, memory=ImageInMemory(np.array(stored), orientation))


def frame_size(frame: Frame) -> tuple[int, int]:
    """Width and height of a frame's image in the orientation that the network sees, without decoding it.

    Raises:
        ImageError: the camera is unknown, and the file is not an image.
    """
    if frame.camera is not None:
        return frame.camera.width, frame.camera.height
    _, upright = _sizes(frame.source)
    return upright


def read_with_camera(frame: Frame) -> tuple[Image.Image, Camera | None]:
    """A frame's image in the orientation that its intrinsics (and so its pose) are for.

    That is the image as stored, whatever its EXIF orientation says, unless the intrinsics only fit
    the upright image. Without intrinsics it is the upright image.
    """
    stored, orientation = _open(frame.source)
    upright = turned_upright(stored, orientation)
    camera = frame.camera
    if camera is None:
        return upright, None
    for image in (stored, upright):
        if _same_shape(image.size, camera):
            return image, camera.resized(width=image.width, height=image.height)
    raise ImageError(
        f"{frame.image} has {upright.width} x {upright.height} pixels, but its intrinsics are for "
        f"{camera.width} x {camera.height}; correct the camera or the image"
    )


def assign_camera(source: Path | ImageInMemory, known: Sequence[Camera]) -> Camera | None:
    """The known camera that took an image, or None where no camera or several cameras fit.

    Arguments and errors as of `fitting_cameras`.
    """
    fitting = fitting_cameras(source, known)
    return fitting[0] if len(fitting) == 1 else None


def fitting_cameras(source: Path | ImageInMemory, known: Sequence[Camera]) -> tuple[Camera, ...]:
    """The known cameras that may have taken an image; nearly equal cameras count as one.

    A camera fits if the pixels as stored, or turned upright by the EXIF orientation, have the shape
    that the camera's images have. A camera of exactly that size is preferred to one of the same shape. Of a
    file only the header is decoded.

    Raises:
        ImageError: the file is not an image that can be decoded.
    """
    for size in _sizes(source):
        exact = {camera for camera in known if (camera.width, camera.height) == size}
        alike = {camera for camera in known if _same_shape(size, camera)}
        for fitting in (exact, alike):
            if fitting:
                return _distinct(frozenset(fitting))
    return ()


def fitted_camera(frame: Frame) -> Camera | None:
    """A frame's camera for the pixels of its image, or None where it is unknown or of another shape."""
    if frame.camera is None:
        return None
    for width, height in _sizes(frame.source):
        if _same_shape((width, height), frame.camera):
            return frame.camera.resized(width=width, height=height)
    return None


@lru_cache(maxsize=64)
def _distinct(cameras: frozenset[Camera]) -> tuple[Camera, ...]:
    """One of each group of cameras whose rays agree to `FOCAL_AGREEMENT`, the largest group first.

    Besides the focal length, this tells the principal point and the distortion.
    """
    left = sorted(cameras, key=lambda camera: (camera.fx / camera.width, camera.cx, camera.cy, camera.model))
    rays = np.stack([_corner_rays(camera) for camera in left])
    groups = []
    while left:
        middle = len(left) // 2
        off = np.abs(rays - rays[middle]).max(axis=(1, 2))
        agree = off <= FOCAL_AGREEMENT / 2 * np.abs(rays[middle]).max()
        agree[middle] = True  # also where a ray is not defined
        groups.append((int(agree.sum()), left[middle]))
        left = [camera for camera, alike in zip(left, agree, strict=True) if not alike]
        rays = rays[~agree]
    return tuple(camera for _, camera in sorted(groups, key=lambda group: -group[0]))


def _corner_rays(camera: Camera) -> NDArray[np.float64]:
    """Where the rays of points near the corners and of the middle of an image meet the plane at depth 1."""
    shares = np.array([[0.1, 0.1], [0.9, 0.1], [0.5, 0.5], [0.1, 0.9], [0.9, 0.9]])
    return np.asarray(camera.unproject(shares * (camera.width, camera.height))[:, :2])


def _assumed_camera(width: int, height: int, focal: float) -> Camera:
    pixels = focal * max(width, height)
    return Camera(width, height, pixels, pixels, width / 2, height / 2)


def _same_shape(size: tuple[int, int], camera: Camera) -> bool:
    ratio = (size[0] / size[1]) / (camera.width / camera.height)
    return abs(ratio - 1.0) < ASPECT_TOLERANCE


def undistorted(
    image: UInt8[NDArray[np.uint8], "height width 3"], camera: Camera
) -> UInt8[NDArray[np.uint8], "height width 3"]:
    """An image as a pinhole camera of the same focal length and principal point would see it."""
    from scipy.ndimage import map_coordinates  # only for lenses that distort

    grid = pixel_grid(camera.width, camera.height)
    rays = camera.undistorted().unproject(grid.reshape(-1, 2))
    across, down = (camera.project(rays) - 0.5).T.reshape(2, *grid.shape[:2])
    # Where no ray of the image reaches, it is black.
    where = np.nan_to_num(np.stack((down, across)), nan=-2.0)
    colors = [
        map_coordinates(image[..., color].astype(np.float32), where, order=1, mode="grid-constant")
        for color in range(3)
    ]
    return np.stack(colors, axis=-1).round().clip(0, 255).astype(np.uint8)
