"""Dropout whose masks do not depend on how many processes share a batch."""

import torch
import torch.distributed
from torch import Tensor, nn


class BatchDropout(nn.Dropout):
    """`nn.Dropout` over (b, ...) that draws the mask of the whole batch in every process.

    Each process then uses the rows of its own share, so that training on two devices drops what
    training on one would, when both were seeded alike. Costs one draw of the larger mask.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Drop entries of `input` in training; the identity in evaluation."""
        if not self.training or self.p == 0.0:
            return input
        if self.p == 1.0:  # nothing is left whose scale could make up for the rest
            return torch.zeros_like(input)
        shares, share = _processes()
        rows = input.shape[0]
        kept = torch.rand((rows * shares, *input.shape[1:]), device=input.device) >= self.p
        return input * kept[share * rows : (share + 1) * rows] / (1.0 - self.p)


def _processes() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size(), torch.distributed.get_rank()
    return 1, 0
