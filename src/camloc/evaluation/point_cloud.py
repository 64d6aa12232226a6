"""The points of a place that a model has learned, as one coloured cloud, and as a PLY file."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from camloc.core.mapped import MappedView

CLOUD_NAME = "points.ply"

# Points farther from the middle of all points than this many times the median distance from it are
# guesses about sky, windows and walls without features; they would shrink everything else to a dot.
FARTHEST_MEDIANS = 5.0

# A range of values leaves out this share of them at either end.
RANGE_TAIL = 0.02


class PointCloud(NamedTuple):
    """Points and their colours.

    Attributes:
        points: (n, 3) in the data set's world, double precision.
        colors: (n, 3) RGB, 8 bits.
    """

    points: Float[Tensor, "n 3"]
    colors: UInt8[Tensor, "n 3"]


def point_cloud(views: Iterable[MappedView]) -> PointCloud:
    """The points of the half of each photograph's cells that counts most, but for stray ones."""
    points, colors = [torch.zeros(0, 3, dtype=torch.float64)], [torch.zeros(0, 3, dtype=torch.uint8)]
    for view in views:
        counts = (view.weight >= view.weight.median()) & (view.weight > 0)
        counts &= view.world.isfinite().all(-1)
        points.append(view.world[counts])
        colors.append(view.colors()[counts])
    cloud = PointCloud(torch.cat(points), torch.cat(colors))
    if not len(cloud.points):
        return cloud
    away = torch.linalg.vector_norm(cloud.points - cloud.points.median(0).values, dim=-1)
    near = away <= FARTHEST_MEDIANS * away.median()
    return PointCloud(cloud.points[near], cloud.colors[near])


def middle_range(values: Float[Tensor, "n *d"]) -> tuple[Tensor, Tensor]:
    """The range of most of n > 0 values, for each of their columns."""
    rows = values.sort(0).values
    last = len(rows) - 1
    return rows[round(RANGE_TAIL * last)], rows[round((1 - RANGE_TAIL) * last)]


def ply(cloud: PointCloud) -> bytes:
    """The cloud as binary PLY: `x`, `y`, `z` in double precision, `red`, `green`, `blue` as bytes.

    Single precision would round the places of worlds whose origin is far away, such as those of maps.
    """
    rows = np.empty(len(cloud.points), dtype=[("point", "<f8", 3), ("color", "u1", 3)])
    rows["point"], rows["color"] = cloud.points.numpy(), cloud.colors.numpy()
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment points of a place learned by camloc, in the world of its data set",
        f"element vertex {len(rows)}",
        *(f"property double {name}" for name in ("x", "y", "z")),
        *(f"property uchar {name}" for name in ("red", "green", "blue")),
        "end_header\n",
    ]
    return "\n".join(header).encode("ascii") + rows.tobytes()
