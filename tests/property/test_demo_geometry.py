"""Depth, poses and intrinsics of the embedded place agree with each other, wherever the camera is."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.support.demo_views import SMALL, pose_looking, shared_renderer

from camloc.datasets.demo.viewpoint import Viewpoint
from camloc.geometry.camera import pixel_grid, project, unproject
from camloc.geometry.pose import Pose

poses = st.builds(
    pose_looking,
    st.tuples(st.floats(-6.5, -2.0), st.floats(0.0, 3.0), st.floats(1.4, 1.8)),
    st.floats(90, 165),
    up_degrees=st.floats(-8, 8),
)


def as_pose(matrix: NDArray[np.float64]) -> Pose:
    return Pose.from_matrix(torch.from_numpy(matrix))


@settings(max_examples=12)
@given(poses, st.floats(-0.3, 0.3), st.floats(-0.3, 0.3))
def test_the_depth_of_one_view_lands_in_another(pose: NDArray[np.float64], east: float, north: float):
    moved = pose.copy()
    moved[:2, 3] += east, north
    first, second = (
        torch.from_numpy(shared_renderer().render_view(m, SMALL).depth).double() for m in (pose, moved)
    )
    intrinsics = SMALL.matrix()
    pixels = pixel_grid(SMALL.width, SMALL.height).reshape(-1, 2)
    world = as_pose(pose).apply(unproject(pixels, first.reshape(-1), intrinsics))
    in_second = as_pose(moved).inverse().apply(world)
    landed = project(in_second, intrinsics)
    column, row = landed.floor().long().unbind(-1)
    inside = (column >= 0) & (column < SMALL.width) & (row >= 0) & (row < SMALL.height)
    inside &= (first.reshape(-1) > 0) & (in_second[:, 2] > 0)
    assert inside.double().mean() > 0.3
    expected, seen = in_second[inside, 2], second[row[inside], column[inside]]
    assert ((seen - expected).abs() / expected).median() < 0.005


@settings(max_examples=6)
@given(poses, st.integers(0, 20), st.integers(0, 20))
def test_cropping_commutes_with_rendering(pose: NDArray[np.float64], left: int, top: int):
    whole = shared_renderer().render_view(pose, SMALL).depth
    part = shared_renderer().render_view(pose, SMALL.cropped(left=left, top=top, width=40, height=24)).depth
    cut = whole[top : top + 24, left : left + 40]
    assert (np.abs(cut - part) < 1e-3).mean() > 0.999


@settings(max_examples=20)
@given(poses, st.floats(0.5, 63.5), st.floats(0.5, 47.5), st.floats(0.5, 30.0))
def test_a_point_on_a_ray_is_seen_at_the_rays_pixel(
    pose: NDArray[np.float64], x: float, y: float, depth: float
):
    viewpoint = Viewpoint.from_matrix(pose, SMALL)
    point = viewpoint.center + depth * viewpoint.ray_from_pixel @ np.array([x, y, 1.0])
    in_camera = viewpoint.to_camera(point)
    np.testing.assert_allclose(in_camera[2], depth, rtol=1e-12)
    np.testing.assert_allclose(viewpoint.to_pixels(in_camera), (x, y), rtol=0, atol=1e-9)


@settings(max_examples=12)
@given(st.floats(0, 360), st.floats(0.3, 3.0))
def test_nearer_means_larger_depth_differences_to_the_same_wall(heading: float, step: float):
    """Walking back from what is seen by `step` adds `step` to the depth at the middle of the picture."""
    pose = pose_looking((0.0, -1.8, 14.0), heading, up_degrees=-10.0)
    back = pose.copy()
    back[:3, 3] -= step * pose[:3, 2]
    near, far = (shared_renderer().render_view(matrix, SMALL).depth for matrix in (pose, back))
    middle = (slice(23, 25), slice(31, 33))
    if near[middle].min() > 0 and np.ptp(near[middle]) < 0.05:
        np.testing.assert_allclose(far[middle].mean() - near[middle].mean(), step, atol=0.1)
