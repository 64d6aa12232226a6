"""A pinhole camera in NumPy: the ray of each pixel, and the pixel of each point."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from market_square.arrays import Numbers, Vectors

NEAREST = 0.05
"""Surfaces of a smaller depth, in metres, are not drawn."""


@runtime_checkable
class PinholeCamera(Protocol):
    """Intrinsics in pixels; the centre of the top left pixel is (0.5, 0.5)."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def fx(self) -> float: ...
    @property
    def fy(self) -> float: ...
    @property
    def cx(self) -> float: ...
    @property
    def cy(self) -> float: ...


@runtime_checkable
class RigidMotion(Protocol):
    """A pose with a 4 x 4 matrix."""

    def matrix(self) -> Any:
        """The homogeneous matrix, as anything that NumPy reads."""


@dataclass(frozen=True)
class Intrinsics:
    """A plain PinholeCamera."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float


@dataclass(frozen=True, eq=False)
class Viewpoint:
    """Intrinsics, the centre (3,) in the world and the axes right, down, forward as columns (3, 3)."""

    intrinsics: PinholeCamera
    center: Vectors
    axes: Vectors

    @classmethod
    def from_matrix(cls, world_from_cam: Vectors, intrinsics: PinholeCamera) -> "Viewpoint":
        """From a 4 x 4 motion."""
        matrix = np.asarray(world_from_cam, np.float64)
        return cls(intrinsics, matrix[:3, 3], matrix[:3, :3])

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.intrinsics.width

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.intrinsics.height

    @property
    def ray_from_pixel(self) -> Vectors:
        """The matrix (3, 3) that takes a pixel (x, y, 1) to its ray in the world, of z-depth 1."""
        lens = self.intrinsics
        flat = np.array(
            [[1 / lens.fx, 0, -lens.cx / lens.fx], [0, 1 / lens.fy, -lens.cy / lens.fy], [0, 0, 1]]
        )
        return np.asarray(np.einsum("ij,jk->ik", self.axes, flat), np.float64)

    def to_camera(self, points: Vectors) -> Vectors:
        """World points (..., 3) in camera axes."""
        return np.asarray(np.einsum("...j,jk->...k", points - self.center, self.axes), np.float64)

    def to_pixels(self, in_camera: Vectors) -> Vectors:
        """Pixels (..., 2) of points (..., 3) in camera axes, which must lie in front of the camera."""
        lens = self.intrinsics
        flat = in_camera[..., :2] / in_camera[..., 2:]
        return np.asarray(flat * (lens.fx, lens.fy) + (lens.cx, lens.cy))

    def enlarged(self, factor: int) -> "Viewpoint":
        """The same view with `factor` times as many pixels along each side."""
        lens = self.intrinsics
        larger = Intrinsics(
            lens.width * factor,
            lens.height * factor,
            lens.fx * factor,
            lens.fy * factor,
            lens.cx * factor,
            lens.cy * factor,
        )
        return Viewpoint(larger, self.center, self.axes)


def axes_looking_along(direction: Numbers) -> Vectors:
    """Axes right, down, forward as columns (3, 3) of a level camera that looks along a direction."""
    forward = np.asarray(direction, np.float64) / np.linalg.norm(direction)
    up = np.array([0.0, 0.0, 1.0]) if abs(forward[2]) < 0.99 else np.array([0.0, 1.0, 0.0])
    right = np.cross(forward, up)
    right = right / np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward], axis=1)
