"""`MappedView`: what a model has learned of the part of the place that one photograph shows."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from camloc.core.masks import mask_at
from camloc.core.model import Correspondences, GeometryModel
from camloc.geometry.pose import Pose


@dataclass(frozen=True, eq=False)
class MappedView:
    """A photograph as the network saw it, and what each cell of a grid of (h, w) cells says.

    Attributes:
        picture: RGB, 8 bits.
        pixels: the cells' centres (x, y) in the picture.
        world: the point that a cell sees, in the data set's world, double precision.
        depth: how far in front of the camera it is, in units of the world, double precision.
        weight: how much the cell counts, not negative, double precision.
    """

    picture: UInt8[Tensor, "3 height width"]
    pixels: Float[Tensor, "h w 2"]
    world: Float[Tensor, "h w 3"]
    depth: Float[Tensor, "h w"]
    weight: Float[Tensor, "h w"]

    @classmethod
    def of_cells(
        cls,
        picture: UInt8[Tensor, "3 height width"],
        cells: Correspondences,
        *,
        world_from_centered: Pose,
    ) -> "MappedView":
        """From the correspondences of one picture, b = 1, whose cells are in the order of reading.

        Args:
            picture: what the network saw.
            cells: what it said.
            world_from_centered: a single motion, from the frame of the cells' world points.
        """
        pixels, camera, world, weight = (value[0].detach().cpu() for value in cells.double())
        width = int((pixels[:, 1] == pixels[0, 1]).sum())
        placed = world_from_centered.to("cpu").apply(world)
        return cls(
            picture.cpu(),
            pixels.reshape(-1, width, 2),
            placed.reshape(-1, width, 3),
            camera[:, 2].reshape(-1, width),
            weight.reshape(-1, width),
        )

    def colors(self) -> UInt8[Tensor, "h w 3"]:
        """The colour of the picture in the middle of each cell."""
        _, height, width = self.picture.shape
        columns = self.pixels[..., 0].long().clamp(0, width - 1)
        rows = self.pixels[..., 1].long().clamp(0, height - 1)
        return torch.movedim(self.picture[:, rows, columns], 0, -1)


def mapped_view(
    model: GeometryModel[Any],
    output: Any,
    picture: UInt8[Tensor, "3 height width"],
    *,
    intrinsics: Float[Tensor, "1 3 3"],
    mask: Bool[Tensor, "height width"] | None = None,
) -> MappedView:
    """What a model's output says about the one photograph that it is of; masked cells weigh nothing."""
    output = type(output)(*(value.to(intrinsics.device) for value in output))
    cells = model.correspondences(output, intrinsics=intrinsics)
    if mask is not None:
        counted = mask_at(mask[None].to(cells.pixels.device), cells.pixels)
        cells = cells._replace(weight=cells.weight * counted)
    return MappedView.of_cells(picture, cells, world_from_centered=model.placed(Pose.identity(1))[0])
