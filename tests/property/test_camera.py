"""Projection and its inverse for every COLMAP lens model, and the half pixel in every scene it can hide."""

from functools import partial

import numpy as np
import pycolmap
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.support.kinds import each_kind, of_kind, on_both_kinds
from tests.support.strategies import MILD_DISTORTION, cameras, tensors
from torch import Tensor

from camloc import geometry
from camloc.geometry import Camera

# Functions are called with tensors, and NumPy arrays must give the same.
project = on_both_kinds(geometry.project)
unproject = on_both_kinds(geometry.unproject)

assert_close = partial(torch.testing.assert_close, rtol=0.0, atol=1e-9)


def pixel_grid(width: int, height: int, *, stride: int = 1) -> Tensor:
    """The grid as a tensor, which is the NumPy grid."""
    grid: Tensor = geometry.pixel_grid(width, height, stride=stride, like=torch.zeros(1))
    assert np.array_equal(geometry.pixel_grid(width, height, stride=stride), grid.numpy())
    return grid


def seen(camera: Camera, points: Tensor) -> Tensor:
    """Where a camera sees points, which is the same for both kinds of arrays."""
    pixels: Tensor = on_both_kinds(camera.project)(points)
    return pixels


def rays_of(camera: Camera, pixels: Tensor) -> Tensor:
    """What a camera sees at pixels, which is the same for both kinds of arrays."""
    rays: Tensor = on_both_kinds(camera.unproject)(pixels)
    return rays


def matrix_of(camera: Camera) -> Tensor:
    """The calibration matrix as a tensor."""
    return torch.from_numpy(camera.matrix())


DISTORTING = [model for model, distortion in MILD_DISTORTION.items() if distortion or "FISHEYE" in model]


def _pixels(camera: Camera, count: int = 7) -> Tensor:
    """Pixels all over an image."""
    steps = torch.linspace(0.0, 1.0, count, dtype=torch.float64)
    grid = torch.cartesian_prod(steps * camera.width, steps * camera.height)
    return grid.reshape(-1, 2)


def test_the_lenses_tried_are_all_that_colmap_has() -> None:
    known = set(pycolmap.CameraModelId.__members__) - {"INVALID", "EQUIRECTANGULAR"}
    assert set(MILD_DISTORTION) == known


@given(cameras())
def test_projecting_undoes_unprojecting(camera: Camera) -> None:
    pixels = _pixels(camera)
    rays = rays_of(camera, pixels)
    assert (rays[:, 2] == 1.0).all()
    torch.testing.assert_close(seen(camera, rays), pixels, rtol=0.0, atol=1e-6)
    depths = torch.linspace(0.1, 50.0, len(pixels), dtype=torch.float64)
    torch.testing.assert_close(seen(camera, rays * depths[:, None]), pixels, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("model", list(MILD_DISTORTION))
@given(data=st.data())
def test_projection_agrees_with_colmap(model: str, data: st.DataObject) -> None:
    camera = data.draw(cameras([model]))
    points = data.draw(tensors(6, 3)) + torch.tensor([0.0, 0.0, 3.0]).double()
    colmap = camera.to_colmap()
    expected = np.asarray(colmap.img_from_cam(points.numpy()))
    np.testing.assert_allclose(seen(camera, points).numpy(), expected, rtol=0.0, atol=1e-8)
    pixels = _pixels(camera, 3)
    rays = np.asarray(colmap.cam_from_img(pixels.numpy()))
    np.testing.assert_allclose(rays_of(camera, pixels)[:, :2].numpy(), rays, rtol=0.0, atol=1e-8)
    assert Camera.from_colmap(colmap) == camera


@pytest.mark.parametrize("model", DISTORTING)
def test_the_lenses_tried_do_bend(model: str) -> None:
    camera = Camera(640, 480, 500.0, 500.0, 320.0, 240.0, model, MILD_DISTORTION[model])
    assert not camera.is_pinhole
    corner = torch.zeros(1, 2, dtype=torch.float64)
    shift = seen(camera.undistorted(), rays_of(camera, corner)) - corner
    assert shift.norm() > 2.0


@given(cameras(), st.integers(0, 60), st.integers(0, 60))
def test_cropping_commutes_with_projection(camera: Camera, left: int, top: int) -> None:
    points = rays_of(camera, _pixels(camera, 4))
    cropped = camera.cropped(left=left, top=top, width=100, height=90)
    assert (cropped.width, cropped.height) == (100, 90)
    shifted = seen(camera, points) - torch.tensor([left, top])
    assert_close(seen(cropped, points), shifted)


@given(cameras(), st.integers(20, 900), st.integers(20, 900))
def test_resizing_commutes_with_projection(camera: Camera, width: int, height: int) -> None:
    points = rays_of(camera, _pixels(camera, 4))
    resized = camera.resized(width=width, height=height)
    scale = torch.tensor([width / camera.width, height / camera.height], dtype=torch.float64)
    assert_close(seen(resized, points), seen(camera, points) * scale)
    back = resized.resized(width=camera.width, height=camera.height)
    assert_close(matrix_of(back), matrix_of(camera))


def test_averaging_blocks_of_pixels_is_resizing_the_camera() -> None:
    """Half a pixel at an eighth of the size is four pixels."""
    camera = Camera(64, 48, 60.0, 60.0, 31.0, 25.0)
    fine = pixel_grid(64, 48)
    blocks = fine.reshape(6, 8, 8, 8, 2).mean((1, 3))
    coarse = pixel_grid(8, 6, stride=8)
    assert_close(blocks, coarse)
    small = camera.resized(width=8, height=6)
    assert_close(rays_of(small, pixel_grid(8, 6).reshape(-1, 2)), rays_of(camera, coarse.reshape(-1, 2)))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 16))
def test_the_pixel_grid_holds_cell_centres_x_first(width: int, height: int, stride: int) -> None:
    grid = pixel_grid(width, height, stride=stride)
    assert grid.shape == (height, width, 2)
    assert grid[0, 0].tolist() == [stride / 2, stride / 2]
    assert grid[-1, -1].tolist() == [(width - 0.5) * stride, (height - 0.5) * stride]
    mean = grid.mean((0, 1))
    assert mean.tolist() == pytest.approx([width * stride / 2, height * stride / 2])


@given(cameras(["PINHOLE"]), tensors(5, 3))
def test_batched_pinhole_functions_agree_with_the_camera(camera: Camera, drawn: Tensor) -> None:
    points = drawn + torch.tensor([0.0, 0.0, 3.0]).double()
    pixels = project(points, matrix_of(camera))
    assert_close(pixels, seen(camera, points))
    assert_close(unproject(pixels, points[:, 2], matrix_of(camera)), points)
    twice = project(points.expand(2, 5, 3), matrix_of(camera).expand(2, 3, 3))
    assert_close(twice, pixels.expand(2, 5, 2))
    homogeneous = points @ matrix_of(camera).mT
    assert_close(pixels, homogeneous[:, :2] / homogeneous[:, 2:])


def test_pinhole_functions_are_differentiable_everywhere() -> None:
    intrinsics = matrix_of(Camera(64, 48, 60.0, 55.0, 31.0, 25.0))
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(4, 3, generator=generator, dtype=torch.float64) + 0.5
    assert torch.autograd.gradcheck(geometry.project, (points.requires_grad_(), intrinsics.requires_grad_()))
    pixels, depth = points[:, :2].detach() * 40, points[:, 2].detach()
    inputs = (pixels.requires_grad_(), depth.requires_grad_(), intrinsics)
    assert torch.autograd.gradcheck(geometry.unproject, inputs)
    behind = torch.tensor([[0.1, 0.2, -1.0], [0.1, 0.2, 0.0]], dtype=torch.float64, requires_grad=True)
    pixels = geometry.project(behind, intrinsics)
    pixels.sum().backward()
    assert pixels.isfinite().all()
    assert behind.grad is not None
    assert behind.grad.isfinite().all()


@pytest.mark.parametrize("model", list(MILD_DISTORTION))
def test_points_at_and_behind_the_camera_have_no_pixel(model: str) -> None:
    camera = Camera(640, 480, 500.0, 500.0, 320.0, 240.0, model, MILD_DISTORTION[model])
    points = torch.tensor([[0.1, 0.2, -1.0], [0.1, 0.2, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).double()
    pixels = seen(camera, points)
    assert pixels[:3].isnan().all()
    assert pixels[3].isfinite().all()
    assert seen(camera, points[:0]).shape == (0, 2)


@each_kind
@pytest.mark.parametrize("model", ["PINHOLE", "OPENCV"])
def test_single_precision_stays_single(model: str, kind: str) -> None:
    camera = Camera(640, 480, 500.0, 500.0, 320.0, 240.0, model, MILD_DISTORTION[model])
    points = of_kind(kind, torch.tensor([[0.1, 0.2, 1.0]]))
    pixels = camera.project(points)
    assert pixels.dtype == camera.unproject(pixels).dtype == points.dtype


@pytest.mark.parametrize("model", [model for model in MILD_DISTORTION if model != "FOV"])
def test_a_lens_is_a_pinhole_only_where_its_projection_is(model: str) -> None:
    zeros = (0.0,) * len(MILD_DISTORTION[model])
    camera = Camera(640, 480, 500.0, 500.0, 320.0, 240.0, model, zeros)
    point = torch.tensor([[0.4, -0.3, 1.0]]).double()
    shift = seen(camera, point) - seen(camera.undistorted(), point)
    if camera.is_pinhole:
        expected = np.asarray(camera.to_colmap().img_from_cam(point.numpy()))
        np.testing.assert_allclose(seen(camera, point).numpy(), expected, rtol=0.0, atol=1e-9)
    assert camera.is_pinhole == (shift.norm() < 1e-9) or model in ("SIMPLE_DIVISION", "DIVISION", "EUCM")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"fx": 0.0}, "focal"),
        ({"fy": -1.0}, "focal"),
        ({"width": 0}, "size"),
        ({"cx": float("nan")}, "finite"),
        ({"fx": float("inf")}, "finite"),
        ({"model": "NO_SUCH_LENS"}, "NO_SUCH_LENS"),
        ({"model": "EQUIRECTANGULAR"}, "focal"),
        ({"model": "OPENCV", "distortion": (0.1,)}, "4 distortion parameters, not 1"),
        ({"distortion": (0.1,)}, "0 distortion parameters, not 1"),
    ],
)
def test_a_camera_that_cannot_be_is_refused(changes: dict[str, object], complaint: str) -> None:
    numbers = {"width": 64, "height": 48, "fx": 60.0, "fy": 60.0, "cx": 32.0, "cy": 24.0, **changes}
    with pytest.raises(ValueError, match=complaint):
        Camera(**numbers)  # type: ignore[arg-type]


def test_a_panorama_is_refused_and_two_focal_lengths_do_not_become_one() -> None:
    panorama = pycolmap.Camera.create_from_model_id(0, pycolmap.CameraModelId.EQUIRECTANGULAR, 1.0, 640, 320)
    with pytest.raises(ValueError, match="focal length"):
        Camera.from_colmap(panorama)
    stretched = Camera(64, 48, 60.0, 50.0, 32.0, 24.0, "SIMPLE_RADIAL", (0.1,))
    with pytest.raises(ValueError, match="one focal length"):
        stretched.to_colmap()
