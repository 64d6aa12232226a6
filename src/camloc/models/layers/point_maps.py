"""Layers of scene geometry: feature maps on one grid, a network for every cell, and the heads of cells."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.models.layers.transformer import BatchDropout

# Channels of the coarse grid that summarises the whole image.
CONTEXT_CHANNELS = 64

# Size of the vector that describes the whole image.
CONTEXT_HIDDEN = 512


def on_one_grid(
    feature_maps: Sequence[Float[Tensor, "b _ _ _"]], height: int, width: int
) -> Float[Tensor, "b c h w"]:
    """Stack feature maps of several strides on a grid of `height` x `width` cells.

    Finer maps are averaged over a cell, coarser ones interpolated between cell centres.
    """
    return torch.cat([_resized(each, height, width) for each in feature_maps], dim=1)


def _resized(values: Float[Tensor, "b c _ _"], height: int, width: int) -> Float[Tensor, "b c h w"]:
    rows, columns = values.shape[-2:]
    if (rows, columns) == (height, width):
        return values
    if rows >= height and columns >= width and rows % height == 0 and columns % width == 0:
        return F.avg_pool2d(values, (rows // height, columns // width))
    return F.interpolate(values, (height, width), mode="bilinear", align_corners=False)


class Cells(NamedTuple):
    """The output of `CellNetwork`.

    Attributes:
        features: (b, d, h, w) of every cell.
        suggestion: (b, 3, 4) a first guess of the camera from the whole image: an affine map from
            (column, row, 1) times depth, and 1, to world points; None without a context.
    """

    features: Float[Tensor, "b d h w"]
    suggestion: Float[Tensor, "b 3 4"] | None


class CellNetwork(nn.Module):
    """A small network applied to each cell alone: residual blocks of 1 x 1 convolutions.

    As in the heads of ACE (Brachmann et al. 2023), cells share weights. A cell depends on its surroundings
    through the backbone's features alone, and on the whole image through `context` if there is one.

    Args:
        channels: of the features.
        hidden: width of the blocks.
        blocks: number of residual blocks.
        dropout: rate of feature channels that are dropped for a whole image.
        context: rows and columns of `ImageContext`; None for none.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        *,
        blocks: int,
        dropout: float = 0.0,
        context: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        # The maps of one backbone's taps differ in scale by a factor of ten.
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = BatchDropout(dropout)
        self.project = nn.Conv2d(channels, hidden, 1)
        self.context = ImageContext(channels, hidden, context) if context else None
        self.blocks = nn.ModuleList(_CellBlock(hidden) for _ in range(blocks))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Cells:
        """Compute the features of every cell and, with a context, the suggestion of the whole image."""
        kept = self.dropout(torch.ones_like(features[:, :, :1, :1]))  # whole channels, image by image
        normal = self.norm(features) * kept
        cells: Tensor = self.project(normal)
        suggestion = None
        if self.context is not None:
            added, suggestion = self.context(normal)
            cells = cells + added
        cells = F.relu(cells)
        for block in self.blocks:
            cells = block(cells)
        return Cells(cells, suggestion)


class ImageContext(nn.Module):
    """A description of the whole image and of each cell's position in it.

    To predict a world point, a cell needs to know where the camera is, which is hard to learn from the cell's
    surroundings alone. Here the whole image is reduced to a vector, as in a regressor. The vector is added to
    every cell, and a linear layer computes a first guess of the camera from it, which maps the cells' rays to
    world points; the cells then predict offsets from these points.

    Args:
        channels: of the features.
        hidden: width of the cells.
        grid: rows and columns that the features are averaged to.
    """

    def __init__(self, channels: int, hidden: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        rows, columns = grid
        self.narrow = nn.Conv2d(channels, CONTEXT_CHANNELS, 1)
        self.whole = nn.Linear(CONTEXT_CHANNELS * rows * columns, CONTEXT_HIDDEN)
        self.expand = nn.Linear(CONTEXT_HIDDEN, hidden)
        self.position = nn.Conv2d(2, hidden, 1, bias=False)
        self.suggest = nn.Linear(CONTEXT_HIDDEN, 12)

    def forward(
        self, features: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b d h w"], Float[Tensor, "b 3 4"]]:
        """Compute the features to add to the cells, and the `suggestion` of `Cells`."""
        coarse = _resized(F.relu(self.narrow(features)), *self.grid)
        whole = F.relu(self.whole(coarse.flatten(1)))
        positions = self.position(cell_positions(features).unsqueeze(0))
        added: Tensor = self.expand(whole)[:, :, None, None] + positions
        return added, self.suggest(whole).unflatten(-1, (3, 4))


def suggested_points(
    suggestion: Float[Tensor, "b 3 4"], depth: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 3 h w"]:
    """Compute world points from the cells' depths and the `suggestion` of `Cells`.

    Intrinsics are not an input, so that the network can be exported without them: the affine map includes the
    focal length that the images have in common.
    """
    rays = torch.cat((cell_positions(depth) * depth, depth, torch.ones_like(depth)), dim=1)
    return torch.einsum("bij,bjhw->bihw", suggestion, rays)


def cell_positions(feature_map: Float[Tensor, "b c h w"]) -> Float[Tensor, "2 h w"]:
    """The columns and rows of a map's cells, from -1 at one edge to 1 at the other."""
    height, width = feature_map.shape[-2:]
    across = torch.linspace(-1.0, 1.0, width, device=feature_map.device, dtype=feature_map.dtype)
    down = torch.linspace(-1.0, 1.0, height, device=feature_map.device, dtype=feature_map.dtype)
    return torch.stack((across.expand(height, width), down.unsqueeze(1).expand(height, width)))


class _CellBlock(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(hidden, hidden, 1)
        self.second = nn.Conv2d(hidden, hidden, 1)

    def forward(self, cells: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        return F.relu(cells + self.second(F.relu(self.first(cells))))


def cell_head(channels: int, hidden: int, outputs: int) -> nn.Sequential:
    """Build the head of one quantity of a cell: two 1 x 1 convolutions."""
    return nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, outputs, 1))
