"""Small networks that learn beside a trained model, from rows in memory: one loop for all of them.

It has the settings of a stage and nothing to resume: a lesson takes a minute, and starts anew.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn

from camloc.errors import RecipeError
from camloc.training.average import WarmedUpAverage
from camloc.training.stages import Stage, set_learning_rate, set_modes, start


class Lesson(ABC):
    """What a network learns, and how well it has learned it.

    Attributes:
        network: what trains. Parameters under `balance.` are the loss's own.
        better: the measure that chooses the weights; less is better.
    """

    network: nn.Module
    better: ClassVar[str] = "score"

    @abstractmethod
    def __len__(self) -> int:
        """How many rows there are to learn from."""

    @abstractmethod
    def losses(self, network: Any, rows: Int[Tensor, "b"], generator: torch.Generator) -> dict[str, Tensor]:
        """Named scalars of some rows, whose sum is minimised; `generator` is for what is random in them."""

    @abstractmethod
    def measures(self, network: Any) -> dict[str, float]:
        """How good a network is on what is held out; without `better` where nothing is."""


@dataclass(frozen=True)
class Round:
    """All rows of a lesson were learned from once more.

    Attributes:
        epoch, epochs: this one, from 1, and how many there will be.
        losses: mean of every loss term.
        measures: on what is held out; empty where it was not measured now.
        is_best: whether these are the best weights so far.
        seconds: since the lesson began.
    """

    epoch: int
    epochs: int
    losses: dict[str, float]
    measures: dict[str, float]
    is_best: bool
    seconds: float


def learn(
    lesson: Lesson, stage: Stage, *, batch_size: int, seed: int = 0, measure_every: int = 1
) -> Iterator[Round]:
    """Train a lesson's network in place. At the end it holds the best weights, or the last where none is.

    Args:
        lesson: what to learn.
        stage: for how long and how fast.
        batch_size: rows to a step.
        seed: of their order and of all that is random in the lesson.
        measure_every: epochs between two measurements; the last is always measured.

    Raises:
        RecipeError: a pattern of the stage matches nothing, or training diverged.
    """
    network, optimizer = lesson.network, start(stage, lesson.network)
    average = WarmedUpAverage(network, stage.average) if stage.average else None
    kept = network if average is None else average.module
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    batch_size = min(batch_size, len(lesson))
    steps = max(1, len(lesson) // batch_size)
    began, least, best = time.monotonic(), float("inf"), dict[str, Tensor]()
    for epoch in range(stage.epochs):
        set_modes(stage, network)
        order = torch.randperm(len(lesson), generator=generator)
        sums: dict[str, Tensor] = {}
        for step in range(steps):
            rate = stage.rate_factor(epoch * steps + step, steps=stage.epochs * steps, epoch=epoch)
            set_learning_rate(optimizer, stage.learning_rate * rate)
            rows = order[step * batch_size : (step + 1) * batch_size]
            losses = lesson.losses(network, rows, generator)
            _step(stage, network, optimizer, losses)
            if average is not None:
                average.update_parameters(network)
            for name, value in losses.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach()
        means = {name: float(value) / steps for name, value in sums.items()}
        if not torch.tensor(list(means.values())).isfinite().all():
            raise RecipeError("training diverged: the loss is no longer finite; lower the learning rate")
        is_last = epoch + 1 == stage.epochs
        is_due = is_last or (epoch + 1) % measure_every == 0
        measures = _measured(lesson, kept) if is_due else {}
        score = measures.get(lesson.better, float("inf"))
        is_best = score < least or (is_last and not best)
        if is_best:
            least = score
            best = {name: value.detach().clone() for name, value in kept.state_dict().items()}
        yield Round(epoch + 1, stage.epochs, means, measures, is_best, time.monotonic() - began)
    network.load_state_dict(best)
    network.eval()


def _step(
    stage: Stage, network: nn.Module, optimizer: torch.optim.Optimizer, losses: dict[str, Tensor]
) -> None:
    weights = stage.loss_weights or {}
    total = torch.stack([weights.get(name, 1.0) * value for name, value in losses.items()]).sum()
    optimizer.zero_grad()
    total.backward()
    if stage.gradient_clip:
        nn.utils.clip_grad_norm_(network.parameters(), stage.gradient_clip)
    optimizer.step()


@torch.no_grad()
def _measured(lesson: Lesson, network: nn.Module) -> dict[str, float]:
    network.eval()
    return lesson.measures(network)
