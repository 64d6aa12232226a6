"""Layers whose weights another network generates, anew for each picture."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class HyperLinear(nn.Module):
    """A linear layer of which every picture has its own weights, generated from `condition`.

    The generator is one linear layer from `condition` to (inputs + 1) x outputs numbers; the last of
    the inputs + 1 rows is the bias. It starts at zero, so that a residual head starts as the ordinary
    head alone: with a default initialisation, generated outputs are hundreds of times too large.

    Source: HyperPose 2025 supplement, section 8 (sizes).
    """

    def __init__(self, inputs: int, outputs: int, *, condition: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.outputs = outputs
        self.generator = nn.Linear(condition, (inputs + 1) * outputs)
        nn.init.zeros_(self.generator.weight)
        nn.init.zeros_(self.generator.bias)

    def forward(
        self, values: Float[Tensor, "b inputs"], condition: Float[Tensor, "b condition"]
    ) -> Float[Tensor, "b outputs"]:
        """Each row of `values` through the layer that its row of `condition` generates."""
        generated = self.generator(condition).unflatten(-1, (self.inputs + 1, self.outputs))
        weight, bias = generated[..., :-1, :], generated[..., -1, :]
        return torch.baddbmm(bias.unsqueeze(-2), values.unsqueeze(-2), weight).squeeze(-2)


class HyperHead(nn.Module):
    """One half of the pose through a linear layer that is generated for each picture.

    The condition passes through two adjacent linear layers before the activation, as released.
    """

    def __init__(self, features: int, outputs: int, *, width: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(features, width)
        self.condition = nn.Linear(width, width)
        self.input = nn.Linear(features, width)
        self.layer = HyperLinear(width, outputs, condition=width)
        for linear in (self.embedding, self.condition, self.input):
            nn.init.kaiming_normal_(linear.weight)

    def forward(self, features: Float[Tensor, "b features"]) -> Float[Tensor, "b outputs"]:
        """What is added to the ordinary head's output."""
        condition = F.silu(self.condition(self.embedding(features)))
        return self.layer(self.input(features), condition)  # type: ignore[no-any-return]
