"""Text files, names and images as people hand them over, each fault told in one sentence.

Read alike: LF and CRLF ends, a byte order mark, blank lines, lines that start with `#`, blanks at
the end, back slashes in paths. Refused: folders, binary files, text that is not UTF-8, and names that
lead out of the data set.
"""

import json
import os
import posixpath
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, UnidentifiedImageError

from camloc.errors import DatasetError

_DRIVE = re.compile(r"[A-Za-z]:")


class Line(NamedTuple):
    """A line of a text file, without blanks at its ends."""

    path: Path
    number: int
    text: str

    @property
    def where(self) -> str:
        """The file and the line, as messages name them."""
        return f"{self.path}, line {self.number}"


def read_lines(path: Path, *, comments: bool = False, blanks: bool = False) -> Iterator[Line]:
    """The lines of a text file, one at a time.

    Args:
        path: the file.
        comments: whether to give lines that start with `#` too.
        blanks: whether to give lines with nothing in them too.

    Raises:
        DatasetError: the file is missing, a folder, cannot be opened, or is not UTF-8 text.
    """
    if path.is_dir():
        raise DatasetError(f"{path} is a folder, and a text file is needed")
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                text = _decoded(raw, f"{path}, line {number}").strip()
                if (text or blanks) and (comments or not text.startswith("#")):
                    yield Line(path, number, text)
    except FileNotFoundError:
        raise DatasetError(f"{path} does not exist") from None
    except (OSError, ValueError) as problem:
        raise DatasetError(f"{path} cannot be read: {_one_line(problem)}") from None


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        DatasetError: the file cannot be read, is not JSON, or holds something else than an object.
    """
    text = _whole_text(path)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as problem:
        raise DatasetError(f"{path}, line {problem.lineno}: this is not JSON: {problem.msg}") from None
    except (ValueError, RecursionError) as problem:
        raise DatasetError(f"{path} is not JSON that can be read: {_one_line(problem)}") from None
    if not isinstance(content, dict):
        raise DatasetError(f"{path} holds a {type(content).__name__}, and a JSON object is needed")
    return content


def numbers_in(words: Sequence[str], where: str) -> list[float]:
    """Words as numbers; NaN and infinity pass, the checks of poses tell of them.

    Raises:
        DatasetError: a word is not a number.
    """
    numbers = []
    for word in words:
        try:
            numbers.append(float(word))
        except ValueError:
            raise DatasetError(f"{where}: {word[:40]!r} is not a number") from None
    return numbers


def clean_name(text: str, where: str) -> str:
    """An image's name in a list, as a path with forward slashes below the data set's folder.

    Raises:
        DatasetError: the name is empty, absolute, or leads out of that folder by `..`.
    """
    name = posixpath.normpath(text.strip().replace("\\", "/"))
    if name == ".":
        raise DatasetError(f"{where}: there is no name of an image")
    if name.startswith(("/", "../")) or name == ".." or _DRIVE.match(name):
        raise DatasetError(
            f"{where}: the path {text[:200]!r} leads out of the data set; write it relative to the folder "
            f"of the images"
        )
    return name


def existing_image(path: Path, where: str) -> Path:
    """`path`, if it is a file.

    Raises:
        DatasetError: there is nothing, or a folder.
    """
    if is_file(path):
        return path
    if _is_folder(path):
        raise DatasetError(f"{where}: {path} is a folder, and an image is needed")
    raise DatasetError(f"{where}: the image {str(path)[:1000]!r} does not exist")


def is_file(path: Path) -> bool:
    """Whether there is a file, also for names that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_named(path: Path) -> bool:
    """Whether anything has that name: also a folder, or a link that leads nowhere.

    What may be left out is asked for by this: where it is there and is no file, reading it tells so.
    """
    return os.path.lexists(path)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of the pixels as stored, from the head of the file.

    Raises:
        DatasetError: the file is not an image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                return image.size
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        raise DatasetError(f"{path} is not an image whose size can be read") from None


def sequence_of(name: str) -> str:
    """The recording that an image belongs to where only its folder tells: `a/b` of `images/a/b/1.png`."""
    folder = posixpath.dirname(name)
    return "" if folder == "images" else folder.removeprefix("images/")


def _whole_text(path: Path) -> str:
    if path.is_dir():
        raise DatasetError(f"{path} is a folder, and a JSON file is needed")
    try:
        return _decoded(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise DatasetError(f"{path} does not exist") from None
    except OSError as problem:
        raise DatasetError(f"{path} cannot be read: {_one_line(problem)}") from None


def _decoded(raw: bytes, where: str) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DatasetError(f"{where}: this is not UTF-8 text; save the file as UTF-8") from None
    if "\0" in text:
        raise DatasetError(f"{where}: this is a binary file, and text is needed")
    return text


def _one_line(problem: BaseException) -> str:
    return " ".join(str(problem).split()) or type(problem).__name__
