"""Stray Scanner's recordings: odometry of ARKit in OpenCV axes, and images beside or in a video.

    scene/odometry.csv        timestamp, frame, x, y, z, qx, qy, qz, qw: world_from_cam
    scene/camera_matrix.csv   3x3, for the images of the video
    scene/rgb/000000.png      images of the video by their numbers; or .jpg
    scene/rgb.mp4             the video itself, which is not read

Images come out of the video by `ffmpeg -i rgb.mp4 -start_number 0 rgb/%06d.png`.
"""

from collections.abc import Sequence
from pathlib import Path

from camloc.data.formats.parts.files import csv_rows, is_file, is_folder, numbers_in
from camloc.data.formats.parts.intrinsics import camera_from_matrix, matrix_in_file, refuse_unread_lens
from camloc.data.formats.parts.posed import Posed, listed_image, matrix_of_xyzw, posed_scene
from camloc.data.splits import EVERYTHING, Listed, Selection
from camloc.data.types import Scene
from camloc.errors import DatasetError

LOOKS_FOR = "odometry.csv and camera_matrix.csv (Stray Scanner)"

_COLUMNS = ("timestamp", "frame", "x", "y", "z", "qx", "qy", "qz", "qw")


def fits(root: Path) -> bool:
    """Whether `root` is a recording of this layout."""
    return is_file(root / "odometry.csv") and is_file(root / "camera_matrix.csv")


def load(root: Path, scene: str = "", *, selection: Selection = EVERYTHING) -> Scene:
    """Read a recording.

    Raises:
        DatasetError: the images are still in the video.
    """
    if not fits(root):
        raise DatasetError(f"{root} is not a recording of Stray Scanner, which needs {LOOKS_FOR}")
    if not is_folder(root / "rgb"):
        raise DatasetError(
            f"{root} has no folder rgb of images; take them from the video with `mkdir rgb && ffmpeg -i "
            f"rgb.mp4 -start_number 0 rgb/%06d.png`"
        )
    images = {path.stem.lstrip("0") or "0": path.name for path in sorted((root / "rgb").iterdir())}
    listed = []
    columns: Sequence[str] = _COLUMNS
    for where, cells in csv_rows(root / "odometry.csv", least=len(_COLUMNS)):
        if "timestamp" in cells:
            columns = cells
            refuse_unread_lens(dict.fromkeys(columns, 1.0), _COLUMNS, where)
            if missing := [name for name in _COLUMNS if name not in columns]:
                raise DatasetError(f"{where}: there is no column {missing[0]}")
            continue
        if len(cells) < len(columns):
            raise DatasetError(f"{where}: {len(columns)} numbers are needed: {', '.join(columns)[:200]}")
        row = dict(zip(columns, cells, strict=False))
        time, frame, *pose = (row[name] for name in _COLUMNS)
        numbers = numbers_in([time, *pose], where)
        number = frame.lstrip("0") or "0"
        name = images.get(number, f"{number.zfill(6)}.png")
        listed.append(listed_image(where, f"rgb/{name}", root, numbers))
    if not listed:
        raise DatasetError(f"{root / 'odometry.csv'} holds no pose")
    matrix_file = root / "camera_matrix.csv"
    fields = matrix_in_file(matrix_file)

    def posed(each: Listed[list[float]]) -> Posed:
        time, x, y, z, *quaternion = each.content
        camera = camera_from_matrix(fields, image=each.image, where=str(matrix_file))
        return Posed(matrix_of_xyzw(quaternion, (x, y, z), each.where), camera, time, sequence="")

    kept = selection.present(listed)
    return posed_scene(root, scene, kept, map(posed, kept.entries), selection=selection)
