"""The columns of a table of posed images: which there are, and what they mean."""

import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from camloc.data.checks import Rotation
from camloc.data.formats.parts.files import Line, numbers_in, read_lines
from camloc.data.formats.parts.intrinsics import camera_from_fields, distortion_names
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

Order = Literal["wxyz", "xyzw"]

IMAGE_NAMES = ("image", "img_path", "file", "filename", "file_path", "path")
POSITION_NAMES = (("tx", "ty", "tz"), ("x", "y", "z"), ("t1", "t2", "t3"))
QUATERNION_NAMES = ("qw", "qx", "qy", "qz")
NUMBERED_NAMES = ("q1", "q2", "q3", "q4")
ROTATIONS: tuple[Rotation, ...] = ("world_from_cam", "cam_from_world")

# What the names of a quaternion's columns may end in, and what it then turns.
_ENDINGS: dict[str, Rotation | None] = {"": None} | {f"_{rotation}": rotation for rotation in ROTATIONS}
_QUATERNIONS = (
    *({name + ending for name in QUATERNION_NAMES} for ending in _ENDINGS),
    set(NUMBERED_NAMES),
)

# The lists that are published with the papers have exactly these columns.
PUBLISHED_NAMES = {"scene", "split", "seq", "img_path", "t1", "t2", "t3", "q1", "q2", "q3", "q4"}


@dataclass(frozen=True)
class Record:
    """A row: its cells by the names of their columns, and where it is."""

    where: str
    cells: Mapping[str, str]


@dataclass(frozen=True)
class PoseColumns:
    """The columns of positions and of quaternions, w first, and what these turn if the names say so.

    A table of positions alone has no columns of quaternions.
    """

    position: tuple[str, ...]
    quaternion_wxyz: tuple[str, ...]
    rotation: Rotation | None

    def numbers(self, record: Record) -> list[float]:
        """Position and quaternion of a row, or the position alone where no cell of the quaternion is filled.

        Raises:
            DatasetError: a cell is not a number.
        """
        quaternion = [record.cells[name] for name in self.quaternion_wxyz]
        position = [record.cells[name] for name in self.position]
        return numbers_in([*position, *quaternion] if any(quaternion) else position, record.where)


def is_table(path: Path) -> bool:
    """Whether a file starts with the columns of a table of posed images."""
    return any(_is_header(names) for names in _first_names(path))


def has_quaternions(path: Path) -> bool:
    """Whether a table has quaternions, and not positions alone."""
    return any(_is_header(names) and _has_quaternion(names) for names in _first_names(path))


def read_records(path: Path) -> tuple[tuple[str, ...], list[Record]]:
    """The names of the columns, in small letters, and the rows.

    Raises:
        DatasetError: the file cannot be read, has no line with the names of the columns, or a row has more
            or fewer cells than that.
    """
    separator, names = "", tuple[str, ...]()
    records = []
    for line in read_lines(path, comments=True):
        if not names:
            separator, found = _cells(line)
            if _is_header(found):
                names = _unrepeated(found, line)
            elif not line.text.startswith("#"):
                break
        elif not line.text.startswith("#"):
            records.append(_record(line, separator, names))
    if not names:
        raise DatasetError(
            f"{path} does not start with the names of its columns; an image (image), a position (tx ty tz) "
            f"and a quaternion (qw qx qy qz) are needed, of which frames to learn from may lack the last"
        )
    if not records:
        raise DatasetError(f"{path} has no row below the names of its columns")
    return names, records


def pose_columns(path: Path, names: Collection[str], *, order: Order | None) -> PoseColumns:
    """The columns of the pose; those of the quaternion are empty in a table of positions alone.

    Raises:
        DatasetError: there are two quaternions, or the order of `q1..q4` is not known.
    """
    position = next(columns for columns in POSITION_NAMES if set(columns) <= set(names))
    found = [
        PoseColumns(position, columns, rotation)
        for ending, rotation in _ENDINGS.items()
        if set(columns := tuple(name + ending for name in QUATERNION_NAMES)) <= set(names)
    ]
    if len(found) > 1:
        raise DatasetError(f"{path} has more than one quaternion; keep the columns of one")
    if found:
        return found[0]
    if not _has_quaternion(names):
        return PoseColumns(position, (), None)
    if set(names) >= PUBLISHED_NAMES:
        order = "wxyz"
    if order is None:
        raise DatasetError(
            f"{path} does not say in which order q1..q4 are; name them qw, qx, qy, qz, or give the option "
            f"quaternion: wxyz or xyzw"
        )
    first, second, third, fourth = NUMBERED_NAMES
    wxyz = NUMBERED_NAMES if order == "wxyz" else (fourth, first, second, third)
    return PoseColumns(position, wxyz, None)


def camera_of(record: Record) -> Camera | None:
    """The camera of a row, or None where the row has no focal length.

    Raises:
        DatasetError: the camera model is not known, or its numbers are not complete.
    """
    filled = {name: cell for name, cell in record.cells.items() if cell}
    if "fx" not in filled and "f" not in filled:
        return None
    bent = any(name in filled for name in distortion_names("OPENCV", record.where))
    model = filled.get("model", "OPENCV" if bent else "PINHOLE").upper()
    known = ("width", "height", "f", "fx", "fy", "cx", "cy", *distortion_names(model, record.where))
    present = [name for name in known if name in filled]
    values = numbers_in([filled[name] for name in present], record.where)
    return camera_from_fields(dict(zip(present, values, strict=True)), model=model, where=record.where)


def split_column(path: Path, names: Collection[str], split: str) -> str | None:
    """The column that says which frames are for testing, if there is one.

    Raises:
        DatasetError: there are several, and none is chosen.
    """
    if split:
        return f"split_{split}".lower() if f"split_{split}".lower() in names else None
    if "split" in names:
        return "split"
    found = [name for name in names if name.startswith("split_")]
    if len(found) > 1:
        raise DatasetError(
            f"{path} has more than one split; choose one with the option split: {', '.join(found)}"
        )
    return found[0] if found else None


def side_of(record: Record, column: str) -> str:
    """What a row is for, train or test, by the column of a split.

    Raises:
        DatasetError: it is neither.
    """
    side = record.cells[column].lower()
    if side not in ("train", "test"):
        raise DatasetError(
            f"{record.where}: {column} is {record.cells[column][:40]!r}, and not train or test"
        )
    return side


def _first_lines(path: Path) -> list[Line]:
    """The comments at the start of a file and the line after them."""
    lines = []
    for line in read_lines(path, comments=True):
        lines.append(line)
        if not line.text.startswith("#"):
            break
    return lines


def _first_names(path: Path) -> list[tuple[str, ...]]:
    """What could be the names of the columns; nothing where the file cannot be read."""
    try:
        return [_cells(line)[1] for line in _first_lines(path)]
    except DatasetError:
        return []


def _is_header(names: Sequence[str]) -> bool:
    """Whether names are of an image, a position, and a whole quaternion or nothing of one."""
    present = set(names)
    return (
        any(name in present for name in IMAGE_NAMES)
        and any(set(columns) <= present for columns in POSITION_NAMES)
        and (_has_quaternion(names) or not present & set().union(*_QUATERNIONS))
    )


def _has_quaternion(names: Collection[str]) -> bool:
    return any(columns <= set(names) for columns in _QUATERNIONS)


def _cells(line: Line) -> tuple[str, tuple[str, ...]]:
    """What separates the columns, and the names in a first line, which may stand behind a `#`."""
    text = line.text.lstrip("#").strip()
    separator = next((candidate for candidate in "\t;," if candidate in text), "")
    return separator, tuple(name.strip().lower() for name in _divided(text, separator, line.where))


def _divided(text: str, separator: str, where: str) -> list[str]:
    if not separator:
        return text.split()
    try:
        (cells,) = csv.reader([text], delimiter=separator, skipinitialspace=True, strict=True)
    except (csv.Error, ValueError):
        raise DatasetError(f"{where}: this row is not CSV; check its quotation marks") from None
    return [cell.strip() for cell in cells]


def _unrepeated(names: tuple[str, ...], line: Line) -> tuple[str, ...]:
    for name in names:
        if name and names.count(name) > 1:
            raise DatasetError(f"{line.where}: the column {name!r} is there more than once")
    return names


def _record(line: Line, separator: str, names: tuple[str, ...]) -> Record:
    cells = _divided(line.text, separator, line.where)
    if separator == "\t":  # empty cells at the end of a line are lost with its blanks
        cells += [""] * (len(names) - len(cells))
    if len(cells) != len(names):
        raise DatasetError(
            f"{line.where}: the row has {len(cells)} columns, and the first line names {len(names)}"
        )
    return Record(line.where, dict(zip(names, cells, strict=True)))
