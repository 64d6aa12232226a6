"""Kabsch recovers any motion and never mirrors; Umeyama recovers the scale as well."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from tests.support.kinds import each_kind, of_kind, on_both_kinds
from tests.support.strategies import clouds, poses, rotation_about, tensors
from torch import Tensor

from camloc import geometry
from camloc.geometry import Pose, pose_error, rotation_angle
from camloc.geometry.alignment import alignment_residual

# Where the answer is unique, it is asserted of tensors, and NumPy arrays must give the same.
weighted_kabsch = on_both_kinds(geometry.weighted_kabsch, atol=1e-6)
umeyama = on_both_kinds(geometry.umeyama, atol=1e-6)


def _ones(points: Tensor) -> Tensor:
    return torch.ones_like(points[..., 0])


def _assert_proper(rotation: Tensor) -> None:
    identity = torch.eye(3, dtype=rotation.dtype).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.mT, identity, rtol=0.0, atol=1e-12)
    assert (torch.linalg.det(rotation) > 0).all()


def _cloud(name: str) -> Tensor:
    """Six points in a degenerate arrangement."""
    generator = torch.Generator().manual_seed(3)
    points = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    match name:
        case "plane":
            points[:, 2] = 0.0
        case "line":
            points = points[:, :1] * torch.tensor([1.0, 2.0, -1.0]).double()
        case "two scenes":
            points = points[:2].repeat(3, 1)
        case "one scene":
            points = points[:1].expand(6, 3).clone()
    return points


DEGENERATE = ["plane", "line", "two scenes", "one scene"]


@given(clouds(5), poses(), st.integers(0, 2**32 - 1))
def test_any_motion_is_recovered(points: Tensor, target_from_source: Pose, seed: int) -> None:
    weights = torch.rand(5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1
    found = weighted_kabsch(points, target_from_source.apply(points), weights)
    error = pose_error(found, target_from_source)
    assert error.meters < 1e-8
    assert error.degrees < 1e-8


@given(clouds(6), clouds(6))
def test_unrelated_points_are_aligned_as_scipy_aligns_them(source: Tensor, target: Tensor) -> None:
    weights = torch.linspace(0.1, 2.0, 6, dtype=torch.float64)
    found = weighted_kabsch(source, target, weights)
    _assert_proper(found.rotation)
    share = (weights / weights.sum())[:, None]
    centred = [points - (share * points).sum(0) for points in (target, source)]
    expected, _ = Rotation.align_vectors(*(points.numpy() for points in centred), weights=weights.numpy())
    assert rotation_angle(found.rotation, torch.from_numpy(expected.as_matrix().copy())) < 1e-5

    def cost(motion: Pose) -> Tensor:
        squares: Tensor = (share * (motion.apply(source) - target).square()).sum()
        return squares

    for axis in ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)):
        for radians in (-1e-3, 1e-3):
            nearby = found @ Pose(rotation_about(axis, radians), torch.zeros(3).double())
            assert cost(found) <= cost(nearby) + 1e-9


@given(clouds(6), poses(within=10.0), st.sampled_from([0, 1, 2]))
def test_a_mirror_image_is_never_answered_with_a_mirror(points: Tensor, motion: Pose, axis: int) -> None:
    mirrored = points.clone()
    mirrored[:, axis] *= -1
    _assert_proper(weighted_kabsch(points, motion.apply(mirrored), _ones(points)).rotation)


@each_kind
@pytest.mark.parametrize("arrangement", DEGENERATE)
@given(motion=poses(within=10.0))
def test_degenerate_points_give_a_proper_motion_that_fits(arrangement: str, kind: str, motion: Pose) -> None:
    points = _cloud(arrangement)
    target = motion.apply(points)
    found = geometry.weighted_kabsch(*of_kind(kind, (points, target, _ones(points)))).tensor()
    _assert_proper(found.rotation)
    torch.testing.assert_close(found.apply(points), target, rtol=0.0, atol=1e-6)
    if arrangement == "plane":
        assert rotation_angle(found.rotation, motion.rotation) < 1e-7


@given(clouds(6), poses(within=10.0), tensors(3, within=1e3))
def test_points_of_weight_zero_do_not_count(points: Tensor, motion: Pose, lie: Tensor) -> None:
    target = motion.apply(points)
    target[4:] += lie
    weights = torch.tensor([1.0, 0.5, 2.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    error = pose_error(weighted_kabsch(points, target, weights), motion)
    assert error.meters < 1e-8
    assert error.degrees < 1e-8


@given(clouds(6), clouds(6), st.sampled_from([1e-20, 1e-6, 3.0, 1e6, 1e20]))
def test_the_scale_of_the_weights_does_not_count(source: Tensor, target: Tensor, scale: float) -> None:
    weights = torch.linspace(0.1, 2.0, 6, dtype=torch.float64)
    plain, scaled = (weighted_kabsch(source, target, w) for w in (weights, scale * weights))
    torch.testing.assert_close(scaled.matrix(), plain.matrix(), rtol=0.0, atol=1e-6)


@given(clouds(6), clouds(6), poses(within=10.0))
def test_the_answer_moves_with_either_frame(source: Tensor, target: Tensor, motion: Pose) -> None:
    found = weighted_kabsch(source, target, _ones(source))
    after = weighted_kabsch(source, motion.apply(target), _ones(source))
    before = weighted_kabsch(motion.apply(source), target, _ones(source))
    torch.testing.assert_close(after.matrix(), (motion @ found).matrix(), rtol=0.0, atol=1e-5)
    torch.testing.assert_close(before.matrix(), (found @ motion.inverse()).matrix(), rtol=0.0, atol=1e-5)


def test_no_weight_at_all_gives_no_pose_and_spoils_no_other() -> None:
    points = torch.stack([_cloud("general"), _cloud("general")])
    weights = torch.stack([torch.zeros(6), torch.ones(6)]).double()
    assert weighted_kabsch(points, points, weights).is_finite().tolist() == [False, True]


def test_a_batch_is_its_items_one_by_one() -> None:
    generator = torch.Generator().manual_seed(0)
    source, target = (torch.randn(2, 3, 7, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    weights = torch.rand(2, 3, 7, generator=generator, dtype=torch.float64)
    batch = weighted_kabsch(source, target, weights)
    assert batch.shape == (2, 3)
    for row in range(2):
        for column in range(3):
            at = (row, column)
            single = weighted_kabsch(source[at], target[at], weights[at])
            torch.testing.assert_close(batch.rotation[at], single.rotation, rtol=0.0, atol=1e-12)
            torch.testing.assert_close(batch.translation[at], single.translation, rtol=0.0, atol=1e-12)


def _motion_matrix(source: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    matrix: Tensor = geometry.weighted_kabsch(source, target, weights).matrix()
    return matrix


@pytest.mark.parametrize("size", [10.0, 1.0, 1e-2, 1e-4])
@pytest.mark.parametrize("arrangement", ["general", "plane"])
def test_gradients_are_right_at_any_size_of_the_scene(arrangement: str, size: float) -> None:
    """In units of the cloud's size, so that the numerical differences are equally fine."""
    generator = torch.Generator().manual_seed(1)
    source = _cloud(arrangement)
    target = source @ rotation_about((1.0, 2.0, 3.0), 0.7).mT
    if arrangement == "general":
        target = target + 0.1 * torch.randn(6, 3, generator=generator, dtype=torch.float64)
    weights = torch.rand(6, generator=generator, dtype=torch.float64) + 0.2

    def rotation(first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
        turned: Tensor = geometry.weighted_kabsch(size * first, size * second, shares).rotation
        return turned

    inputs = tuple(tensor.requires_grad_() for tensor in (source, target, weights))
    assert torch.autograd.gradcheck(rotation, inputs, atol=1e-6)
    assert torch.autograd.gradcheck(_motion_matrix, inputs, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("arrangement", DEGENERATE)
def test_gradients_are_finite_at_degenerate_points(arrangement: str, dtype: torch.dtype) -> None:
    mirror = torch.tensor([-1.0, 1.0, 1.0])
    for change in (lambda x: x, lambda x: x * mirror.to(x.dtype), lambda x: 0 * x):
        _assert_finite_gradients(_cloud(arrangement).to(dtype), change)


def test_gradients_are_finite_where_two_mirrored_answers_are_equally_good() -> None:
    cube = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * 3)
    _assert_finite_gradients(cube, lambda points: -points)


def _assert_finite_gradients(points: Tensor, change: Callable[[Tensor], Tensor]) -> None:
    source, target = points.clone().requires_grad_(), change(points).detach().requires_grad_()
    weights = _ones(points).requires_grad_()
    found = geometry.weighted_kabsch(source, target, weights)
    factors = torch.arange(1.0, 10.0, dtype=points.dtype).reshape(3, 3)
    ((found.rotation * factors).sum() + found.translation.sum()).backward()
    for tensor in (source, target, weights):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


@each_kind
@pytest.mark.parametrize("count", [4, 4800])
def test_single_precision_is_safe_a_hundred_kilometres_from_the_origin(count: int, kind: str) -> None:
    """Single precision resolves 8 mm there; the answer may be wrong by some such steps and no more."""
    generator = torch.Generator().manual_seed(0)
    source = torch.rand(count, 3, generator=generator, dtype=torch.float64) * 10
    weights = torch.rand(count, generator=generator) + 0.1
    far = torch.tensor([1e5, -1e5, 3e4], dtype=torch.float64)
    world_from_cam = Pose(rotation_about((1.0, -2.0, 0.5), 2.0), far)
    target = world_from_cam.apply(source)
    found = geometry.weighted_kabsch(*of_kind(kind, (source.float(), target.float(), weights))).tensor()
    assert found.rotation.dtype is torch.float32
    error = pose_error(found.to(torch.float64), world_from_cam)
    assert error.meters < 0.05
    assert error.degrees < 0.1
    assert (found.to(torch.float64).apply(source) - target).norm(dim=-1).max() < 0.05


@given(clouds(5), poses(within=50.0), st.floats(0.01, 100.0))
def test_umeyama_recovers_the_scale(points: Tensor, motion: Pose, scale: float) -> None:
    found = umeyama(points, Pose(motion.rotation, motion.translation).apply(points * scale))
    assert found.scale.item() == pytest.approx(scale, rel=1e-10)
    assert rotation_angle(found.motion.rotation, motion.rotation) < 1e-9
    torch.testing.assert_close(found.motion.translation, motion.translation, rtol=0.0, atol=1e-8)


@given(clouds(5), clouds(5))
def test_umeyama_is_the_best_similarity_and_has_no_mirror(source: Tensor, target: Tensor) -> None:
    found = umeyama(source, target)
    _assert_proper(found.motion.rotation)
    assert found.scale > 0

    def cost(scale: Tensor, motion: Pose) -> Tensor:
        squares: Tensor = (motion.apply(scale * source) - target).square().sum()
        return squares

    best = cost(found.scale, found.motion)
    for factor in (0.99, 1.01):
        assert best <= cost(factor * found.scale, found.motion) + 1e-9
    for step in torch.eye(3, dtype=torch.float64) * 1e-2:
        assert best <= cost(found.scale, Pose(found.motion.rotation, found.motion.translation + step)) + 1e-9


@each_kind
def test_umeyama_of_one_scene_has_no_scale(kind: str) -> None:
    assert math.isnan(geometry.umeyama(*of_kind(kind, (_cloud("one scene"), _cloud("general")))).scale)


@given(clouds(6), clouds(6), poses(within=10.0))
def test_the_residual_is_what_is_left_between_the_points(
    source: Tensor, target: Tensor, motion: Pose
) -> None:
    weights = torch.linspace(0.0, 2.0, 6, dtype=torch.float64)
    found = on_both_kinds(alignment_residual)(motion, source, target, weights)
    squares = (target - motion.apply(source)).norm(dim=-1) ** 2
    expected = math.sqrt(float((weights * squares).sum() / weights.sum()))
    assert found.item() == pytest.approx(expected, rel=1e-12)
