"""The three files of a COLMAP model, text or binary, record by record.

Read here and not by pycolmap, which reads a zero quaternion as the identity, cuts a name at its first
blank, holds every feature in memory, and cannot say in which line a file is wrong; the camera models
are pycolmap's. Formats: https://colmap.github.io/format.html
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pycolmap
from jaxtyping import Float64
from numpy.typing import NDArray

from camloc.data.formats.parts.files import Line, is_file, numbers_in, read_lines
from camloc.data.formats.parts.intrinsics import camera_from_fields, parameter_names
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

_MODEL_OF_NUMBER = {int(value): name for name, value in pycolmap.CameraModelId.__members__.items()}


class Image(NamedTuple):
    """An image of a model: the file's own order and direction."""

    where: str
    name: str
    camera_id: int
    quaternion_wxyz: tuple[float, ...]
    translation: tuple[float, ...]


def is_model(folder: Path) -> bool:
    """Whether a folder holds the cameras and images of a model."""
    return any(
        is_file(folder / f"cameras{ending}") and is_file(folder / f"images{ending}")
        for ending in (".txt", ".bin")
    )


def read_cameras(folder: Path) -> dict[int, Camera]:
    """The cameras of a model, by their numbers.

    Raises:
        DatasetError: the file is damaged, or a model is not known.
    """
    path = _path(folder, "cameras")
    cameras: dict[int, Camera] = {}
    for where, number, camera in _binary_cameras(path) if path.suffix == ".bin" else _text_cameras(path):
        if number in cameras:
            raise DatasetError(f"{where}: camera {number} is there for the second time")
        cameras[number] = camera
    return cameras


def read_images(folder: Path) -> list[Image]:
    """The images of a model, in the order of the file.

    Raises:
        DatasetError: the file is damaged.
    """
    path = _path(folder, "images")
    return list(_binary_images(path) if path.suffix == ".bin" else _text_images(path))


def read_points(folder: Path) -> Float64[NDArray[np.float64], "n 3"] | None:
    """The points of a model in the world, or None where there are none.

    Raises:
        DatasetError: the file is damaged, or a point is not finite.
    """
    path = _path(folder, "points3D")
    if not is_file(path):
        return None
    points = np.array(
        list(_binary_points(path) if path.suffix == ".bin" else _text_points(path)), dtype=np.float64
    )
    if not np.isfinite(points).all():
        raise DatasetError(f"{path} holds a point with NaN or infinity; remove it")
    return points if len(points) else None


def _path(folder: Path, stem: str) -> Path:
    """The file of a model; the binary one where there are both, as COLMAP's own programs choose."""
    binary = is_file(folder / "cameras.bin") and is_file(folder / "images.bin")
    return folder / f"{stem}{'.bin' if binary else '.txt'}"


def _text_cameras(path: Path) -> Iterator[tuple[str, int, Camera]]:
    for line in read_lines(path):
        words = line.text.split()
        if len(words) < 5:
            raise DatasetError(f"{line.where}: a camera needs a number, a model, a size and parameters")
        number, width, height = (_whole(word, line) for word in (words[0], words[2], words[3]))
        parameters = numbers_in(words[4:], line.where)
        yield line.where, number, _camera(words[1], width, height, parameters, line.where)


def _binary_cameras(path: Path) -> Iterator[tuple[str, int, Camera]]:
    records = _Records(path)
    for _ in range(records.count()):
        number, model_number, width, height = records.take("IiQQ")
        where = f"{path}, camera {number}"
        model = _MODEL_OF_NUMBER.get(model_number, f"number {model_number}")
        parameters = records.take(f"{len(parameter_names(model, where))}d")
        yield where, number, _camera(model, width, height, list(parameters), where)


def _camera(model: str, width: int, height: int, parameters: list[float], where: str) -> Camera:
    names = parameter_names(model, where)
    if len(names) != len(parameters):
        raise DatasetError(
            f"{where}: {model} needs the {len(names)} parameters {', '.join(names)}, not {len(parameters)}"
        )
    fields = dict(zip(names, parameters, strict=True))
    return camera_from_fields({**fields, "width": width, "height": height}, model=model, where=where)


def _text_images(path: Path) -> Iterator[Image]:
    """Two lines an image; the second, of the features, may be empty and is not read."""
    lines = read_lines(path, blanks=True)
    for line in lines:
        if not line.text:
            continue
        words = line.text.split(maxsplit=9)
        if len(words) != 10:
            raise DatasetError(
                f"{line.where}: an image needs a number, a quaternion, a translation, a camera and a name"
            )
        numbers = tuple(numbers_in(words[1:8], line.where))
        yield Image(line.where, words[9], _whole(words[8], line), numbers[:4], numbers[4:])
        features = next(lines, None)
        if features is not None and len(features.text.split()) % 3:
            raise DatasetError(
                f"{features.where}: after an image, a line of features (or an empty one) is needed"
            )


def _binary_images(path: Path) -> Iterator[Image]:
    records = _Records(path)
    for _ in range(records.count()):
        number, *numbers, camera_id = records.take("I7dI")
        where = f"{path}, image {number}"
        name = records.text(where)
        records.skip(records.count(), size=24)
        yield Image(where, name, camera_id, tuple(numbers[:4]), tuple(numbers[4:]))


def _text_points(path: Path) -> Iterator[list[float]]:
    for line in read_lines(path):
        words = line.text.split(maxsplit=8)
        if len(words) < 8:
            raise DatasetError(f"{line.where}: a point needs a number, x y z, a colour and an error")
        yield numbers_in(words[1:4], line.where)


def _binary_points(path: Path) -> Iterator[tuple[float, ...]]:
    records = _Records(path)
    for _ in range(records.count()):
        _, x, y, z, *_, track = records.take("Q3d3BdQ")
        records.skip(track, size=8)
        yield x, y, z


def _whole(word: str, line: Line) -> int:
    if not word.isascii() or not word.removeprefix("-").isdecimal() or len(word) > 18:
        raise DatasetError(f"{line.where}: {word[:40]!r} is not a whole number")
    return int(word)


class _Records:
    """Little-endian numbers of a binary file, one after the other; never past its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._data = path.read_bytes()
        except OSError as problem:
            raise DatasetError(f"{path} cannot be read: {problem.strerror}") from None
        self._at = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        size = struct.calcsize(f"<{layout}")
        start = self._at
        self.skip(1, size=size)
        return struct.unpack_from(f"<{layout}", self._data, start)

    def count(self) -> int:
        return int(self.take("Q")[0])

    def skip(self, count: int, *, size: int) -> None:
        self._at += count * size
        if self._at > len(self._data):
            raise DatasetError(f"{self._path} is damaged or cut short: it ends within a record")

    def text(self, where: str) -> str:
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise DatasetError(f"{self._path} is damaged or cut short: it ends within a record")
        raw, self._at = self._data[self._at : end], end + 1
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise DatasetError(f"{where}: the name is not UTF-8 text") from None
