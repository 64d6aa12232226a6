"""Which reading of the poses and intrinsics explains the matches of the images.

Each hypothesis says how the poses may have been written other than they were read: inverted, with the numbers
of the quaternion in another order, with the axes of another program, mirrored. Each is undone, and the
epipolar geometry of the changed poses is measured on the same matches. The error of a hypothesis is the
median over the pairs of each pair's median Sampson distance; points must also lie in front of both cameras,
which tells directions apart that no epipolar line does.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import permutations, product

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from camloc.core.sampling import even_rows
from camloc.geometry.rotation import quaternion_wxyz_from_rotation, rotation_from_quaternion_wxyz
from camloc.mapping.check.correspondences import Correspondences

Poses = tuple[Float[np.ndarray, "f 3 3"], Float[np.ndarray, "f 3"]]
"""Rotations `world_from_cam` and camera centres."""

# Pixels, of an image of about 640 x 480, that a pair's error counts at most.
WORST = 60.0

# Focal lengths and principal points that are tried.
_FOCALS = tuple(float(factor) for factor in np.geomspace(0.4, 2.5, 23))
# Frames by which poses may be late or early.
_STEPS = (*range(-12, 0), *range(1, 13), -20, -16, 16, 20)

# Focal lengths along y over those along x, of intrinsics in which one of the two is wrong.
_ASPECTS = (0.6, 0.68, 0.77, 0.87, 1.15, 1.3, 1.47, 1.67)

_SHIFTS = (-0.3, -0.2, -0.1, 0.1, 0.2, 0.3)

# Matches of a pair that must lie in front of both cameras.
_AHEAD = 0.5

# Hypotheses that are evaluated at once.
_CHUNK = 64

# Matches of each pair that a common shift is computed from, and steps of that robust solution.
_SHIFT_MATCHES, _SHIFT_STEPS = 20, 8


@dataclass(frozen=True)
class Hypothesis:
    """Another reading of poses or intrinsics.

    Attributes:
        kind: of the fault, as in `Finding.kind`; "" for the data as they are.
        statement: the reading in words, as "the poses are cam_from_world".
        poses: turns the given poses into the meant ones; None if they stay.
        focal: the meant focal length along x, divided by the given one.
        aspect: the same along y, divided by `focal`.
        shift: from the given principal point to the meant one, divided by the given focal length.
        cost: 0 for the data as they are, more for stranger readings; of readings that explain the matches
            equally well, the cheapest is named.
    """

    kind: str
    statement: str
    poses: Callable[[Poses], Poses] | None = None
    focal: float = 1.0
    aspect: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    cost: float = 1.0


@dataclass(frozen=True)
class Scored:
    """How well a hypothesis explains the matches.

    Attributes:
        hypothesis: the reading.
        pixels: median over the pairs of their median Sampson distance, where pairs with points behind a
            camera count `WORST`.
        by_pair: (p,) of each pair.
    """

    hypothesis: Hypothesis
    pixels: float
    by_pair: Float[np.ndarray, "p"]


AS_GIVEN = Hypothesis("", "as they are", cost=0.0)


def _times(rotation: NDArray[np.float64], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.einsum("fij,fj->fi", rotation, vector))


def _reordered(
    rotation: NDArray[np.float64], order: Sequence[int], signs: Sequence[int]
) -> NDArray[np.float64]:
    quaternion = quaternion_wxyz_from_rotation(rotation)
    return np.asarray(
        rotation_from_quaternion_wxyz(quaternion[:, list(order)] * np.array(signs, dtype=float))
    )


_OPENGL = np.diag([1.0, -1.0, -1.0])


def _inverses() -> dict[str, Callable[[Poses], Poses]]:
    """Directions that poses are confused in, with the words for each."""
    return {
        "the poses are cam_from_world, and are read as world_from_cam (or the other way round)": (
            lambda poses: (poses[0].mT, -_times(poses[0].mT, poses[1]))
        ),
        "the rotations are transposed, while the positions are right": lambda poses: (poses[0].mT, poses[1]),
        "the positions are translations of cam_from_world, while the rotations are right": (
            lambda poses: (poses[0], -_times(poses[0], poses[1]))
        ),
        "the positions are camera centres that are read as translations of cam_from_world": (
            lambda poses: (poses[0], -_times(poses[0].mT, poses[1]))
        ),
        "the rotations are transposed, and the positions are translations": (
            lambda poses: (poses[0].mT, -_times(poses[0], poses[1]))
        ),
    }


def pose_hypotheses() -> list[Hypothesis]:
    """Every reading of the poses that is tried."""
    inverses = _inverses()
    found = [
        Hypothesis("direction of the poses", statement, change, cost=1.0 + 0.2 * number)
        for number, (statement, change) in enumerate(inverses.items())
    ]
    found += _quaternion_orders()
    found += _camera_axes(inverses)
    found += _world_axes()
    found += _small_angles()
    found += [
        Hypothesis(
            "shifted images",
            f"each image has the pose of the image {abs(steps)} {'after' if steps < 0 else 'before'} it",
            partial(_shifted, steps=steps),
            cost=1.4,
        )
        for steps in _STEPS
    ]
    return found


def _small_angles() -> list[Hypothesis]:
    """Angles in radians that were read as degrees: of a rotation vector, or of three turns about axes."""
    statement = "the angles of the orientations are in radians, and are read as degrees"
    changes = [partial(_enlarged, order="")]
    for axes in permutations("XYZ"):
        order = "".join(axes)
        changes += [partial(_enlarged, order=order), partial(_enlarged, order=order.lower())]
    return [Hypothesis("orientations", statement, change, cost=1.8) for change in changes]


def _enlarged(poses: Poses, *, order: str) -> Poses:
    """The poses with 57.3 times the angles; `order` is SciPy's, "" for a rotation vector."""
    turn = Rotation.from_matrix(poses[0])
    if order:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a gimbal lock, in which this is not the right reading
            angles = turn.as_euler(order)
        return np.asarray(Rotation.from_euler(order, np.rad2deg(angles)).as_matrix()), poses[1]
    return np.asarray(Rotation.from_rotvec(np.rad2deg(turn.as_rotvec())).as_matrix()), poses[1]


def _shifted(poses: Poses, *, steps: int) -> Poses:
    """The poses of frames that come `steps` later; a few at the ends of recordings are wrong."""
    return np.roll(poses[0], -steps, axis=0), np.roll(poses[1], -steps, axis=0)


def _quaternion_orders() -> list[Hypothesis]:
    """The numbers of the quaternion in other orders, of either direction of the pose."""
    found = []
    usual: dict[tuple[int, ...], str] = {
        (1, 2, 3, 0): "w last, and is read as w first",
        (3, 0, 1, 2): "w first, and is read as w last",
    }
    conjugate = (1, -1, -1, -1)
    for order in permutations(range(4)):
        if order == (0, 1, 2, 3):
            continue
        predicate = f"has {usual[order]}" if order in usual else "is in another order than it is read"
        undo = np.argsort(order).tolist()
        for is_conjugate in (False, True):
            signs = conjugate if is_conjugate else (1, 1, 1, 1)
            cost = 1.3 + 0.4 * (order not in usual) + 0.5 * is_conjugate
            found += [
                Hypothesis(
                    "order of the quaternion",
                    f"the quaternion {predicate}",
                    partial(_with_quaternion, undo=undo, signs=signs, form=form),
                    cost=cost + 0.1 * number,
                )
                for number, form in enumerate(_FORMS)
            ]
    return found


# What the quaternion turned when its numbers were exchanged: the camera into the world; the world into the
# camera, beside the camera's centre; or beside the translation of cam_from_world.
_FORMS = ("world_from_cam", "cam_from_world and centre", "cam_from_world")


def _with_quaternion(poses: Poses, *, undo: Sequence[int], signs: Sequence[int], form: str) -> Poses:
    """The poses with the numbers of the quaternion in another order."""
    rotation, centre = poses
    if form == "world_from_cam":
        return _reordered(rotation, undo, signs), centre
    changed = _reordered(rotation.mT, undo, signs).mT
    if form == "cam_from_world":
        centre = _times(changed, _times(rotation.mT, centre))
    return changed, centre


def _signed_permutations() -> list[NDArray[np.float64]]:
    return [
        np.eye(3)[list(order)] * np.array(signs)[:, None]
        for order in permutations(range(3))
        for signs in product((1.0, -1.0), repeat=3)
    ]


def _camera_axes(inverses: dict[str, Callable[[Poses], Poses]]) -> list[Hypothesis]:
    """The camera with other axes, mirrored where they are left-handed; alone and with another direction."""
    found = []
    for axes in _signed_permutations():
        if np.array_equal(axes, np.eye(3)):
            continue
        kind, statement, cost = _axes_fault(axes)
        change = partial(_in_axes, axes=axes)
        found.append(Hypothesis(kind, statement, change, cost=cost))
        if kind == "mirrored":
            continue
        for number, (words, inverse) in enumerate(inverses.items()):
            for steps in ((inverse, change), (change, inverse)):
                found.append(
                    Hypothesis(
                        "direction of the poses and camera axes",
                        f"{words}, and {statement}",
                        partial(_one_after_the_other, steps=steps),
                        cost=cost + 0.7 + 0.1 * number,
                    )
                )
    return found


def _axes_fault(axes: NDArray[np.float64]) -> tuple[str, str, float]:
    """The kind of fault, its words and its cost, if the axes of the camera were these."""
    if np.linalg.det(axes) < 0:
        cost = 1.6 + 0.3 * (abs(np.trace(axes)) != 1)
        return "mirrored", f"images or poses are mirrored ({_mirror_words(axes)})", cost
    if np.array_equal(axes, _OPENGL):
        words = "OpenGL's (right, up, backward), and are read as OpenCV's (right, down, forward)"
        return "camera axes", f"the camera axes are {words}", 1.0
    if axes[2, 2] == 1:
        degrees = "180°" if axes[0, 0] == -1 else "90°"
        return "camera axes", f"the images are turned by {degrees} against their poses", 1.2
    return "camera axes", f"the camera axes are not right, down, forward but {_axis_words(axes)}", 1.5


def _in_axes(poses: Poses, *, axes: NDArray[np.float64]) -> Poses:
    """The poses of cameras whose own axes are `axes`; improper rotations where these are mirrored."""
    return poses[0] @ axes, poses[1]


def _one_after_the_other(poses: Poses, *, steps: Sequence[Callable[[Poses], Poses]]) -> Poses:
    for step in steps:
        poses = step(poses)
    return poses


_NAMES = ("right", "down", "forward")
_OPPOSITES = ("left", "up", "backward")


def _axis_words(axes: NDArray[np.float64]) -> str:
    """The directions of the axes that the poses were written for."""
    words = []
    for row in axes:
        place = int(np.abs(row).argmax())
        words.append(_NAMES[place] if row[place] > 0 else _OPPOSITES[place])
    return ", ".join(words)


def _mirror_words(axes: NDArray[np.float64]) -> str:
    if np.array_equal(axes, np.diag([-1.0, 1.0, 1.0])):
        return "left and right are exchanged"
    if np.array_equal(axes, np.diag([1.0, -1.0, 1.0])):
        return "top and bottom are exchanged"
    return f"the camera axes are {_axis_words(axes)}, a left hand"


def _world_axes() -> list[Hypothesis]:
    """Positions in other axes of the world than the rotations."""
    found = []
    for axes in _signed_permutations():
        if np.array_equal(axes, np.eye(3)):
            continue
        words = ", ".join(
            f"{'-' if row[place] < 0 else ''}{'xyz'[place]}"
            for row in axes
            for place in [int(np.abs(row).argmax())]
        )
        statement = f"the positions are in other world axes than the rotations (meant are their {words})"
        moved = int((axes != np.eye(3)).any(axis=1).sum())
        change = partial(_positions_in_axes, axes=axes)
        found.append(Hypothesis("world axes", statement, change, cost=1.4 + 0.1 * moved))
    return found


def _positions_in_axes(poses: Poses, *, axes: NDArray[np.float64]) -> Poses:
    return poses[0], poses[1] @ axes.T


def lens_hypotheses() -> list[Hypothesis]:
    """Every other focal length and principal point that is tried."""
    found = [
        Hypothesis("focal length", "", focal=factor, cost=1.0)
        for factor in _FOCALS
        if abs(np.log(factor)) > 0.01
    ]
    found += [
        Hypothesis("focal length", "", focal=focal, aspect=aspect, cost=1.3)
        for aspect in _ASPECTS
        for focal in (1.0, 1.0 / aspect)
    ]
    shifts = [(shift, 0.0) for shift in _SHIFTS] + [(0.0, shift) for shift in _SHIFTS]
    shifts += [(one, other) for one in (-0.2, 0.2) for other in (-0.2, 0.2)]
    found += [Hypothesis("principal point", "", shift=shift, cost=1.2) for shift in shifts]
    return found


def scored(pairs: Sequence[Correspondences], poses: Poses, hypotheses: Sequence[Hypothesis]) -> list[Scored]:
    """How well each hypothesis explains the matches, in the order given.

    Args:
        pairs: the matches.
        poses: of all frames as read, which the pairs number.
        hypotheses: the readings.
    """
    found = []
    for start in range(0, len(hypotheses), _CHUNK):
        part = hypotheses[start : start + _CHUNK]
        changed = [poses if each.poses is None else each.poses(poses) for each in part]
        rotations = np.stack([each[0] for each in changed])
        centres = np.stack([each[1] for each in changed])
        focal = np.array([(each.focal, each.focal * each.aspect) for each in part])
        shift = np.array([each.shift for each in part])
        errors = np.stack([_pair_errors(pair, rotations, centres, focal, shift) for pair in pairs], axis=1)
        found += [Scored(each, float(np.median(row)), row) for each, row in zip(part, errors, strict=True)]
    return found


def _pair_errors(
    pair: Correspondences,
    rotations: Float[np.ndarray, "h f 3 3"],
    centres: Float[np.ndarray, "h f 3"],
    focal: Float[np.ndarray, "h 2"],
    shift: Float[np.ndarray, "h 2"],
) -> Float[np.ndarray, "h"]:
    """The median Sampson distance of a pair's matches under each of h readings, in pixels."""
    one, other = pair.first, pair.second
    pixels_of_one = pair.focal * focal.mean(axis=1)
    R1, R2 = rotations[:, one], rotations[:, other]
    relative = R2.mT @ R1
    offset = np.einsum("hji,hj->hi", R2, centres[:, one] - centres[:, other])
    length = np.linalg.norm(offset, axis=1)
    offset = offset / np.maximum(length, 1e-300)[:, None]
    x = _rays(pair.first_plane, focal, shift)
    y = _rays(pair.second_plane, focal, shift)
    turned = np.einsum("hij,hmj->hmi", relative, x)
    lines = np.cross(offset[:, None], turned)
    back = np.einsum("hji,hmj->hmi", relative, np.cross(y, offset[:, None]))
    error = np.abs((lines * y).sum(axis=2))
    slope = (lines[..., :2] ** 2).sum(axis=2) + (back[..., :2] ** 2).sum(axis=2)
    pixels = error / np.sqrt(np.maximum(slope, 1e-300)) * pixels_of_one[:, None]
    median = np.median(pixels, axis=1)
    # Depths along the two rays that come closest to each other.
    depth_one, depth_other = _depths(turned, y, offset)
    ahead = ((depth_one > 0) & (depth_other > 0)).mean(axis=1)
    wrong = (ahead < _AHEAD) | (length < 1e-12)
    # Of two frames from almost one place the rotation alone explains the matches.
    flat = turned[..., :2] / np.where(turned[..., 2:] > 1e-9, turned[..., 2:], np.nan)
    still = np.linalg.norm(flat - y[..., :2], axis=2) * pixels_of_one[:, None]
    still = np.median(np.nan_to_num(still, nan=WORST), axis=1)
    errors: Float[np.ndarray, h] = np.minimum(np.where(wrong, WORST, median), np.minimum(still, WORST))
    return errors


def pair_depth(pair: Correspondences, poses: Poses) -> float:
    """The median depth of a pair's points in the first image, in the world's units; NaN if few are ahead."""
    rotation, centre = poses
    relative = rotation[pair.second].T @ rotation[pair.first]
    offset = rotation[pair.second].T @ (centre[pair.first] - centre[pair.second])
    one, zero = np.ones((1, 2)), np.zeros((1, 2))
    turned = np.einsum("ij,hmj->hmi", relative, _rays(pair.first_plane, one, zero))
    depth, other = _depths(turned, _rays(pair.second_plane, one, zero), offset[None])
    ahead = (depth[0] > 0) & (other[0] > 0)
    return float(np.median(depth[0][ahead])) if ahead.sum() >= len(ahead) / 2 else float("nan")


def scale_of_one(pair: Correspondences, poses: Poses, *, first: bool) -> float:
    """The factor of the position of one frame of a pair that makes its epipolar lines meet the matches.

    The constraint is linear in the factor, so each match gives one; theirs is the median.
    """
    rotation, centre = poses
    relative = rotation[pair.second].T @ rotation[pair.first]
    x = _rays(pair.first_plane, np.ones((1, 2)), np.zeros((1, 2)))[0] @ relative.T
    y = _rays(pair.second_plane, np.ones((1, 2)), np.zeros((1, 2)))[0]
    normal = np.cross(x, y)
    one = normal @ (rotation[pair.second].T @ centre[pair.first])
    other = normal @ (rotation[pair.second].T @ centre[pair.second])
    numerator, denominator = (other, one) if first else (one, other)
    known = np.abs(denominator) > 1e-12
    return float(np.median(numerator[known] / denominator[known])) if known.any() else float("nan")


def common_shift(
    pairs: Sequence[Correspondences], poses: Poses, start: int
) -> Float[NDArray[np.float64], "3"]:
    """The shift of all positions from a frame on that brings epipolar lines nearest to the matches.

    Args:
        pairs: of a frame before `start` and one from it on.
        poses: of all frames.
        start: number of the first shifted frame.
    """
    rotation, centre = poses
    normals, offsets = [], []
    for pair in pairs:
        x, y = (
            rays / np.linalg.norm(rays, axis=1, keepdims=True) @ rotation[frame].T
            for frame, plane in ((pair.first, pair.first_plane), (pair.second, pair.second_plane))
            for rays in _rays(plane[even_rows(len(plane), _SHIFT_MATCHES)], np.ones((1, 2)), np.zeros((1, 2)))
        )
        sign = 1.0 if pair.second >= start else -1.0
        normals.append(np.cross(x, y))
        offsets.append(np.broadcast_to(sign * (centre[pair.second] - centre[pair.first]), (len(x), 3)))
    normal, offset = np.concatenate(normals), np.concatenate(offsets)
    shift = np.zeros(3)
    for _ in range(_SHIFT_STEPS):
        length = np.maximum(np.linalg.norm(offset + shift, axis=1), 1e-12)
        distance = np.abs((normal * (offset + shift)).sum(axis=1)) / length
        weight = 1.0 / (length * np.sqrt(np.maximum(distance, max(float(np.median(distance)), 1e-12))))
        shift = np.linalg.lstsq(
            normal * weight[:, None], -(normal * offset).sum(axis=1) * weight, rcond=None
        )[0]
    return shift


def _rays(
    plane: Float[np.ndarray, "m 2"], focal: Float[np.ndarray, "h 2"], shift: Float[np.ndarray, "h 2"]
) -> Float[np.ndarray, "h m 3"]:
    flat = (plane[None] - shift[:, None]) / focal[:, None]
    return np.concatenate((flat, np.ones_like(flat[..., :1])), axis=2)


def _depths(
    turned: Float[np.ndarray, "h m 3"], y: Float[np.ndarray, "h m 3"], offset: Float[np.ndarray, "h 3"]
) -> tuple[Float[np.ndarray, "h m"], Float[np.ndarray, "h m"]]:
    """Depths in both images, of `depth_other * y = depth_one * turned + offset` in the least squares."""
    a, b = turned, y
    aa, bb, ab = (a * a).sum(-1), (b * b).sum(-1), (a * b).sum(-1)
    at, bt = (a * offset[:, None]).sum(-1), (b * offset[:, None]).sum(-1)
    determinant = np.maximum(aa * bb - ab * ab, 1e-300)
    return (ab * bt - bb * at) / determinant, (aa * bt - ab * at) / determinant
