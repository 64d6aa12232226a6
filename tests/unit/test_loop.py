"""The loop of auxiliary networks: it keeps the best weights, repeats itself exactly, and reports failures."""

from typing import Any

import pytest
import torch
from jaxtyping import Int
from torch import Tensor, nn

from camloc.errors import RecipeError
from camloc.training.loop import Epoch, fit_auxiliary
from camloc.training.recipe import Stage
from camloc.training.tasks import AuxiliaryTask

STAGE = Stage(epochs=5, learning_rate=0.05)


class Line(nn.Module):
    """y = a x + b, with a weight of the loss beside it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(1, 1)
        self.pose_loss = nn.ParameterDict({"scale": nn.Parameter(torch.zeros(()))})


class FindLine(AuxiliaryTask):
    """Learn y = 3 x - 1 from twenty numbers."""

    def __init__(self, scores: list[float] | None = None) -> None:
        self.network = Line()
        self.scores = scores
        self.rows: list[list[int]] = []
        self.modes: list[bool] = []
        self.drawn: list[float] = []

    def __len__(self) -> int:
        return 20

    def losses(self, network: Any, rows: Int[Tensor, "b"], generator: torch.Generator) -> dict[str, Tensor]:
        self.rows.append(rows.tolist())
        self.modes.append(network.training)
        self.drawn.append(float(torch.rand((), generator=generator)))
        x = rows.float().unsqueeze(1) / 20
        away = (network.layer(x) - (3 * x - 1)).square().mean()
        return {"line": away, "other": 0.0 * network.pose_loss["scale"]}

    def measures(self, network: Any) -> dict[str, float]:
        assert not network.training
        if self.scores is None:
            return {}
        return {"score": self.scores.pop(0), "weight": float(network.layer.weight.detach())}


def epochs(task: FindLine, stage: Stage = STAGE, **settings: int) -> list[Epoch]:
    return list(fit_auxiliary(task, stage, batch_size=8, **settings))


def test_every_row_is_drawn_once_an_epoch_but_for_the_last_incomplete_batch() -> None:
    task = FindLine()
    found = epochs(task)
    assert [each.epoch for each in found] == [1, 2, 3, 4, 5]
    assert [len(rows) for rows in task.rows] == [8, 8] * 5
    assert len({row for rows in task.rows[:2] for row in rows}) == 16
    assert task.rows[:2] != task.rows[2:4]
    assert all(task.modes)


def test_a_training_repeats_itself_exactly() -> None:
    first, second = FindLine(), FindLine()
    assert [each.losses for each in epochs(first, seed=3)] == [each.losses for each in epochs(second, seed=3)]
    assert first.rows == second.rows
    assert first.drawn == second.drawn
    assert torch.equal(
        first.network.state_dict()["layer.weight"], second.network.state_dict()["layer.weight"]
    )
    other = FindLine()
    epochs(other, seed=4)
    assert other.rows != first.rows


def test_the_best_weights_are_kept() -> None:
    task = FindLine([5.0, 2.0, 4.0, 3.0, 9.0])
    found = epochs(task)
    assert [each.is_best for each in found] == [True, True, False, False, False]
    assert float(task.network.state_dict()["layer.weight"]) == pytest.approx(found[1].measures["weight"])
    assert not task.network.training


def test_without_anything_held_out_the_last_weights_are_kept() -> None:
    found = epochs(FindLine(), Stage(epochs=40, learning_rate=0.05))
    assert [each.is_best for each in found] == [False] * 39 + [True]
    assert found[-1].losses["line"] < 0.1 * found[0].losses["line"]


def test_validation_comes_when_it_is_due_and_at_the_end() -> None:
    found = epochs(FindLine([1.0] * 5), validate_every=2)
    assert [bool(each.measures) for each in found] == [False, True, False, True, True]


def test_the_average_of_weights_is_validated_and_kept() -> None:
    task = FindLine([1.0] * 5)
    found = epochs(task, Stage(epochs=5, learning_rate=0.05, average=0.9))
    plain = FindLine([1.0] * 5)
    assert found[0].measures["weight"] != epochs(plain)[0].measures["weight"]
    assert float(task.network.state_dict()["layer.weight"]) == pytest.approx(found[0].measures["weight"])


def test_frozen_parameters_stay_the_same_and_loss_weights_count() -> None:
    task = FindLine()
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    epochs(task, Stage(epochs=2, learning_rate=0.1, frozen=("layer.weight",)))
    after = task.network.state_dict()
    assert torch.equal(after["layer.weight"], before["layer.weight"])
    assert not torch.equal(after["layer.bias"], before["layer.bias"])
    unweighted = FindLine()
    epochs(unweighted, Stage(epochs=2, learning_rate=0.1, loss_weights={"line": 0.0}))
    assert torch.equal(unweighted.network.state_dict()["layer.weight"], before["layer.weight"])


def test_a_training_that_diverges_is_refused() -> None:
    with pytest.raises(RecipeError, match="diverged"):
        epochs(FindLine(), Stage(epochs=3, learning_rate=0.1, loss_weights={"line": float("nan")}))
    with pytest.raises(RecipeError, match="matches no parameter"):
        epochs(FindLine(), Stage(epochs=1, learning_rate=0.1, trains=("nothing.*",)))
