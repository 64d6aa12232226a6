"""TUM: trajectories `t x y z qx qy qz qw`, and the folders of the TUM RGB-D data sets.

    scene/groundtruth.txt        world_from_cam, quaternion w last
    scene/rgb.txt                timestamp and name of each image
    scene/rgb/1305031102.1753.png
    scene/camera.json or K.txt   optional; intrinsics of all images

Sturm et al., A Benchmark for the Evaluation of RGB-D SLAM Systems, IROS 2012, and its web page on formats.
An image has the pose that is nearest in time; images without a pose near enough are left out and counted,
because the motion capture has gaps. Times are seconds, or Unix times in milli-, micro- or nanoseconds. The
depth images of that data set are in 1/5000 m and are not read.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

from camloc.core.files import write_atomically
from camloc.data.checks import Row, frames_from_quaternions
from camloc.data.formats.parts.files import (
    Line,
    is_file,
    is_time_heading,
    numbers_in,
    read_lines,
    seconds_of_times,
)
from camloc.data.formats.parts.intrinsics import CAMERA_FILE, camera_text
from camloc.data.formats.parts.posed import Posed, listed_image, posed_scene, whole_poses
from camloc.data.splits import EVERYTHING, Listed, Selection, write_lists
from camloc.data.types import Frame, Scene, poses_of
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose

LOOKS_FOR = "rgb.txt and groundtruth.txt (TUM)"


class Trajectory(NamedTuple):
    """Poses with their times.

    Attributes:
        times: n times in seconds, or numbers of frames.
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
    selection: Selection = EVERYTHING,
) -> Scene:
    """Read a folder of images with times and a trajectory.

    Args:
        camera: intrinsics of all images; otherwise a calibration file in `root`, or unknown.
        most_seconds: greatest time between an image and its pose.
    """
    if not fits(root):
        raise DatasetError(f"{root} is not a TUM folder, which needs {LOOKS_FOR}")
    trajectory = root / "groundtruth.txt"
    poses = _pose_rows(trajectory)
    pose_times = np.array(seconds_of_times([_time(row.frame) for row in poses]))
    kept = selection.present(_listed(root))
    times = np.array(seconds_of_times([entry.content for entry in kept.entries]))
    _refuse_equal(times.tolist(), [(entry.where, entry.name) for entry in kept.entries])
    _refuse_equal(pose_times.tolist(), [(row.where, row.numbers) for row in poses])
    nearest = _nearest(pose_times, times)
    apart = np.abs(pose_times[nearest] - times)
    is_near = apart <= most_seconds
    if not is_near.any():
        raise DatasetError(
            f"no image of {root / 'rgb.txt'} is within {most_seconds} s of a pose in {trajectory}: "
            f"the images are from {times.min():.3f} s to {times.max():.3f} s, the poses from "
            f"{pose_times.min():.3f} s to "
            f"{pose_times.max():.3f} s; allow more with --option most_seconds=SECONDS"
        )
    posed = [
        Posed(poses[row].numbers if near else None, camera, time, sequence="", where=poses[row].where)
        for time, row, near in zip(times.tolist(), nearest.tolist(), is_near.tolist(), strict=True)
    ]
    return posed_scene(
        root,
        scene,
        kept,
        posed,
        selection=selection,
        rotation="world_from_cam",
        calibration=root,
        unposed=f"no pose is within {most_seconds} s of them",
    )


def write(scene: Scene, folder: Path) -> None:
    """Write a scene as a folder of this layout; the inverse of `load` once the images are in it.

    Frames whose times are not known, or not all different, get their numbers as times. Recordings, points and
    depth are not written.

    Raises:
        DatasetError: a frame has no whole pose, or the frames have more than one camera.
        CamlocError: a file cannot be written.
    """
    frames = (*scene.train, *scene.test)
    cameras = {frame.camera for frame in frames}
    if len(cameras) > 1:
        raise DatasetError(f"TUM has one camera for all images, not {len(cameras)}; write colmap instead")
    known = [frame.time for frame in frames if frame.time is not None]
    # Times survive being written and read if they are seconds of this century.
    own = len(set(known)) == len(frames) and all(abs(time) < 1e11 for time in known)
    times = tuple(known) if own else tuple(map(float, range(len(frames))))
    write_trajectory(Trajectory(times, whole_poses(frames, "TUM")), folder / "groundtruth.txt")
    rows = (f"{time} {frame.name}\n" for time, frame in zip(times, frames, strict=True))
    write_atomically(folder / "rgb.txt", "# time name\n" + "".join(rows))
    camera = next(iter(cameras))
    if camera is not None:
        write_atomically(folder / CAMERA_FILE, camera_text(camera))
    write_lists(folder, scene.train, scene.test)


def read_trajectory(path: Path) -> Trajectory:
    """The trajectory in a file, in its order, with its times unchanged.

    Raises:
        DatasetError: a line is not eight numbers, a pose is wrong, or a time is there twice.
    """
    rows = _pose_rows(path)
    frames = frames_from_quaternions(rows, rotation="world_from_cam")
    return Trajectory(tuple(_time(row.frame) for row in rows), poses_of(frames))


def write_trajectory(trajectory: Trajectory, path: Path) -> None:
    """Write a trajectory for evo and other tools; the inverse of `read_trajectory`.

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
    """The lines of a trajectory, as frames with a time and without an image."""
    rows = []
    for line in read_lines(path):
        if is_time_heading(line):
            continue
        words = line.text.replace(",", " ").split()
        numbers = numbers_in(words, line.where, count=8, of="t x y z qx qy qz qw")
        time, *position, x, y, z, w = numbers
        rows.append(Row(line.where, Frame(words[0], path, time=_finite(time, line)), (*position, w, x, y, z)))
    if not rows:
        raise DatasetError(f"{path} holds no pose")
    return rows


def _listed(root: Path) -> list[Listed[float]]:
    """The images of `rgb.txt` with their times."""
    entries = []
    for line in read_lines(root / "rgb.txt"):
        if is_time_heading(line):
            continue
        words = line.text.replace(",", " ").split(maxsplit=1)
        if len(words) != 2:
            raise DatasetError(f"{line.where}: a time and the name of an image are needed")
        time = _finite(numbers_in(words[:1], line.where)[0], line)
        entries.append(listed_image(line.where, words[1], root, time))
    if not entries:
        raise DatasetError(f"{root / 'rgb.txt'} names no image")
    return entries


def _refuse_equal(times: list[float], lines: list[tuple[str, object]]) -> None:
    """Refuse two different images or poses of one time: it is not clear which of them belong together."""
    first: dict[float, tuple[str, object]] = {}
    for time, (where, content) in zip(times, lines, strict=True):
        earlier, found = first.setdefault(time, (where, content))
        if found != content:
            raise DatasetError(
                f"{where}: the time is that of {earlier} too, as where a spreadsheet has rounded the times; "
                f"write all their digits"
            )


def _nearest(
    pose_times: Float64[NDArray[np.float64], "m"], times: Float64[NDArray[np.float64], "n"]
) -> Int64[NDArray[np.int64], "n"]:
    """Index of the pose that is nearest in time to each image, of equally near ones the first."""
    order = np.argsort(pose_times, kind="stable")
    ordered = pose_times[order]
    after = np.searchsorted(ordered, times).clip(1, len(ordered) - 1) if len(ordered) > 1 else None
    if after is None:
        return np.zeros(len(times), dtype=np.int64)
    is_before = times - ordered[after - 1] <= ordered[after] - times
    return np.asarray(order[np.where(is_before, after - 1, after)], dtype=np.int64)


def _time(frame: Frame) -> float:
    assert frame.time is not None
    return frame.time


def _finite(time: float, line: Line) -> float:
    if not math.isfinite(time):
        raise DatasetError(f"{line.where}: the time is not finite")
    return time
