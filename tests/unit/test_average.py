"""The moving average of weights: it forgets its start, and takes buffers along."""

import pytest
import torch
from torch import nn

from camloc.training.optim import WarmedUpAverage


class Counter(nn.Module):
    """One weight, one statistic, one count."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.register_buffer("statistic", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def become(self, value: float) -> None:
        with torch.no_grad():
            self.weight.fill_(value)
            self.get_buffer("statistic").fill_(10 * value)
            self.get_buffer("seen").fill_(int(value))


def numbers(module: nn.Module) -> tuple[float, float, int]:
    """The weight, the statistic and the count."""
    state = {name: tensor.item() for name, tensor in module.state_dict().items()}
    return state["weight"], state["statistic"], state["seen"]


def averages(values: list[float], *, decay: float) -> list[tuple[float, float, int]]:
    model = Counter()
    model.become(1000.0)
    average = WarmedUpAverage(model, decay)
    found = []
    for value in values:
        model.become(value)
        average.update_parameters(model)
        found.append(numbers(average.module))
    return found


def test_the_first_update_forgets_the_first_weights() -> None:
    assert averages([3.0], decay=0.99) == [(3.0, 30.0, 3)]


def test_the_decay_rises_from_nearly_nothing() -> None:
    found = averages([2.0, 4.0, 8.0], decay=0.99)
    second = 2 / 11 * 2.0 + 9 / 11 * 4.0
    third = 3 / 12 * second + 9 / 12 * 8.0
    assert [weight for weight, _, _ in found] == pytest.approx([2.0, second, third], rel=1e-12)
    assert [statistic for _, statistic, _ in found] == pytest.approx([20.0, 10 * second, 10 * third])
    assert [seen for _, _, seen in found] == [2, 4, 8], "counts are not averaged"


def test_the_decay_rises_to_what_was_asked_and_no_further() -> None:
    found = averages([0.0] * 40 + [1.0], decay=0.5)
    assert found[-1][0] == pytest.approx(0.5)


def test_the_model_itself_is_left_alone() -> None:
    model = Counter()
    average = WarmedUpAverage(model, 0.9)
    for value in (1.0, 2.0):
        model.become(value)
        average.update_parameters(model)
    assert numbers(model)[0] == 2.0
    assert numbers(average.module)[0] != 2.0
