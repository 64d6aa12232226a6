"""Maps of a backbone brought to one grid, and the heads that give every cell of it its numbers."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.models.layers.transformer import BatchDropout

# Width of the features on the coarse grid that stands for the whole image.
CONTEXT_CHANNELS = 64

# Width of the vector that sums up the whole image.
CONTEXT_HIDDEN = 512


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


class Cells(NamedTuple):
    """What a network says of the cells of a map.

    Attributes:
        features: (b, d, h, w) of every cell.
        suggestion: (b, 3, 4) where the whole image suggests that things are: an affine map of
            (column, row, 1) times depth, and 1, to the world's axes; None without a context.
    """

    features: Float[Tensor, "b d h w"]
    suggestion: Float[Tensor, "b 3 4"] | None


class CellNetwork(nn.Module):
    """A small network that sees one cell of a map at a time: residual blocks of 1 x 1 convolutions.

    As the heads of ACE (Brachmann et al. 2023): cells share weights, and whatever lies around a cell
    is only known through the features that the backbone gave it, and through `context` if there is one.
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
        # Taps of one backbone differ in scale by a factor of ten.
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = BatchDropout(dropout)
        self.project = nn.Conv2d(channels, hidden, 1)
        self.context = ImageContext(channels, hidden, context) if context else None
        self.blocks = nn.ModuleList(_CellBlock(hidden) for _ in range(blocks))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Cells:
        """Features of every cell, and what the whole image suggests if there is a context."""
        kept = self.dropout(torch.ones_like(features[:, :, :1, :1]))  # whole channels, apart for each image
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
    """What the whole image shows and where in it a cell is.

    A cell that is asked for a point of the world has to know where the camera is, which its own
    surroundings alone do not say before a network has learned a great deal. The whole image is summed up
    in a vector, as a regressor does. Every cell gets to know of it, and from it comes a first guess of the
    camera, which carries the cells' rays into the world; cells then only say what is different.

    Args:
        channels: of the features.
        hidden: width of the cells.
        grid: rows and columns to which the features are averaged for the whole image's sake.
    """

    def __init__(self, channels: int, hidden: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        rows, columns = grid
        self.narrow = nn.Conv2d(channels, CONTEXT_CHANNELS, 1)
        self.whole = nn.Linear(CONTEXT_CHANNELS * rows * columns, CONTEXT_HIDDEN)
        self.spread = nn.Linear(CONTEXT_HIDDEN, hidden)
        self.scene = nn.Conv2d(2, hidden, 1, bias=False)
        self.suggest = nn.Linear(CONTEXT_HIDDEN, 12)

    def forward(
        self, features: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b d h w"], Float[Tensor, "b 3 4"]]:
        """What to add to the cells, and the `suggestion` of `Cells`."""
        coarse = _resized(F.relu(self.narrow(features)), *self.grid)
        whole = F.relu(self.whole(coarse.flatten(1)))
        spots = self.scene(cell_scenes(features).unsqueeze(0))
        added: Tensor = self.spread(whole)[:, :, None, None] + spots
        return added, self.suggest(whole).unflatten(-1, (3, 4))


def suggested_points(
    suggestion: Float[Tensor, "b 3 4"], depth: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 3 h w"]:
    """The points of the world at cells' depths, as a `suggestion` of `Cells` has them.

    Intrinsics are not asked for, so that the network is exported without them: a map that is affine has
    room for the focal length that the images have in common.
    """
    seen = torch.cat((cell_scenes(depth) * depth, depth, torch.ones_like(depth)), dim=1)
    return torch.einsum("bij,bjhw->bihw", suggestion, seen)


def cell_scenes(maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "2 h w"]:
    """Where the cells of maps are: columns and rows, from -1 at one edge to 1 at the other."""
    height, width = maps.shape[-2:]
    across = torch.linspace(-1.0, 1.0, width, device=maps.device, dtype=maps.dtype)
    down = torch.linspace(-1.0, 1.0, height, device=maps.device, dtype=maps.dtype)
    return torch.stack((across.expand(height, width), down.unsqueeze(1).expand(height, width)))


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
