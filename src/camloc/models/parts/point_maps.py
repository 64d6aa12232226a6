"""Maps of a backbone brought to one grid, and the heads that give every cell of it its numbers."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.models.parts.dropout import BatchDropout


def on_one_grid(
    maps: Sequence[Float[Tensor, "b _ _ _"]], height: int, width: int
) -> Float[Tensor, "b c h w"]:
    """Maps of several strides, stacked on a grid of `height` x `width` cells.

    Finer maps are averaged over a cell, coarser ones interpolated between cell centres.
    """
    return torch.cat([_resized(each, height, width) for each in maps], dim=1)


def _resized(values: Float[Tensor, "b c _ _"], height: int, width: int) -> Float[Tensor, "b c h w"]:
    rows, columns = values.shape[-2:]
    if (rows, columns) == (height, width):
        return values
    if rows >= height and columns >= width and rows % height == 0 and columns % width == 0:
        return F.avg_pool2d(values, (rows // height, columns // width))
    return F.interpolate(values, (height, width), mode="bilinear", align_corners=False)


class CellNetwork(nn.Module):
    """A small network that sees one cell of a map at a time: residual blocks of 1 x 1 convolutions.

    As the heads of ACE (Brachmann et al. 2023): cells share weights, and whatever lies around a cell
    is only known through the features that the backbone gave it.
    """

    def __init__(self, channels: int, hidden: int, *, blocks: int, dropout: float = 0.0) -> None:
        super().__init__()
        # Taps of one backbone differ in scale by a factor of ten.
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = BatchDropout(dropout)
        self.project = nn.Conv2d(channels, hidden, 1)
        self.blocks = nn.ModuleList(_CellBlock(hidden) for _ in range(blocks))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Features of every cell."""
        kept = self.dropout(torch.ones_like(features[:, :, :1, :1]))  # whole channels, apart for each picture
        cells: Tensor = F.relu(self.project(self.norm(features) * kept))
        for block in self.blocks:
            cells = block(cells)
        return cells


class _CellBlock(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(hidden, hidden, 1)
        self.second = nn.Conv2d(hidden, hidden, 1)

    def forward(self, cells: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        return F.relu(cells + self.second(F.relu(self.first(cells))))


def cell_head(channels: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two 1 x 1 convolutions: what one quantity of a cell is read from."""
    return nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, outputs, 1))
