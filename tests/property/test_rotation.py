"""Angles between rotations, quaternions, and the rotation nearest to a matrix."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from tests.support.kinds import on_both_kinds
from tests.support.strategies import rotation_about, rotations, tensors
from torch import Tensor

from camloc import geometry
from camloc.geometry import rotation as rotations_of

# Every property below is asserted of tensors, and NumPy arrays must give the same.
rotation_angle = on_both_kinds(geometry.rotation_angle, atol=1e-13)
quaternion_wxyz_from_rotation = on_both_kinds(rotations_of.quaternion_wxyz_from_rotation, atol=1e-14)
rotation_from_quaternion_wxyz = on_both_kinds(rotations_of.rotation_from_quaternion_wxyz, atol=1e-14)
rotation_vector = on_both_kinds(rotations_of.rotation_vector, atol=1e-13)
nearest_rotation = on_both_kinds(geometry.nearest_rotation, atol=1e-12)

SMALL = [0.0, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2]
AXES = [(1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (1.0, 2.0, -3.0), (-0.3, 0.9, 0.1)]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("radians", SMALL + [math.pi - small for small in SMALL])
def test_angle_is_exact_near_zero_and_near_half_a_turn(radians: float, axis: tuple[float, ...]) -> None:
    first = rotation_about((0.2, -0.5, 0.8), 1.1)
    second = first @ rotation_about(axis, radians)
    assert rotation_angle(first, second).item() == pytest.approx(radians, abs=1e-15 * 10)
    in_single = geometry.rotation_angle(first.float(), second.float())
    assert in_single.item() == pytest.approx(radians, abs=4e-7)


@pytest.mark.parametrize("radians", [0.0, 1e-13, 1e-9, 1e-3, 1.0, 3.0])
def test_rotation_vector_is_axis_times_angle(radians: float) -> None:
    axis = np.array([1.0, 2.0, -3.0]) / np.sqrt(14.0)
    matrix = torch.from_numpy(Rotation.from_rotvec(radians * axis).as_matrix().copy())
    np.testing.assert_allclose(rotation_vector(matrix).numpy(), radians * axis, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_angle_of_equal_rotations_is_zero_and_never_nan(dtype: torch.dtype) -> None:
    matrices = torch.from_numpy(Rotation.random(2000, rng=0).as_matrix().copy()).to(dtype)
    angles = rotation_angle(matrices, matrices)
    assert not angles.isnan().any()
    assert angles.max() <= 4 * torch.finfo(dtype).eps
    arc_cosine = torch.arccos(((matrices.mT @ matrices).diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2)
    assert arc_cosine.isnan().any(), "the textbook formula fails here, so this test bites"


@given(rotations(), tensors(3), st.floats(0.0, math.pi))
def test_angle_is_the_one_that_the_rotation_was_made_with(
    first: Tensor, axis: Tensor, radians: float
) -> None:
    if axis.norm() < 1e-3:
        axis = torch.tensor([1.0, 0.0, 0.0])
    second = first @ rotation_about(axis, radians)
    assert rotation_angle(first, second).item() == pytest.approx(radians, abs=1e-13)


@given(rotations(), rotations(), rotations())
def test_angle_is_a_distance_that_ignores_the_frame(a: Tensor, b: Tensor, c: Tensor) -> None:
    angle = rotation_angle(a, b)
    assert 0.0 <= angle <= math.pi
    for same in (
        rotation_angle(b, a),
        rotation_angle(c @ a, c @ b),
        rotation_angle(a @ c, b @ c),
        rotation_angle(a.mT, b.mT),
    ):
        assert same.item() == pytest.approx(angle.item(), abs=1e-13)
    assert rotation_angle(a, c) <= angle + rotation_angle(b, c) + 1e-13


@given(rotations(), rotations())
def test_angle_agrees_with_scipy(a: Tensor, b: Tensor) -> None:
    expected = (Rotation.from_matrix(a.numpy()).inv() * Rotation.from_matrix(b.numpy())).magnitude()
    assert rotation_angle(a, b).item() == pytest.approx(float(expected), abs=1e-13)


def test_angle_has_a_finite_gradient_at_zero_and_at_half_a_turn() -> None:
    for radians in (0.0, math.pi):
        second = rotation_about((1.0, 2.0, 3.0), radians).requires_grad_()
        (gradient,) = torch.autograd.grad(geometry.rotation_angle(torch.eye(3).double(), second), second)
        assert gradient.isfinite().all()


def test_angle_takes_one_against_many() -> None:
    many = torch.from_numpy(Rotation.random(5, rng=1).as_matrix().copy())
    assert rotation_angle(many[0], many).shape == (5,)
    assert rotation_angle(many[:, None], many[None]).shape == (5, 5)


@given(rotations())
def test_rotation_to_quaternion_and_back_is_the_same_rotation(rotation: Tensor) -> None:
    quaternion_wxyz = quaternion_wxyz_from_rotation(rotation)
    assert quaternion_wxyz[0] >= 0
    assert quaternion_wxyz.norm().item() == pytest.approx(1.0, abs=1e-14)
    torch.testing.assert_close(rotation_from_quaternion_wxyz(quaternion_wxyz), rotation, rtol=0.0, atol=1e-14)


@given(tensors(4), st.floats(1e-3, 1e3))
def test_quaternion_to_rotation_ignores_sign_and_length_and_agrees_with_scipy(
    quaternion_wxyz: Tensor, length: float
) -> None:
    if quaternion_wxyz.norm() < 1e-3:
        return
    rotation = rotation_from_quaternion_wxyz(quaternion_wxyz)
    expected = Rotation.from_quat(quaternion_wxyz.numpy(), scalar_first=True).as_matrix()
    np.testing.assert_allclose(rotation.numpy(), expected, rtol=0.0, atol=1e-14)
    for factor in (-1.0, length, -length):
        other = rotation_from_quaternion_wxyz(factor * quaternion_wxyz)
        torch.testing.assert_close(other, rotation, rtol=0.0, atol=1e-14)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("below", [0.0, 1e-12, 1e-6])
def test_quaternion_round_trip_holds_at_half_a_turn(axis: tuple[float, ...], below: float) -> None:
    rotation = rotation_about(axis, math.pi - below)
    quaternion_wxyz = quaternion_wxyz_from_rotation(rotation)
    assert quaternion_wxyz[0] >= 0
    assert rotation_angle(rotation_from_quaternion_wxyz(quaternion_wxyz), rotation) < 1e-14


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_quaternion_is_no_rotation_but_nan(dtype: torch.dtype) -> None:
    assert rotation_from_quaternion_wxyz(torch.zeros(4, dtype=dtype)).isnan().any()


@given(rotations(), tensors(3, 3, within=3e-4))
def test_nearest_rotation_repairs_the_rounded_matrices_of_data_sets(
    rotation: Tensor, rounding: Tensor
) -> None:
    repaired = nearest_rotation(rotation + rounding)
    _assert_proper(repaired)
    assert rotation_angle(repaired, rotation) < 1e-3
    again = nearest_rotation(repaired)
    torch.testing.assert_close(again, repaired, rtol=0.0, atol=1e-14)


@given(tensors(3, 3, within=10.0))
def test_nearest_rotation_is_proper_for_any_matrix(matrix: Tensor) -> None:
    _assert_proper(nearest_rotation(matrix))


@given(rotations(), st.sampled_from([1e-30, 1e-9, 1e-3, 1e3, 1e9, 1e30]))
def test_nearest_rotation_of_a_mirror_is_no_mirror_and_ignores_scale(rotation: Tensor, scale: float) -> None:
    mirror = rotation @ torch.diag(torch.tensor([1.0, 0.9, -0.8], dtype=torch.float64))
    nearest = nearest_rotation(mirror)
    _assert_proper(nearest)
    torch.testing.assert_close(nearest_rotation(scale * mirror), nearest, rtol=0.0, atol=1e-12)


@given(rotations(), rotations(), tensors(3, 3, within=0.5))
def test_no_other_rotation_is_nearer(rotation: Tensor, other: Tensor, change: Tensor) -> None:
    matrix = rotation + change
    best = (nearest_rotation(matrix) - matrix).norm()
    assert best <= (other - matrix).norm() + 1e-12
    assert best <= (rotation - matrix).norm() + 1e-12


def _assert_proper(rotation: Tensor) -> None:
    identity = torch.eye(3, dtype=rotation.dtype)
    torch.testing.assert_close(rotation @ rotation.mT, identity, rtol=0.0, atol=1e-13)
    assert torch.linalg.det(rotation) > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_nearest_rotation_is_the_same_with_and_without_a_derivative(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(6)
    matrices = torch.randn(200, 3, 3, generator=generator, dtype=dtype)
    matrices[100:] @= torch.diag(torch.tensor([1.0, 1.0, -0.01], dtype=dtype))  # half of them nearly flat
    plain = geometry.nearest_rotation(matrices)
    as_numpy = torch.from_numpy(geometry.nearest_rotation(matrices.numpy()))
    tracked = geometry.nearest_rotation(matrices.clone().requires_grad_()).detach()
    for other in (tracked, as_numpy):
        torch.testing.assert_close(plain, other, rtol=0, atol=1e-4 if dtype == torch.float32 else 1e-9)
    torch.testing.assert_close(torch.linalg.det(plain), torch.ones(200, dtype=dtype))
