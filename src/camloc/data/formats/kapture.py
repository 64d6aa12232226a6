"""kapture: text files of sensors, records and trajectories.

    scene/sensors/sensors.txt            id, name, camera, MODEL, width, height, COLMAP's parameters
    scene/sensors/records_camera.txt     timestamp, id, path of the image
    scene/sensors/trajectories.txt       timestamp, id, qw qx qy qz, tx ty tz: cam_from_world
    scene/sensors/records_data/...       the images

Images whose time and camera have no pose are left out and counted. Poses of rigs (`rigs.txt`) are not read.
"""

import posixpath
from pathlib import Path

import numpy as np

from camloc.data.formats.parts.files import clean_name, csv_rows, is_file, is_named, numbers_in
from camloc.data.formats.parts.intrinsics import camera_from_numbers
from camloc.data.formats.parts.posed import Matrix, Posed, listed_image, matrix_of_xyzw, posed_scene
from camloc.data.splits import EVERYTHING, Listed, Selection
from camloc.data.types import Scene
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

LOOKS_FOR = "sensors/records_camera.txt and sensors/trajectories.txt (kapture)"

_IMAGES = "sensors/records_data"


def fits(root: Path) -> bool:
    """Whether `root` is a data set of this layout."""
    return is_file(root / "sensors" / "records_camera.txt") and is_file(root / "sensors" / "trajectories.txt")


def load(root: Path, scene: str = "", *, selection: Selection = EVERYTHING) -> Scene:
    """Read a data set."""
    if not fits(root):
        raise DatasetError(f"{root} is not a kapture folder, which needs {LOOKS_FOR}")
    folder = root / "sensors"
    cameras = _cameras(folder / "sensors.txt")
    poses: dict[tuple[str, str], Matrix] = {}
    for where, cells in csv_rows(folder / "trajectories.txt", least=9):
        w, x, y, z, *translation = numbers_in(cells[2:9], where)
        pose = np.asarray(np.linalg.inv(matrix_of_xyzw((x, y, z, w), translation, where)), np.float64)
        earlier = poses.setdefault((cells[0], cells[1]), pose)
        if not np.array_equal(earlier, pose, equal_nan=True):
            raise DatasetError(f"{where}: {cells[1][:40]!r} has another pose at this time; remove one")
    listed: list[Listed[Posed]] = []
    left: list[Listed[None]] = []
    for where, (time, device, name, *_) in csv_rows(folder / "records_camera.txt", least=3):
        if device not in cameras:
            raise DatasetError(f"{where}: there is no camera {device[:40]!r} in sensors.txt")
        path = f"{_IMAGES}/{name}"
        if (time, device) in poses:
            posed = Posed(
                poses[time, device], cameras[device], sequence=posixpath.dirname(clean_name(name, where))
            )
            listed.append(listed_image(where, path, root, posed))
        else:
            left.append(listed_image(where, path, root, None))
    hint = "; poses of rigs are not read" if is_named(folder / "rigs.txt") else ""
    if not listed:
        raise DatasetError(f"no image of {folder / 'records_camera.txt'} has a pose of that time{hint}")
    kept = selection.present(listed, without_pose={f"they have no pose{hint}": left})
    return posed_scene(root, scene, kept, (each.content for each in kept.entries), selection=selection)


def _cameras(path: Path) -> dict[str, Camera | None]:
    """The cameras by their ids; None for one whose intrinsics are unknown."""
    found: dict[str, Camera | None] = {}
    for where, cells in csv_rows(path, least=3):
        if cells[2] != "camera":
            continue
        if len(cells) < 6:
            raise DatasetError(f"{where}: a camera needs a model, a width and a height")
        is_known = cells[3] != "UNKNOWN_CAMERA"
        numbers = numbers_in(cells[4:], where)
        found[cells[0]] = camera_from_numbers(cells[3], numbers, where) if is_known else None
    return found
