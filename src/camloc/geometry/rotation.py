"""What roma leaves open about rotations: angles that are exact at both ends, w-first quaternions."""

import roma
import torch
from jaxtyping import Float
from torch import Tensor


def rotation_angle(
    first: Float[Tensor, "*#batch 3 3"], second: Float[Tensor, "*#batch 3 3"]
) -> Float[Tensor, "*batch"]:
    """Angle in radians, within [0, pi], of the rotation that turns `first` into `second`.

    Exact near 0 and near pi, where the arc cosine of a rounded trace loses half of its digits or is
    not a number: with R the difference, `|R - R^T|_F = 2 sqrt(2) sin(angle)` and
    `trace(R) - 1 = 2 cos(angle)`, and the arc tangent of the two is well conditioned everywhere.
    """
    difference = first.transpose(-1, -2) @ second
    skew = difference - difference.transpose(-1, -2)
    axis = torch.stack((skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]), dim=-1)
    twice_sine = torch.linalg.vector_norm(axis, dim=-1)
    twice_cosine = difference.diagonal(dim1=-2, dim2=-1).sum(-1) - 1.0
    return torch.atan2(twice_sine, twice_cosine)


def rotation_from_quaternion_wxyz(
    quaternion_wxyz: Float[Tensor, "*batch 4"],
) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix of a quaternion (w first), which need not have unit length.

    The zero quaternion is no rotation: its matrix is NaN, which every later check notices.
    """
    unit = quaternion_wxyz / torch.linalg.vector_norm(quaternion_wxyz, dim=-1, keepdim=True)
    rotation: Tensor = roma.unitquat_to_rotmat(roma.quat_wxyz_to_xyzw(unit))
    return rotation


def quaternion_wxyz_from_rotation(
    rotation: Float[Tensor, "*batch 3 3"],
) -> Float[Tensor, "*batch 4"]:
    """Unit quaternion (w first) of a rotation matrix, in the hemisphere of w >= 0.

    q and -q are the same rotation; a network that is trained on quaternions needs one of the two.
    """
    quaternion_wxyz = roma.quat_xyzw_to_wxyz(roma.rotmat_to_unitquat(rotation))
    return torch.where(quaternion_wxyz[..., :1] < 0, -quaternion_wxyz, quaternion_wxyz)


def nearest_rotation(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The proper rotation (determinant +1) nearest to `matrix` in the Frobenius norm.

    It does not depend on the scale of `matrix`. roma damps its derivative below an absolute size, which
    would silently switch it off for covariances of points a few millimetres apart, so the scale is
    taken out first. A matrix that is not finite gives NaN.
    """
    if not (matrix.requires_grad and torch.is_grad_enabled()):
        return _proper_polar_factor(matrix)
    scale = matrix.detach().abs().amax((-2, -1), keepdim=True)
    rotation: Tensor = roma.special_procrustes(matrix / torch.where(scale > 0, scale, 1.0))
    return rotation


def _proper_polar_factor(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The nearest rotation without a derivative, which roma spends thirty times as long to prepare."""
    is_finite = matrix.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
    left, _, right = torch.linalg.svd(torch.where(is_finite, matrix, 0.0))
    # Of the three axes the one that matters least is turned round where the product is a mirror.
    handedness = torch.linalg.det(left @ right).sign()[..., None, None]
    rotation = torch.cat((left[..., :2], left[..., 2:] * handedness), dim=-1) @ right
    return torch.where(is_finite, rotation, torch.nan)
