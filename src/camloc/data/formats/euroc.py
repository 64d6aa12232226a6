"""EuRoC MAV: images with nanosecond times, and the pose of the body (IMU) at other times.

    MH_01_easy/mav0/cam0/data/1403636579763555584.png
    MH_01_easy/mav0/cam0/data.csv                          time and name of each image
    MH_01_easy/mav0/cam0/sensor.yaml                       T_BS (body_from_cam), intrinsics, distortion
    MH_01_easy/mav0/state_groundtruth_estimate0/data.csv   time, position, quaternion w first: world_from_body

Burri et al., The EuRoC micro aerial vehicle datasets, IJRR 2016. The pose of an image is interpolated between
the states before and after it; images outside of them are left out and counted. The distortion model is
radial-tangential (OPENCV) or equidistant (OPENCV_FISHEYE).
"""

import re
from itertools import compress
from pathlib import Path

import numpy as np

from camloc.data.formats.parts.files import csv_rows, is_file, numbers_in, read_lines
from camloc.data.formats.parts.intrinsics import camera_with_lens
from camloc.data.formats.parts.posed import (
    Matrix,
    Posed,
    between,
    listed_image,
    matrix_of_rows,
    matrix_of_xyzw,
    posed_scene,
)
from camloc.data.splits import EVERYTHING, Selection
from camloc.data.types import Scene
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

LOOKS_FOR = "mav0/cam0/sensor.yaml and mav0/state_groundtruth_estimate0/data.csv (EuRoC)"

_STATES = Path("mav0", "state_groundtruth_estimate0", "data.csv")


def fits(root: Path) -> bool:
    """Whether `root` is a recording of this layout."""
    return is_file(root / "mav0" / "cam0" / "sensor.yaml") and is_file(root / _STATES)


def load(
    root: Path,
    scene: str = "",
    *,
    camera: str = "cam0",
    most_seconds: float = 0.1,
    selection: Selection = EVERYTHING,
) -> Scene:
    """Read a recording.

    Args:
        camera: "cam0" (left) or "cam1".
        most_seconds: between two states that a pose is interpolated from.
    """
    if not fits(root):
        raise DatasetError(f"{root} is not a folder of EuRoC, which needs {LOOKS_FOR}")
    folder = root / "mav0" / camera
    lens, body_from_cam = _sensor(folder / "sensor.yaml")
    # Nanoseconds since 1970 do not fit a double to less than 256 ns; whole numbers are subtracted first.
    states = [
        (where, int(words[0]), numbers_in(words[1:8], where)) for where, words in _rows(root / _STATES, 8)
    ]
    origin = states[0][1]
    states.sort(key=lambda state: state[1])
    times = np.array([(time - origin) * 1e-9 for _, time, _ in states])
    bodies = np.stack([matrix_of_xyzw([*n[4:7], n[3]], n[:3], at) for at, _, n in states])
    once = np.unique(times, return_index=True)[1]
    images = [(where, int(words[0]), words[1]) for where, words in _rows(folder / "data.csv", 2)]
    at = np.array([(time - origin) * 1e-9 for _, time, _ in images])
    poses, known = between(times[once], bodies[once], at, most=most_seconds)
    every = []
    for (where, time, name), pose in zip(images, poses, strict=True):
        posed = Posed(pose @ body_from_cam, lens, time * 1e-9, sequence="")
        every.append(listed_image(where, f"mav0/{camera}/data/{name}", root, posed))
    listed = list(compress(every, known))
    if not listed:
        raise DatasetError(f"no image of {folder / 'data.csv'} is between two states of {root / _STATES}")
    without_pose = {"no states are around them": list(compress(every, ~known))}
    kept = selection.present(listed, without_pose=without_pose)
    return posed_scene(root, scene, kept, (each.content for each in kept.entries), selection=selection)


def _rows(path: Path, least: int) -> list[tuple[str, list[str]]]:
    rows = list(csv_rows(path, least=least, heading=True))
    for where, cells in rows:
        if not cells[0].isdecimal() or len(cells[0]) > 20:
            raise DatasetError(f"{where}: a time in nanoseconds is needed, not {cells[0][:40]!r}")
    if not rows:
        raise DatasetError(f"{path} has no row")
    return rows


def _sensor(path: Path) -> tuple[Camera, Matrix]:
    """The camera and `body_from_cam` of a sensor.yaml; nothing else of it is read."""
    text = "\n".join(line.text.partition("#")[0] for line in read_lines(path))

    def numbers(name: str, pattern: str, count: int) -> list[float]:
        match = re.search(pattern + r"\s*\[([^\]]*)\]", text)
        words = match[1].replace(",", " ").split() if match else []
        return numbers_in(words, f"{path}, {name}", count=count)

    transform = matrix_of_rows(numbers("T_BS", r"T_BS:[\s\S]*?data:", 16))
    fx, fy, cx, cy = numbers("intrinsics", r"intrinsics:", 4)
    width, height = numbers("resolution", r"resolution:", 2)
    coefficients = numbers("distortion_coefficients", r"distortion_coefficients:", 4)
    model, names = _lens(text, path)
    # OpenCV's pixels have their centre at whole numbers.
    fields = {"width": width, "height": height, "fx": fx, "fy": fy, "cx": cx + 0.5, "cy": cy + 0.5}
    lens = dict(zip(names, coefficients, strict=True))
    return camera_with_lens(fields, lens, model=model, where=str(path)), transform


def _lens(text: str, path: Path) -> tuple[str, tuple[str, ...]]:
    """COLMAP's model, and its names of the four coefficients."""
    found = {
        key: match[1].strip("\"'").lower()
        for key in ("camera_model", "distortion_model")
        if (match := re.search(rf"^{key}:[ \t]*(\S+)", text, re.MULTILINE))
    }
    if found.get("camera_model", "pinhole") != "pinhole":
        raise DatasetError(f"{path}: the camera model is {found['camera_model'][:40]}, and pinhole is read")
    distortion = found.get("distortion_model", "none")
    if distortion in ("radial-tangential", "radtan", "plumb_bob", "none"):
        return "OPENCV", ("k1", "k2", "p1", "p2")
    if distortion in ("equidistant", "fisheye"):
        return "OPENCV_FISHEYE", ("k1", "k2", "k3", "k4")
    raise DatasetError(
        f"{path}: the distortion model is {distortion[:40]}, and radial-tangential and equidistant are read"
    )
