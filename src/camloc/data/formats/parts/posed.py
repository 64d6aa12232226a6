"""Listed images with matrices, as a scene, with which most readers end; and poses between other times."""

import math
import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float64
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from camloc.data.checks import Row, check_quaternion_length, frames_from_matrices
from camloc.data.formats.parts.files import clean_name, sequence_of
from camloc.data.splits import Listed, OwnSplit, Selection, folder_name, split_frames
from camloc.data.types import Frame, Scene, Unit
from camloc.geometry.camera import Camera

T = TypeVar("T")

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Posed:
    """An image's pose and camera.

    Attributes:
        world_from_cam: a 4x4 matrix in OpenCV axes.
        camera: intrinsics, or None.
        time: seconds, or None.
        sequence: its recording; by default the folder of the image.
        depth: a 16-bit depth image in millimetres, or None.
    """

    world_from_cam: Matrix
    camera: Camera | None
    time: float | None = None
    sequence: str | None = None
    depth: Path | None = None


def listed_image(where: str, name: str, root: Path, content: T) -> Listed[T]:
    """An image that a file names, relative to `root`."""
    cleaned = clean_name(name, where, root=root)
    return Listed(where, cleaned, root / cleaned, content, root)


def posed_scene(
    root: Path,
    scene: str,
    listed: Sequence[Listed[T]],
    posed: Callable[[Listed[T]], Posed],
    *,
    selection: Selection,
    notes: Sequence[str] = (),
    own: OwnSplit | None = None,
    unit: Unit = "m",
    without_pose: Sequence[str] = (),
) -> Scene:
    """A scene of images with matrices; only of those that are used, the cameras are made.

    Args:
        root: the folder that names are relative to, which has the lists of a split.
        scene: its name; that of the folder otherwise.
        listed: the images.
        posed: the pose and the camera of an image.
        selection: the options.
        notes: of the reader.
        own: the layout's own split.
        unit: of positions.
        without_pose: names of images that the reader has left out and counted.

    Raises:
        DatasetError: an image is missing, or a pose or a camera cannot be used.
    """
    left = {name: root / name for name in map(posixpath.normpath, without_pose)}
    kept = selection.present(listed, without_pose=left)
    rows = []
    for each in kept.entries:
        found = posed(each)
        sequence = sequence_of(each.name) if found.sequence is None else found.sequence
        frame = Frame(each.name, each.image, found.camera, None, sequence, found.time, found.depth)
        rows.append(Row(each.where, frame, found.world_from_cam.ravel().tolist()))
    frames = frames_from_matrices(rows)
    split = split_frames(frames, kept, root=root, selection=selection, own=own)
    return Scene(
        scene or folder_name(root),
        split.train,
        split.test,
        unit=unit,
        notes=(*kept.notes, *notes, *split.notes),
    )


def matrix_of(rotation: Matrix, centre: Sequence[float] | Matrix) -> Matrix:
    """A 4x4 matrix of a rotation and a translation."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, centre
    return matrix


def listed_pose(each: Listed[tuple[Matrix, Camera]]) -> Posed:
    """The pose and the camera of an image that was listed with both."""
    return Posed(*each.content)


def rotation_of_xyzw(quaternion: Sequence[float], where: str) -> Matrix:
    """The rotation matrix of a quaternion with w last.

    Raises:
        DatasetError: it is zero, not finite, or far from unit length.
    """
    check_quaternion_length(math.hypot(*quaternion), f"{where}: the quaternion")
    return np.asarray(Rotation.from_quat(quaternion).as_matrix())


def between(
    times: Float64[NDArray[np.float64], "n"],
    matrices: Float64[NDArray[np.float64], "n 4 4"],
    at: Float64[NDArray[np.float64], "m"],
    *,
    most: float,
) -> tuple[Float64[NDArray[np.float64], "m 4 4"], Bool[NDArray[np.bool_], "m"]]:
    """Poses at other times, between the poses before and after them, and which of them are known.

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
