"""From the words of a command to images: files, folders, patterns, lists, videos, standard input."""

import glob
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from camloc.data.formats import VIDEO_ENDINGS
from camloc.data.formats.parts.files import (
    clean_name,
    csv_cells,
    numbers_in,
    read_lines,
    seconds_of_times,
)
from camloc.data.photos import image_files, natural_order
from camloc.data.query import MOST_BYTES, Query
from camloc.data.video import frames
from camloc.errors import DatasetError, ImageError

_LIST_ENDINGS = (".csv", ".txt")

_STDIN = "-"

_TIME_COLUMNS = ("time", "timestamp", "seconds", "t")
_IMAGE_COLUMNS = ("image", "file", "filename", "name", "path")


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
