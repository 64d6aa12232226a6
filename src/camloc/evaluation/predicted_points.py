"""The points of a scene that a model has learned, as one coloured cloud, and as a PLY file."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from camloc.data.masks import mask_at
from camloc.geometry.pose import Pose
from camloc.models.base import Correspondences, GeometryModel


@dataclass(frozen=True, eq=False)
class MappedView:
    """An image as the network saw it, and what each cell of a grid of (h, w) cells says.

    Attributes:
        image: RGB, 8 bits.
        pixels: the cells' centres (x, y) in the image.
        world: the point that a cell sees, in the data set's world, double precision.
        depth: how far in front of the camera it is, in units of the world, double precision.
        weight: how much the cell counts, not negative, double precision.
    """

    image: UInt8[Tensor, "3 height width"]
    pixels: Float[Tensor, "h w 2"]
    world: Float[Tensor, "h w 3"]
    depth: Float[Tensor, "h w"]
    weight: Float[Tensor, "h w"]

    @classmethod
    def of_cells(
        cls,
        image: UInt8[Tensor, "3 height width"],
        cells: Correspondences,
        *,
        world_from_centered: Pose,
    ) -> "MappedView":
        """From the correspondences of one image, b = 1, whose cells are in the order of reading.

        Args:
            image: what the network saw.
            cells: what it said.
            world_from_centered: a single motion, from the frame of the cells' world points.
        """
        pixels, camera, world, weight = (value[0].detach().cpu() for value in cells.double())
        width = int((pixels[:, 1] == pixels[0, 1]).sum())
        placed = world_from_centered.to("cpu").apply(world)
        return cls(
            image.cpu(),
            pixels.reshape(-1, width, 2),
            placed.reshape(-1, width, 3),
            camera[:, 2].reshape(-1, width),
            weight.reshape(-1, width),
        )

    def colors(self) -> UInt8[Tensor, "h w 3"]:
        """The colour of the image in the middle of each cell."""
        _, height, width = self.image.shape
        columns = self.pixels[..., 0].long().clamp(0, width - 1)
        rows = self.pixels[..., 1].long().clamp(0, height - 1)
        return torch.movedim(self.image[:, rows, columns], 0, -1)


def mapped_view(
    model: GeometryModel[Any],
    output: Any,
    image: UInt8[Tensor, "3 height width"],
    *,
    intrinsics: Float[Tensor, "1 3 3"],
    mask: Bool[Tensor, "height width"] | None = None,
) -> MappedView:
    """What a model's output says about the one image that it is of; masked cells weigh nothing."""
    output = type(output)(*(value.to(intrinsics.device) for value in output))
    cells = model.correspondences(output, intrinsics=intrinsics)
    if mask is not None:
        counted = mask_at(mask[None].to(cells.pixels.device), cells.pixels)
        cells = cells._replace(weight=cells.weight * counted)
    return MappedView.of_cells(image, cells, world_from_centered=model.to_world(Pose.identity(1).tensor())[0])


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
    """The points of the half of each image's cells that counts most, but for stray ones."""
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

    Single precision would round the scenes of worlds whose origin is far away, such as those of maps.
    """
    rows = np.empty(len(cloud.points), dtype=[("point", "<f8", 3), ("color", "u1", 3)])
    rows["point"], rows["color"] = cloud.points.numpy(), cloud.colors.numpy()
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment points of a scene learned by camloc, in the world of its data set",
        f"element vertex {len(rows)}",
        *(f"property double {name}" for name in ("x", "y", "z")),
        *(f"property uchar {name}" for name in ("red", "green", "blue")),
        "end_header\n",
    ]
    return "\n".join(header).encode("ascii") + rows.tobytes()
