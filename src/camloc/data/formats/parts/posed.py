"""Listed images with their poses, as a scene, with which readers end; and poses between other times."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float64
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from camloc.data.checks import (
    QUATERNION_LENGTH,
    Direction,
    Row,
    check_quaternion_length,
    frames_from_matrices,
    frames_from_quaternions,
)
from camloc.data.formats.parts.files import clean_name, sequence_of
from camloc.data.formats.parts.intrinsics import camera_beside
from camloc.data.splits import Kept, Listed, OwnSplit, Selection, folder_name, left_out, split_frames
from camloc.data.types import Frame, Scene, Unit, poses_of
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose

T = TypeVar("T")

Matrix = NDArray[np.float64]

# From the camera axes of OpenGL and ARKit (right, up, backward) to OpenCV (right, down, forward), or back.
FLIPPED_AXES = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Posed:
    """An image's pose and camera.

    Attributes:
        pose: `world_from_cam` in OpenCV axes, a 4x4 matrix or its 16 numbers; or a centre and a quaternion as
            in `Row`; or None where it is not known.
        camera: intrinsics, or None.
        time: seconds, or None.
        sequence: its recording; by default the folder of the image.
        depth: a 16-bit depth image in millimetres, or None.
        where: the place of the pose for messages, where it is not that of the image.
    """

    pose: Matrix | Sequence[float] | None
    camera: Camera | None
    time: float | None = None
    sequence: str | None = None
    depth: Path | None = None
    where: str = ""


def listed_image(where: str, name: str, root: Path, content: T) -> Listed[T]:
    """An image that a file names, relative to `root`."""
    cleaned = clean_name(name, where, root=root)
    return Listed(where, cleaned, root / cleaned, content, root)


def posed_scene(
    root: Path,
    scene: str,
    kept: Kept[T],
    posed: Iterable[Posed],
    *,
    selection: Selection,
    rotation: Direction | None = None,
    longest: float = QUATERNION_LENGTH,
    calibration: Path | None = None,
    notes: Iterable[str] = (),
    own: OwnSplit | None = None,
    unit: Unit = "m",
    unposed: str = "their pose is infinite",
) -> Scene:
    """Build the scene of a reader: check its poses and cameras, and split its frames.

    Args:
        root: the folder that has the lists of a split.
        scene: its name; the folder's name otherwise.
        kept: the images that are used.
        posed: their poses and cameras.
        selection: the options.
        rotation: direction of the quaternions; None for matrices.
        longest: greatest length of a quaternion.
        calibration: the folder of the calibration file that frames without a camera have.
        notes: of the reader.
        own: the layout's own split.
        unit: of positions.
        unposed: why images have no pose, for the note that counts them.

    Raises:
        DatasetError: a pose, a camera or the split cannot be used, or no image has a pose.
    """
    pairs = list(zip(kept.entries, posed, strict=True))
    found = [(each, of, of.pose) for each, of in pairs if of.pose is not None]
    if not found:
        raise DatasetError(f"{root}: no frame has an image and a pose; check the folder of the images")
    shared = None
    first = next((each.image for each, of, _ in found if of.camera is None), None)
    if calibration is not None and first is not None:
        shared = camera_beside(calibration, image=first)
    rows = []
    for each, of, pose in found:
        sequence = sequence_of(each.name) if of.sequence is None else of.sequence
        frame = Frame(each.name, each.image, of.camera or shared, None, sequence, of.time, of.depth)
        rows.append(Row(of.where or each.where, frame, pose))
    if rotation is None:
        frames = frames_from_matrices(rows)
    else:
        frames = frames_from_quaternions(rows, rotation=rotation, longest=longest)
    lost = {each.name for each, of in pairs if of.pose is None}
    split = split_frames(frames, kept.left_out | lost, root=root, selection=selection, own=own)
    notes = (*notes, *left_out(unposed, len(lost), len(pairs)), *kept.notes, *split.notes)
    return Scene(scene or folder_name(root), split.train, split.test, unit=unit, notes=notes)


def whole_poses(frames: Sequence[Frame], layout: str) -> Pose:
    """The (n,) poses of frames, for a layout that has no positions alone.

    Raises:
        DatasetError: a frame has no pose, or no orientation.
    """
    for frame in frames:
        if frame.world_from_cam is None or frame.is_position_only:
            raise DatasetError(f"{frame.name} has no whole pose, and {layout} needs one")
    return poses_of(frames)


def matrix_of(rotation: Matrix, centre: Sequence[float] | Matrix) -> Matrix:
    """A 4x4 matrix of a rotation and a translation."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, centre
    return matrix


def matrix_of_rows(numbers: Sequence[float]) -> Matrix:
    """A 4x4 matrix of 12 or 16 numbers, row by row."""
    matrix = np.eye(4)
    matrix.ravel()[: len(numbers)] = numbers
    return matrix


def matrix_of_xyzw(quaternion: Sequence[float], centre: Sequence[float], where: str) -> Matrix:
    """A 4x4 matrix of a quaternion with w last and a translation.

    Raises:
        DatasetError: the quaternion is zero, not finite, or far from unit length.
    """
    check_quaternion_length(math.hypot(*quaternion), f"{where}: the quaternion")
    return matrix_of(Rotation.from_quat(quaternion).as_matrix(), centre)


def between(
    times: Float64[NDArray[np.float64], "n"],
    matrices: Float64[NDArray[np.float64], "n 4 4"],
    at: Float64[NDArray[np.float64], "m"],
    *,
    most: float,
) -> tuple[Float64[NDArray[np.float64], "m 4 4"], Bool[NDArray[np.bool_], "m"]]:
    """Interpolate poses at other times. Returns them, and which of them are known.

    Positions are interpolated linearly, rotations along the shortest turn. A time outside of all times, or
    between two that are more than `most` seconds apart, has no pose.

    Args:
        times: of the poses, ascending, each once.
        matrices: the poses.
        at: the wanted times.
        most: seconds between two poses that are interpolated.
    """
    after = np.clip(np.searchsorted(times, at, side="left"), 1, max(1, len(times) - 1))
    known = (at >= times[0]) & (at <= times[-1])
    if len(times) > 1:
        gap = times[after] - times[after - 1]
        exact = (at == times[after]) | (at == times[after - 1])
        known &= (gap <= most) | exact
    inside = np.clip(at, times[0], times[-1])
    found = np.tile(np.eye(4), (len(at), 1, 1))
    for axis in range(3):
        found[:, axis, 3] = np.interp(inside, times, matrices[:, axis, 3])
    if len(times) > 1 and len(at):
        found[:, :3, :3] = Slerp(times, Rotation.from_matrix(matrices[:, :3, :3]))(inside).as_matrix()
    else:
        found[:, :3, :3] = matrices[0, :3, :3]
    return found, known
