"""Text files, names and images as people hand them over; each fault is one sentence that names file and line.

Accepted: LF and CRLF line ends, a byte order mark, UTF-8 and (with its mark) UTF-16, blank lines, lines that
start with `#`, trailing blanks, back slashes in paths, absolute paths below the data set's folder, and names
whose accents are stored composed here and decomposed there. Refused: folders, pipes, devices, files beyond
the sizes below, binary files, other encodings, and names that lead out of the data set.
"""

import csv
import io
import json
import os
import posixpath
import re
import stat
import unicodedata
import warnings
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from PIL import Image, UnidentifiedImageError

from camloc.data.image_io import exif_orientation, register_decoder, upright_size
from camloc.errors import DatasetError, one_line

# Bounds in bytes. Text is read line by line, so that only its longest line has to fit into memory: a line of
# 100,000 features of a COLMAP image has 3 MB. JSON is held whole: 256 MB are 400,000 frames of
# transforms.json.
LARGEST_FILE = 64 * 2**30
LARGEST_JSON = 256 * 2**20
LONGEST_LINE = 16 * 2**20

# Longest part of a path or a cell that a message quotes.
QUOTED = 200

IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".png", ".heic", ".heif", ".avif", ".webp", ".tif", ".tiff", ".bmp", ".ppm"),
)

# Words in names of images that are made of photographs and lie beside them.
_NO_PHOTOGRAPH = re.compile(
    r"(^|[^a-z])(depth|masks?|conf(idence)?|labels?|seg(mentation)?|normals?)([^a-z]|$)"
)

_DRIVE = re.compile(r"[A-Za-z]:")
_UTF16_MARKS = (BOM_UTF16_LE, BOM_UTF16_BE)


class Line(NamedTuple):
    """A line of a text file, without blanks at its ends."""

    path: Path
    number: int
    text: str

    @property
    def where(self) -> str:
        """The file and the line, as messages name them."""
        return f"{self.path}, line {self.number}"


def open_regular(path: Path, *, largest: int = LARGEST_FILE) -> BinaryIO:
    """Open a file for reading; refuse one that can block or has no end, such as a pipe.

    Raises:
        DatasetError: the path is missing, a folder, a pipe or a device, larger than `largest` bytes, or
            cannot be opened.
    """
    try:
        # A pipe without a writer would block here otherwise.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise DatasetError(f"{path} does not exist") from None
    except (OSError, ValueError) as problem:
        raise DatasetError(f"{path} cannot be read: {one_line(problem)}") from None
    state = os.fstat(descriptor)
    if stat.S_ISREG(state.st_mode) and state.st_size <= largest:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(state.st_mode):
        raise DatasetError(f"{path} is a folder, and a file is needed")
    if not stat.S_ISREG(state.st_mode):
        raise DatasetError(f"{path} is a pipe or a device, and a file is needed")
    raise DatasetError(f"{path} has {state.st_size:,} bytes, and at most {largest:,} are read")


def read_lines(path: Path, *, comments: bool = False, blanks: bool = False) -> Iterator[Line]:
    """The lines of a text file, without lines that start with `#` and empty ones unless they are wanted.

    Raises:
        DatasetError: the file cannot be opened (see `open_regular`), or is not UTF-8 or UTF-16 text.
    """
    with open_regular(path) as file:
        is_utf16 = file.read(2) in _UTF16_MARKS
        file.seek(0)
        # UTF-16 has line ends of two bytes, so it is decoded first.
        source = io.TextIOWrapper(file, encoding="utf-16") if is_utf16 else file
        number = 0
        try:
            while raw := source.readline(LONGEST_LINE + 1):
                number += 1
                if len(raw) > LONGEST_LINE:
                    raise DatasetError(
                        f"{path} has a line of more than {LONGEST_LINE:,} characters; it is not a list"
                    )
                text = (_decoded(raw, f"{path}, line {number}") if isinstance(raw, bytes) else raw).strip()
                if (text or blanks) and (comments or not text.startswith("#")):
                    yield Line(path, number, text)
        except UnicodeDecodeError:
            raise DatasetError(f"{path} starts like UTF-16 text and is none; save it as UTF-8") from None
        except OSError as problem:
            raise DatasetError(f"{path} cannot be read: {one_line(problem)}") from None


def csv_cells(text: str, where: str, separator: str = ",") -> list[str]:
    """The cells of a line of comma separated values, without the blanks around them.

    Raises:
        DatasetError: its quotation marks or the ends of its lines are not those of CSV.
    """
    try:
        (cells,) = csv.reader([text], delimiter=separator, skipinitialspace=True, strict=True)
    except (csv.Error, ValueError):
        raise DatasetError(
            f"{where}: this row is not CSV; check its quotation marks and the ends of its lines"
        ) from None
    return [cell.strip() for cell in cells]


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        DatasetError: the file cannot be read, is not JSON, or its JSON is not an object.
    """
    content = read_json_value(path)
    if not isinstance(content, dict):
        raise DatasetError(f"{path} holds a {type(content).__name__}, and a JSON object is needed")
    return content


def read_json_value(path: Path) -> Any:
    """The JSON in a file: an object, a list, or anything else.

    Raises:
        DatasetError: the file cannot be read, or is not JSON.
    """
    with open_regular(path, largest=LARGEST_JSON) as file:
        try:
            raw = file.read()
        except OSError as problem:
            raise DatasetError(f"{path} cannot be read: {one_line(problem)}") from None
    text = _decoded(raw, str(path))
    try:
        content: Any = json.loads(text, object_pairs_hook=_unrepeated)
    except json.JSONDecodeError as problem:
        raise DatasetError(f"{path}, line {problem.lineno}: this is not JSON: {problem.msg}") from None
    except (ValueError, RecursionError) as problem:
        raise DatasetError(f"{path} is not JSON that can be read: {one_line(problem)}") from None
    return content


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object; refuse a key that occurs twice, since either value may be meant."""
    content = dict(pairs)
    if len(content) != len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice[:40]!r} is there twice; remove one of them")
    return content


def is_time_heading(line: Line) -> bool:
    """Whether a line is a heading: the first line, which names columns, the time first."""
    return line.number == 1 and line.text.lower().startswith(("time", '"time'))


def numbers_in(words: Sequence[str], where: str, *, count: int | None = None, of: str = "") -> list[float]:
    """Convert words to numbers and check that there are `count`, if given; `of` names them in the message.

    NaN and infinity pass, the checks of poses refuse them.

    Raises:
        DatasetError: a word is not a number, or there are not as many as needed.
    """
    if count is not None and len(words) != count:
        meaning = f" ({of})" if of else ""
        raise DatasetError(f"{where}: {count} numbers are needed{meaning}, and {len(words)} numbers are here")
    word = ""
    try:
        return [float(word := each) for each in words]
    except ValueError:
        raise DatasetError(f"{where}: {word[:40]!r} is not a number") from None


def numbers_of_file(path: Path, of: str) -> list[float]:
    """The numbers of a text file, whatever its lines; `of` names them, as "x y z".

    Raises:
        DatasetError: the file cannot be read, or does not hold these numbers alone.
    """
    return numbers_in(
        [word for line in read_lines(path) for word in line.text.split()],
        str(path),
        count=len(of.split()),
        of=of,
    )


def csv_rows(path: Path, *, least: int, heading: bool = False) -> Iterator[tuple[str, list[str]]]:
    """The place and the cells of each line of a file whose cells are between commas, without quotation marks.

    With `heading`, a first line that names columns is left out, see `is_time_heading`.

    Raises:
        DatasetError: the file cannot be read, or a line has fewer than `least` cells.
    """
    for line in read_lines(path):
        if heading and is_time_heading(line):
            continue
        cells = [cell.strip() for cell in line.text.split(",")]
        if len(cells) < least:
            raise DatasetError(f"{line.where}: {least} cells are needed, and {len(cells)} are there")
        yield line.where, cells


def csv_records(path: Path, *, needed: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The place and the cells of each line of a CSV file, by the names in its first line, in small letters.

    Raises:
        DatasetError: the file cannot be read, a needed column is missing, or a line has more or fewer cells.
    """
    names: list[str] = []
    for line in read_lines(path, comments=True):
        cells = csv_cells(line.text, line.where)
        if not names:
            names = [cell.lstrip("#").strip().lower() for cell in cells]
            if missing := [name for name in needed if name not in names]:
                raise DatasetError(f"{line.where}: the column {missing[0]} is missing")
        elif not line.text.startswith("#"):
            if len(cells) != len(names):
                raise DatasetError(f"{line.where}: {len(names)} cells are needed, and {len(cells)} are there")
            yield line.where, dict(zip(names, cells, strict=True))


def seconds_of_times(times: Sequence[float]) -> list[float]:
    """Times in seconds, of times that may be Unix times in milli-, micro- or nanoseconds.

    The unit is that in which the median lies between the years 1973 and 5138; smaller times are seconds.
    """
    middle = sorted(map(abs, times))[len(times) // 2] if times else 0.0
    scale = next((scale for least, scale in ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3)) if middle >= least), 1)
    return [time * scale for time in times]


def clean_name(text: str, where: str, *, root: Path | None = None) -> str:
    """An image's name in a list, as a path with forward slashes below the data set's folder, composed (NFC).

    Absolute paths below `root`, the folder that names are relative to, become relative.

    Raises:
        DatasetError: the name is empty, absolute elsewhere, or leads out of that folder by `..`.
    """
    name = posixpath.normpath(unicodedata.normalize("NFC", text.strip()).replace("\\", "/"))
    if root is not None and name.startswith("/"):
        name = _below(name, root)
    if name == ".":
        raise DatasetError(f"{where}: the name of the image is missing, this is no name")
    if name.startswith(("/", "../")) or name == ".." or _DRIVE.match(name):
        raise DatasetError(
            f"{where}: the path {text[:QUOTED]!r} leads out of the data set; write it relative to the folder "
            f"of the images"
        )
    return name


def _below(name: str, root: Path) -> str:
    for folder in (root.absolute(), root.resolve()):
        base = unicodedata.normalize("NFC", folder.as_posix())
        if PurePosixPath(name).is_relative_to(base):
            return PurePosixPath(name).relative_to(base).as_posix()
    return name


class ImageFinder:
    """Finds files by their names; a folder's listing is read once, and only where a name fails."""

    def __init__(self) -> None:
        self._listings: dict[Path, dict[str, str]] = {}

    def find(self, path: Path, *, below: Path) -> Path | None:
        """The file at `path`, or None.

        Where there is none of exactly this name, one whose accents are stored otherwise is found, and one
        that differs in capital letters alone, as on Windows and macOS; the folder `below` is as it is
        written.
        """
        if is_file(path):
            return path
        found = below
        for part in path.relative_to(below).parts:
            alike = self._listing(found).get(_folded(part))
            if alike is None:
                return None
            found = found / alike
        return found if is_file(found) else None

    def _listing(self, folder: Path) -> dict[str, str]:
        """The names in a folder by their folded form; of several with one form none counts."""
        if folder not in self._listings:
            try:
                names = [path.name for path in folder.iterdir()]
            except (OSError, ValueError):
                names = []
            folded = [_folded(name) for name in names]
            counts = Counter(folded)
            self._listings[folder] = {
                key: name for key, name in zip(folded, names, strict=True) if counts[key] == 1
            }
        return self._listings[folder]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def is_file(path: Path) -> bool:
    """Whether a path is a file; False for names that no file can have."""
    return os.path.isfile(path)  # noqa: PTH113 - three times as fast as pathlib, for 100,000 images


def is_named(path: Path) -> bool:
    """Whether a path exists in any form: a file, a folder, or a broken link.

    Optional files are looked for with this: where the name exists and is no file, reading it says so.
    """
    return os.path.lexists(path)


def is_folder(path: Path) -> bool:
    """Whether a path is a folder; False for names that no folder can have."""
    return os.path.isdir(path)  # noqa: PTH112 - as `is_file`


def matching_files(root: Path, pattern: str, fits: Callable[[Path], bool]) -> list[Path]:
    """The files of a folder that match a pattern and that `fits` accepts, sorted; of a file, the file."""
    if is_file(root):
        return [root]
    return [path for path in sorted(root.glob(pattern)) if fits(path)] if root.is_dir() else []


def is_or_has(root: Path, pattern: str, fits: Callable[[Path], bool]) -> bool:
    """Whether a file fits, or a folder has one that does."""
    return fits(root) if is_file(root) else bool(matching_files(root, pattern, fits))


def image_sizes(path: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height of the pixels as stored, and of the image upright by its EXIF orientation.

    Only the head of the file is read.

    Raises:
        DatasetError: the file is not an image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            register_decoder(path)
            with Image.open(path) as image:
                return image.size, upright_size(image.size, exif_orientation(image))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        raise DatasetError(f"{path} is not an image whose size can be read") from None


def sequence_of(name: str) -> str:
    """The recording of an image by its folder: `a/b` of `images/a/b/1.png`."""
    folder = posixpath.dirname(name)
    return "" if folder == "images" else folder.removeprefix("images/")


def is_image_name(name: str) -> bool:
    """Whether a file is a photograph by its name: not a depth map, a mask or a hidden file."""
    lower = name.lower()
    return lower.endswith(IMAGE_ENDINGS) and not name.startswith(".") and not _NO_PHOTOGRAPH.search(lower)


def _decoded(raw: bytes, where: str) -> str:
    # Not "utf-8-sig", which takes ten times as long for each line.
    encoding = "utf-16" if raw[:2] in _UTF16_MARKS else "utf-8"
    try:
        text = raw.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise DatasetError(f"{where}: this is not UTF-8 text; save the file as UTF-8") from None
    if "\0" in text:
        # Of UTF-16 most of one half of the bytes is zero, and none of the other.
        zeros = [text[half::2].count("\0") for half in (0, 1)]
        if min(zeros) == 0 and len(text) >= 8 and max(zeros) > len(text) // 3:
            raise DatasetError(f"{where}: this is UTF-16 text without its mark; save the file as UTF-8")
        raise DatasetError(f"{where}: this is a binary file, and text is needed")
    return text
