"""What a regressor may say an orientation with: forms of three to nine numbers, and how two are compared."""

import math
from typing import Literal

import roma
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from camloc.geometry.rotation import (
    nearest_rotation,
    quaternion_wxyz_from_rotation,
    rotation_from_quaternion_wxyz,
)

# "quaternion": four numbers, compared as unit quaternions. "4d_norm": the same four, compared as rotation
# matrices. "6d": the first two columns of the matrix, made orthonormal one after the other (Zhou et al.
# 2019). "9d": the whole matrix, of which the nearest rotation counts (Levinson et al. 2020).
# "log_quaternion": half the rotation vector (MapNet, AtLoc). HyperPose 2023 Table 7 compares the first
# three, HyperPose 2025 supplement Table 7 three of the first four.
OrientationForm = Literal["quaternion", "4d_norm", "6d", "9d", "log_quaternion"]

_SIZES: dict[OrientationForm, int] = {"quaternion": 4, "4d_norm": 4, "6d": 6, "9d": 9, "log_quaternion": 3}


def orientation_size(form: OrientationForm) -> int:
    """How many numbers a form has."""
    return _SIZES[form]


def rotation_from_values(form: OrientationForm, values: Float[Tensor, "b k"]) -> Float[Tensor, "b 3 3"]:
    """Rotation matrices from a regressor's numbers."""
    match form:
        case "quaternion" | "4d_norm":
            rotation: Tensor = rotation_from_quaternion_wxyz(values)
            return rotation
        case "6d":
            orthonormal: Tensor = roma.special_gramschmidt(values.unflatten(-1, (2, 3)).mT)
            return orthonormal
        case "9d":
            nearest: Tensor = nearest_rotation(values.unflatten(-1, (3, 3)).mT)
            return nearest
        case "log_quaternion":
            turn: Tensor = roma.rotvec_to_rotmat(2.0 * values)
            return turn


def values_from_rotation(form: OrientationForm, rotation: Float[Tensor, "b 3 3"]) -> Float[Tensor, "b k"]:
    """The numbers of a form that stand for rotation matrices; quaternions with w >= 0."""
    match form:
        case "quaternion" | "4d_norm":
            quaternion_wxyz: Tensor = quaternion_wxyz_from_rotation(rotation)
            return quaternion_wxyz
        case "6d":
            return rotation[..., :2].mT.flatten(-2)
        case "9d":
            return rotation.mT.flatten(-2)
        case "log_quaternion":
            vector: Tensor = roma.rotmat_to_rotvec(rotation)
            return 0.5 * vector


def compared_values(form: OrientationForm, values: Float[Tensor, "b k"]) -> Float[Tensor, "b n"]:
    """What of a regressor's numbers is compared with the truth: unit quaternions, matrices, logarithms."""
    match form:
        case "quaternion":
            return F.normalize(values, dim=-1)
        case "4d_norm" | "6d" | "9d":
            return rotation_from_values(form, values).flatten(-2)
        case "log_quaternion":
            return values


def compared_truths(form: OrientationForm, rotation: Float[Tensor, "b 3 3"]) -> Float[Tensor, "a b n"]:
    """What the numbers of a right answer compare as, one row for each way to say the same rotation.

    q and -q are one rotation, so a quaternion can be right in two ways, and its logarithm too: the turn
    about the same axis the other way round. A matrix is right in one way. The first row is the one with
    w >= 0, as published.
    """
    match form:
        case "quaternion":
            quaternion_wxyz = quaternion_wxyz_from_rotation(rotation)
            return torch.stack((quaternion_wxyz, -quaternion_wxyz))
        case "4d_norm" | "6d" | "9d":
            return rotation.flatten(-2).unsqueeze(0)
        case "log_quaternion":
            half: Tensor = 0.5 * roma.rotmat_to_rotvec(rotation)
            length = torch.linalg.vector_norm(half, dim=-1, keepdim=True)
            axis = half / length.clamp_min(torch.finfo(half.dtype).tiny)
            return torch.stack((half, half - math.pi * axis))
