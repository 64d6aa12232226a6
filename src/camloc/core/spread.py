"""Some of many, spread evenly over them."""

import torch
from jaxtyping import Int
from torch import Tensor


def even_indices(count: int, most: int) -> Int[Tensor, "n"]:
    """Numbers of at most so many among `count` things, in order; the first and the last are among them."""
    return torch.linspace(0, count - 1, min(most, count)).round().long()
