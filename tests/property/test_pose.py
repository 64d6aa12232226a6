"""A pose is an element of a group that acts on points, and its errors ignore where the world's axes lie."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.support.kinds import assert_alike, each_kind, kind_of, of_kind, on_both_kinds
from tests.support.strategies import clouds, pose_batches, poses, rotation_about, tensors
from torch import Tensor

from camloc import geometry
from camloc.geometry import Pose

# Centres are within 100 m, so this is a relative 1e-13.
assert_same = partial(assert_alike, atol=1e-11)
pose_error = on_both_kinds(geometry.pose_error, atol=1e-11)


@each_kind
@given(poses())
def test_inverse_undoes(kind: str, pose: Pose) -> None:
    pose, identity = of_kind(kind, (pose, Pose.identity()))
    assert_same(pose @ pose.inverse(), identity)
    assert_same(pose.inverse() @ pose, identity)
    assert_same(pose.inverse().inverse(), pose)


@each_kind
@given(poses(), poses(), poses())
def test_composition_is_associative(kind: str, a: Pose, b: Pose, c: Pose) -> None:
    a, b, c = of_kind(kind, (a, b, c))
    assert_same((a @ b) @ c, a @ (b @ c))


@each_kind
@given(poses(), poses())
def test_composition_is_the_product_of_matrices(kind: str, a: Pose, b: Pose) -> None:
    a, b = of_kind(kind, (a, b))
    assert_same((a @ b).matrix(), a.matrix() @ b.matrix())
    assert_same(a.inverse().matrix(), of_kind(kind, torch.linalg.inv(torch.as_tensor(a.matrix()))))
    assert_same((a @ b).inverse(), b.inverse() @ a.inverse())


@each_kind
@given(poses())
def test_identity_changes_nothing(kind: str, pose: Pose) -> None:
    pose, identity = of_kind(kind, (pose, Pose.identity()))
    assert_same(pose @ identity, pose)
    assert_same(identity @ pose, pose)


@each_kind
@given(poses(), poses(), clouds(4))
def test_applying_a_composition_is_applying_one_after_the_other(
    kind: str, a: Pose, b: Pose, points: Tensor
) -> None:
    a, b, points = of_kind(kind, (a, b, points))
    assert_same((a @ b).apply(points), a.apply(b.apply(points)))
    assert_same(a.inverse().apply(a.apply(points)), points)
    homogeneous = of_kind(kind, torch.cat((torch.as_tensor(points), torch.ones(4, 1).double()), dim=1))
    assert_same(a.apply(points), (homogeneous @ a.matrix().mT)[:, :3])


@given(poses(), clouds(4))
def test_a_motion_keeps_distances_and_handedness(pose: Pose, points: Tensor) -> None:
    moved = pose.apply(points)
    assert_same(torch.cdist(moved, moved), torch.cdist(points, points))
    before, after = (torch.linalg.det(cloud[1:] - cloud[0]) for cloud in (points, moved))
    assert after.item() == pytest.approx(before.item(), rel=1e-9, abs=1e-9)


@each_kind
@given(poses())
def test_quaternion_and_matrix_round_trips_are_exact(kind: str, pose: Pose) -> None:
    pose = of_kind(kind, pose)
    assert_same(Pose.from_quaternion_wxyz(pose.quaternion_wxyz(), pose.translation), pose)
    assert_same(Pose.from_quaternion_xyzw(pose.quaternion_xyzw(), pose.translation), pose)
    assert pose.quaternion_xyzw().tolist() == [*pose.quaternion_wxyz()[1:], pose.quaternion_wxyz()[0]]
    assert_same(Pose.from_matrix(pose.matrix()), pose)
    assert pose.quaternion_wxyz()[0] >= 0


@given(poses(), poses(), poses())
def test_errors_ignore_the_world_frame(estimate: Pose, truth: Pose, other_from_world: Pose) -> None:
    error = pose_error(estimate, truth)
    moved = pose_error(other_from_world @ estimate, other_from_world @ truth)
    assert moved.meters.item() == pytest.approx(error.meters.item(), abs=1e-10)
    assert moved.degrees.item() == pytest.approx(error.degrees.item(), abs=1e-10)


@given(poses(), poses())
def test_errors_are_symmetric_and_zero_only_for_equals(a: Pose, b: Pose) -> None:
    error, back = pose_error(a, b), pose_error(b, a)
    assert error.meters == back.meters
    assert error.degrees.item() == pytest.approx(back.degrees.item(), abs=1e-11)
    assert 0.0 <= error.degrees <= 180.0
    same = pose_error(a, a)
    assert same.meters == 0.0
    assert same.degrees < 1e-12


@given(
    poses(),
    tensors(3, within=50.0),
    st.floats(0.0, 180.0),
    st.sampled_from([(1.0, 0, 0), (0, 1.0, 0), (1.0, 2.0, -1.0)]),
)
def test_errors_are_the_step_and_the_turn_that_were_made(
    truth: Pose, step: Tensor, degrees: float, axis: tuple[float, ...]
) -> None:
    turned = truth.rotation @ rotation_about(axis, math.radians(degrees))
    error = pose_error(Pose(turned, truth.translation + step), truth)
    assert error.meters.item() == pytest.approx(step.norm().item(), abs=1e-11)
    assert error.degrees.item() == pytest.approx(degrees, abs=1e-11)


@given(poses(), poses())
def test_the_angle_is_blind_to_the_direction_but_the_distance_is_not(a: Pose, b: Pose) -> None:
    error, inverted = pose_error(a, b), pose_error(a.inverse(), b.inverse())
    assert inverted.degrees.item() == pytest.approx(error.degrees.item(), abs=1e-11)
    far = Pose(b.rotation, a.translation)
    if error.degrees > 1.0 and a.translation.norm() > 1.0:
        across = torch.linalg.cross(a.inverse().translation, far.inverse().translation)
        if across.norm() > 1e-3:
            assert pose_error(a.inverse(), far.inverse()).meters > 0.0
    assert pose_error(a, far).meters == 0.0


@given(pose_batches(3), pose_batches(3))
def test_a_batch_is_its_poses_one_by_one(a: Pose, b: Pose) -> None:
    singles = [first @ second.inverse() for first, second in zip(a, b, strict=True)]
    assert_same(a @ b.inverse(), Pose.stack(singles))
    errors = pose_error(a, b)
    for index in range(3):
        assert errors.meters[index] == pose_error(a[index], b[index]).meters
    assert_same(Pose.cat([a, b])[3:], b)
    assert_same(a[torch.tensor([2, 0])], Pose.stack([a[2], a[0]]))
    assert len(a) == 3
    assert a.shape == (3,)


def test_the_columns_of_world_from_cam_are_the_cameras_axes_in_the_world() -> None:
    world_from_cam = Pose(rotation_about((0, 1.0, 0), math.pi / 2), torch.tensor([5.0, 6.0, 7.0]).double())
    in_front = world_from_cam.apply(torch.tensor([[0.0, 0.0, 2.0]]).double())
    expected = world_from_cam.translation + 2 * world_from_cam.rotation[:, 2]
    assert_same(in_front[0], expected)


def test_identity_takes_any_batch_shape() -> None:
    assert Pose.identity().shape == ()
    assert Pose.identity(2, 3).matrix().shape == (2, 3, 4, 4)
    assert kind_of(Pose.identity(2)) == {"numpy"}
    assert Pose.identity(0).shape == (0,)


def test_precision_and_kind_change_on_request_only() -> None:
    pose = Pose.identity(2)
    assert pose.inverse().translation.dtype == np.float64
    assert pose.to(np.float32).rotation.dtype == np.float32
    assert pose.tensor().rotation.dtype is torch.float64
    assert pose.tensor(torch.float32).inverse().rotation.dtype is torch.float32
    assert pose.tensor().to(torch.float32).numpy().translation.dtype == np.float32
    with pytest.raises(TypeError):
        pose.to(torch.float32)


def test_a_tensor_pose_gives_its_numbers_without_its_derivative() -> None:
    pose = Pose(torch.eye(3).requires_grad_(), torch.zeros(3))
    assert kind_of(pose.numpy()) == {"numpy"}


def test_arrays_of_both_kinds_do_not_mix() -> None:
    plain, tensors_of = Pose.identity(2), Pose.identity(2).tensor()
    with pytest.raises(TypeError):
        Pose(plain.rotation, tensors_of.translation)
    with pytest.raises(TypeError):
        Pose.stack([plain, tensors_of])
    with pytest.raises(TypeError):
        geometry.pose_error(plain, tensors_of)
    with pytest.raises(TypeError):
        plain @ tensors_of
    with pytest.raises(TypeError):
        plain.apply(torch.zeros(2, 4, 3))


@each_kind
def test_a_quaternion_of_length_zero_is_refused_and_an_unknown_one_is_not(kind: str) -> None:
    unknown, zero = torch.full((4,), math.nan), torch.zeros(4)
    centre = of_kind(kind, torch.tensor([1.0, 2.0, 3.0]))
    assert not bool(Pose.from_quaternion_wxyz(of_kind(kind, unknown), centre).has_orientation())
    with pytest.raises(ValueError, match="zero"):
        Pose.from_quaternion_wxyz(of_kind(kind, zero), centre)
    with pytest.raises(ValueError, match="zero"):
        Pose.from_quaternion_xyzw(of_kind(kind, zero), centre)


@each_kind
@pytest.mark.parametrize(
    ("row", "column", "value", "complaint"),
    [(3, 3, 2.0, "last row"), (3, 0, 1.0, "last row"), (0, 0, -1.0, "mirrors"), (0, 1, 0.1, "shears")],
)
def test_a_matrix_that_is_no_motion_is_refused(
    kind: str, row: int, column: int, value: float, complaint: str
) -> None:
    matrices = torch.eye(4).repeat(2, 1, 1)
    matrices[1, row, column] = value
    with pytest.raises(ValueError, match=complaint):
        Pose.from_matrix(of_kind(kind, matrices))


@each_kind
def test_a_matrix_without_an_orientation_is_a_position(kind: str) -> None:
    matrix = torch.eye(4)
    matrix[:3, :3] = math.nan
    assert not bool(Pose.from_matrix(of_kind(kind, matrix)).has_orientation())


@each_kind
def test_a_single_pose_prints_its_numbers_and_a_batch_its_shape(kind: str) -> None:
    single = Pose(rotation_about((0, 0, 1.0), math.pi / 2), torch.tensor([1.0, -2.5, 1234.5]).double())
    printed = repr(of_kind(kind, single))
    assert printed == "Pose(translation=[1, -2.5, 1234], quaternion_wxyz=[0.7071, 0.0000, 0.0000, 0.7071])"
    assert repr(of_kind(kind, Pose.identity(7))).startswith(f"Pose(shape=(7,), float64, {kind}")


@given(pose_batches(3), pose_batches(3), clouds(4))
def test_both_kinds_say_the_same(a: Pose, b: Pose, points: Tensor) -> None:
    operations: list[Callable[[Pose, Pose], Any]] = [
        lambda a, b: a @ b,
        lambda a, b: a.inverse() @ b,
        lambda a, _: a.matrix(),
        lambda a, _: a.quaternion_wxyz(),
        lambda a, _: a.quaternion_xyzw(),
        lambda a, _: Pose.from_matrix(a.matrix()),
        lambda a, b: Pose.from_quaternion_wxyz(-2.0 * a.quaternion_wxyz(), b.translation),
        lambda a, b: Pose.stack([a, b]),
        lambda a, b: Pose.cat([a, b]),
        lambda a, _: a.without_orientation().has_orientation(),
        lambda a, _: a.is_finite(),
    ]
    for operation in operations:
        on_both_kinds(operation)(a, b)
        on_both_kinds(operation, atol=1e-4)(a.to(torch.float32), b.to(torch.float32))
    on_both_kinds(Pose.apply)(a[0], points)


@each_kind
def test_a_pose_that_is_not_finite_is_noticed(kind: str) -> None:
    pose = of_kind(kind, Pose.identity(3))
    pose.translation[1, 2] = math.nan
    assert pose.is_finite().tolist() == [True, False, True]


def test_a_pose_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(Exception, match="rotation"):
        Pose(torch.eye(4), torch.zeros(3))
    with pytest.raises(Exception, match=r"translation|batch"):
        Pose(torch.eye(3).expand(2, 3, 3), torch.zeros(3))


def test_a_single_pose_has_no_length_and_no_items() -> None:
    with pytest.raises(TypeError, match="length"):
        len(Pose.identity())
    with pytest.raises(TypeError, match="indexed"):
        Pose.identity()[0]
