"""`Builder` takes shapes in local axes, places them in the world and collects them into Primitives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_square.arrays import Numbers, Vectors
from market_square.primitives import Cylinders, Outline, Parallelograms, Primitives, Spheres

Repeat = tuple[float, float]


@dataclass(frozen=True)
class _Placement:
    """The motion from local to world axes: a rotation about the vertical, then a shift."""

    heading: float = 0.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def world_vector(self, vector: Numbers) -> Vectors:
        x, y, z = np.asarray(vector, np.float64)
        cosine, sine = np.cos(self.heading), np.sin(self.heading)
        return np.array([cosine * x - sine * y, sine * x + cosine * y, z])

    def world_point(self, point: Numbers) -> Vectors:
        return np.asarray(self.world_vector(point) + np.array(self.shift))


@dataclass
class _Collected:
    parallelograms: list[dict[str, Any]] = field(default_factory=list)
    spheres: list[dict[str, Any]] = field(default_factory=list)
    cylinders: list[dict[str, Any]] = field(default_factory=list)


class Builder:
    """Collects shapes. `at` returns a builder with other local axes that adds to the same collection."""

    def __init__(self, texture_number: Mapping[str, int], *, occluders: bool = False) -> None:
        self._number = texture_number
        self._occluders = occluders
        self._placement = _Placement()
        self._collected = _Collected()

    def at(self, x: float, y: float, *, heading: float = 0.0, z: float = 0.0) -> "Builder":
        """A builder with its origin at (x, y, z) of these axes, turned left by `heading` radians."""
        inner = Builder(self._number, occluders=self._occluders)
        origin = self._placement.world_point((x, y, z))
        shift = float(origin[0]), float(origin[1]), float(origin[2])
        inner._placement = _Placement(self._placement.heading + heading, shift)
        inner._collected = self._collected
        return inner

    def parallelogram(
        self,
        corner: Numbers,
        edge_u: Numbers,
        edge_v: Numbers,
        texture: str,
        *,
        repeat: Repeat = (1, 1),
        outline: Outline = Outline.FULL,
        one_sided: bool = True,
    ) -> None:
        """Add the shape corner + u edge_u + v edge_v; edge_u x edge_v points out of its front."""
        self._collected.parallelograms.append(
            {
                **self._appearance(texture, repeat),
                "corner": self._placement.world_point(corner),
                "edge_u": self._placement.world_vector(edge_u),
                "edge_v": self._placement.world_vector(edge_v),
                "outline": outline,
                "one_sided": one_sided,
            }
        )

    def box(
        self,
        low: Sequence[float],
        high: Sequence[float],
        texture: str,
        *,
        top: str | None = None,
        repeats_per_meter: float | None = None,
        floor: bool = False,
    ) -> None:
        """Add the sides and the top of a box, and its underside where `floor` is set."""
        (x, y, z), extent = low, np.subtract(high, low, dtype=np.float64)
        along_x, along_y, along_z = np.diag(extent)
        end_x, end_y, end_z = high

        def side(corner: Numbers, u: Vectors, v: Vectors, name: str) -> None:
            meters = float(np.linalg.norm(u)), float(np.linalg.norm(v))
            scale = repeats_per_meter
            repeat = (1.0, 1.0) if scale is None else (meters[0] * scale, meters[1] * scale)
            self.parallelogram(corner, u, v, name, repeat=repeat)

        side((x, y, z), along_x, along_z, texture)
        side((end_x, y, z), along_y, along_z, texture)
        side((end_x, end_y, z), -along_x, along_z, texture)
        side((x, end_y, z), -along_y, along_z, texture)
        side((x, y, end_z), along_x, along_y, top or texture)
        if floor:
            side((x, end_y, z), along_x, -along_y, texture)

    def disc(self, center: Sequence[float], radius: float, texture: str, *, repeat: Repeat = (1, 1)) -> None:
        """Add a horizontal disc that is visible from above."""
        x, y, z = center
        corner, edge = (x - radius, y - radius, z), 2 * radius
        self.parallelogram(corner, (edge, 0, 0), (0, edge, 0), texture, repeat=repeat, outline=Outline.DISC)

    def sphere(self, center: Numbers, radius: float, texture: str, *, repeat: Repeat = (2, 1)) -> None:
        """Add a sphere."""
        center = self._placement.world_point(center)
        self._collected.spheres.append(
            {**self._appearance(texture, repeat), "center": center, "radius": radius}
        )

    def cylinder(
        self,
        foot: Sequence[float],
        radius: float,
        height: float,
        texture: str,
        *,
        repeat: Repeat = (1, 1),
        lid: str | None = None,
    ) -> None:
        """Add an upright cylinder that stands on `foot`, with a lid of the texture `lid`, if given."""
        world_foot = self._placement.world_point(foot)
        shape = {"foot": world_foot, "radius": radius, "height": height}
        self._collected.cylinders.append({**self._appearance(texture, repeat), **shape})
        if lid is not None:
            self.disc((foot[0], foot[1], foot[2] + height), radius, lid)

    def primitives(self) -> Primitives:
        """All shapes collected so far, including those added through `at`."""
        collected = self._collected
        return Primitives(
            Parallelograms(
                **_shared(collected.parallelograms),
                corner=_vectors(collected.parallelograms, "corner"),
                edge_u=_vectors(collected.parallelograms, "edge_u"),
                edge_v=_vectors(collected.parallelograms, "edge_v"),
                outline=np.array([shape["outline"] for shape in collected.parallelograms], np.int8),
                one_sided=np.array([shape["one_sided"] for shape in collected.parallelograms], bool),
            ),
            Spheres(
                **_shared(collected.spheres),
                center=_vectors(collected.spheres, "center"),
                radius=_numbers(collected.spheres, "radius"),
            ),
            Cylinders(
                **_shared(collected.cylinders),
                foot=_vectors(collected.cylinders, "foot"),
                radius=_numbers(collected.cylinders, "radius"),
                height=_numbers(collected.cylinders, "height"),
            ),
        )

    def _appearance(self, texture: str, repeat: Repeat) -> dict[str, Any]:
        return {"texture": self._number[texture], "repeat": repeat, "is_occluder": self._occluders}


def _shared(shapes: list[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    return {
        "texture": np.array([shape["texture"] for shape in shapes], np.int32),
        "repeat": np.array([shape["repeat"] for shape in shapes], np.float32).reshape(-1, 2),
        "is_occluder": np.array([shape["is_occluder"] for shape in shapes], bool),
    }


def _vectors(shapes: list[dict[str, Any]], name: str) -> Vectors:
    return np.array([shape[name] for shape in shapes], np.float64).reshape(-1, 3)


def _numbers(shapes: list[dict[str, Any]], name: str) -> Vectors:
    return np.array([shape[name] for shape in shapes], np.float64)
