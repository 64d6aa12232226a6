"""Heads of several places: one that all share, or one for each."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from camloc.models.parts.regression_head import RegressionHead

Heads = Literal["shared", "own"]


def place_heads(
    kind: Heads, inputs: int, outputs: int, *, hidden: int, scenes: int
) -> "SharedHead | OwnHeads":
    """The heads of one half of the pose."""
    if kind == "own":
        return OwnHeads(inputs, outputs, hidden=hidden, scenes=scenes)
    return SharedHead(inputs, outputs, hidden=hidden)


class SharedHead(nn.Module):
    """One head, whatever the place."""

    def __init__(self, inputs: int, outputs: int, *, hidden: int) -> None:
        super().__init__()
        self.head = RegressionHead(inputs, outputs, hidden=hidden)

    def forward(self, latent: Float[Tensor, "b d"], scene: Int[Tensor, "b"]) -> Float[Tensor, "b k"]:
        """The numbers of half a pose."""
        del scene
        return self.head(latent)  # type: ignore[no-any-return]


class OwnHeads(nn.Module):
    """A head for each place; pictures of different places pass through theirs together."""

    def __init__(self, inputs: int, outputs: int, *, hidden: int, scenes: int) -> None:
        super().__init__()
        heads = [RegressionHead(inputs, outputs, hidden=hidden) for _ in range(scenes)]
        self.hidden_of_place = nn.Parameter(torch.stack([head.hidden.weight.detach().mT for head in heads]))
        self.hidden_bias_of_place = nn.Parameter(torch.stack([head.hidden.bias.detach() for head in heads]))
        self.output_of_place = nn.Parameter(torch.stack([head.output.weight.detach().mT for head in heads]))
        self.output_bias_of_place = nn.Parameter(torch.stack([head.output.bias.detach() for head in heads]))
        self.activation = heads[0].activation

    def forward(self, latent: Float[Tensor, "b d"], scene: Int[Tensor, "b"]) -> Float[Tensor, "b k"]:
        """The numbers of half a pose, each by its place's head."""
        hidden = torch.baddbmm(
            self.hidden_bias_of_place[scene].unsqueeze(1), latent.unsqueeze(1), self.hidden_of_place[scene]
        )
        output = torch.baddbmm(
            self.output_bias_of_place[scene].unsqueeze(1),
            self.activation(hidden),
            self.output_of_place[scene],
        )
        return output.squeeze(1)
