"""Each filter finds the pose of the correct correspondences."""

import pytest
import roma
import torch

from camloc.geometry import Pose, pixel_grid, pose_error, unproject
from camloc.models.decoding import Correspondences
from camloc.models.outlier_filters import OUTLIER_FILTERS, OutlierFilter, filtered_poses

WIDTH, HEIGHT, STRIDE = 160, 120, 8
INTRINSICS = torch.tensor([[[130.0, 0.0, 80.0], [0.0, 130.0, 60.0], [0.0, 0.0, 1.0]]]).double()


def truth() -> Pose:
    torch.manual_seed(2)
    return Pose(roma.random_rotmat(1, dtype=torch.float64), torch.tensor([[0.4, -1.0, 2.0]]).double())


def cells(*, wrong: float = 0.0) -> Correspondences:
    """Exact correspondences, except for a share of the cells, whose world points are random."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.from_numpy(pixel_grid(WIDTH // STRIDE, HEIGHT // STRIDE, stride=STRIDE)).reshape(1, -1, 2)
    depth = 1.0 + 3.0 * torch.rand(pixels.shape[:2], generator=generator).double()
    camera = unproject(pixels, depth, INTRINSICS)
    world = truth().apply(camera)
    is_wrong = torch.rand(depth.shape, generator=generator) < wrong
    random_offset = 3.0 * torch.randn(world.shape, generator=generator).double()
    world = torch.where(is_wrong[..., None], world + random_offset, world)
    return Correspondences(pixels, camera, world, torch.where(is_wrong, 1e-9, 1.0).double())


def poses(given: Correspondences, name: OutlierFilter, *, counted: torch.Tensor | None = None) -> Pose:
    return filtered_poses(
        given, name, intrinsics=INTRINSICS, image_height=HEIGHT, counted=counted
    ).centered_from_cam


@pytest.mark.parametrize("name", OUTLIER_FILTERS)
def test_every_filter_finds_the_pose_of_correct_cells(name: OutlierFilter) -> None:
    error = pose_error(poses(cells(), name), truth())
    assert error.meters < 1e-5
    assert error.degrees < 1e-4


@pytest.mark.parametrize("name", ["weights", "rigid-ransac", "pnp-ransac"])
def test_a_third_of_wrong_cells_has_no_effect(name: OutlierFilter) -> None:
    error = pose_error(poses(cells(wrong=0.35), name), truth())
    assert error.meters < 1e-3
    assert error.degrees < 0.05
    assert pose_error(poses(cells(wrong=0.35), "none"), truth()).meters > 0.05


@pytest.mark.parametrize(("name", "threshold"), [("rigid-ransac", 0.1), ("pnp-ransac", 10.0)])
def test_the_threshold_of_inliers_can_be_set(name: OutlierFilter, threshold: float) -> None:
    given = cells(wrong=0.35)
    found = filtered_poses(
        given, name, intrinsics=INTRINSICS, image_height=HEIGHT, inlier_threshold=threshold
    )
    assert pose_error(found.centered_from_cam, truth()).meters < 1e-3
    noisy = given._replace(world=given.world + 0.02 * torch.sin(1e3 * given.world))
    strict, loose = (
        filtered_poses(noisy, name, intrinsics=INTRINSICS, image_height=HEIGHT, inlier_threshold=each)
        for each in (threshold / 5, threshold)
    )
    assert float(strict.inliers) < float(loose.inliers) < 0.8


@pytest.mark.parametrize("name", OUTLIER_FILTERS)
def test_cells_behind_a_mask_do_not_count(name: OutlierFilter) -> None:
    given = cells(wrong=0.2)
    counted = (given.weight > 0.5).double()
    given = given._replace(weight=torch.ones_like(given.weight))
    error = pose_error(poses(given, name, counted=counted), truth())
    assert error.meters < 1e-5


@pytest.mark.parametrize("name", ["rigid-ransac", "pnp-ransac"])
def test_cells_that_agree_on_nothing_have_no_pose(name: OutlierFilter) -> None:
    found = filtered_poses(cells(wrong=1.1), name, intrinsics=INTRINSICS, image_height=HEIGHT)
    assert not bool(found.centered_from_cam.is_finite().any())


def test_random_samples_repeat() -> None:
    first, second = (poses(cells(wrong=0.5), "pnp-ransac") for _ in range(2))
    assert torch.equal(first.translation, second.translation)
