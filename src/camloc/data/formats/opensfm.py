"""OpenSfM: `reconstruction.json`, with poses `cam_from_world` as turns and translations.

    scene/reconstruction.json    a list of reconstructions: cameras, and shots by the names of their images
    scene/images/0001.jpg

Focal lengths and principal points are divided by the longer side of the image; the middle is (0, 0). Of
several reconstructions the largest is read, and the others are named in a note.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from camloc.data.formats.parts.files import is_file, read_json_value
from camloc.data.formats.parts.intrinsics import camera_with_lens, number_fields, number_list, says_something
from camloc.data.formats.parts.posed import Matrix, Posed, listed_image, matrix_of, posed_scene
from camloc.data.splits import EVERYTHING, Selection
from camloc.data.types import Scene, Unit
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

LOOKS_FOR = "reconstruction.json (OpenSfM)"

_FILE = "reconstruction.json"

# The camera models, and the numbers of their lens.
_LENSES = {
    "perspective": ("RADIAL", ("k1", "k2")),
    "brown": ("OPENCV", ("k1", "k2", "p1", "p2", "k3")),
    "fisheye": ("OPENCV_FISHEYE", ("k1", "k2")),
    "fisheye_opencv": ("OPENCV_FISHEYE", ("k1", "k2", "k3", "k4")),
    "simple_radial": ("SIMPLE_RADIAL", ("k1",)),
    "radial": ("RADIAL", ("k1", "k2")),
}
_PINHOLE = ("width", "height", "focal", "focal_x", "focal_y", "c_x", "c_y")


def fits(root: Path) -> bool:
    """Whether `root` is a project of this layout."""
    return is_file(root / _FILE)


def load(root: Path, scene: str = "", *, unit: Unit = "units", selection: Selection = EVERYTHING) -> Scene:
    """Read the largest reconstruction.

    Args:
        unit: of positions: "m" where GPS or control points gave the scale.
    """
    path = root / _FILE
    content = read_json_value(path)
    every = content if isinstance(content, list) else []
    parts = [part for part in every if isinstance(part, dict) and part.get("shots")]
    if not parts:
        raise DatasetError(f"{path} has no reconstruction with shots")
    largest = max(parts, key=lambda part: len(part["shots"]))
    shots, cameras = largest["shots"], largest.get("cameras")
    if not isinstance(shots, dict) or not isinstance(cameras, dict):
        raise DatasetError(f"{path}: a reconstruction needs shots and cameras by their names")
    known = {name: _camera(camera, f"{path}, camera {name!r}") for name, camera in cameras.items()}
    listed = []
    for name in sorted(shots):
        where = f"{path}, shot {name!r}"
        shot = shots[name]
        if not isinstance(shot, dict) or shot.get("camera") not in known:
            raise DatasetError(f"{where}: it names no camera of the file")
        posed = Posed(_pose(shot, where), known[shot["camera"]])
        listed.append(listed_image(where, f"images/{name}", root, posed))
    others = [part["shots"] for part in parts if part is not largest]
    notes = []
    if others:
        counts = ", ".join(str(len(each)) for each in others)
        notes.append(f"the largest of {len(parts)} reconstructions is read; the others have {counts} shots")
    elsewhere = [
        listed_image(str(path), f"images/{name}", root, None)
        for each in others
        for name in each
        if name not in shots
    ]
    kept = selection.present(listed, without_pose={"": elsewhere})
    poses = (each.content for each in kept.entries)
    return posed_scene(root, scene, kept, poses, selection=selection, notes=notes, unit=unit)


def _pose(shot: Mapping[str, Any], where: str) -> Matrix:
    turn, translation = (number_list(shot.get(key), 3, key, where) for key in ("rotation", "translation"))
    return np.asarray(np.linalg.inv(matrix_of(Rotation.from_rotvec(turn).as_matrix(), translation)))


def _camera(content: Any, where: str) -> Camera:
    if not isinstance(content, dict) or content.get("projection_type") not in _LENSES:
        known = ", ".join(_LENSES)
        raise DatasetError(f"{where}: its projection_type is not one of {known}")
    kind = content["projection_type"]
    model, names = _LENSES[kind]
    # What ends in _prior is where the reconstruction started from.
    given = {key: value for key, value in content.items() if not key.endswith("_prior")}
    numbers = number_fields(given, where, (*_PINHOLE, *names))
    unread = [key for key in given if key not in numbers and not isinstance(given[key], str)]
    unread = [key for key in unread if says_something(given[key])]
    if unread:
        raise DatasetError(
            f"{where}: {', '.join(unread)[:200]} is not understood; a camera of the type {kind} has "
            f"{', '.join((*_PINHOLE, *names))}"
        )
    if not {"width", "height"} <= set(numbers) or not {"focal", "focal_x"} & set(numbers):
        raise DatasetError(f"{where}: width, height and focal are needed")
    if "focal" in numbers and numbers.get("focal_x", numbers["focal"]) != numbers["focal"]:
        raise DatasetError(f"{where}: focal and focal_x contradict each other; remove the wrong one")
    side = max(numbers["width"], numbers["height"])
    focal = numbers.get("focal_x", numbers.get("focal", 0.0)) * side
    fields = {
        "width": numbers["width"],
        "height": numbers["height"],
        "fx": focal,
        "fy": numbers["focal_y"] * side if "focal_y" in numbers else focal,
        "cx": numbers["width"] / 2 + numbers.get("c_x", 0.0) * side,
        "cy": numbers["height"] / 2 + numbers.get("c_y", 0.0) * side,
    }
    lens = {name: numbers.get(name, 0.0) for name in names}
    if "RADIAL" in model and fields["fy"] != focal:
        model = "OPENCV"  # the same curve, with two focal lengths
    return camera_with_lens(fields, lens, model=model, where=where)
