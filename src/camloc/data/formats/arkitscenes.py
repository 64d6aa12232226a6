"""ARKitScenes: sessions of ARKit on tablets, with poses at ten times a second.

    scene/lowres_wide.traj                              time, turn as a vector, translation: cam_from_world
    scene/lowres_wide/40777060_98.764.png               images, with the time in seconds in their names
    scene/lowres_wide_intrinsics/40777060_98.764.pincam    w h fx fy cx cy of each image

Baruch et al., ARKitScenes, NeurIPS 2021 data sets. The folders may be `vga_wide` or `wide` instead. Poses are
interpolated at the times of the images; images without a pose around them are left out and counted.
"""

from itertools import compress
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from camloc.data.formats.parts.files import (
    is_file,
    is_folder,
    is_image_name,
    numbers_in,
    numbers_of_file,
    read_lines,
)
from camloc.data.formats.parts.intrinsics import camera_from_fields
from camloc.data.formats.parts.posed import Matrix, Posed, between, listed_image, matrix_of, posed_scene
from camloc.data.splits import EVERYTHING, Listed, Selection
from camloc.data.types import Scene
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

LOOKS_FOR = "lowres_wide.traj and a folder lowres_wide, vga_wide or wide (ARKitScenes)"

_TRAJECTORY = "lowres_wide.traj"
_FOLDERS = ("vga_wide", "wide", "lowres_wide")


def fits(root: Path) -> bool:
    """Whether `root` is a session of this layout."""
    return is_file(root / _TRAJECTORY)


def load(
    root: Path,
    scene: str = "",
    *,
    images: str = "",
    most_seconds: float = 0.25,
    selection: Selection = EVERYTHING,
) -> Scene:
    """Read a session.

    Args:
        images: folder of the images; by default the first of vga_wide, wide and lowres_wide that is there.
        most_seconds: between two poses that a pose is interpolated from.
    """
    folder = images or next((name for name in _FOLDERS if is_folder(root / name)), "")
    if not fits(root) or not folder or not is_folder(root / folder):
        raise DatasetError(f"{root} is not a session of ARKitScenes, which needs {LOOKS_FOR}")
    times, matrices = _trajectory(root / _TRAJECTORY)
    files = sorted((_time(path), path) for path in (root / folder).iterdir() if is_image_name(path.name))
    at = np.array([time for time, _ in files])
    poses, known = between(times, matrices, at, most=most_seconds)
    every = [
        listed_image(str(path), f"{folder}/{path.name}", root, (pose, time))
        for (time, path), pose in zip(files, poses, strict=True)
    ]
    listed = list(compress(every, known))
    if not listed:
        raise DatasetError(f"no image of {root / folder} is between two poses of {root / _TRAJECTORY}")

    def posed(each: Listed[tuple[Matrix, float]]) -> Posed:
        pose, time = each.content
        lens = _camera(root / f"{folder}_intrinsics" / f"{each.image.stem}.pincam")
        return Posed(pose, lens, time, sequence="")

    kept = selection.present(listed, without_pose={"no poses are around them": list(compress(every, ~known))})
    return posed_scene(root, scene, kept, map(posed, kept.entries), selection=selection)


def _trajectory(path: Path) -> tuple[Matrix, Matrix]:
    of = "time, turn and translation"
    rows = [numbers_in(line.text.split(), line.where, count=7, of=of) for line in read_lines(path)]
    if not rows:
        raise DatasetError(f"{path} holds no pose")
    table = np.array(rows)
    table = table[np.unique(table[:, 0], return_index=True)[1]]
    if not np.isfinite(table).all():
        raise DatasetError(f"{path} holds NaN or infinity")
    turns = Rotation.from_rotvec(table[:, 1:4]).as_matrix()
    matrices = [np.linalg.inv(matrix_of(turn, move)) for turn, move in zip(turns, table[:, 4:], strict=True)]
    return table[:, 0], np.stack(matrices)


def _time(path: Path) -> float:
    word = path.stem.rpartition("_")[2]
    return numbers_in([word], str(path))[0]


def _camera(path: Path) -> Camera:
    numbers = numbers_of_file(path, "w h fx fy cx cy")
    names = ("width", "height", "fx", "fy", "cx", "cy")
    return camera_from_fields(dict(zip(names, numbers, strict=True)), model="PINHOLE", where=str(path))
