"""Places that joined later: answered apart from the others, about which nothing then changes.

A model's places are in groups, as a rule in one. The places of a group are answered by calls that no place
of another group takes part in: what a group is answered stays the same to the last bit when another joins. A
group that joined later adds to what the heads make of its answers, and to how likely its places are; what it
adds starts at nothing.
"""

from itertools import accumulate, pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from camloc.errors import RecipeError
from camloc.models.parts.regression_head import RegressionHead


def group_sizes(scenes: int, groups: tuple[int, ...]) -> tuple[int, ...]:
    """How many places each group has; all are in one where `groups` is empty.

    Raises:
        RecipeError: the groups are not of so many places.
    """
    sizes = groups or (scenes,)
    if sum(sizes) != scenes or min(sizes) < 1:
        raise RecipeError(
            f"groups of {', '.join(map(str, sizes))} places cannot be those of a model of {scenes}; let each "
            f"have 1 or more and their sum be {scenes}"
        )
    return sizes


def _later_ranges(sizes: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """The first place of each group but the first one, and the place behind its last."""
    return tuple(pairwise(accumulate(sizes)))


class LaterHeads(nn.Module):
    """What groups that joined later add to the numbers of half a pose: a head for each such group."""

    def __init__(self, sizes: tuple[int, ...], inputs: int, outputs: int, *, hidden: int) -> None:
        super().__init__()
        self.ranges = _later_ranges(sizes)
        self.of_group = nn.ModuleList(RegressionHead(inputs, outputs, hidden=hidden) for _ in self.ranges)
        for head in self.of_group:
            assert isinstance(head, RegressionHead)
            nn.init.zeros_(head.output.weight)
            nn.init.zeros_(head.output.bias)

    def forward(
        self, values: Float[Tensor, "b k"], latent: Float[Tensor, "b d"], scene: Int[Tensor, "b"]
    ) -> Float[Tensor, "b k"]:
        """The numbers with what is added in the places `scene`; those of the first group as they are."""
        for (first, end), head in zip(self.ranges, self.of_group, strict=True):
            joined = ((scene >= first) & (scene < end)).unsqueeze(-1)
            values = torch.where(joined, values + head(latent), values)
        return values


class LaterLogits(nn.Module):
    """What groups that joined later add to how likely their places are: a linear layer for each."""

    def __init__(self, sizes: tuple[int, ...], inputs: int) -> None:
        super().__init__()
        self.ranges = _later_ranges(sizes)
        self.of_group = nn.ModuleList(nn.Linear(inputs, 1) for _ in self.ranges)
        for linear in self.of_group:
            assert isinstance(linear, nn.Linear)
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, logits: Float[Tensor, "b s"], answers: Float[Tensor, "b s d"]) -> Float[Tensor, "b s"]:
        """The logits of all places with what is added to those of later groups."""
        if not self.ranges:
            return logits
        parts = [logits[:, : self.ranges[0][0]]]
        for (first, end), linear in zip(self.ranges, self.of_group, strict=True):
            parts.append(logits[:, first:end] + linear(answers[:, first:end]).squeeze(-1))
        return torch.cat(parts, dim=1)
