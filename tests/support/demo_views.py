"""Small views of the embedded scene; the square is built once for all tests."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from camloc.geometry.camera import Camera
from market_square.free_space import free_space_of
from market_square.occluders import Crowd
from market_square.primitives import Primitives
from market_square.renderer import RenderedView, Renderer
from market_square.square import build_square
from market_square.viewpoint import axes_looking_along

SMALL = Camera(width=64, height=48, fx=48.0, fy=48.0, cx=32.0, cy=24.0)


@lru_cache(maxsize=1)
def shared_renderer() -> Renderer:
    """The square with seed 0."""
    return Renderer(seed=0)


def pose_looking(
    center: tuple[float, float, float], heading_degrees: float, *, up_degrees: float = 0.0
) -> NDArray[np.float64]:
    """The world_from_cam matrix of a camera that is held level."""
    heading, up = np.radians([heading_degrees, up_degrees])
    matrix = np.eye(4)
    direction = np.array([np.cos(heading) * np.cos(up), np.sin(heading) * np.cos(up), np.sin(up)])
    matrix[:3, :3] = axes_looking_along(direction)
    matrix[:3, 3] = center
    return matrix


def view_of_corner(
    condition: str = "day", *, heading_degrees: float = 120.0, occluders: Primitives | None = None
) -> RenderedView:
    """A small image from the middle of the corner."""
    pose = pose_looking((-3.0, 1.0, 1.6), heading_degrees)
    return shared_renderer().render_view(pose, SMALL, condition=condition, occluders=occluders)


def people_in_the_corner() -> Primitives:
    """Many people in front of `view_of_corner`."""
    crowd = Crowd(people=16, van=True, center=(-6.4, 3.9), half_extent=(3.4, 2.6), seed=3)
    numbers = build_square(0).atlas.number
    return crowd.at(5.0, camera=(-3.0, 1.0), free_space=free_space_of(0), texture_number=numbers)
