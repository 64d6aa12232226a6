"""The network's point maps and the pose decoded from them."""

from pathlib import Path
from typing import Any

import pytest
import roma
import torch
from tests.support.models import TINY_BACKBONE, some_poses

from camloc.data.batch import Batch
from camloc.data.image_io import Preprocess
from camloc.geometry import Pose, pixel_grid, pose_error, unproject
from camloc.inference.onnx.export import export_onnx, largest_difference
from camloc.models import build_model
from camloc.models.checkpoint import load_checkpoint, save_checkpoint
from camloc.models.decoding import PointMaps
from camloc.models.metadata import metadata_for
from camloc.models.scene_geometry import SceneGeometry, SceneGeometryConfig

WIDTH, HEIGHT, STRIDE = 96, 64, 8
FOCAL = 90.0


def intrinsics(focal: float = FOCAL) -> torch.Tensor:
    matrix = [[focal, 0.0, WIDTH / 2], [0.0, focal, HEIGHT / 2], [0.0, 0.0, 1.0]]
    return torch.tensor(matrix, dtype=torch.float64).expand(2, 3, 3)


def network(**settings: Any) -> SceneGeometry:
    torch.manual_seed(0)
    config = SceneGeometryConfig(TINY_BACKBONE, taps=(2, 3, 4), hidden=16, **settings)
    model = build_model("scene_geometry", config).eval()
    assert isinstance(model, SceneGeometry)
    return model


def exact_maps(truth: Pose, *, noise: float = 0.0) -> PointMaps:
    """Exact point maps, in metres relative to the origin."""
    torch.manual_seed(4)
    rows, columns = HEIGHT // STRIDE, WIDTH // STRIDE
    depth = 1.0 + 2.0 * torch.rand(2, rows, columns).double()
    pixels = torch.from_numpy(pixel_grid(columns, rows, stride=STRIDE)).reshape(1, -1, 2).expand(2, -1, -1)
    world = truth.apply(unproject(pixels, depth.flatten(1), intrinsics()))
    world = world + noise * torch.randn_like(world)
    return PointMaps(
        world.transpose(-1, -2).unflatten(-1, (rows, columns)), depth.unsqueeze(1), torch.ones_like(depth)
    )


def truth() -> Pose:
    torch.manual_seed(5)
    return Pose(roma.random_rotmat(2, dtype=torch.float64), torch.randn(2, 3).double())


def test_exact_maps_are_decoded_to_the_pose() -> None:
    decoded = network().decode(exact_maps(truth()), intrinsics=intrinsics())
    error = pose_error(decoded.world_from_cam, truth())
    assert error.meters.max() < 1e-9
    assert error.degrees.max() < 1e-6
    assert decoded.residual is not None
    assert decoded.residual.max() < 1e-9


def test_world_points_are_relative_to_the_mean_training_camera() -> None:
    model = network()
    poses = some_poses(9)
    model.observe(Pose(poses.rotation, poses.translation + 1e6))
    decoded = model.decode(exact_maps(truth()), intrinsics=intrinsics())
    center = poses.translation.mean(0) + 1e6
    torch.testing.assert_close(decoded.world_from_cam.translation, truth().translation + center)


def test_a_wrong_focal_length_increases_the_residual() -> None:
    """Points with errors of 5 cm at 1 to 3 m: a focal length 1.3 times too long doubles the residual."""
    model, maps = network(), exact_maps(truth(), noise=0.05)
    right, wrong = (model.decode(maps, intrinsics=intrinsics(scale * FOCAL)).residual for scale in (1.0, 1.3))
    assert right is not None
    assert wrong is not None
    assert bool((wrong > 2.0 * right).all())


def test_cells_of_no_weight_do_not_count() -> None:
    maps = exact_maps(truth())
    weight = torch.ones_like(maps.weight)
    weight[:, 2] = 0.0
    world = torch.where(weight.unsqueeze(1) > 0, maps.world, maps.world + 9.0)
    decoded = network().decode(maps._replace(world=world, weight=weight), intrinsics=intrinsics())
    assert pose_error(decoded.world_from_cam, truth()).meters.max() < 1e-9


@pytest.mark.parametrize("stride", [4, 8, 16])
@pytest.mark.parametrize("camera_points", ["depth", "direct"])
@pytest.mark.parametrize("weights", ["learned", "alike"])
@pytest.mark.parametrize("context", [None, (2, 3)])
def test_every_form_gives_maps_on_its_grid(
    stride: int, camera_points: str, weights: str, context: tuple[int, int] | None
) -> None:
    model = network(stride=stride, camera_points=camera_points, weights=weights, blocks=1, context=context)
    maps = model(torch.rand(2, 3, HEIGHT, WIDTH))
    grid = (HEIGHT // stride, WIDTH // stride)
    assert maps.world.shape == (2, 3, *grid)
    assert maps.camera.shape == (2, 1 if camera_points == "depth" else 3, *grid)
    assert maps.weight.shape == (2, *grid)
    near, far = 0.1, 10.0
    if camera_points == "depth":
        assert bool(((maps.camera > near) & (maps.camera < far)).all())
    batch = Batch(torch.rand(2, 3, HEIGHT, WIDTH), truth(), intrinsics(), torch.zeros(2, dtype=torch.int64))
    losses = model.losses(maps, batch)
    assert all(bool(value.isfinite()) for value in losses.values())


def test_with_context_a_cell_depends_on_the_whole_image_and_its_position() -> None:
    images = torch.rand(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    features = network().features(images)
    other = features.clone()
    other[..., -1] += 1.0  # the last column of cells
    alike = features[..., :1, :1].expand_as(features)
    for context, depends in ((None, False), ((2, 3), True)):
        model = network(blocks=1, context=context)
        first, changed, same = (model.from_grid(each).world for each in (features, other, alike))
        assert torch.equal(first[..., 0], changed[..., 0]) != depends
        assert torch.allclose(same, same[..., :1, :1], atol=1e-6) != depends


def test_with_context_every_weight_trains_and_the_exported_network_predicts_the_same(tmp_path: Path) -> None:
    model = network(blocks=1, context=(2, 3)).train()
    images = torch.rand(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    batch = Batch(images, truth(), intrinsics(), torch.zeros(2, dtype=torch.int64))
    torch.stack(list(model.losses(model(images), batch).values())).sum().backward()
    assert model.cells is not None
    assert sum(".context." in name for name, _ in model.cells.named_parameters(prefix="cells")) == 9
    for name, parameter in model.cells.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name
    metadata = metadata_for("scene_geometry", model.config, Preprocess(WIDTH, HEIGHT), ("kitchen",))
    save_checkpoint(tmp_path, metadata, model.eval(), (some_poses(9),))
    export_onnx(load_checkpoint(tmp_path), tmp_path / "model.onnx")
    assert largest_difference(load_checkpoint(tmp_path), tmp_path / "model.onnx") <= 1e-4


def test_the_depth_range_can_be_derived_from_the_cameras() -> None:
    model = network(depth_range=None)
    poses = some_poses(50)
    model.observe(Pose(poses.rotation, 30.0 * poses.translation))
    near, far = model.get_buffer("depth_range").tolist()
    assert 150.0 < far < 400.0
    assert near == pytest.approx(0.01 * far)
    model.observe(Pose(poses.rotation, 0.0 * poses.translation))
    assert model.get_buffer("depth_range").tolist() == pytest.approx([0.1, 10.0])


def test_aligning_needs_intrinsics() -> None:
    with pytest.raises(ValueError, match="intrinsics"):
        network().decode(exact_maps(truth()))
