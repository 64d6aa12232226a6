"""The shapes of the square: parallelograms, spheres and upright cylinders. World metres, z up."""

from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from market_square.arrays import Vectors


class Outline(IntEnum):
    """The part of a parallelogram that is drawn: all of it, the half u + v <= 1, or its inscribed ellipse."""

    FULL = 0
    TRIANGLE = 1
    DISC = 2


@dataclass(frozen=True, eq=False)
class Shapes:
    """Attributes of all shapes: texture number, repetitions along u and v, whether an occluder."""

    texture: NDArray[np.int32]
    repeat: NDArray[np.float32]
    is_occluder: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.texture)


@dataclass(frozen=True, eq=False)
class Parallelograms(Shapes):
    """Points corner + u edge_u + v edge_v with u, v in 0..1; all vectors (n, 3).

    A one-sided parallelogram is visible only from the side that edge_u x edge_v points to.
    """

    corner: Vectors
    edge_u: Vectors
    edge_v: Vectors
    outline: NDArray[np.int8]
    one_sided: NDArray[np.bool_]

    @cached_property
    def normal(self) -> Vectors:
        """Unit normals (n, 3)."""
        across: Vectors = np.cross(self.edge_u, self.edge_v)
        return np.asarray(across / np.linalg.norm(across, axis=1, keepdims=True))

    @cached_property
    def dual(self) -> Vectors:
        """Vectors (n, 2, 3) whose dot products with (point - corner) are u and v."""
        gram = np.stack([self.edge_u, self.edge_v], 1)
        u_u, u_v, v_v = (
            (a * b).sum(1) for a, b in ((gram[:, 0],) * 2, (gram[:, 0], gram[:, 1]), (gram[:, 1],) * 2)
        )
        determinant = u_u * v_v - u_v**2
        inverse = np.stack([v_v, -u_v, -u_v, u_u], 1).reshape(-1, 2, 2) / determinant[:, None, None]
        return np.asarray(inverse[:, :, :1] * gram[:, None, 0] + inverse[:, :, 1:] * gram[:, None, 1])

    @cached_property
    def corners(self) -> Vectors:
        """The four corners (n, 4, 3), in order around the outline."""
        far = self.corner + self.edge_u
        return np.stack([self.corner, far, far + self.edge_v, self.corner + self.edge_v], 1)

    @cached_property
    def texture_width_meters(self) -> Vectors:
        """Width (n,) of one repetition of the texture."""
        return np.asarray(np.linalg.norm(self.edge_u, axis=1) / self.repeat[:, 0])


@dataclass(frozen=True, eq=False)
class Spheres(Shapes):
    """Centres (n, 3) and radii (n,)."""

    center: Vectors
    radius: Vectors

    @cached_property
    def texture_width_meters(self) -> Vectors:
        """Width (n,) of one repetition of the texture at the equator."""
        return np.asarray(2 * np.pi * self.radius / self.repeat[:, 0])


@dataclass(frozen=True, eq=False)
class Cylinders(Shapes):
    """Upright cylinders without lids: centres of their feet (n, 3), radii (n,) and heights (n,)."""

    foot: Vectors
    radius: Vectors
    height: Vectors

    @cached_property
    def texture_width_meters(self) -> Vectors:
        """Width (n,) of one repetition of the texture."""
        return np.asarray(2 * np.pi * self.radius / self.repeat[:, 0])


@dataclass(frozen=True, eq=False)
class Primitives:
    """All shapes of a scene, numbered in the order parallelograms, spheres, cylinders."""

    parallelograms: Parallelograms
    spheres: Spheres
    cylinders: Cylinders

    def joined(self, other: "Primitives") -> "Primitives":
        """These shapes and the others, renumbered."""
        return Primitives(
            _joined(self.parallelograms, other.parallelograms),
            _joined(self.spheres, other.spheres),
            _joined(self.cylinders, other.cylinders),
        )

    @property
    def first_sphere(self) -> int:
        """Number of the first sphere."""
        return len(self.parallelograms)

    @property
    def first_cylinder(self) -> int:
        """Number of the first cylinder."""
        return len(self.parallelograms) + len(self.spheres)

    @cached_property
    def texture(self) -> NDArray[np.int32]:
        """Texture numbers (n,)."""
        return np.concatenate([shapes.texture for shapes in self._kinds])

    @cached_property
    def repeat(self) -> NDArray[np.float32]:
        """Texture repetitions along u and v (n, 2)."""
        return np.concatenate([shapes.repeat for shapes in self._kinds])

    @cached_property
    def is_occluder(self) -> NDArray[np.bool_]:
        """Whether a shape moves and is not part of the scene (n,)."""
        return np.concatenate([shapes.is_occluder for shapes in self._kinds])

    @cached_property
    def texture_width_meters(self) -> Vectors:
        """Width (n,) of one repetition of the texture."""
        return np.concatenate([shapes.texture_width_meters for shapes in self._kinds])

    @property
    def _kinds(self) -> tuple[Parallelograms, Spheres, Cylinders]:
        return self.parallelograms, self.spheres, self.cylinders


_Kind = TypeVar("_Kind", bound=Shapes)


def _joined(first: _Kind, second: _Kind) -> _Kind:
    both = {
        field.name: np.concatenate([getattr(first, field.name), getattr(second, field.name)])
        for field in fields(first)
    }
    return type(first)(**both)
