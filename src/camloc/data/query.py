"""Images to be located: `Query`, all kinds that programs hold images in, and the queries a command names."""

import glob
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image

from camloc.data.formats import VIDEO_ENDINGS
from camloc.data.formats.parts.files import clean_name, csv_cells, numbers_in, read_lines, seconds_of_times
from camloc.data.image_io import MOST_PIXELS, SMALLEST_SIDE, image_in_memory
from camloc.data.photos import image_files, natural_order
from camloc.data.types import Frame, ImageInMemory, Located
from camloc.data.video import frames
from camloc.errors import DatasetError, ImageError
from camloc.geometry.arrays import is_torch_array, to_numpy
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose

if TYPE_CHECKING:
    from torch import Tensor

    Content: TypeAlias = bytes | bytearray | memoryview | BinaryIO
    ImageLike: TypeAlias = (
        str | os.PathLike[str] | Content | Image.Image | NDArray[Any] | Tensor | ImageInMemory
    )
else:  # torch is not imported to name a type
    ImageLike = Any

# More bytes than any image file that is decoded.
MOST_BYTES = 1 << 30

_LIST_ENDINGS = (".csv", ".txt")

_STDIN = "-"

_TIME_COLUMNS = ("time", "timestamp", "seconds", "t")
_IMAGE_COLUMNS = ("image", "file", "filename", "name", "path")

_KINDS = (
    "a path, the bytes of a file, a binary file object, a PIL image, a uint8 array (height, width, 3) of RGB "
    "or a uint8 tensor (3, height, width) of RGB"
)


@dataclass(frozen=True, eq=False)
class Query:
    """An image to be located, with its camera, time and name where they are known.

    Attributes:
        image: a path; the bytes of an image file, or a binary file object that has them; a PIL image; a NumPy
            array (height, width, 3) or, for grey images, (height, width); a tensor (3, height, width) or
            (height, width). Arrays and tensors are 8-bit RGB; images of OpenCV are BGR and must be reversed:
            `image[..., ::-1]`.
        camera: intrinsics, or None where they are unknown.
        previous: where the camera was shortly before, as an answer or as a pose `world_from_cam`, or None. A
            map looks there first.
        time: seconds, in any clock, or None; the answer has it too.
        name: for messages and for masks; by default the file's name.
    """

    image: ImageLike
    camera: Camera | None = None
    previous: Pose | Located | None = None
    time: float | None = None
    name: str = ""

    def frame(self) -> Frame:
        """The query as a frame; an image in a file is not decoded yet.

        Raises:
            ImageError: the image is of another kind, or cannot be decoded.
        """
        if self.camera is not None and not isinstance(self.camera, Camera):
            raise ImageError(f"the camera is a {type(self.camera).__name__}; give a camloc.Camera, or None")
        time = _checked_time(self.time)
        if isinstance(self.image, str | os.PathLike):
            path = Path(os.fsdecode(self.image))
            return Frame(self.name or path.name, path, self.camera, time=time)
        name = self.name or getattr(self.image, "filename", "") or "the image"
        memory = _in_memory(self.image, str(name))
        return Frame(str(name), Path(str(name)), self.camera, time=time, memory=memory)


def is_image_like(value: object) -> bool:
    """Whether a value is of a kind that `Query` takes as an image."""
    kinds = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray, ImageInMemory)
    return isinstance(value, kinds) or is_torch_array(value) or hasattr(value, "read")


def _in_memory(image: Any, name: str) -> ImageInMemory:
    if isinstance(image, ImageInMemory):
        return image
    if isinstance(image, bytes | bytearray | memoryview):
        return image_in_memory(bytes(image), name)
    if isinstance(image, Image.Image):
        return image_in_memory(image, name)
    if isinstance(image, np.ndarray):
        return ImageInMemory(_rgb(image, name, f"an array of {image.dtype} with shape {image.shape}"))
    if is_torch_array(image):
        what = f"a tensor of {str(image.dtype).removeprefix('torch.')} with shape {tuple(image.shape)}"
        if image.ndim == 3 and image.shape[0] not in (1, 3):
            raise ImageError(f"{name} is {what}; the colours of a tensor come first: (3, height, width)")
        pixels = to_numpy(image)
        return ImageInMemory(_rgb(pixels.transpose(1, 2, 0) if pixels.ndim == 3 else pixels, name, what))
    if hasattr(image, "read"):
        return image_in_memory(_read(image, name), name)
    raise ImageError(f"an image cannot be a {type(image).__name__}; give {_KINDS}")


def _rgb(pixels: NDArray[Any], name: str, what: str) -> UInt8[NDArray[np.uint8], "height width 3"]:
    """The pixels of an array, copied."""
    if pixels.dtype != np.uint8:
        raise ImageError(f"{name} is {what}; give RGB in 8 bits, from 0 to 255 (uint8)")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        hint = "; give several images as a list" if pixels.ndim == 4 else ""
        raise ImageError(f"{name} is {what}; images are (height, width, 3) RGB or (height, width) grey{hint}")
    height, width, _ = pixels.shape
    if min(height, width) < SMALLEST_SIDE or height * width > MOST_PIXELS:
        raise ImageError(
            f"{name} has {width} x {height} pixels; {SMALLEST_SIDE} a side are the least and "
            f"{MOST_PIXELS:,} in all the most"
        )
    return np.array(pixels, order="C")


def _read(file: Any, name: str) -> bytes:
    try:
        content = file.read(MOST_BYTES + 1)
    except Exception as problem:  # whatever a file object of somebody else raises
        raise ImageError(f"{name} cannot be read: {type(problem).__name__}: {problem}") from None
    if not isinstance(content, bytes | bytearray):
        raise ImageError(f"{name} is a file of text; open it with mode 'rb'")
    if len(content) > MOST_BYTES:
        raise ImageError(f"{name} has more than {MOST_BYTES:,} bytes; resize it first")
    return bytes(content)


def _checked_time(time: float | None) -> float | None:
    if time is None:
        return None
    if isinstance(time, bool) or not isinstance(time, int | float | np.number) or not math.isfinite(time):
        raise ImageError(f"the time {time!r} is not a finite number of seconds")
    return float(time)


class NamedQuery(NamedTuple):
    """An image to be located, and its name in the output."""

    label: str
    query: Query


def named_queries(words: Sequence[str], *, every: float = 0.0) -> Iterator[NamedQuery | ImageError]:
    """The images that words name, in order; where a word names none, the reason.

    Args:
        words: files, folders (all images below, in the order of the numbers in their names), patterns such as
            `walk/*.jpg`, lists of images with times (see `read_times`), videos, or "-" for the bytes of an
            image on standard input.
        every: least time in seconds between two frames of a video.

    Raises:
        DatasetError: a list cannot be read.
        MissingExtraError: a video is named and PyAV is not installed.
    """
    for word in words:
        path, shown = Path(word), word if word.isprintable() else ascii(word)
        if word == _STDIN:
            content = sys.stdin.buffer.read(MOST_BYTES + 1)
            yield NamedQuery("standard input", Query(content, name="standard input"))
        elif path.is_dir():
            yield from _several(image_files(path), f"{shown} is a folder without images")
        elif path.suffix.lower() in VIDEO_ENDINGS:
            yield from _video(path, every)
        elif path.suffix.lower() in _LIST_ENDINGS and path.is_file():
            for name, seconds in read_times(path):
                yield NamedQuery(str(name), Query(name, time=seconds, name=name.name))
        elif glob.has_magic(word) and not path.exists():
            found = map(Path, sorted(glob.glob(word, recursive=True), key=natural_order))  # noqa: PTH207 - of any root
            yield from _several([each for each in found if each.is_file()], f"no file is named like {shown}")
        else:
            yield NamedQuery(word, Query(path, name=path.name))


def read_times(path: Path) -> list[tuple[Path, float]]:
    """Images with their times in seconds, from a list; their names are relative to the list.

    A list is a CSV file with a column `time` (or timestamp, seconds, t) and a column `image` (or file,
    filename, name, path), or lines "time name" as the rgb.txt of TUM data sets. Times may be Unix times in
    milli-, micro- or nanoseconds.

    Raises:
        DatasetError: the file cannot be read, has no such columns, or a time is no number.
    """
    rows: list[tuple[str, float]] = []
    columns: tuple[int, int] | None = None
    for line in read_lines(path):
        is_csv = path.suffix.lower() == ".csv"
        words = csv_cells(line.text, line.where) if is_csv else line.text.split(maxsplit=1)
        if columns is None:
            columns = _columns(words)
            if columns is not None:
                continue
            columns = (0, 1)
        if len(words) <= max(columns):
            raise DatasetError(f"{line.where}: a time and the name of an image are needed")
        (seconds,) = numbers_in([words[columns[0]]], line.where)
        rows.append((clean_name(words[columns[1]], line.where, root=path.parent), seconds))
    if not rows:
        raise DatasetError(f"{path} names no image")
    times = seconds_of_times([seconds for _, seconds in rows])
    return [(path.parent / name, seconds) for (name, _), seconds in zip(rows, times, strict=True)]


def _columns(words: Sequence[str]) -> tuple[int, int] | None:
    """The columns of the time and of the image in a header, or None if it is no header."""
    names = [word.lower().lstrip("#").strip() for word in words]
    time = next((names.index(each) for each in _TIME_COLUMNS if each in names), None)
    image = next((names.index(each) for each in _IMAGE_COLUMNS if each in names), None)
    return None if time is None or image is None else (time, image)


def _several(paths: Sequence[Path], problem: str) -> Iterator[NamedQuery | ImageError]:
    if not paths:
        yield ImageError(problem)
    for path in paths:
        yield NamedQuery(str(path), Query(path, name=path.name))


def _video(path: Path, every: float) -> Iterator[NamedQuery | ImageError]:
    try:
        for frame in frames(path, every=every):
            label = f"{path}#{frame.number:06d}"
            yield NamedQuery(
                label, Query(frame.pixels, time=frame.seconds, name=f"{path.name}#{frame.number}")
            )
    except ImageError as problem:
        yield problem
