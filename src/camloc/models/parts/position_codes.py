"""Learned codes of where in a feature map a cell is."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camloc.errors import RecipeError


class PositionCodes(nn.Module):
    """A code for each column and one for each row, side by side, and a code for the token before the cells.

    Source: TransPoseNet (2021) section 3.1, Eq. 2.
    """

    def __init__(self, width: int, *, rows: int, columns: int, token_repeats: int = 1) -> None:
        """`token_repeats`: how often the token's vector is repeated to fill the width; 0 for no token."""
        super().__init__()
        if width % 2:
            raise RecipeError(f"codes of columns and rows cannot share a width of {width}; give an even one")
        self.column = nn.Parameter(torch.rand(columns, width // 2))
        self.row = nn.Parameter(torch.rand(rows, width // 2))
        self.token = nn.Parameter(torch.rand(width // token_repeats)) if token_repeats else None
        self.token_repeats = token_repeats

    def forward(self, rows: int, columns: int) -> Float[Tensor, "n d"]:
        """Codes of the token, if there is one, and of `rows` x `columns` cells, row by row.

        Raises:
            RecipeError: the map is larger than what there are codes for.
        """
        most_rows, most_columns = self.row.shape[0], self.column.shape[0]
        if rows > most_rows or columns > most_columns:
            raise RecipeError(
                f"a map of {rows} x {columns} cells is larger than the {most_rows} x {most_columns} that the "
                f"model has codes for; set picture_width and picture_height to the size of the pictures"
            )
        across = self.column[:columns].expand(rows, -1, -1)
        down = self.row[:rows].unsqueeze(1).expand(-1, columns, -1)
        cells = torch.cat((across, down), dim=-1).flatten(0, 1)
        if self.token is None:
            return cells
        return torch.cat((self.token.repeat(self.token_repeats).unsqueeze(0), cells))


@dataclass(frozen=True)
class PositionCodesConfig:
    """Which codes a network's encoders have, and for how large maps.

    Attributes:
        kind: "own": each encoder its own, and the token's a pair of vectors, as in TransPoseNet's text;
            "shared": all encoders the same, whatever their cells' size, and the token's one vector twice,
            as in the released code.
        picture_width, picture_height: largest picture that there are codes for, in pixels.
    """

    kind: Literal["own", "shared"] = "own"
    picture_width: int = 224
    picture_height: int = 224

    def own(self, width: int, *, stride: int, has_token: bool = True) -> PositionCodes | None:
        """Codes for one encoder alone, whose cells are `stride` pixels apart, if it has its own."""
        return self._codes(width, stride, token_repeats=int(has_token)) if self.kind == "own" else None

    def shared(self, width: int, *, stride: int, has_token: bool = True) -> PositionCodes | None:
        """Codes for all encoders, if they share them; `stride` is that of the finest map."""
        return self._codes(width, stride, token_repeats=2 * has_token) if self.kind == "shared" else None

    def _codes(self, width: int, stride: int, *, token_repeats: int) -> PositionCodes:
        rows, columns = math.ceil(self.picture_height / stride), math.ceil(self.picture_width / stride)
        return PositionCodes(width, rows=rows, columns=columns, token_repeats=token_repeats)
