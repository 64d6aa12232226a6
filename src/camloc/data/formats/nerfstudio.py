"""nerfstudio and instant-ngp: `transforms.json`, `world_from_cam` matrices with OpenGL axes.

    scene/transforms.json    or transforms_train.json with transforms_test.json, as Blender's exporters write
    scene/images/0001.jpg    named by `file_path`, whose ending may be missing

OpenGL's camera looks along -z with y up; the frames have OpenCV's axes, z forward and y down. Intrinsics are
those of the frame, or of the file: `fl_x fl_y cx cy w h`, or `camera_angle_x` alone. The distortion is
`camera_model`'s (OPENCV where there is none and `k1` or others are given). `applied_transform` and
`applied_scale`, with which nerfstudio notes how it moved the world, are left as they are: the frames are in
the file's own world.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from camloc.core.files import write_atomically
from camloc.data.checks import Row, frames_from_matrices
from camloc.data.formats.parts.files import (
    clean_name,
    existing_image,
    is_file,
    read_json,
    sequence_of,
)
from camloc.data.formats.parts.intrinsics import number_fields
from camloc.data.formats.parts.nerfstudio_lens import camera_from_values, values_from_camera
from camloc.data.splits import Selection, folder_name, split_by_lists, split_by_names
from camloc.data.types import Frame, Scene, Unit
from camloc.errors import DatasetError

SCENES: tuple[str, ...] = ()
LOOKS_FOR = "transforms.json or transforms_train.json (nerfstudio, instant-ngp)"

_ENDINGS = (".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG")


def fits(root: Path) -> bool:
    """Whether `root` is a file of this layout, or a folder with one."""
    return root.suffix == ".json" if is_file(root) else bool(_files(root))


def load(
    root: Path,
    scene: str = "",
    *,
    images: Path | None = None,
    unit: Unit = "units",
    split: str = "",
    train_list: Path | None = None,
    test_list: Path | None = None,
    exclude: Collection[str] = (),
) -> Scene:
    """Read a `transforms.json`.

    Args:
        root: the file, or its folder.
        scene: what to call the scene; the folder's name otherwise.
        images: the folder that `file_path` is relative to; the file's own otherwise.
        unit: of the file's world: "m" where it has its true scale, which the format does not tell.
        split, train_list, test_list, exclude: see `Selection`; where there are no lists, the file's
            `train_filenames` and `test_filenames`, or its being two files, split the frames.

    Raises:
        DatasetError: something is missing, damaged, or contradicts something else.
    """
    files = [root] if is_file(root) else _files(root)
    if not files:
        raise DatasetError(f"{root} is not a nerfstudio data set, which needs {LOOKS_FOR}")
    folder = files[0].parent
    image_folder = folder if images is None else images
    contents = [(path, read_json(path)) for path in files]
    rows = [_rows(path, content, image_folder) for path, content in contents]
    frames = frames_from_matrices([row for part in rows for row in part], exclude=exclude)
    selection = Selection(split, train_list, test_list, exclude)
    if selection.lists(folder) != (None, None):
        both = split_by_lists(frames, folder, selection)
    else:
        train, test = _own_split(rows, *contents[0], image_folder)
        both = split_by_names(frames, train, test, exclude=exclude, source=files[0])
    return Scene(scene or folder_name(root), *both, unit=unit)


def write(scene: Scene, path: Path) -> None:
    """Write a scene as a `transforms.json`; the inverse of `load` with `images` the folder of the images.

    Camera models come back under another name where two are the same curve. Points, sequences and depth
    are not written.

    Raises:
        DatasetError: a frame has no pose, or a lens that the format has no name for.
        CamlocError: the file cannot be written.
    """
    frames = (*scene.train, *scene.test)
    cameras = {frame.camera for frame in frames}
    shared = values_from_camera(frames[0]) if len(cameras) == 1 else {}
    content: dict[str, Any] = {**shared, "frames": []}
    for frame in frames:
        if frame.world_from_cam is None or frame.is_position_only:
            raise DatasetError(f"{frame.name} has no whole pose, and {path.name} needs one")
        values: dict[str, Any] = {"file_path": frame.name, **({} if shared else values_from_camera(frame))}
        if frame.time is not None:
            values["time"] = frame.time
        numbers = frame.world_from_cam.matrix().flatten().tolist()
        flipped = _other_axes(numbers)
        values["transform_matrix"] = [flipped[start : start + 4] for start in range(0, 16, 4)]
        content["frames"].append(values)
    if scene.test:
        content["train_filenames"] = [frame.name for frame in scene.train]
        content["test_filenames"] = [frame.name for frame in scene.test]
    write_atomically(path, json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def _files(folder: Path) -> list[Path]:
    if is_file(folder / "transforms.json"):
        return [folder / "transforms.json"]
    names = ("transforms_train.json", "transforms_test.json")
    files = [folder / name for name in names if is_file(folder / name)]
    return files if files and files[0].name == names[0] else []


def _rows(path: Path, content: Mapping[str, Any], image_folder: Path) -> list[Row]:
    entries = content.get("frames")
    if not isinstance(entries, list) or not entries:
        raise DatasetError(f"{path} has no list of frames with something in it")
    return [
        _row(entry, f"{path}, frame {number}", content, image_folder) for number, entry in enumerate(entries)
    ]


def _row(entry: Any, where: str, shared: Mapping[str, Any], image_folder: Path) -> Row:
    if not isinstance(entry, dict):
        raise DatasetError(f"{where}: an object with file_path and transform_matrix is needed")
    name = _image_name(entry.get("file_path"), where, image_folder)
    where = f"{where} ({name})"
    image = existing_image(image_folder / name, where)
    time = number_fields({"time": entry["time"]}, where)["time"] if "time" in entry else None
    camera = camera_from_values({**shared, **entry}, where, image=image)
    frame = Frame(name, image, camera, sequence=sequence_of(name), time=time)
    return Row(where, frame, _other_axes(_matrix(entry.get("transform_matrix"), where)))


def _image_name(text: Any, where: str, image_folder: Path) -> str:
    """The name with its ending, which Blender's exporters leave out."""
    if not isinstance(text, str):
        raise DatasetError(f"{where}: there is no file_path")
    name = clean_name(text, where)
    if is_file(image_folder / name):
        return name
    return next((name + ending for ending in _ENDINGS if is_file(image_folder / (name + ending))), name)


def _matrix(rows: Any, where: str) -> list[float]:
    if not (isinstance(rows, list) and [isinstance(row, list) and len(row) for row in rows] == [4] * 4):
        raise DatasetError(f"{where}: transform_matrix must be 4 lists of 4 numbers")
    numbers = [number for row in rows for number in row]
    if any(isinstance(number, bool) or not isinstance(number, (int, float)) for number in numbers):
        raise DatasetError(f"{where}: transform_matrix must be 4 lists of 4 numbers")
    return [float(str(number)) for number in numbers]


def _other_axes(matrix: list[float]) -> list[float]:
    """A pose's 16 numbers with the camera's y and z axes reversed: OpenGL's to OpenCV's, and back."""
    return [-number if scene % 4 in (1, 2) and scene < 12 else number for scene, number in enumerate(matrix)]


def _own_split(
    rows: Sequence[Sequence[Row]], path: Path, content: Mapping[str, Any], image_folder: Path
) -> tuple[dict[str, str] | None, dict[str, str]]:
    """Names of training frames (None for all others) and of test frames, each with where it stands."""
    if len(rows) == 2:
        own, kept_apart = ({row.frame.name: row.where for row in part} for part in rows)
        return own, kept_apart
    test = _filenames(path, content, "test_filenames", image_folder)
    return _filenames(path, content, "train_filenames", image_folder), test or {}


def _filenames(path: Path, content: Mapping[str, Any], key: str, image_folder: Path) -> dict[str, str] | None:
    names = content.get(key)
    if names is None:
        return None
    if not isinstance(names, list):
        raise DatasetError(f"{path}: {key} must be a list of names")
    where = f"{path}, {key}"
    return {_image_name(name, where, image_folder): where for name in names}
