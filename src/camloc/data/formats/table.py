"""Tables of posed images: CSV, or columns between tabs, semicolons, bars or blanks.

    scene/poses.csv      or one table of any name, .csv, .tsv or .txt
    scene/0001.jpg       named by the table
    scene/camera.json    or K.txt; optional, the camera of all images

The first line names the columns, in any order:

| columns | meaning |
|---|---|
| `image`, `img_path`, `file`, `filename`, `file_path` or `path` | the image |
| `tx ty tz`, `x y z` or `t1 t2 t3` | the camera's centre in the world, whatever the quaternion's direction |
| `qw qx qy qz` or `q1 q2 q3 q4` | the quaternion; `qw` may end in `_world_from_cam` or `_cam_from_world` |
| `split`, or `split_<name>` | `train` or `test` |
| `scene`, `sequence` or `seq`, `time` or `timestamp` | the scene, the recording, seconds or Unix time |
| `width height fx fy cx cy`, `model`, `k1`... | intrinsics, by COLMAP's names |

Other columns are not read, but columns of an orientation or a lens that are not understood are refused by
name, and of a table of positions alone they are named in a note. Tables as Excel writes them are read:
UTF-16, a line `sep=;`, decimal commas between semicolons or tabs.

A training frame of which only the position is known, as from GPS, has four empty cells for its quaternion;
a table of such frames alone has no columns for it. A test frame needs its whole pose.

A quaternion read in the wrong direction changes none of the papers' numbers, so the direction is never
guessed: the names of the columns end in it, or the option `rotation` gives it. Only the lists that are
published with the papers (columns scene, split, seq, img_path, t1..t3, q1..q4, w first) are known by their
scenes: the lists of 7Scenes hold `world_from_cam`, the lists of Cambridge `cam_from_world`.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from camloc.core.files import csv_text, write_atomically
from camloc.data.checks import PUBLISHED_QUATERNION_LENGTH, QUATERNION_LENGTH, Direction
from camloc.data.formats import cambridge, sevenscenes
from camloc.data.formats.parts.files import Line, csv_cells, is_file, numbers_in, read_lines, seconds_of_times
from camloc.data.formats.parts.intrinsics import (
    camera_from_fields,
    fields_of,
    is_lens_name,
    refuse_contradiction,
    says_something,
)
from camloc.data.formats.parts.posed import Posed, listed_image, posed_scene
from camloc.data.splits import EVERYTHING, Listed, Selection, folder_name, own_split
from camloc.data.types import Frame, Scene
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

Order = Literal["wxyz", "xyzw"]

LOOKS_FOR = "a .csv or .tsv file with the columns image, tx, ty, tz, qw, qx, qy, qz or their like (table)"

# A list of poses often lies beside data in another layout, which then is the folder's.
FALLBACK = True

IMAGE_NAMES = ("image", "img_path", "file", "filename", "file_path", "path")
POSITION_NAMES = (("tx", "ty", "tz"), ("x", "y", "z"), ("t1", "t2", "t3"))
QUATERNION_NAMES = ("qw", "qx", "qy", "qz")
NUMBERED_NAMES = ("q1", "q2", "q3", "q4")
ROTATIONS: tuple[Direction, ...] = ("world_from_cam", "cam_from_world")

# Endings of the names of a quaternion's columns, and the direction that they say.
_ENDINGS: dict[str, Direction | None] = {"": None} | {f"_{rotation}": rotation for rotation in ROTATIONS}
_QUATERNIONS = {tuple(name + ending for name in QUATERNION_NAMES): _ENDINGS[ending] for ending in _ENDINGS}

# The lists that are published with the papers have exactly these columns.
PUBLISHED_NAMES = {"scene", "split", "seq", "img_path", "t1", "t2", "t3", "q1", "q2", "q3", "q4"}

# Other programs' names of columns.
_ALIASES = {"fl_x": "fx", "fl_y": "fy", "camera_model": "model", "img_width": "width", "img_height": "height"}
_ALIASES |= {"image_width": "width", "image_height": "height", "timestamp": "time", "time_stamp": "time"}
_UNIT_BEHIND = re.compile(r"\s*[\[(](m|s|px|pixels?|-)[\])]$")
_NUMBERED_LENS = re.compile(r"^([kp])_(\d)$")

# Columns of an orientation, of a lens by COLMAP's names, and of a further focal length.
_ORIENTATION = re.compile(
    r"(roll|pitch|yaw|heading|bearing|course|azimuth|elevation|tilt|pan|omega|phi|kappa|theta|psi|r[xyzw]|"
    r"r_?[0-3][0-3]|m_?[0-3][0-3]|rot.*|quat.*|q.*|orient.*|ori_?.*|euler.*|r_?vec.*|angle.*|axis.*|"
    r"dir(ection)?|dir_.*|look.*|forward.*|[wijkhpr]|o_?[wxyz]|hdg|hpr|rpy|ypr)([ _(\[.].*)?"
)
_SIZE, _PINHOLE = ("width", "height"), ("f", "fx", "fy", "cx", "cy")
_COLMAP_LENS = re.compile(r"[kps]\d|k|omega|alpha|beta|s[xy]1")
_FOCAL = re.compile(r"(fl?|focal.*)_?[xy]?([ _(\[].*)?|.*fov.*")

# Fields of view along the two sides.
_ACROSS = re.compile(r"hfov|x_?fov|fov_?[xh]|horizontal_?fov")
_DOWN = re.compile(r"vfov|y_?fov|fov_?[yv]|vertical_?fov")

# Text files of a folder that are looked into for a table.
_MOST_TEXTS = 50

# Greatest difference from one of the length of four numbers that are a quaternion.
_UNIT = 0.01
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?")


@dataclass(frozen=True)
class Record:
    """A row: its cells by the names of their columns, and its place."""

    where: str
    cells: Mapping[str, str]


@dataclass(frozen=True)
class PoseColumns:
    """The columns of positions and of quaternions, w first, and the direction if the names say it.

    A table of positions alone has no columns of quaternions.
    """

    position: tuple[str, ...]
    quaternion_wxyz: tuple[str, ...]
    rotation: Direction | None

    def numbers(self, record: Record) -> list[float]:
        """Position and quaternion of a row, or the position alone where the quaternion's cells are empty.

        Raises:
            DatasetError: a cell is not a number.
        """
        quaternion = [record.cells[name] for name in self.quaternion_wxyz]
        position = [record.cells[name] for name in self.position]
        return numbers_in([*position, *quaternion] if any(quaternion) else position, record.where)


def fits(root: Path) -> bool:
    """Whether `root` is a table, or a folder with one."""
    return is_table(root) if is_file(root) else bool(_tables(root))


def load(
    root: Path,
    scene: str = "",
    *,
    rotation: Direction | None = None,
    quaternion: Order | None = None,
    images: Path | None = None,
    selection: Selection = EVERYTHING,
) -> Scene:
    """Read a table.

    Args:
        root: the table, or the folder with `poses.csv` or with one table alone.
        scene: which rows, where there is a column `scene`; otherwise the name to give the scene.
        rotation: the direction of the quaternion, where its columns' names do not say it.
        quaternion: the order of `q1..q4`.
        images: the folder that the names of images are relative to; the table's own otherwise.
        selection: see `Selection`; its `split` may also name a column `split_<split>`, and without lists the
            column `split`, or the only column `split_...`, splits the frames.
    """
    path = _table(root)
    names, records = read_records(path)
    everything = records
    records, name = _records_of_scene(path, records, scene)
    pose = pose_columns(path, names, order=quaternion)
    notes = () if pose.quaternion_wxyz else _positions_alone(path, names, records)
    published = _published_rotation(names, name)
    direction = _rotation(path, pose, rotation, published) if pose.quaternion_wxyz else "world_from_cam"
    folder = path.parent if images is None else images
    elsewhere = [] if len(records) == len(everything) else _listed(everything, folder)
    kept = selection.present(_listed(records, folder), without_pose={"": elsewhere})
    has_lists = selection.train_list or selection.test_list
    column = None if has_lists else split_column(path, names, selection.split)
    if column is None:
        root, own = path.parent, None
    else:  # a column goes before lists beside the table
        root, selection = path, EVERYTHING
        own = own_split((each, each.content.cells[column], column) for each in kept.entries)
    found = posed_scene(
        root,
        name,
        kept,
        _posed(kept.entries, pose, _cameras(names, kept.entries)),
        selection=selection,
        rotation=direction,
        longest=QUATERNION_LENGTH if published is None else PUBLISHED_QUATERNION_LENGTH,
        calibration=path.parent,
        notes=notes,
        own=own,
    )
    for frame in found.test:
        if frame.is_position_only:
            where = next(each.where for each in kept.entries if each.name == frame.name)
            raise DatasetError(
                f"{where}: the test frame {frame.name} has no quaternion, and only training frames may lack "
                f"it; give it, or leave the frame out"
            )
    return found


def write(scene: Scene, path: Path) -> None:
    """Write a scene as a CSV table; the inverse of `load` with `images` the folder of the images.

    Points and depth are not written.

    Raises:
        DatasetError: a frame has no pose, or a name that a table cannot hold.
        CamlocError: the file cannot be written.
    """
    rows = [_written(frame, side) for side in ("train", "test") for frame in getattr(scene, side)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    write_atomically(path, csv_text([names, *([row.get(name, "") for name in names] for row in rows)]))


def _written(frame: Frame, side: str) -> dict[str, str | float | int]:
    if frame.world_from_cam is None:
        raise DatasetError(f"{frame.name} has no pose, and a table needs one")
    if frame.name.startswith("#") or len(frame.name.splitlines()) != 1:
        raise DatasetError(f"the name {frame.name!r} starts with # or holds a line break; rename that image")
    row: dict[str, str | float | int] = {"image": frame.name, "split": side, "sequence": frame.sequence}
    row["time"] = "" if frame.time is None else float(frame.time)
    row |= zip(POSITION_NAMES[0], frame.world_from_cam.translation.tolist(), strict=True)
    quaternion = frame.world_from_cam.quaternion_wxyz().tolist()
    if frame.is_position_only:
        quaternion = [""] * len(QUATERNION_NAMES)
    row |= zip((f"{name}_world_from_cam" for name in QUATERNION_NAMES), quaternion, strict=True)
    if frame.camera is not None:
        row |= {"model": frame.camera.model, **fields_of(frame.camera)}
    return row


def is_table(path: Path) -> bool:
    """Whether a file starts with the columns of a table of posed images."""
    return any(_is_header(names) for names in _first_names(path))


def read_records(path: Path) -> tuple[tuple[str, ...], list[Record]]:
    """The names of the columns, in small letters, and the rows.

    Raises:
        DatasetError: the file cannot be read, has no line with the names of the columns, or a row has more
            or fewer cells than that.
    """
    separator, names = "", tuple[str, ...]()
    records = []
    for line in _lines(path):
        if not names:
            separator, found = _cells(line)
            if _is_header(found):
                names = found
                if twice := [name for name in names if name and names.count(name) > 1]:
                    raise DatasetError(f"{line.where}: the column {twice[0][:40]!r} is there more than once")
            elif not line.text.startswith("#"):
                break
        elif not line.text.startswith("#"):
            records.append(_record(line, separator, names))
    if not names:
        raise DatasetError(
            f"{path} does not start with the names of its columns; an image (image), a position (tx ty tz) "
            f"and a quaternion (qw qx qy qz) are needed, and training frames may lack the last"
        )
    if not records:
        raise DatasetError(f"{path} has no row below the names of its columns")
    return names, _with_decimal_points(path, records) if separator in ("\t", ";") else records


def pose_columns(path: Path, names: Collection[str], *, order: Order | None) -> PoseColumns:
    """The columns of the pose, without a quaternion in a table of positions alone.

    Raises:
        DatasetError: there are two quaternions, the order of `q1..q4` is not known, or the orientation is in
            columns that are not understood.
    """
    position, *others = (columns for columns in POSITION_NAMES if set(columns) <= set(names))
    if others:
        raise DatasetError(
            f"{path} has more than one position ({', '.join((*position, *others[0]))}); keep the columns of "
            f"one"
        )
    found = [
        PoseColumns(position, columns, rotation)
        for columns, rotation in _QUATERNIONS.items()
        if set(columns) <= set(names)
    ]
    if len(found) > 1:
        raise DatasetError(f"{path} has more than one quaternion; keep the columns of one")
    if found:
        return found[0]
    if not _has_quaternion(names):
        unread = [name for name in names if _ORIENTATION.fullmatch(name)]
        if unread:
            raise DatasetError(
                f"{path} has an orientation in columns that are not understood ({', '.join(unread)[:200]}); "
                f"write a quaternion as qw, qx, qy, qz, or remove these columns to use the positions alone"
            )
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


def _positions_alone(path: Path, names: Sequence[str], records: Sequence[Record]) -> tuple[str, ...]:
    """A note on the columns of a table of positions that are not read, none of which may be a quaternion."""
    read = {*IMAGE_NAMES, *(name for each in POSITION_NAMES for name in each)}
    read |= {"scene", "sequence", "seq", "time", "split", "width", "height", "model"}
    unread = [name for name in names if name not in read and not is_lens_name(name)]
    unread = [name for name in unread if not name.startswith("split_")]
    for four in zip(unread, unread[1:], unread[2:], unread[3:], strict=False):
        if all(_is_unit([record.cells[name] for name in four]) for record in records):
            raise DatasetError(
                f"{path} has a quaternion in columns that are not understood ({', '.join(four)[:200]}); name "
                f"them qw, qx, qy, qz in their order, or remove them to use the positions alone"
            )
    return (f"positions alone; columns that are not read: {', '.join(unread)[:200]}",) if unread else ()


def _is_unit(cells: Sequence[str]) -> bool:
    try:
        return abs(math.hypot(*map(float, cells)) - 1.0) < _UNIT
    except ValueError:
        return False


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
        raise DatasetError(f"{path} has several splits; choose one with the option split: {', '.join(found)}")
    return found[0] if found else None


def _tables(folder: Path) -> list[Path]:
    """The tables of a folder; positions alone may be of anything, and count where there is nothing else."""
    found = (path for pattern in ("*.csv", "*.tsv", "*.CSV", "*.TSV") for path in folder.glob(pattern))
    tables = sorted({path for path in found if is_file(path) and is_table(path)})
    if not tables:  # lists and poses of other layouts are text too, in some a file for each image
        texts = list(islice(folder.glob("*.txt"), _MOST_TEXTS))
        tables = sorted(path for path in texts if is_file(path) and is_table(path))
    return [path for path in tables if any(map(_has_quaternion, _first_names(path)))] or tables


def _table(root: Path) -> Path:
    if not root.is_dir():
        return root
    tables = _tables(root)
    if is_file(root / "poses.csv") and is_table(root / "poses.csv"):
        return root / "poses.csv"
    if len(tables) == 1:
        return tables[0]
    if not tables:
        raise DatasetError(f"{root} has no table of poses, which is {LOOKS_FOR}")
    raise DatasetError(f"{root} has more than one table of poses; name one of {', '.join(map(str, tables))}")


def _records_of_scene(path: Path, records: list[Record], scene: str) -> tuple[list[Record], str]:
    """The rows of one scene, and its name."""
    scenes = sorted({record.cells.get("scene", "") for record in records} - {""})
    if not scenes:
        return records, scene or folder_name(path)
    if not scene and len(scenes) == 1:
        scene = scenes[0]
        if any(record.cells.get("scene") != scene for record in records):
            raise DatasetError(f"{path} has rows without a scene, and rows of {scene!r}; fill the column")
        return records, scene
    if scene not in scenes:
        wanted = f"no row of the scene {scene!r}" if scene else "rows of more than one scene"
        raise DatasetError(f"{path} has {wanted}; name one of {', '.join(scenes)[:1000]} with --scene")
    return [record for record in records if record.cells["scene"] == scene], scene


def _published_rotation(names: Collection[str], scene: str) -> Direction | None:
    """The direction in the lists that are published with the papers; None for any other table."""
    if not set(names) >= PUBLISHED_NAMES:
        return None
    if scene.lower() in sevenscenes.SCENES:
        return "world_from_cam"
    return "cam_from_world" if scene in cambridge.SCENES else None


def _rotation(
    path: Path, pose: PoseColumns, given: Direction | None, published: Direction | None
) -> Direction:
    if given is not None and given not in ROTATIONS:
        raise DatasetError(f"rotation is {' or '.join(ROTATIONS)}, not {given!r}")
    if given and pose.rotation and given != pose.rotation:
        raise DatasetError(f"{path} has columns that end in {pose.rotation}; the option rotation is {given}")
    rotation = pose.rotation or given or published
    if rotation is None:
        raise DatasetError(
            f"{path} does not say the direction of its quaternions; name the columns "
            f"qw_world_from_cam and so on, or give the option rotation: world_from_cam or cam_from_world"
        )
    return rotation


def _listed(records: Sequence[Record], images: Path) -> list[Listed[Record]]:
    column = next(name for name in IMAGE_NAMES if name in records[0].cells)
    return [listed_image(record.where, record.cells[column], images, record) for record in records]


def _cameras(names: Sequence[str], listed: Sequence[Listed[Record]]) -> list[Camera | None]:
    """The cameras of the rows by their own columns; None for those without a focal length."""
    columns = [
        name
        for name in names
        if name in ("width", "height", "model") or is_lens_name(name) or _COLMAP_LENS.fullmatch(name)
    ]
    cameras: dict[tuple[str, ...], Camera | None] = {}
    found = []
    for each in listed:
        cells = tuple(each.content.cells[name] for name in columns)
        if cells not in cameras:
            cameras[cells] = _camera(dict(zip(columns, cells, strict=True)), each.where)
        found.append(cameras[cells])
    return found


def _camera(cells: Mapping[str, str], where: str) -> Camera | None:
    """The camera of a row by its cells, or None where it has no focal length."""
    filled = {name: cell for name, cell in cells.items() if cell}
    has_focal = "fx" in filled or "f" in filled
    numeric = []
    for name, cell in filled.items():
        if name in _SIZE or (has_focal and (name in _PINHOLE or _COLMAP_LENS.fullmatch(name))):
            numeric.append(name)
        elif name != "model" and not (has_focal and _FOCAL.fullmatch(name)) and says_something(cell):
            raise DatasetError(
                f"{where}: the column {name[:40]!r} of the lens is not understood; name the columns "
                f"fx, fy, cx, cy in pixels and k1, k2, p1, p2 as COLMAP does, or remove it"
            )
    if not has_focal:
        return None
    for name in (*_SIZE, "cx", "cy", *(("fy",) if cells.get("fx") else ())):
        if cells.get(name) == "":
            raise DatasetError(
                f"{where}: the cell of {name} is empty; fill it, or empty all cells of this row's intrinsics"
            )
    values = dict(zip(numeric, numbers_in([filled[name] for name in numeric], where), strict=True))
    # OpenCV's model with as many parameters as the row needs.
    usual = "OPENCV" if values.keys() - {*_SIZE, *_PINHOLE} else "PINHOLE"
    if any(values.get(name) for name in ("k3", "k4", "k5", "k6")):
        usual = "FULL_OPENCV"
    camera = camera_from_fields(values, model=filled.get("model", usual).upper(), where=where)
    _refuse_other_view(filled, camera, where)
    return camera


def _refuse_other_view(cells: Mapping[str, str], camera: Camera, where: str) -> None:
    """Refuse a field of view, in degrees or radians, that contradicts the focal length of a pinhole."""
    for focal, side, names in ((camera.fx, camera.width, _ACROSS), (camera.fy, camera.height, _DOWN)):
        for name in filter(names.fullmatch, cells if "FISHEYE" not in camera.model else ()):
            (angle,) = numbers_in([cells[name]], where)
            half = (angle if angle < math.pi else math.radians(angle)) / 2
            pixels = side / 2 / math.tan(half) if 0 < half < math.pi / 2 else math.nan
            refuse_contradiction(focal, pixels, name, where)


def _posed(
    listed: Sequence[Listed[Record]], pose: PoseColumns, cameras: Sequence[Camera | None]
) -> Iterator[Posed]:
    for each, camera, time in zip(listed, cameras, _times(listed), strict=True):
        cells = each.content.cells
        yield Posed(pose.numbers(each.content), camera, time, cells.get("sequence", cells.get("seq")))


def _times(listed: Sequence[Listed[Record]]) -> list[float | None]:
    cells = [each.content.cells.get("time") for each in listed]
    timed = [numbers_in([cell], each.where)[0] for cell, each in zip(cells, listed, strict=True) if cell]
    seconds = iter(seconds_of_times(timed))
    return [next(seconds) if cell else None for cell in cells]


def _lines(path: Path) -> Iterator[Line]:
    """The lines with comments, without Excel's `sep=;`, which is noted as the separator of the next line."""
    for line in read_lines(path, comments=True):
        if line.number > 1 or not re.fullmatch(r'"?sep=.?"?', line.text, re.IGNORECASE):
            yield line


def _first_names(path: Path) -> list[tuple[str, ...]]:
    """Candidates for the names of the columns; nothing where the file cannot be read."""
    found = []
    try:
        for line in _lines(path):
            found.append(_cells(line)[1])
            if not line.text.startswith("#"):
                break
    except DatasetError:
        return []
    return found


def _is_header(names: Collection[str]) -> bool:
    """Whether names are of an image and a position."""
    present = set(names)
    return not present.isdisjoint(IMAGE_NAMES) and any(set(columns) <= present for columns in POSITION_NAMES)


def _has_quaternion(names: Collection[str]) -> bool:
    return any(set(columns) <= set(names) for columns in (*_QUATERNIONS, NUMBERED_NAMES))


def _cells(line: Line) -> tuple[str, tuple[str, ...]]:
    """The separator of the columns, and the names in a first line, which may start with `#`."""
    text = line.text.lstrip("#").strip()
    separator = next((candidate for candidate in "\t;,|" if candidate in text), "")
    names = []
    for cell in _divided(text, separator, line.where):
        name = _UNIT_BEHIND.sub("", cell.strip().lower())
        names.append(_ALIASES.get(name, _NUMBERED_LENS.sub(r"\1\2", name)))
    return separator, tuple(names)


def _divided(text: str, separator: str, where: str) -> list[str]:
    return csv_cells(text, where, separator) if separator else text.split()


def _record(line: Line, separator: str, names: tuple[str, ...]) -> Record:
    cells = _divided(line.text, separator, line.where)
    if separator == "\t":  # empty cells at the end of a line are lost with its blanks
        cells += [""] * (len(names) - len(cells))
    if len(cells) != len(names):
        hint = "; decimal commas need semicolons between the columns" if separator == "," else ""
        raise DatasetError(
            f"{line.where}: the row has {len(cells)} columns, and the first line names {len(names)}"
            f"{hint if len(cells) > len(names) else ''}"
        )
    return Record(line.where, dict(zip(names, cells, strict=True)))


def _with_decimal_points(path: Path, records: list[Record]) -> list[Record]:
    """The rows with decimal points instead of decimal commas, where the table has these."""
    cells = [cell for record in records for cell in record.cells.values()]
    with_comma = [cell for cell in cells if _DECIMAL_COMMA.fullmatch(cell)]
    if not with_comma:
        return records
    if any(_DECIMAL_POINT.fullmatch(cell) for cell in cells):
        raise DatasetError(f"{path} has decimal commas ({with_comma[0]}) beside decimal points; write points")
    if all(re.fullmatch(r"[+-]?\d{1,3},\d{3}", cell) for cell in with_comma):
        raise DatasetError(
            f"{path} has numbers such as {with_comma[0]}, whose commas may be decimal or not; write points"
        )

    def pointed(cell: str) -> str:
        return cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell

    return [
        Record(each.where, {name: pointed(cell) for name, cell in each.cells.items()}) for each in records
    ]
