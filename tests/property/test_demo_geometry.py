"""Depth, poses and intrinsics of the embedded scene agree with each other, wherever the camera is."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.support.demo_views import SMALL, pose_looking, shared_renderer

from camloc.geometry.camera import pixel_grid, project, unproject
from camloc.geometry.pose import Pose
from market_square.viewpoint import Viewpoint

# East, north, up in metres; heading and pitch in degrees.
scenes = st.tuples(
    st.floats(-6.5, -2.0), st.floats(0.0, 3.0), st.floats(1.4, 1.8), st.floats(90, 165), st.floats(-8, 8)
)
PosedScene = tuple[float, float, float, float, float]


def pose_at(scene: PosedScene) -> NDArray[np.float64]:
    x, y, z, heading, up = scene
    return pose_looking((x, y, z), heading, up_degrees=up)


def as_pose(matrix: NDArray[np.float64]) -> Pose:
    return Pose.from_matrix(torch.from_numpy(matrix))


@settings(max_examples=8)
@given(scenes, st.floats(-0.3, 0.3), st.floats(-0.3, 0.3))
def test_the_depth_of_one_view_lands_in_another(scene: PosedScene, east: float, north: float) -> None:
    pose = pose_at(scene)
    moved = pose.copy()
    moved[:2, 3] += east, north
    first, second = (
        torch.from_numpy(shared_renderer().render_view(m, SMALL).depth).double() for m in (pose, moved)
    )
    intrinsics = torch.from_numpy(SMALL.matrix())
    pixels = torch.from_numpy(pixel_grid(SMALL.width, SMALL.height)).reshape(-1, 2)
    world = as_pose(pose).apply(unproject(pixels, first.reshape(-1), intrinsics))
    in_second = as_pose(moved).inverse().apply(world)
    landed = project(in_second, intrinsics)
    size = torch.tensor([SMALL.width, SMALL.height])
    inside = (landed > 1).all(-1) & (landed < size - 1).all(-1)
    inside &= (first.reshape(-1) > 0) & (in_second[:, 2] > 0)
    assert inside.double().mean() > 0.3
    # 1 / depth is what is linear in the pixel on a plane, so that is what is interpolated between pixels.
    nearness = (1 / second.clamp_min(1e-3))[None, None]
    grid = (2 * landed[inside] / size - 1)[None, None]
    seen = torch.nn.functional.grid_sample(nearness, grid, align_corners=False).reshape(-1)
    assert (seen * in_second[inside, 2] - 1).abs().median() < 0.001


@settings(max_examples=6)
@given(scenes, st.integers(0, 20), st.integers(0, 20))
def test_cropping_commutes_with_rendering(scene: PosedScene, left: int, top: int) -> None:
    pose = pose_at(scene)
    whole = shared_renderer().render_view(pose, SMALL).depth
    part = shared_renderer().render_view(pose, SMALL.cropped(left=left, top=top, width=40, height=24)).depth
    cut = whole[top : top + 24, left : left + 40]
    assert (np.abs(cut - part) < 1e-3).mean() > 0.999


@settings(max_examples=20)
@given(scenes, st.floats(0.5, 63.5), st.floats(0.5, 47.5), st.floats(0.5, 30.0))
def test_a_point_on_a_ray_is_seen_at_the_rays_pixel(
    scene: PosedScene, x: float, y: float, depth: float
) -> None:
    viewpoint = Viewpoint.from_matrix(pose_at(scene), SMALL)
    point = viewpoint.center + depth * viewpoint.ray_from_pixel @ np.array([x, y, 1.0])
    in_camera = viewpoint.to_camera(point)
    np.testing.assert_allclose(in_camera[2], depth, rtol=1e-12)
    np.testing.assert_allclose(viewpoint.to_pixels(in_camera), (x, y), rtol=0, atol=1e-9)
