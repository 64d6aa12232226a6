"""The checks that every reader's rows pass before they become frames: poses and intrinsics.

The tolerances are the constants below, each with its reason.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from camloc.data.formats.parts.files import image_sizes
from camloc.data.image_io import ASPECT_TOLERANCE
from camloc.data.types import Frame
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose
from camloc.geometry.rotation import nearest_rotation

# What a quaternion rotates.
Direction = Literal["world_from_cam", "cam_from_world"]

# Greatest entry of |R^T R - I|. 7Scenes is off by 3e-4 to 1e-3 and a matrix rounded to three decimals by
# 1e-3; both are projected. A hidden scale or shear is more: a scale of 1.01 is off by 2e-2.
ORTHOGONALITY = 1e-2

# A quaternion's length says nothing about the rotation, but a length far from 1 says that other
# columns were read. Ratio to 1, either way: Cambridge's usual scenes have lengths up to 1.045.
QUATERNION_LENGTH = 1.05

# The published lists of Cambridge's Street have lengths up to 2.0, which everybody normalises.
PUBLISHED_QUATERNION_LENGTH = 2.1

# A frame is too far from the others when, in order of distance from the median centre, it comes after a gap
# of more than both. A route of 10 km has no such gap, a point at 3e9 m (Great Court) has.
FAR_METERS = 1_000.0
FAR_DISTANCES = 100.0

# Fields of view, in degrees along the longer side, of lenses without a fisheye's projection: a 300 mm lens
# has 7, the widest rectilinear lens sold 130. A focal length in millimetres or in fractions of the width
# gives 178 and more.
NARROWEST, WIDEST = 10.0, 170.0

# A fisheye sees no more than the whole sphere: the side divided by the focal length is its angle.
WIDEST_FISHEYE = 360.0

# The principal point is at least this share of the image's side away from its border. Intrinsics of the full
# size with images of half the size have it on the border.
PRINCIPAL_POINT_MARGIN = 0.05

# A principal point that is this much off the middle, relatively, by the same factor along both sides (to the
# second share), is that of images of another size: lenses and cut-outs are not off by the same factor.
OTHER_SIZE, SAME_FACTOR = 0.15, 0.04

# A principal point that is this near to the middle of the image turned by 90 degrees, as a share of the
# sides, is that of images of the other orientation, if the sides differ by more than the second share.
TURNED, SIDES_DIFFER = 0.03, 0.15

# Ratio of the two focal lengths, either way. Anamorphic video has 2.
FOCAL_RATIO = 2.5

# Images whose size is compared with their intrinsics: of the first cameras, for each file has to be opened.
_COMPARED_CAMERAS = 20


@dataclass(frozen=True, eq=False)
class Row:
    """A frame as a file gives it.

    Attributes:
        where: the file and the line, as messages name them.
        frame: the frame without its pose.
        numbers: the pose: 16 of a matrix; or 7, the centre and a quaternion with w first; or 3, the
            centre alone, where the orientation is not known.
    """

    where: str
    frame: Frame
    numbers: Sequence[float] | NDArray[np.float64]


def frames_from_matrices(rows: Sequence[Row]) -> tuple[Frame, ...]:
    """Frames of rows with 4x4 `world_from_cam` matrices in OpenCV axes, row by row.

    The rotation is replaced by the nearest true rotation.

    Raises:
        DatasetError: a pose is not finite, mirrored, or not a rotation; a frame is there twice, or
            far from all others; intrinsics are impossible.
    """
    matrices = np.array([row.numbers for row in rows], dtype=np.float64).reshape(-1, 4, 4)
    _refuse(rows, (~np.isfinite(matrices)).any(axis=(1, 2)), _INFINITE)
    with np.errstate(all="ignore"):
        rotations = matrices[:, :3, :3]
        gram = np.transpose(rotations, (0, 2, 1)) @ rotations
        off = np.abs(gram - np.eye(3)).max(axis=(1, 2), initial=0.0)
        mirrored = np.linalg.det(rotations) < 0
        last_row_off = np.abs(matrices[:, 3] - np.array([0.0, 0.0, 0.0, 1.0])).max(axis=1, initial=0.0)
    _refuse(rows, last_row_off > 1e-6, "is not a matrix whose last row is 0 0 0 1; write it row by row")
    _refuse(rows, mirrored, "is mirrored (its determinant is negative); check the directions of the axes")
    why = (
        f"is not a rotation, its axes are off by {{:.2g}} from being orthogonal and of length one, and "
        f"{ORTHOGONALITY} is allowed; remove scale and shear"
    )
    _refuse(rows, ~(off <= ORTHOGONALITY), why, off)
    return _checked(rows, nearest_rotation(rotations), matrices[:, :3, 3])


def frames_from_quaternions(
    rows: Sequence[Row], *, rotation: Direction, longest: float = QUATERNION_LENGTH
) -> tuple[Frame, ...]:
    """Frames of rows with the camera's centre in the world and a quaternion, w first, or the centre alone.

    `rotation` says what the quaternion rotates; the position is the centre in both cases. Its length is from
    1 / `longest` to `longest`.

    Raises:
        DatasetError: a pose is not finite, a quaternion is zero or far from unit length; a frame is
            there twice, or far from all others; intrinsics are impossible.
    """
    position_only = np.array([len(row.numbers) == 3 for row in rows], dtype=np.bool_)
    whole = [row.numbers if len(row.numbers) != 3 else (*row.numbers, 1.0, 0.0, 0.0, 0.0) for row in rows]
    numbers = np.array(whole, dtype=np.float64).reshape(-1, 7)
    _refuse(rows, (~np.isfinite(numbers)).any(axis=1), _INFINITE)
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(numbers[:, 3:], axis=1)
    for row, length in zip(rows, lengths.tolist(), strict=True):
        check_quaternion_length(length, f"{row.where}: the quaternion of {row.frame.name}", longest=longest)
    positions = numbers[:, :3]
    rotations = Pose.from_quaternion_wxyz(numbers[:, 3:], positions).rotation
    world_from_cam = rotations if rotation == "world_from_cam" else rotations.mT
    return _checked(rows, np.where(position_only[:, None, None], np.nan, world_from_cam), positions)


def check_quaternion_length(length: float, what: str, *, longest: float = QUATERNION_LENGTH) -> None:
    """Refuse a quaternion whose length is not that of a rotation.

    Raises:
        DatasetError: it is zero, not finite, or far from unit length; the message begins with `what`.
    """
    if length == 0:
        raise DatasetError(f"{what} is zero, which is no rotation; leave the frame out")
    if not 1 / longest <= length <= longest:
        raise DatasetError(
            f"{what} has length {length:.4g}, and {1 / longest:.3g} to {longest:.3g} is allowed; check which "
            f"columns hold it"
        )


def check_camera(camera: Camera, where: str) -> None:
    """Refuse intrinsics that no camera has, with the likely reason.

    Raises:
        DatasetError: the principal point is outside the image or at its border; the field of view is below
            `NARROWEST` or above `WIDEST` degrees; or the two focal lengths have nothing to do with each
            other.
    """
    width, height = camera.width, camera.height
    has = f"{where}: the camera of {width} x {height} pixels has"
    if min(camera.cx, camera.cy) > 0.0 and max(camera.cx, camera.cy) <= 1.0 < min(width, height):
        raise DatasetError(
            f"{has} a focal length of {camera.fx:g} and a principal point at {camera.cx:g}, {camera.cy:g}, "
            f"which look like fractions of the image's size; multiply them by its width and height"
        )
    for name, value, side in (("cx", camera.cx, width), ("cy", camera.cy, height)):
        if not PRINCIPAL_POINT_MARGIN <= value / side <= 1 - PRINCIPAL_POINT_MARGIN:
            likely = (
                f"a calibration for images of about {2 * camera.cx:.0f} x {2 * camera.cy:.0f} pixels; scale "
                f"it, or give the size that it is for"
                if value > 0
                else "a mistake in the signs or the order of the numbers"
            )
            raise DatasetError(
                f"{has} its principal point outside the image or at its border ({name} is {value:g}); this "
                f"looks like {likely}"
            )
    _refuse_other_size(camera, has)
    is_fisheye = "FISHEYE" in camera.model or camera.model in ("FOV", "EUCM")
    ratio = max(width / camera.fx, height / camera.fy)
    angle = math.degrees(ratio if is_fisheye else 2 * math.atan(ratio / 2))
    if is_fisheye and angle > WIDEST_FISHEYE:
        raise DatasetError(f"{has} a focal length of {camera.fx:g}, too short for any fisheye; give pixels")
    if not is_fisheye and not NARROWEST <= angle <= WIDEST:
        reason = (
            "a focal length in millimetres or in fractions of the width, and pixels are needed"
            if angle > WIDEST
            else "a calibration for larger images; scale it, or give the size that it is for"
        )
        raise DatasetError(
            f"{has} a focal length of {camera.fx:g}, a field of view of {angle:.1f}°, and {NARROWEST:g}° to "
            f"{WIDEST:g}° are possible; this looks like {reason}"
        )
    if not 1 / FOCAL_RATIO <= camera.fx / camera.fy <= FOCAL_RATIO:
        raise DatasetError(
            f"{has} focal lengths of {camera.fx:g} and {camera.fy:g}, which differ by more than a factor of "
            f"{FOCAL_RATIO}; check the order of the numbers"
        )


def _refuse_other_size(camera: Camera, has: str) -> None:
    """Refuse a principal point that is in the middle of images of another size or orientation."""
    width, height = camera.width, camera.height
    across, down = 2 * camera.cx / width, 2 * camera.cy / height
    turned = max(abs(camera.cx / height - 0.5), abs(camera.cy / width - 0.5))
    if turned < TURNED and abs(width / height - 1) > SIDES_DIFFER:
        likely = f"of {height} x {width} pixels, turned by 90°; exchange the numbers of the two sides"
    elif abs(across - 1) > OTHER_SIZE and abs(across / down - 1) < SAME_FACTOR:
        likely = (
            f"of about {2 * camera.cx:.0f} x {2 * camera.cy:.0f} pixels; scale it, or give the size that it "
            f"is for"
        )
    else:
        return
    raise DatasetError(
        f"{has} its principal point at {camera.cx:g}, {camera.cy:g}; this looks like a calibration for "
        f"images {likely}"
    )


def _check_cameras(rows: Sequence[Row]) -> None:
    """Check every distinct camera, and for the first ones that an image has its shape."""
    first: dict[Camera, Row] = {}
    for row in rows:
        if row.frame.camera is not None:
            first.setdefault(row.frame.camera, row)
    for number, (camera, row) in enumerate(first.items()):
        check_camera(camera, row.where)
        if number < _COMPARED_CAMERAS:
            _check_shape(camera, row)


def _check_shape(camera: Camera, row: Row) -> None:
    try:
        sizes = image_sizes(row.frame.image)
    except DatasetError:  # `datasets` and training name broken images, all of them
        return
    shape = camera.width / camera.height
    if all(abs(width / height / shape - 1) >= ASPECT_TOLERANCE for width, height in sizes):
        (width, height), _ = sizes
        raise DatasetError(
            f"{row.where}: the image {row.frame.image} has {width} x {height} pixels, and its intrinsics are "
            f"for {camera.width} x {camera.height}, which is another shape; give the camera of these images"
        )


_INFINITE = "holds NaN or infinity; leave the frame out"


def _refuse(
    rows: Sequence[Row], wrong: ArrayLike, why: str, amounts: NDArray[np.float64] | None = None
) -> None:
    """Refuse the first row whose pose is wrong; the reason may have a place for its amount."""
    for number in np.flatnonzero(wrong)[:1].tolist():
        row, amount = rows[number], "" if amounts is None else amounts[number]
        raise DatasetError(f"{row.where}: the pose of {row.frame.name} {why.format(amount)}")


def _checked(
    rows: Sequence[Row], rotations: NDArray[np.float64], positions: NDArray[np.float64]
) -> tuple[Frame, ...]:
    """Frames with their poses, after the checks of all of them together."""
    _refuse_duplicates(rows)
    _refuse_far(rows, positions)
    _check_cameras(rows)
    poses = Pose(rotations, positions.copy())
    return tuple(replace(row.frame, world_from_cam=pose) for row, pose in zip(rows, poses, strict=True))


def _refuse_duplicates(rows: Sequence[Row]) -> None:
    first: dict[str, str] = {}
    for row in rows:
        name = row.frame.name
        if name in first:
            raise DatasetError(
                f"{row.where}: the frame {name} is there for the second time, the first was at "
                f"{first[name]}; remove one of them"
            )
        first[name] = row.where


_ARE_FAR_FRAMES_ALLOWED = ContextVar("_ARE_FAR_FRAMES_ALLOWED", default=False)


@contextmanager
def far_frames_allowed() -> Iterator[None]:
    """Accept frames far from all others inside the block, so that `camloc check` can say why they are far."""
    token = _ARE_FAR_FRAMES_ALLOWED.set(True)
    try:
        yield
    finally:
        _ARE_FAR_FRAMES_ALLOWED.reset(token)


def _refuse_far(rows: Sequence[Row], positions: NDArray[np.float64]) -> None:
    if len(rows) < 3 or _ARE_FAR_FRAMES_ALLOWED.get():  # of two frames, none is the one that is wrong
        return
    with np.errstate(all="ignore"):
        distances = np.linalg.norm(positions - np.median(positions, axis=0), axis=1)
        order = np.argsort(distances)
        gaps = np.diff(distances[order])
        limit = max(FAR_METERS, FAR_DISTANCES * float(np.median(distances)))
    (beyond,) = np.nonzero(gaps > limit)
    if len(beyond):
        number = int(order[int(beyond[0]) + 1])
        row = rows[number]
        raise DatasetError(
            f"{row.where}: the frame {row.frame.name} is {distances[number]:.3g} units of length away "
            f"from all others; correct its pose, or leave it out with the option exclude"
        )
