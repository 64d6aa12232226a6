"""Layers whose weights are generated from each image by a hypernetwork."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

# Initial state of a generated layer. "zero": its output is zero, so that a head beside an ordinary one starts
# without effect; with a default initialisation, generated outputs are hundreds of times too large.
# "ordinary": it computes the same as a newly initialised linear layer, the same for all images.
Start = Literal["zero", "ordinary"]


@dataclass(frozen=True)
class GeneratorConfig:
    """How the weights of a layer are generated.

    Attributes:
        form: "full" generates every weight, as published. "full_swish" applies Swish to the generated
            weights, as in the released code of 2023. "compact" generates the biases and the strengths of
            `rank` weight matrices that all images share, with a generator of a hundredth of the size.
        rank: number of these matrices.
    """

    form: Literal["full", "full_swish", "compact"] = "full"
    rank: int = 64


@dataclass(frozen=True)
class HypernetworkConfig:
    """Sizes of the hypernetwork's two branches (the papers' theta_h), supplement Table 6.

    Attributes:
        position: width of the branch that generates the position head.
        orientation: width of the branch that generates the orientation head.
        generator: how the weights are generated.
    """

    position: int = 256
    orientation: int = 512
    generator: GeneratorConfig = GeneratorConfig()


class HyperLinear(nn.Module):
    """A linear layer whose weights are generated for each image from its `condition` vector.

    The generator is one linear layer from `condition` to (inputs + 1) x outputs numbers; the last of the
    inputs + 1 rows is the bias.

    Source: HyperPose 2025 supplement, section 8 (sizes); HyperPose 2023 Eq. 3.
    """

    def __init__(
        self, inputs: int, outputs: int, *, condition: int, swish: bool = False, start: Start = "zero"
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.outputs = outputs
        self.swish = swish
        self.generator = _ZeroLinear(condition, (inputs + 1) * outputs)
        if start == "ordinary":
            bound = 1.0 / math.sqrt(inputs)
            with torch.no_grad():
                self.generator.bias[:-outputs].uniform_(-bound, bound)
                if swish:  # its slope at zero is 0.5
                    self.generator.bias.mul_(2.0)

    def forward(
        self, values: Float[Tensor, "b inputs"], condition: Float[Tensor, "b condition"]
    ) -> Float[Tensor, "b outputs"]:
        """Apply to each row of `values` the layer generated from the same row of `condition`."""
        weights = self.weights(condition)
        matrix, bias = weights[..., :-1, :], weights[..., -1, :]
        return torch.baddbmm(bias.unsqueeze(-2), values.unsqueeze(-2), matrix).squeeze(-2)

    def weights(self, condition: Float[Tensor, "b condition"]) -> Float[Tensor, "b _ outputs"]:
        """Generate the matrices of inputs + 1 rows, the last of which is the bias."""
        generated: Tensor = self.generator(condition).unflatten(-1, (self.inputs + 1, self.outputs))
        return F.silu(generated) if self.swish else generated


class CompactHyperLinear(nn.Module):
    """A generated linear layer with few weights: a sum of rank-one matrices with generated strengths.

        y = ((x U) * s(condition)) V + b(condition)

    Each column of U with its row of V is one of these matrices. The full generator's weights are an array of
    condition x inputs x outputs numbers; here this array is a sum of `rank` outer products of three vectors.
    """

    def __init__(
        self, inputs: int, outputs: int, *, condition: int, rank: int, start: Start = "zero"
    ) -> None:
        super().__init__()
        self.inward = nn.Linear(inputs, rank, bias=False)
        self.strength = _ZeroLinear(condition, rank)
        self.outward = nn.Linear(rank, outputs, bias=False)
        self.bias = _ZeroLinear(condition, outputs)
        nn.init.uniform_(self.outward.weight, -math.sqrt(3.0 / rank), math.sqrt(3.0 / rank))
        if start == "ordinary":
            nn.init.ones_(self.strength.bias)

    def forward(
        self, values: Float[Tensor, "b inputs"], condition: Float[Tensor, "b condition"]
    ) -> Float[Tensor, "b outputs"]:
        """Apply to each row of `values` the layer generated from the same row of `condition`."""
        return self.outward(self.inward(values) * self.strength(condition)) + self.bias(condition)  # type: ignore[no-any-return]

    def weights(self, condition: Float[Tensor, "b condition"]) -> Float[Tensor, "b _ outputs"]:
        """Generate the matrices of inputs + 1 rows, the last of which is the bias."""
        patterns = self.inward.weight.mT * self.strength(condition).unsqueeze(-2)
        return torch.cat((patterns @ self.outward.weight.mT, self.bias(condition).unsqueeze(-2)), dim=-2)


def hyper_linear(
    inputs: int, outputs: int, *, condition: int, generator: GeneratorConfig, start: Start = "zero"
) -> HyperLinear | CompactHyperLinear:
    """Build a generated layer of the form `generator.form`."""
    match generator.form:
        case "full" | "full_swish":
            swish = generator.form == "full_swish"
            return HyperLinear(inputs, outputs, condition=condition, swish=swish, start=start)
        case "compact":
            return CompactHyperLinear(inputs, outputs, condition=condition, rank=generator.rank, start=start)


class HyperMLP(nn.Module):
    """A stack of generated layers with Swish between them.

    Args:
        sizes: of the input, of every hidden layer, and of the output.
        condition: size of the condition vector; every layer has its own generator.
        generator: form of the generators.
        start: initial state of the last layer.
        hidden_start: initial state of the other layers. If all layers of a stack started at zero, no gradient
            would reach them; layers that are used one by one may.
        own_conditions: whether each layer has a linear layer and Swish of its own before its generator
            (HyperPose 2025).

    Source: HyperPose 2023, section 3.1.2 and Table 6; HyperPose 2025 supplement, section 8.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        *,
        condition: int,
        generator: GeneratorConfig,
        start: Start = "zero",
        hidden_start: Start = "ordinary",
        own_conditions: bool = False,
    ) -> None:
        super().__init__()
        self.conditions: nn.ModuleList | None = None
        if own_conditions:
            self.conditions = nn.ModuleList(nn.Linear(condition, condition) for _ in sizes[1:])
        starts = (*(hidden_start for _ in sizes[2:]), start)
        self.layers = nn.ModuleList(
            hyper_linear(inputs, outputs, condition=condition, generator=generator, start=each)
            for (inputs, outputs), each in zip(pairwise(sizes), starts, strict=True)
        )

    def forward(
        self, values: Float[Tensor, "b inputs"], condition: Float[Tensor, "b condition"]
    ) -> Float[Tensor, "b outputs"]:
        """Apply to each row of `values` the layers generated from the same row of `condition`."""
        for number in range(len(self.layers) - 1):
            values = F.silu(self.layer(number, values, condition))
        return self.layer(-1, values, condition)

    def layer(
        self, number: int, values: Float[Tensor, "b inputs"], condition: Float[Tensor, "b condition"]
    ) -> Float[Tensor, "b outputs"]:
        """Apply one layer alone."""
        if self.conditions is not None:
            condition = F.silu(self.conditions[number](condition))
        return self.layers[number](values, condition)  # type: ignore[no-any-return]


class HyperHead(nn.Module):
    """A generated linear layer for one half of the pose, beside an ordinary one; their outputs are added.

    The condition is computed from the image's features by two adjacent linear layers before the activation,
    as in the released code.

    Args:
        features: size of the image's features.
        outputs: size of the output.
        width: size of the condition.
        generator: form of the generator.
        inputs: size of the ordinary layer's input, which the generated layer then reads too ("integrated
            hyper-layer", supplement Table 4); None for an input layer of its own on the features.

    Source: HyperPose 2025 supplement, section 8.
    """

    def __init__(
        self,
        features: int,
        outputs: int,
        *,
        width: int,
        generator: GeneratorConfig = GeneratorConfig(),
        inputs: int | None = None,
    ) -> None:
        super().__init__()
        self.embedding = nn.Linear(features, width)
        self.condition = nn.Linear(width, width)
        self.input = nn.Linear(features, width) if inputs is None else None
        self.layer = hyper_linear(inputs or width, outputs, condition=width, generator=generator)
        for linear in (self.embedding, self.condition, self.input):
            if linear is not None:
                nn.init.kaiming_normal_(linear.weight)

    def forward(
        self, features: Float[Tensor, "b features"], values: Float[Tensor, "b inputs"] | None = None
    ) -> Float[Tensor, "b outputs"]:
        """Compute the numbers to add to the ordinary layer's output; `values` is that layer's input."""
        condition = F.silu(self.condition(self.embedding(features)))
        if self.input is not None:
            values = self.input(features)
        return self.layer(values, condition)  # type: ignore[no-any-return]


class _ZeroLinear(nn.Linear):
    """A linear layer that starts at zero, without drawing random numbers first."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)
