"""What every reader's rows pass through before they are frames: no pose that is wrong gets further.

The tolerances are the constants below, each with its reason.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from camloc.data.types import Frame
from camloc.errors import DatasetError
from camloc.geometry.pose import Pose
from camloc.geometry.rotation import nearest_rotation

Rotation = Literal["world_from_cam", "cam_from_world"]

# Greatest entry of |R^T R - I|. 7Scenes is off by 3e-4 to 1e-3 and a matrix rounded to three decimals by
# 1e-3; both are projected. A hidden scale or shear is more: a scale of 1.01 is off by 2e-2.
ORTHOGONALITY = 1e-2

# A quaternion's length says nothing about the rotation, but a length far from 1 says that other
# columns were read. Ratio to 1, either way: Cambridge's usual scenes have lengths up to 1.045.
QUATERNION_LENGTH = 1.05

# The published lists of Cambridge's Street have lengths up to 2.0, which everybody normalises.
PUBLISHED_QUATERNION_LENGTH = 2.1

# A frame is lost to the others when, in order of distance from the median centre, it comes after a gap
# of more than both. A route of 10 km has no such gap, a point at 3e9 m (Great Court) has.
FAR_METERS = 1_000.0
FAR_SPREADS = 100.0


@dataclass(frozen=True, eq=False)
class Row:
    """A frame as a file gives it.

    Attributes:
        where: the file and the line, as messages name them.
        frame: all but its pose.
        numbers: the pose: 16 of a matrix; or 7: the centre, and a quaternion with w first; or 3: the
            centre alone, where the orientation is not known.
    """

    where: str
    frame: Frame
    numbers: Sequence[float]


def frames_from_matrices(rows: Sequence[Row], *, exclude: Collection[str] = ()) -> tuple[Frame, ...]:
    """Frames of rows with 4x4 `world_from_cam` matrices in OpenCV axes, row by row.

    The rotation is replaced by the nearest true rotation.

    Raises:
        DatasetError: a pose is not finite, mirrored, or not a rotation; a frame is there twice, or
            far from all others; `exclude` names a frame that is not there.
    """
    rows = _without(rows, exclude)
    matrices = np.array([row.numbers for row in rows], dtype=np.float64).reshape(-1, 4, 4)
    _refuse_infinite(rows, matrices.reshape(-1, 16))
    with np.errstate(all="ignore"):
        rotations = matrices[:, :3, :3]
        gram = np.transpose(rotations, (0, 2, 1)) @ rotations
        off = np.abs(gram - np.eye(3)).max(axis=(1, 2), initial=0.0)
        mirrored = np.linalg.det(rotations) < 0
        last_row_off = np.abs(matrices[:, 3] - np.array([0.0, 0.0, 0.0, 1.0])).max(axis=1, initial=0.0)
    for row, wrong in zip(rows, last_row_off, strict=True):
        if wrong > 1e-6:
            raise DatasetError(
                f"{row.where}: the last row of the pose of {row.frame.name} is not 0 0 0 1; write the "
                f"matrix row by row"
            )
    for row, flip, amount in zip(rows, mirrored, off, strict=True):
        if flip:
            raise DatasetError(
                f"{row.where}: the pose of {row.frame.name} is mirrored (its determinant is negative); "
                f"check the directions of the axes"
            )
        if not amount <= ORTHOGONALITY:
            raise DatasetError(
                f"{row.where}: the pose of {row.frame.name} is not a rotation, its axes are off by "
                f"{amount:.2g} from being orthogonal and of length one, and {ORTHOGONALITY} is allowed; "
                f"remove scale and shear"
            )
    return _checked(rows, nearest_rotation(rotations), matrices[:, :3, 3])


def frames_from_quaternions(
    rows: Sequence[Row],
    *,
    rotation: Rotation,
    longest: float = QUATERNION_LENGTH,
    exclude: Collection[str] = (),
) -> tuple[Frame, ...]:
    """Frames of rows with the camera's centre in the world and a quaternion, w first, or the centre alone.

    Args:
        rows: the frames.
        rotation: what the quaternion rotates; the position is the centre whichever it is.
        longest: greatest length of a quaternion, and one over the least.
        exclude: names of frames to leave out.

    Raises:
        DatasetError: a pose is not finite, a quaternion is zero or far from unit length; a frame is
            there twice, or far from all others; `exclude` names a frame that is not there.
    """
    rows = _without(rows, exclude)
    position_only = np.array([len(row.numbers) == 3 for row in rows], dtype=np.bool_)
    whole = [row.numbers if len(row.numbers) != 3 else (*row.numbers, 1.0, 0.0, 0.0, 0.0) for row in rows]
    numbers = np.array(whole, dtype=np.float64).reshape(-1, 7)
    _refuse_infinite(rows, numbers)
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(numbers[:, 3:], axis=1)
    for row, length in zip(rows, lengths, strict=True):
        if length == 0:
            raise DatasetError(
                f"{row.where}: the quaternion of {row.frame.name} is zero, which is no rotation; leave the "
                f"frame out"
            )
        if not 1 / longest <= length <= longest:
            raise DatasetError(
                f"{row.where}: the quaternion of {row.frame.name} has length {length:.4g}, and "
                f"{1 / longest:.3g} to {longest:.3g} is allowed; check which columns hold it"
            )
    positions = numbers[:, :3]
    turned = Pose.from_quaternion_wxyz(numbers[:, 3:], positions).rotation
    world_from_cam = turned if rotation == "world_from_cam" else turned.mT
    return _checked(rows, np.where(position_only[:, None, None], np.nan, world_from_cam), positions)


def _without(rows: Sequence[Row], exclude: Collection[str]) -> Sequence[Row]:
    """The rows that are not left out on purpose."""
    names = {row.frame.name for row in rows}
    for name in exclude:
        if name not in names:
            raise DatasetError(f"exclude: there is no frame {name!r} to leave out")
    return [row for row in rows if row.frame.name not in set(exclude)]


def _refuse_infinite(rows: Sequence[Row], numbers: NDArray[np.float64]) -> None:
    for row, finite in zip(rows, np.isfinite(numbers), strict=True):
        if not finite.all():
            raise DatasetError(
                f"{row.where}: the pose of {row.frame.name} holds NaN or infinity; leave the frame out"
            )


def _checked(
    rows: Sequence[Row], rotations: NDArray[np.float64], positions: NDArray[np.float64]
) -> tuple[Frame, ...]:
    """Frames with their poses, after what only all of them together show."""
    _refuse_duplicates(rows)
    _refuse_far(rows, positions)
    poses = Pose(rotations, positions.copy())
    return tuple(replace(row.frame, world_from_cam=pose) for row, pose in zip(rows, poses, strict=True))


def _refuse_duplicates(rows: Sequence[Row]) -> None:
    seen: dict[str, str] = {}
    for row in rows:
        name = row.frame.name
        if name in seen:
            raise DatasetError(
                f"{row.where}: the frame {name} is there for the second time, the first was at "
                f"{seen[name]}; remove one of them"
            )
        seen[name] = row.where


def _refuse_far(rows: Sequence[Row], positions: NDArray[np.float64]) -> None:
    if len(rows) < 3:  # of two frames, none is the one that is wrong
        return
    with np.errstate(all="ignore"):
        distances = np.linalg.norm(positions - np.median(positions, axis=0), axis=1)
        order = np.argsort(distances)
        gaps = np.diff(distances[order])
        limit = max(FAR_METERS, FAR_SPREADS * float(np.median(distances)))
    (beyond,) = np.nonzero(gaps > limit)
    if len(beyond):
        number = int(order[int(beyond[0]) + 1])
        row = rows[number]
        raise DatasetError(
            f"{row.where}: the frame {row.frame.name} is {distances[number]:.3g} m away from all others; "
            f"correct its pose, or leave it out with the option exclude"
        )
