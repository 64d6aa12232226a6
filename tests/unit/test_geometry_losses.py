"""The losses of point maps are zero for the truth, and each term reacts to its own error."""

from dataclasses import replace

import pytest
import roma
import torch

from camloc.geometry import Pose, pixel_grid, unproject
from camloc.models.decoding import Correspondences
from camloc.models.losses import GeometryLossConfig, geometry_losses, map_loss

WIDTH, HEIGHT, STRIDE = 96, 80, 8
INTRINSICS = torch.tensor([[90.0, 0.0, 48.0], [0.0, 90.0, 40.0], [0.0, 0.0, 1.0]]).double().expand(2, 3, 3)
ALL = GeometryLossConfig(reprojection=1.0)


def truth() -> Pose:
    torch.manual_seed(1)
    return Pose(roma.random_rotmat(2, dtype=torch.float64), torch.randn(2, 3).double())


def exact_cells() -> Correspondences:
    pixels = (
        torch.from_numpy(pixel_grid(WIDTH // STRIDE, HEIGHT // STRIDE, stride=STRIDE))
        .reshape(1, -1, 2)
        .expand(2, -1, -1)
    )
    torch.manual_seed(2)
    depth = 1.0 + torch.rand(pixels.shape[:2]).double()
    camera = unproject(pixels, depth, INTRINSICS)
    return Correspondences(pixels, camera, truth().apply(camera), torch.ones_like(depth))


def losses(
    cells: Correspondences, config: GeometryLossConfig = ALL, *, inside: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    return geometry_losses(config, cells, truth(), intrinsics=INTRINSICS, inside=inside, image_height=HEIGHT)


def test_the_loss_of_the_truth_is_zero() -> None:
    found = losses(exact_cells())
    assert set(found) == {"position", "orientation", "consistency", "reprojection"}
    assert all(value < 1e-6 for value in found.values())


@pytest.mark.parametrize(
    ("off", "terms"),
    [
        (GeometryLossConfig(reprojection=0.0), {"position", "orientation", "consistency"}),
        (GeometryLossConfig(consistency=0.0), {"position", "orientation", "reprojection"}),
        (GeometryLossConfig(position=0.0, orientation=0.0), {"consistency", "reprojection"}),
    ],
)
def test_a_weight_of_zero_switches_a_term_off(off: GeometryLossConfig, terms: set[str]) -> None:
    assert set(losses(exact_cells(), off)) == terms


def test_points_moved_along_their_rays_change_consistency_alone() -> None:
    """Eq. 7 projects with the inverse of the camera's pose: all points of a ray have the same pixel."""
    cells = exact_cells()
    found = losses(cells._replace(world=truth().apply(1.2 * cells.camera)))
    assert found["reprojection"] < 1e-6
    assert found["consistency"] > 0.1


def test_pixels_are_those_of_an_image_480_high() -> None:
    cells = exact_cells()
    depth = cells.camera[..., 2:]
    one_pixel = torch.tensor([1.0, 0.0, 0.0]).double() * depth / 90.0
    moved = cells._replace(world=truth().apply(cells.camera + one_pixel))
    torch.testing.assert_close(losses(moved)["reprojection"], torch.tensor(480.0 / HEIGHT).double())


def test_the_loss_and_gradient_of_points_behind_the_camera_are_finite() -> None:
    world = truth().apply(-exact_cells().camera).requires_grad_()
    found = losses(exact_cells()._replace(world=world))
    assert found["reprojection"] <= ALL.most_pixels
    torch.stack(list(found.values())).sum().backward()
    assert world.grad is not None
    assert world.grad.isfinite().all()


def test_cells_beyond_the_image_do_not_count() -> None:
    cells = exact_cells()
    inside = (torch.arange(cells.weight.shape[1]) % 3 > 0).double().expand(2, -1)
    wrong = cells._replace(world=torch.where(inside[..., None] > 0, cells.world, cells.world + 5.0))
    assert all(value < 1e-5 for value in losses(wrong, inside=inside).values())
    assert all(value > 1e-2 for value in losses(wrong).values())


def test_the_clamped_form_bounds_far_outliers() -> None:
    cells = exact_cells()
    world = cells.world.clone()
    world[:, 0] += 1000.0
    clamped = replace(ALL, form="clamped", position=0.0, orientation=0.0)
    near, far = losses(cells._replace(world=world), clamped), losses(cells._replace(world=world))
    assert near["consistency"] <= clamped.clamp_meters / cells.weight.shape[1] + 1e-6
    assert far["consistency"] > 100 * near["consistency"]


def test_all_terms_have_gradients_for_points_and_weights() -> None:
    """For random maps, and if all world points coincide, as before training."""
    for scale in (1.0, 0.0):
        torch.manual_seed(3)
        cells = exact_cells()
        world = (scale * torch.randn_like(cells.world)).float().requires_grad_()
        weight = torch.rand_like(cells.weight).float().requires_grad_()
        single = Correspondences(cells.pixels.float(), cells.camera.float(), world, weight)
        found = geometry_losses(
            ALL,
            single,
            truth().to(torch.float32),
            intrinsics=INTRINSICS.float(),
            inside=None,
            image_height=HEIGHT,
        )
        torch.stack(list(found.values())).sum().backward()
        assert world.grad is not None
        assert weight.grad is not None
        assert world.grad.isfinite().all()
        assert weight.grad.isfinite().all()
        assert world.grad.abs().max() > 0


MAPPED = GeometryLossConfig(map=1.0)


def loss_of_points(cells: Correspondences, points: torch.Tensor, inside: torch.Tensor | None = None) -> float:
    grid = (HEIGHT // STRIDE, WIDTH // STRIDE)
    found = map_loss(
        MAPPED, cells, truth(), points, intrinsics=INTRINSICS, inside=inside, grid=grid, stride=STRIDE
    )
    return float(found)


def test_points_of_a_map_that_are_predicted_cost_nothing() -> None:
    cells = exact_cells()
    some = cells.world[:, ::3]
    assert loss_of_points(cells, some) < 1e-12
    assert loss_of_points(cells, torch.cat((some, torch.full_like(some[:, :2], torch.nan)), 1)) < 1e-12


def test_the_error_of_a_points_cell_is_a_share_of_its_depth_in_both_frames() -> None:
    cells = exact_cells()
    depth = cells.camera[:, 7:8, 2:]
    rays = cells.camera[:, 7:8] / depth
    farther = truth().apply(cells.camera[:, 7:8] + 0.2 * depth * rays)
    expected = 2 * (0.2 / 1.2) * torch.linalg.vector_norm(rays, dim=-1).mean()
    assert loss_of_points(cells, farther) == pytest.approx(float(expected))


def test_points_behind_the_camera_beyond_the_edge_or_in_cells_that_do_not_count_are_left_out() -> None:
    cells = exact_cells()
    behind = truth().apply(-cells.camera[:, :4])
    beside = truth().apply(torch.tensor([[[9.0, 0.0, 1.0]]]).double().expand(2, -1, -1))
    assert loss_of_points(cells, torch.cat((behind, beside), 1)) == 0.0
    moved = truth().apply(1.2 * cells.camera[:, 5:6])
    inside = torch.ones_like(cells.weight)
    assert loss_of_points(cells, moved, inside) > 0.0
    assert loss_of_points(cells, moved, torch.zeros_like(inside)) == 0.0


def test_images_without_points_leave_gradients_finite() -> None:
    cells = exact_cells()
    world = cells.world.clone().requires_grad_()
    points = torch.full_like(cells.world[:, :3], torch.nan)
    points[0] = truth().apply(1.1 * cells.camera[:, :3])[0]
    found = map_loss(
        MAPPED,
        cells._replace(world=world),
        truth(),
        points,
        intrinsics=INTRINSICS,
        inside=None,
        grid=(HEIGHT // STRIDE, WIDTH // STRIDE),
        stride=STRIDE,
    )
    found.backward()
    assert world.grad is not None
    assert world.grad.isfinite().all()
    assert world.grad[0].any()
    assert not world.grad[1].any()
