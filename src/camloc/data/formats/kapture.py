"""kapture: text files of sensors, records and trajectories.

    scene/sensors/sensors.txt            id, name, camera, MODEL, width, height, COLMAP's parameters
    scene/sensors/records_camera.txt     timestamp, id, path of the image
    scene/sensors/trajectories.txt       timestamp, id, qw qx qy qz, tx ty tz: cam_from_world
    scene/sensors/records_data/...       the images

Images whose time and camera have no pose are left out and counted. Poses of rigs (`rigs.txt`) are not read.
"""

from pathlib import Path

import numpy as np

from camloc.data.formats.parts.files import is_file, is_named, numbers_in, read_lines
from camloc.data.formats.parts.intrinsics import camera_from_fields, parameter_names
from camloc.data.formats.parts.posed import (
    Matrix,
    Posed,
    listed_image,
    matrix_of,
    posed_scene,
    rotation_of_xyzw,
)
from camloc.data.splits import EVERYTHING, Listed, Selection
from camloc.data.types import Scene
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

SCENES: tuple[str, ...] = ()
LOOKS_FOR = "sensors/records_camera.txt and sensors/trajectories.txt (kapture)"

_IMAGES = "sensors/records_data"


def fits(root: Path) -> bool:
    """Whether `root` is a data set of this layout."""
    return is_file(root / "sensors" / "records_camera.txt") and is_file(root / "sensors" / "trajectories.txt")


def load(root: Path, scene: str = "", *, selection: Selection = EVERYTHING) -> Scene:
    """Read a data set.

    Args:
        root: its folder, which holds `sensors`.
        scene: the name to give the scene; the folder's name otherwise.
        selection: see `Selection`.

    Raises:
        DatasetError: something is missing, damaged, or contradicts something else.
    """
    if not fits(root):
        raise DatasetError(f"{root} is not a kapture folder, which needs {LOOKS_FOR}")
    folder = root / "sensors"
    cameras = _cameras(folder / "sensors.txt")
    poses: dict[tuple[str, str], Matrix] = {}
    for where, cells in _rows(folder / "trajectories.txt", 9):
        w, x, y, z, *translation = numbers_in(cells[2:9], where)
        rotation = rotation_of_xyzw((x, y, z, w), where)
        pose = matrix_of(rotation.T, -rotation.T @ np.array(translation))
        earlier = poses.setdefault((cells[0], cells[1]), pose)
        if not np.array_equal(earlier, pose, equal_nan=True):
            raise DatasetError(
                f"{where}: {cells[1][:40]!r} has another pose at this time; remove one of them"
            )
    listed: list[Listed[tuple[Matrix, Camera | None]]] = []
    left: list[str] = []
    for where, cells in _rows(folder / "records_camera.txt", 3):
        time, device, name = cells[:3]
        if device not in cameras:
            raise DatasetError(f"{where}: there is no camera {device[:40]!r} in sensors.txt")
        if (time, device) not in poses:
            left.append(f"{_IMAGES}/{name}")
            continue
        content = (poses[time, device], cameras[device])
        listed.append(listed_image(where, f"{_IMAGES}/{name}", root, content))
    hint = "; poses of rigs are not read" if is_named(folder / "rigs.txt") else ""
    if not listed:
        raise DatasetError(
            f"no image of {folder / 'records_camera.txt'} has a pose of its time and camera{hint}"
        )
    count = f"{len(left)} of {len(left) + len(listed)} images"
    notes = [f"left out because they have no pose: {count}{hint}"] if left else []

    def posed(each: Listed[tuple[Matrix, Camera | None]]) -> Posed:
        sequence = each.name.removeprefix(f"{_IMAGES}/").rpartition("/")[0]
        return Posed(*each.content, sequence=sequence)

    return posed_scene(root, scene, listed, posed, selection=selection, notes=notes, without_pose=left)


def _rows(path: Path, least: int) -> list[tuple[str, list[str]]]:
    rows = []
    for line in read_lines(path):
        cells = [cell.strip() for cell in line.text.split(",")]
        if len(cells) < least:
            raise DatasetError(f"{line.where}: {least} cells are needed, and {len(cells)} are there")
        rows.append((line.where, cells))
    return rows


def _cameras(path: Path) -> dict[str, Camera | None]:
    """The cameras by their ids; None for one whose intrinsics are unknown."""
    found: dict[str, Camera | None] = {}
    for where, cells in _rows(path, 3):
        if cells[2] != "camera":
            continue
        if len(cells) < 6:
            raise DatasetError(f"{where}: a camera needs a model, a width and a height")
        model = cells[3]
        if model == "UNKNOWN_CAMERA":
            found[cells[0]] = None
            continue
        names = ("width", "height", *parameter_names(model, where))
        numbers = numbers_in(cells[4:], where)
        if len(numbers) != len(names):
            raise DatasetError(f"{where}: {model} needs {', '.join(names)}, not {len(numbers)} numbers")
        found[cells[0]] = camera_from_fields(dict(zip(names, numbers, strict=True)), model=model, where=where)
    return found
