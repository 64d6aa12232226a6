"""The points that a model predicts for images: of one image, as one coloured cloud, and as a PLY file."""

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

CLOUD_NAME = "points.ply"

# Points farther from the median point than this many times the median distance are guesses about sky, windows
# and walls without features; they would shrink everything else to a dot.
FARTHEST_MEDIANS = 5.0

# A range of values excludes this share of them at either end.
RANGE_TAIL = 0.02


@dataclass(frozen=True, eq=False)
class MappedView:
    """The preprocessed image and the predictions of a grid of (h, w) cells.

    Attributes:
        image: RGB, 8 bits.
        pixels: the cells' centres (x, y) in the image.
        world: the point that each cell shows, in the data set's world, double precision.
        depth: its distance in front of the camera, in units of the world, double precision.
        weight: weight of the cell, not negative, double precision.
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
        """The view of the correspondences of one image, b = 1, whose cells are row by row.

        Args:
            image: the preprocessed image.
            cells: its correspondences.
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
        """The colour of the image at the centre of each cell."""
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
    """The predicted points of one image, from the model's output for it; masked cells have no weight."""
    output = type(output)(*(value.to(intrinsics.device) for value in output))
    cells = model.correspondences(output, intrinsics=intrinsics)
    if mask is not None:
        counted = mask_at(mask[None].to(cells.pixels.device), cells.pixels)
        cells = cells._replace(weight=cells.weight * counted)
    return MappedView.of_cells(image, cells, world_from_centered=model.to_world(Pose.identity(1).tensor())[0])


class PointCloud(NamedTuple):
    """Points and their colours.

    Attributes:
        points: (n, 3) in the data set's world, double precision.
        colors: (n, 3) RGB, 8 bits.
    """

    points: Float[Tensor, "n 3"]
    colors: UInt8[Tensor, "n 3"]


def point_cloud(views: Iterable[MappedView]) -> PointCloud:
    """The points of the half of each image's cells that has the larger weights, without stray points."""
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
    """Lower and upper bound of n > 0 values without the tails of `RANGE_TAIL`, for each column."""
    rows = values.sort(0).values
    last = len(rows) - 1
    return rows[round(RANGE_TAIL * last)], rows[round((1 - RANGE_TAIL) * last)]


def ply(cloud: PointCloud) -> bytes:
    """The cloud as binary PLY: `x`, `y`, `z` in double precision, `red`, `green`, `blue` as bytes.

    Single precision would round positions in worlds whose origin is far away, such as those of maps.
    """
    rows = np.empty(len(cloud.points), dtype=[("point", "<f8", 3), ("color", "u1", 3)])
    rows["point"], rows["color"] = cloud.points.numpy(), cloud.colors.numpy()
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment points of a scene predicted by camloc, in the world of its data set",
        f"element vertex {len(rows)}",
        *(f"property double {name}" for name in ("x", "y", "z")),
        *(f"property uchar {name}" for name in ("red", "green", "blue")),
        "end_header\n",
    ]
    return "\n".join(header).encode("ascii") + rows.tobytes()
