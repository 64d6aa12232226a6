"""Images whose orientation is not known: they count for the position, and for nothing else."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.support.models import some_poses
from torch import Tensor

from camloc.data.batch import Batch
from camloc.geometry import Pose, pixel_grid, unproject
from camloc.models.decoding import Correspondences, RegressedPose
from camloc.models.losses import (
    GeometryLossConfig,
    PoseLossConfig,
    UncertaintyWeightedPoseLoss,
    geometry_losses,
)
from camloc.models.regressor import WorldFrame, regression_losses

CAMERA = torch.tensor([[90.0, 0.0, 48.0], [0.0, 90.0, 40.0], [0.0, 0.0, 1.0]]).double()
NEED_ORIENTATION = ("orientation", "consistency", "reprojection")
ALL = GeometryLossConfig(reprojection=1.0)

SEEDS = st.integers(0, 2**31 - 1)
# Which of some images have an orientation.
KNOWN = st.lists(st.booleans(), min_size=1, max_size=6).map(torch.tensor)


def partly(poses: Pose, known: Tensor) -> Pose:
    """The poses, of which those that are not known keep only their position."""
    return Pose(torch.where(known[:, None, None], poses.rotation, torch.nan), poses.translation)


def some_cells(count: int, *, seed: int) -> Correspondences:
    """Random output, as of an untrained network."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator, dtype=torch.float64)

    pixels = torch.from_numpy(pixel_grid(6, 5, stride=16)).reshape(1, -1, 2).expand(count, -1, -1)
    cells = pixels.shape[1]
    camera = unproject(pixels, 1.0 + draw(cells), CAMERA.expand(count, 3, 3))
    return Correspondences(pixels, camera, 4.0 * draw(cells, 3) - 2.0, draw(cells))


def geometry_terms(cells: Correspondences, truth: Pose, *, inside: Tensor | None = None) -> dict[str, Tensor]:
    count = len(truth)
    return geometry_losses(
        ALL, cells, truth, intrinsics=CAMERA.expand(count, 3, 3), inside=inside, image_height=80
    )


@given(KNOWN, SEEDS)
def test_positions_alone_change_only_the_position_term_of_point_maps(known: Tensor, seed: int) -> None:
    count = len(known)
    cells, poses = some_cells(count, seed=seed), some_poses(count, seed=seed)
    inside = (torch.rand(cells.weight.shape, generator=torch.Generator().manual_seed(seed)) > 0.2).double()
    found = geometry_terms(cells, partly(poses, known), inside=inside)
    everything = geometry_terms(cells, poses, inside=inside)
    torch.testing.assert_close(found["position"], everything["position"], rtol=0, atol=0)
    if not known.any():
        assert all(float(found[name]) == 0 for name in NEED_ORIENTATION)
        return
    picked = Correspondences(*(value[known] for value in cells))
    alone = geometry_terms(picked, poses[known], inside=inside[known])
    for name in NEED_ORIENTATION:
        torch.testing.assert_close(found[name], alone[name], rtol=1e-12, atol=0)


@given(KNOWN, SEEDS)
def test_gradients_of_point_maps_are_finite_and_come_from_the_position_alone(
    known: Tensor, seed: int
) -> None:
    count = len(known)
    cells = Correspondences(*(value.clone().requires_grad_() for value in some_cells(count, seed=seed)))
    found = geometry_terms(cells, partly(some_poses(count, seed=seed), known))

    def gradients(*names: str) -> tuple[Tensor, ...]:
        total = torch.stack([found[name] for name in names]).sum()
        return torch.autograd.grad(
            total, [cells.camera, cells.world, cells.weight], retain_graph=True, materialize_grads=True
        )

    assert all(bool(value.isfinite().all()) for value in gradients("position"))
    assert all(bool((value[~known] == 0).all()) for value in gradients(*NEED_ORIENTATION))
    assert all(bool(value.isfinite().all()) for value in gradients(*NEED_ORIENTATION))
    moved = gradients("position")
    assert all(bool((value.flatten(1).abs().sum(1) > 0).all()) for value in moved), "every image teaches"


def regressor_terms(
    loss: UncertaintyWeightedPoseLoss, output: RegressedPose, truth: Pose
) -> dict[str, Tensor]:
    count = len(truth)
    batch = Batch(torch.zeros(count, 3, 1, 1), truth, None, torch.zeros(count, dtype=torch.int64))
    return regression_losses(loss, WorldFrame("raw"), output, batch)


@pytest.mark.parametrize("is_safe", [True, False])
@given(KNOWN, SEEDS)
def test_positions_alone_change_only_the_position_term_of_regressors(
    is_safe: bool, known: Tensor, seed: int
) -> None:
    count = len(known)
    generator = torch.Generator().manual_seed(seed)
    position = torch.randn(count, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    quaternion = torch.randn(count, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    output, poses = RegressedPose(position, quaternion), some_poses(count, seed=seed)
    loss = UncertaintyWeightedPoseLoss(PoseLossConfig(hemisphere_safe=is_safe)).double()
    found = regressor_terms(loss, output, partly(poses, known))
    torch.testing.assert_close(found["position"], regressor_terms(loss, output, poses)["position"])
    if known.any():
        picked = RegressedPose(*(value[known] for value in output))
        alone = regressor_terms(loss, picked, poses[known])
        torch.testing.assert_close(found["orientation"], alone["orientation"])
    torch.stack(list(found.values())).sum().backward()
    for value in (position.grad, quaternion.grad, loss.orientation.grad):
        assert value is not None
        assert bool(value.isfinite().all())
    assert quaternion.grad is not None
    assert bool((quaternion.grad[~known] == 0).all())


def test_without_any_orientation_the_learned_weight_of_it_stands_still() -> None:
    loss = UncertaintyWeightedPoseLoss(PoseLossConfig())
    output = RegressedPose(torch.zeros(3, 3), torch.ones(3, 4, requires_grad=True))
    found = regressor_terms(loss, output, some_poses(3).without_orientation())
    found["orientation"].backward()
    assert float(found["orientation"].detach()) == 0
    assert loss.orientation.grad is not None
    assert float(loss.orientation.grad) == 0
