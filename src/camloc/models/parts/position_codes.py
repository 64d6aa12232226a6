"""Learned codes of where in a feature map a cell is."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camloc.errors import RecipeError

TokenCode = Literal["own", "repeated"]


class PositionCodes(nn.Module):
    """A code for each column and one for each row, side by side, and a code for the token before the cells.

    Source: TransPoseNet (2021) section 3.1, Eq. 2, where the token's code is a pair of its own ("own"). In
    the released code one vector of half the width serves for both halves ("repeated").
    """

    def __init__(self, width: int, *, rows: int, columns: int, token: TokenCode = "own") -> None:
        super().__init__()
        if width % 2:
            raise RecipeError(f"codes of columns and rows cannot share a width of {width}; give an even one")
        self.column = nn.Parameter(torch.rand(columns, width // 2))
        self.row = nn.Parameter(torch.rand(rows, width // 2))
        self.token = nn.Parameter(torch.rand(width if token == "own" else width // 2))
        self.repeats = 1 if token == "own" else 2

    def forward(self, rows: int, columns: int) -> Float[Tensor, "n d"]:
        """Codes of the token and of `rows` x `columns` cells, row by row.

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
        return torch.cat((self.token.repeat(self.repeats).unsqueeze(0), cells))
