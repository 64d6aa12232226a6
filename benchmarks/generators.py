"""Errors of small forms of generated layers, by which the compact form was chosen.

    uv run python -m benchmarks.generators

writes `docs/results/generators.json` and `.md`, in two minutes. Generated heads of three layers, as in
HyperPose 2023, learn the function of a head whose weights depend on hidden causes.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
import tyro
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.page import filled, result_page, write
from camloc.models.layers.hypernetwork import CompactHyperLinear, HyperLinear

SIZES = (32, 64, 64, 4)
CONDITION = 32
CAUSES = 6
RATES = (3e-4, 1e-3, 3e-3)

Maker = Callable[[int, int, bool], nn.Module]


COLUMNS = (
    ("form", "{form}"),
    ("weights", "{weights:,}"),
    ("error", "{error:.3f}"),
    ("learning rate", "{rate:g}"),
)


class FactorsLinear(nn.Module):
    """A layer with both factors of a low-rank matrix generated."""

    def __init__(self, inputs: int, outputs: int, *, rank: int, is_last: bool) -> None:
        super().__init__()
        self.shape = (inputs, rank, outputs)
        self.generator = nn.Linear(CONDITION, inputs * rank + rank * outputs + outputs)
        nn.init.zeros_(self.generator.weight)
        inward, outward, bias = self._split(self.generator.bias.data)
        nn.init.uniform_(inward, -(inputs**-0.5), inputs**-0.5)
        bound = 0.0 if is_last else (3.0 / rank) ** 0.5
        nn.init.uniform_(outward, -bound, bound)
        nn.init.zeros_(bias)

    def forward(self, values: Tensor, condition: Tensor) -> Tensor:
        """Rows of values through the layers of their rows of conditions."""
        inward, outward, bias = self._split(self.generator(condition))
        return (values.unsqueeze(-2) @ inward @ outward).squeeze(-2) + bias

    def _split(self, flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        inputs, rank, outputs = self.shape
        inward, outward, bias = flat.split((inputs * rank, rank * outputs, outputs), dim=-1)
        return inward.unflatten(-1, (inputs, rank)), outward.unflatten(-1, (rank, outputs)), bias


class StaticLinear(nn.Module):
    """A layer that ignores the condition."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, values: Tensor, condition: Tensor) -> Tensor:
        """Rows of values through the layer."""
        del condition
        return self.layer(values)  # type: ignore[no-any-return]


def full(inputs: int, outputs: int, is_last: bool) -> nn.Module:
    """Every weight is generated."""
    return HyperLinear(inputs, outputs, condition=CONDITION, start="zero" if is_last else "ordinary")


def patterns(rank: int) -> Maker:
    """Strengths of fixed patterns are generated: the compact form of camloc."""
    return lambda inputs, outputs, is_last: CompactHyperLinear(
        inputs, outputs, condition=CONDITION, rank=rank, start="zero" if is_last else "ordinary"
    )


def factors(rank: int) -> Maker:
    """Both factors are generated."""
    return lambda inputs, outputs, is_last: FactorsLinear(inputs, outputs, rank=rank, is_last=is_last)


FORMS: dict[str, Maker] = {
    "static": lambda inputs, outputs, _: StaticLinear(inputs, outputs),
    "full": full,
    "patterns, rank 16": patterns(16),
    "patterns, rank 64": patterns(64),
    "factors, rank 1": factors(1),
    "factors, rank 4": factors(4),
}


class Head(nn.Module):
    """Layers with Swish between."""

    def __init__(self, maker: Maker) -> None:
        super().__init__()
        last = len(SIZES) - 2
        self.layers = nn.ModuleList(
            maker(*pair, number == last) for number, pair in enumerate(pairwise(SIZES))
        )

    def forward(self, values: Tensor, condition: Tensor) -> Tensor:
        """Rows of values and of conditions to outputs."""
        for layer in self.layers[:-1]:
            values = F.silu(layer(values, condition))
        return self.layers[-1](values, condition)  # type: ignore[no-any-return]


def examples(seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Values, conditions and targets, 64 rows at a time."""
    fixed = torch.Generator().manual_seed(0)
    mixture = torch.randn(CAUSES, CONDITION, generator=fixed) / CAUSES**0.5
    layers = [torch.randn(CAUSES + 1, *pair, generator=fixed) / pair[0] ** 0.5 for pair in pairwise(SIZES)]
    generator = torch.Generator().manual_seed(seed)
    while True:
        causes = F.one_hot(torch.randint(CAUSES, (64,), generator=generator), CAUSES).float()
        values = inputs = torch.randn(64, SIZES[0], generator=generator)
        for number, layer in enumerate(layers):
            matrix = layer[0] + torch.einsum("bk,kio->bio", causes, layer[1:])
            values = (values.unsqueeze(1) @ matrix).squeeze(1)
            values = F.silu(values) if number < len(layers) - 1 else values
        yield inputs, torch.tanh(2.0 * causes @ mixture), values


def learned_error(head: Head, rate: float, steps: int) -> float:
    """The error on new rows after learning."""
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _, (values, condition, wanted) in zip(range(steps), examples(seed=1), strict=False):
        optimizer.zero_grad()
        F.mse_loss(head(values, condition), wanted).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        pairs = [
            (head(values, condition), wanted)
            for _, (values, condition, wanted) in zip(range(50), examples(seed=2), strict=False)
        ]
    found, wanted = (torch.cat(each) for each in zip(*pairs, strict=True))
    return float(((found - wanted).square().mean() / wanted.var()).sqrt())


def trained(form: str, steps: int) -> dict[str, Any]:
    """A form with the learning rate of its least error."""
    errors: dict[float, float] = {}
    for rate in RATES:
        torch.manual_seed(0)
        head = Head(FORMS[form])
        errors[rate] = learned_error(head, rate, steps)
    best = min(errors, key=errors.__getitem__)
    weights = sum(parameter.numel() for parameter in head.parameters())
    return {"form": form, "weights": weights, "error": errors[best], "rate": best}


def page(measured: dict[str, Any]) -> str:
    """The page."""
    sizes = ", ".join(map(str, SIZES))
    return result_page(
        "Small generators of weights",
        "generators",
        f"Heads of layers {sizes} with Swish between learn a head whose weights depend on one of {CAUSES} "
        f"causes; their condition is {CONDITION} numbers that identify the cause. Error on new rows in "
        f"standard deviations (1 is the error of always answering the mean), after {measured['steps']:,} "
        f"steps of 64 rows, with the best of {len(RATES)} learning rates. `patterns` is the compact form of "
        "`models/layers/hypernetwork.py`; `factors` generates both factors of a matrix of low rank.",
        filled(COLUMNS, measured["rows"]),
    )


def main(steps: int = 1500) -> None:
    """Measure and write the page; `steps` have 64 rows each."""
    measured = {"steps": steps, "rows": [trained(form, steps) for form in FORMS]}
    write("generators", measured, page(measured))


if __name__ == "__main__":
    tyro.cli(main)
