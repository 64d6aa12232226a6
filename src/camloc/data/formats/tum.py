"""TUM: trajectories `t x y z qx qy qz qw`, and the folders of the TUM RGB-D data sets.

    scene/groundtruth.txt        world_from_cam, quaternion w last
    scene/rgb.txt                timestamp and name of each image
    scene/rgb/1305031102.1753.png
    scene/camera.json or K.txt   optional; intrinsics of all images

Sturm et al., A Benchmark for the Evaluation of RGB-D SLAM Systems, IROS 2012, and its web page on formats.
An image has the pose that is nearest in time; images without one near enough are left out, for the
motion capture has gaps. The depth images of that data set are in 1/5000 m and are not read.
"""

import math
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from camloc.core.files import write_atomically
from camloc.data.checks import Row, frames_from_quaternions
from camloc.data.formats.parts.files import (
    Line,
    clean_name,
    existing_image,
    is_file,
    numbers_in,
    read_lines,
)
from camloc.data.formats.parts.intrinsics import camera_beside
from camloc.data.splits import Selection, folder_name, split_by_lists
from camloc.data.types import Frame, Scene, poses_of
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose

SCENES: tuple[str, ...] = ()
LOOKS_FOR = "rgb.txt and groundtruth.txt (TUM)"


class Trajectory(NamedTuple):
    """Poses in time.

    Attributes:
        times: n times in seconds, or numbers to count by.
        world_from_cam: (n,) poses.
    """

    times: tuple[float, ...]
    world_from_cam: Pose


def fits(root: Path) -> bool:
    """Whether `root` is a folder of this layout."""
    return is_file(root / "rgb.txt") and is_file(root / "groundtruth.txt")


def load(
    root: Path,
    scene: str = "",
    *,
    camera: Camera | None = None,
    most_seconds: float = 0.02,
    split: str = "",
    train_list: Path | None = None,
    test_list: Path | None = None,
    exclude: Collection[str] = (),
) -> Scene:
    """Read a folder of images with times and a trajectory.

    Args:
        root: the folder.
        scene: what to call the scene; the folder's name otherwise.
        camera: intrinsics of all images; otherwise `camera.json` or `K.txt` in `root`, or unknown.
        most_seconds: greatest time between an image and its pose.
        split, train_list, test_list, exclude: see `Selection`.

    Raises:
        DatasetError: something is missing, damaged, or contradicts something else.
    """
    if not fits(root):
        raise DatasetError(f"{root} is not a TUM folder, which needs {LOOKS_FOR}")
    trajectory = root / "groundtruth.txt"
    poses = _pose_rows(trajectory)
    times = np.array([_time(row.frame) for row in poses])
    images = _images(root)
    if camera is None and images:
        camera = camera_beside(root, image=images[0].image)
    rows = []
    for image in images:
        apart = np.abs(times - _time(image))
        nearest = poses[int(apart.argmin())]
        if apart.min() <= most_seconds:
            rows.append(Row(nearest.where, replace(image, camera=camera), nearest.numbers))
    if not rows:
        raise DatasetError(
            f"no image of {root / 'rgb.txt'} is within {most_seconds} s of a pose in {trajectory}"
        )
    selection = Selection(split, train_list, test_list, exclude)
    frames = frames_from_quaternions(rows, rotation="world_from_cam", exclude=selection.exclude)
    return Scene(scene or folder_name(root), *split_by_lists(frames, root, selection))


def read_trajectory(path: Path) -> Trajectory:
    """The trajectory in a file, as it is ordered there.

    Raises:
        DatasetError: a line is not eight numbers, a pose is wrong, or a time is there twice.
    """
    rows = _pose_rows(path)
    frames = frames_from_quaternions(rows, rotation="world_from_cam")
    return Trajectory(tuple(_time(row.frame) for row in rows), poses_of(frames))


def write_trajectory(trajectory: Trajectory, path: Path) -> None:
    """Write a trajectory as evo and others read it; the inverse of `read_trajectory`.

    Raises:
        CamlocError: the file cannot be written.
    """
    write_atomically(path, trajectory_text(trajectory))


def trajectory_text(trajectory: Trajectory) -> str:
    """A trajectory as lines `time x y z qx qy qz qw`, with every digit of the numbers."""
    poses = trajectory.world_from_cam
    lines = ["# time x y z qx qy qz qw (world_from_cam)"]
    for time, position, (w, *xyz) in zip(
        trajectory.times, poses.translation.tolist(), poses.quaternion_wxyz().tolist(), strict=True
    ):
        lines.append(" ".join(map(str, (time, *position, *xyz, w))))
    return "\n".join(lines) + "\n"


def _pose_rows(path: Path) -> list[Row]:
    """The lines of a trajectory; the frames have a time, and no image yet."""
    rows = []
    for line in read_lines(path):
        words = line.text.replace(",", " ").split()
        if len(words) != 8:
            raise DatasetError(f"{line.where}: 8 numbers are needed: t x y z qx qy qz qw")
        time, *position, x, y, z, w = numbers_in(words, line.where)
        rows.append(Row(line.where, Frame(words[0], path, time=_finite(time, line)), (*position, w, x, y, z)))
    if not rows:
        raise DatasetError(f"{path} holds no pose")
    return rows


def _images(root: Path) -> list[Frame]:
    frames = []
    for line in read_lines(root / "rgb.txt"):
        words = line.text.split(maxsplit=1)
        if len(words) != 2:
            raise DatasetError(f"{line.where}: a time and the name of an image are needed")
        time = _finite(numbers_in(words[:1], line.where)[0], line)
        name = clean_name(words[1], line.where)
        frames.append(Frame(name, existing_image(root / name, line.where), time=time))
    return frames


def _time(frame: Frame) -> float:
    assert frame.time is not None
    return frame.time


def _finite(time: float, line: Line) -> float:
    if not math.isfinite(time):
        raise DatasetError(f"{line.where}: the time is not finite")
    return time
