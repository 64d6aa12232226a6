"""The relative-pose loss, computed by hand and compared with the published criterion."""

import math
from dataclasses import replace

import pytest
import torch
from tests.support.models import some_poses
from torch import Tensor

from camloc.data.batch import Batch
from camloc.errors import RecipeError
from camloc.geometry import Pose
from camloc.models.losses import (
    PoseLossConfig,
    RelativePoseLoss,
    UncertaintyWeightedPoseLoss,
    values_from_rotation,
)

PUBLISHED = PoseLossConfig(position=0.3, orientation=-3.0, hemisphere_safe=False, distance="absolute")


def batch_of(poses: Pose, *, window: int) -> Batch:
    return Batch(
        images=torch.zeros(len(poses), 3, 16, 16),
        world_from_cam=poses,
        intrinsics=None,
        scene=torch.zeros(len(poses), dtype=torch.int64),
        window=window,
    )


def some_outputs(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return tuple(torch.randn(count, 3, generator=generator, dtype=torch.float64) for _ in range(2))  # type: ignore[return-value]


def terms(config: PoseLossConfig, poses: Pose, window: int) -> dict[str, float]:
    position, orientation = (values[: len(poses)] for values in some_outputs(6))
    loss = RelativePoseLoss(config, "log_quaternion").double()
    found = loss(position, orientation, poses.translation, batch_of(poses, window=window))
    return {name: float(value.detach()) for name, value in found.items()}


def test_it_is_the_published_criterion() -> None:
    """Mean absolute error of the differences of consecutive frames, in each window, weighted."""
    poses = some_poses(6)
    position, logarithm = some_outputs(6)
    truths = values_from_rotation("log_quaternion", poses.rotation)
    moves, turns = [], []
    for first in (0, 1, 3, 4):  # of windows 0-2 and 3-5
        moves.append(
            position[first + 1] - position[first] - poses.translation[first + 1] + poses.translation[first]
        )
        turns.append(logarithm[first + 1] - logarithm[first] - truths[first + 1] + truths[first])
    found = terms(PUBLISHED, poses, 3)
    expected = torch.stack(moves).abs().mean() * math.exp(-0.3) + 0.3
    assert found["relative_position"] == pytest.approx(float(expected), rel=1e-6)
    expected = torch.stack(turns).abs().mean() * math.exp(3.0) - 3.0
    assert found["relative_orientation"] == pytest.approx(float(expected), rel=1e-6)


def test_a_common_offset_of_all_frames_does_not_count() -> None:
    poses = some_poses(6)
    loss = RelativePoseLoss(replace(PUBLISHED, position=0.0, orientation=0.0), "log_quaternion")
    truths = values_from_rotation("log_quaternion", poses.rotation)
    found = loss(poses.translation + 7.0, truths + 0.1, poses.translation, batch_of(poses, window=2))
    assert [float(value.detach()) for value in found.values()] == pytest.approx([0.0, 0.0], abs=1e-6)


def test_the_other_sign_of_a_quaternion_is_the_same_step() -> None:
    """The logarithm of -q instead of q, for one frame of two."""
    poses = some_poses(2)
    truths = values_from_rotation("log_quaternion", poses.rotation)
    other = truths.clone()
    other[1] -= math.pi * other[1] / other[1].norm()
    safe = RelativePoseLoss(replace(PUBLISHED, orientation=0.0, hemisphere_safe=True), "log_quaternion")
    published = RelativePoseLoss(replace(PUBLISHED, orientation=0.0), "log_quaternion")
    batch = batch_of(poses, window=2)
    found = [
        float(loss(poses.translation, other, poses.translation, batch)["relative_orientation"].detach())
        for loss in (safe, published)
    ]
    assert found[0] == pytest.approx(0.0, abs=1e-6)
    assert found[1] > 0.5


def test_a_pair_with_a_frame_of_unknown_orientation_counts_for_the_position_alone() -> None:
    poses = some_poses(6)
    rotation = poses.rotation.clone()
    rotation[4] = torch.nan
    without = terms(PUBLISHED, Pose(rotation, poses.translation), 3)
    known = terms(PUBLISHED, poses[:3], 3)  # its pairs are the only ones that are known whole
    assert without["relative_position"] == terms(PUBLISHED, poses, 3)["relative_position"]
    assert without["relative_orientation"] == pytest.approx(known["relative_orientation"], rel=1e-12)


def test_without_any_orientation_the_gradient_is_finite_and_the_term_is_0() -> None:
    poses = some_poses(4).without_orientation()
    position, logarithm = (value.requires_grad_() for value in some_outputs(4))
    found = RelativePoseLoss(PUBLISHED, "log_quaternion")(
        position, logarithm, poses.translation, batch_of(poses, window=2)
    )
    torch.stack(list(found.values())).sum().backward()
    assert float(found["relative_orientation"].detach()) == 0.0
    assert logarithm.grad is not None
    assert torch.equal(logarithm.grad, torch.zeros_like(logarithm))
    assert position.grad is not None
    assert position.grad.isfinite().all()


def test_single_frames_are_refused_in_one_sentence() -> None:
    with pytest.raises(RecipeError, match="set the recipe's window"):
        terms(PUBLISHED, some_poses(3), 1)


def test_the_terms_stand_beside_those_of_single_poses() -> None:
    poses = some_poses(4)
    position, logarithm = some_outputs(4)
    alone = UncertaintyWeightedPoseLoss(PUBLISHED, "log_quaternion")
    both = UncertaintyWeightedPoseLoss(
        PUBLISHED, "log_quaternion", relative=RelativePoseLoss(PUBLISHED, "log_quaternion")
    )
    batch = batch_of(poses, window=2)
    singles = alone(position, logarithm, poses.translation, batch)
    found = both(position, logarithm, poses.translation, batch)
    assert list(found) == ["position", "orientation", "relative_position", "relative_orientation"]
    assert all(torch.equal(found[name], value) for name, value in singles.items())
