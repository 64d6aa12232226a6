"""A pose is an element of a group that acts on points, and its errors ignore where the world's axes lie."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.support.strategies import clouds, pose_batches, poses, rotation_about, tensors
from torch import Tensor

from camloc.geometry import Pose, pose_error

# Centres are within 100 m, so this is a relative 1e-13.
assert_close = partial(torch.testing.assert_close, rtol=0.0, atol=1e-11)


def _assert_same(first: Pose, second: Pose) -> None:
    assert_close(first.rotation, second.rotation)
    assert_close(first.translation, second.translation)


@given(poses())
def test_inverse_undoes(pose: Pose) -> None:
    _assert_same(pose @ pose.inverse(), Pose.identity())
    _assert_same(pose.inverse() @ pose, Pose.identity())
    _assert_same(pose.inverse().inverse(), pose)


@given(poses(), poses(), poses())
def test_composition_is_associative(a: Pose, b: Pose, c: Pose) -> None:
    _assert_same((a @ b) @ c, a @ (b @ c))


@given(poses(), poses())
def test_composition_is_the_product_of_matrices(a: Pose, b: Pose) -> None:
    assert_close((a @ b).matrix(), a.matrix() @ b.matrix())
    assert_close(a.inverse().matrix(), torch.linalg.inv(a.matrix()))
    _assert_same((a @ b).inverse(), b.inverse() @ a.inverse())


@given(poses())
def test_identity_changes_nothing(pose: Pose) -> None:
    _assert_same(pose @ Pose.identity(), pose)
    _assert_same(Pose.identity() @ pose, pose)


@given(poses(), poses(), clouds(4))
def test_applying_a_composition_is_applying_one_after_the_other(a: Pose, b: Pose, points: Tensor) -> None:
    assert_close((a @ b).apply(points), a.apply(b.apply(points)))
    assert_close(a.inverse().apply(a.apply(points)), points)
    homogeneous = torch.cat((points, torch.ones(4, 1, dtype=torch.float64)), dim=1)
    assert_close(a.apply(points), (homogeneous @ a.matrix().mT)[:, :3])


@given(poses(), clouds(4))
def test_a_motion_keeps_distances_and_handedness(pose: Pose, points: Tensor) -> None:
    moved = pose.apply(points)
    assert_close(torch.cdist(moved, moved), torch.cdist(points, points))
    before, after = (torch.linalg.det(cloud[1:] - cloud[0]) for cloud in (points, moved))
    assert after.item() == pytest.approx(before.item(), rel=1e-9, abs=1e-9)


@given(poses())
def test_quaternion_and_matrix_round_trips_are_exact(pose: Pose) -> None:
    _assert_same(Pose.from_quaternion_wxyz(pose.quaternion_wxyz(), pose.translation), pose)
    _assert_same(Pose.from_matrix(pose.matrix()), pose)
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
    _assert_same(a @ b.inverse(), Pose.stack(singles))
    errors = pose_error(a, b)
    for index in range(3):
        assert errors.meters[index] == pose_error(a[index], b[index]).meters
    _assert_same(Pose.cat([a, b])[3:], b)
    _assert_same(a[torch.tensor([2, 0])], Pose.stack([a[2], a[0]]))
    assert len(a) == 3
    assert a.shape == (3,)


def test_the_columns_of_world_from_cam_are_the_cameras_axes_in_the_world() -> None:
    world_from_cam = Pose(rotation_about((0, 1.0, 0), math.pi / 2), torch.tensor([5.0, 6.0, 7.0]).double())
    in_front = world_from_cam.apply(torch.tensor([[0.0, 0.0, 2.0]]).double())
    expected = world_from_cam.translation + 2 * world_from_cam.rotation[:, 2]
    assert_close(in_front[0], expected)


def test_identity_takes_any_batch_shape() -> None:
    assert Pose.identity().shape == ()
    assert Pose.identity(2, 3).matrix().shape == (2, 3, 4, 4)
    assert Pose.identity(2, dtype=torch.float32).rotation.dtype is torch.float32


def test_precision_changes_on_request_only() -> None:
    pose = Pose.identity(2)
    assert pose.inverse().translation.dtype is torch.float64
    assert pose.to(torch.float32).rotation.dtype is torch.float32


def test_a_pose_that_is_not_finite_is_noticed() -> None:
    pose = Pose.identity(3)
    translation = pose.translation.clone()
    translation[1, 2] = math.nan
    assert Pose(pose.rotation, translation).is_finite().tolist() == [True, False, True]


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
