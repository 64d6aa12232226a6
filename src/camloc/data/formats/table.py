"""Tables of posed images: CSV, or columns between tabs, semicolons or blanks.

The first line names the columns, in any order; others than these are not read:

| columns | meaning |
|---|---|
| `image`, `img_path`, `file`, `filename`, `file_path` or `path` | the image |
| `tx ty tz`, `x y z` or `t1 t2 t3` | the camera's centre in the world, whatever the quaternion turns |
| `qw qx qy qz` or `q1 q2 q3 q4` | the quaternion; `qw`... may end in `_world_from_cam` or `_cam_from_world` |
| `split`, or `split_<name>` | `train` or `test` |
| `scene`, `sequence` or `seq`, `time` | the scene, the recording, seconds |
| `width height fx fy cx cy`, `model`, `k1`... | intrinsics; else `camera.json` or `K.txt` beside the table |

A training frame of which only the position is known, as from GPS, has four empty cells for its quaternion;
a table of such frames alone has no columns for it. It then trains through its position; a test frame needs
its whole pose.

A quaternion read the wrong way round changes none of the papers' numbers, so the direction is never
guessed: it is what the names of the columns end in, or the option `rotation`. Only the lists that are
published with the papers (columns scene, split, seq, img_path, t1..t3, q1..q4, w first) are known by their
scenes: those of 7Scenes hold `world_from_cam` and those of Cambridge `cam_from_world`.
"""

import csv
from collections.abc import Collection, Sequence
from io import StringIO
from pathlib import Path

from camloc.core.files import write_atomically
from camloc.data.checks import (
    PUBLISHED_QUATERNION_LENGTH,
    QUATERNION_LENGTH,
    Rotation,
    Row,
    frames_from_quaternions,
)
from camloc.data.formats import cambridge, sevenscenes
from camloc.data.formats.parts import table_columns as columns
from camloc.data.formats.parts.files import clean_name, existing_image, is_file, numbers_in, sequence_of
from camloc.data.formats.parts.intrinsics import camera_beside, fields_of
from camloc.data.formats.parts.table_columns import Order, PoseColumns, Record
from camloc.data.splits import Selection, Split, folder_name, split_by_lists, split_by_names
from camloc.data.types import Frame, Scene
from camloc.errors import DatasetError

SCENES: tuple[str, ...] = ()
LOOKS_FOR = "a .csv or .tsv file with the columns image, tx, ty, tz, qw, qx, qy, qz or their like (table)"

# A list of poses often lies beside data in a layout of its own, which then is what the folder is.
FALLBACK = True


def fits(root: Path) -> bool:
    """Whether `root` is a table, or a folder with one."""
    return columns.is_table(root) if is_file(root) else bool(_tables(root))


def load(
    root: Path,
    scene: str = "",
    *,
    rotation: Rotation | None = None,
    quaternion: Order | None = None,
    images: Path | None = None,
    split: str = "",
    train_list: Path | None = None,
    test_list: Path | None = None,
    exclude: Collection[str] = (),
) -> Scene:
    """Read a table.

    Args:
        root: the table, or the folder with `poses.csv` or with one table alone.
        scene: which rows, where there is a column `scene`; otherwise what to call the scene.
        rotation: what the quaternion turns, where its columns' names do not say it.
        quaternion: the order of `q1..q4`.
        images: the folder that the names of images are relative to; the table's own otherwise.
        split: the column `split_<split>`, or lists as in `Selection`; otherwise `split`, or the only column
            `split_...`, or lists.
        train_list, test_list, exclude: see `Selection`.

    Raises:
        DatasetError: something is missing, damaged, or contradicts something else.
    """
    path = _table(root)
    names, records = columns.read_records(path)
    records, name = _records_of_scene(path, records, scene)
    pose = columns.pose_columns(path, names, order=quaternion)
    published = _published_rotation(names, name)
    rows = _rows(path, records, pose, path.parent if images is None else images)
    frames = frames_from_quaternions(
        rows,
        rotation=_rotation(path, pose, rotation, published) if pose.quaternion_wxyz else "world_from_cam",
        longest=QUATERNION_LENGTH if published is None else PUBLISHED_QUATERNION_LENGTH,
        exclude=exclude,
    )
    column = None if train_list or test_list else columns.split_column(path, names, split)
    if column is None:
        sides = split_by_lists(frames, path.parent, Selection(split, train_list, test_list, exclude))
    else:
        sides = _split_by_column(path, frames, column, records=records, rows=rows, exclude=exclude)
    _refuse_untestable(rows, sides[1])
    return Scene(name, *sides)


def write(scene: Scene, path: Path) -> None:
    """Write a scene as a CSV table; the inverse of `load` with `images` the folder of the images.

    Points and depth are not written.

    Raises:
        DatasetError: a frame has no pose, or a name that a table cannot hold.
        CamlocError: the file cannot be written.
    """
    rows = [_written(frame, side) for side in ("train", "test") for frame in getattr(scene, side)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())


def _written(frame: Frame, side: str) -> dict[str, str | float | int]:
    if frame.world_from_cam is None:
        raise DatasetError(f"{frame.name} has no pose, and a table needs one")
    if frame.name.startswith("#") or len(frame.name.splitlines()) != 1:
        raise DatasetError(f"the name {frame.name!r} starts with # or holds a line break; rename that image")
    row: dict[str, str | float | int] = {"image": frame.name, "split": side, "sequence": frame.sequence}
    row["time"] = "" if frame.time is None else float(frame.time)
    row |= zip(columns.POSITION_NAMES[0], frame.world_from_cam.translation.tolist(), strict=True)
    quaternion = frame.world_from_cam.quaternion_wxyz().tolist()
    if frame.is_position_only:
        quaternion = [""] * len(columns.QUATERNION_NAMES)
    row |= zip((f"{name}_world_from_cam" for name in columns.QUATERNION_NAMES), quaternion, strict=True)
    if frame.camera is not None:
        row |= {"model": frame.camera.model, **fields_of(frame.camera)}
    return row


def _tables(folder: Path) -> list[Path]:
    """The tables of a folder; positions alone may be of anything, and count where there is nothing else."""
    found = (*folder.glob("*.csv"), *folder.glob("*.tsv"))
    tables = sorted(path for path in found if columns.is_table(path))
    return [path for path in tables if columns.has_quaternions(path)] or tables


def _table(root: Path) -> Path:
    if not root.is_dir():
        return root
    tables = _tables(root)
    if columns.is_table(root / "poses.csv"):
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
        return records, scenes[0]
    if scene not in scenes:
        wanted = f"no row of the scene {scene!r}" if scene else "rows of more than one scene"
        raise DatasetError(f"{path} has {wanted}; name one of {', '.join(scenes)}")
    return [record for record in records if record.cells["scene"] == scene], scene


def _published_rotation(names: Collection[str], scene: str) -> Rotation | None:
    """The direction in the lists that are published with the papers; None for any other table."""
    if not set(names) >= columns.PUBLISHED_NAMES:
        return None
    if scene.lower() in sevenscenes.SCENES:
        return "world_from_cam"
    return "cam_from_world" if scene in cambridge.SCENES else None


def _rotation(path: Path, pose: PoseColumns, given: Rotation | None, published: Rotation | None) -> Rotation:
    if given is not None and given not in columns.ROTATIONS:
        raise DatasetError(f"rotation is {' or '.join(columns.ROTATIONS)}, not {given!r}")
    if given and pose.rotation and given != pose.rotation:
        raise DatasetError(f"{path} says {pose.rotation}, and the option rotation says {given}")
    rotation = pose.rotation or given or published
    if rotation is None:
        raise DatasetError(
            f"{path} does not say what its quaternions turn; name the columns qw_world_from_cam and so on, "
            f"or give the option rotation: world_from_cam or cam_from_world"
        )
    return rotation


def _rows(path: Path, records: Sequence[Record], pose: PoseColumns, images: Path) -> list[Row]:
    column = next(name for name in columns.IMAGE_NAMES if name in records[0].cells)
    rows = []
    shared = None
    for number, record in enumerate(records):
        name = clean_name(record.cells[column], record.where)
        image = existing_image(images / name, record.where)
        if number == 0:
            shared = camera_beside(path.parent, image=image)
        sequence = record.cells.get("sequence", record.cells.get("seq", sequence_of(name)))
        time = record.cells.get("time")
        frame = Frame(
            name,
            image,
            columns.camera_of(record) or shared,
            sequence=sequence,
            time=numbers_in([time], record.where)[0] if time else None,
        )
        rows.append(Row(record.where, frame, pose.numbers(record)))
    return rows


def _split_by_column(
    path: Path,
    frames: Sequence[Frame],
    column: str,
    *,
    records: Sequence[Record],
    rows: Sequence[Row],
    exclude: Collection[str],
) -> Split:
    sides = [columns.side_of(record, column) for record in records]
    train, test = (
        {row.frame.name: row.where for row, side in zip(rows, sides, strict=True) if side == wanted}
        for wanted in ("train", "test")
    )
    return split_by_names(frames, train, test, exclude=exclude, source=path)


def _refuse_untestable(rows: Sequence[Row], test: Sequence[Frame]) -> None:
    where = {row.frame.name: row.where for row in rows}
    for frame in test:
        if frame.is_position_only:
            raise DatasetError(
                f"{where[frame.name]}: the test frame {frame.name} has no quaternion, and only frames to "
                f"learn from may lack it; give it, or leave the frame out"
            )
