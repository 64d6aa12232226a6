"""The loop of small networks: it keeps the best weights, repeats itself exactly, and says what goes wrong."""

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
        self.balance = nn.ParameterDict({"scale": nn.Parameter(torch.zeros(()))})


class FindLine(AuxiliaryTask):
    """Learn y = 3 x - 1 from twenty numbers."""

    def __init__(self, scores: list[float] | None = None) -> None:
        self.network = Line()
        self.scores = scores
        self.seen: list[list[int]] = []
        self.modes: list[bool] = []
        self.drawn: list[float] = []

    def __len__(self) -> int:
        return 20

    def losses(self, network: Any, rows: Int[Tensor, "b"], generator: torch.Generator) -> dict[str, Tensor]:
        self.seen.append(rows.tolist())
        self.modes.append(network.training)
        self.drawn.append(float(torch.rand((), generator=generator)))
        x = rows.float().unsqueeze(1) / 20
        away = (network.layer(x) - (3 * x - 1)).square().mean()
        return {"line": away, "other": 0.0 * network.balance["scale"]}

    def measures(self, network: Any) -> dict[str, float]:
        assert not network.training
        if self.scores is None:
            return {}
        return {"score": self.scores.pop(0), "weight": float(network.layer.weight.detach())}


def rounds(task: FindLine, stage: Stage = STAGE, **settings: int) -> list[Epoch]:
    return list(fit_auxiliary(task, stage, batch_size=8, **settings))


def test_every_row_is_seen_once_an_epoch_but_for_the_last_incomplete_batch() -> None:
    task = FindLine()
    told = rounds(task)
    assert [each.epoch for each in told] == [1, 2, 3, 4, 5]
    assert [len(rows) for rows in task.seen] == [8, 8] * 5
    assert len({row for rows in task.seen[:2] for row in rows}) == 16
    assert task.seen[:2] != task.seen[2:4]
    assert all(task.modes)


def test_a_lesson_repeats_itself_exactly() -> None:
    first, second = FindLine(), FindLine()
    assert [each.losses for each in rounds(first, seed=3)] == [each.losses for each in rounds(second, seed=3)]
    assert first.seen == second.seen
    assert first.drawn == second.drawn
    assert torch.equal(
        first.network.state_dict()["layer.weight"], second.network.state_dict()["layer.weight"]
    )
    other = FindLine()
    rounds(other, seed=4)
    assert other.seen != first.seen


def test_the_best_weights_are_kept() -> None:
    task = FindLine([5.0, 2.0, 4.0, 3.0, 9.0])
    told = rounds(task)
    assert [each.is_best for each in told] == [True, True, False, False, False]
    assert float(task.network.state_dict()["layer.weight"]) == pytest.approx(told[1].measures["weight"])
    assert not task.network.training


def test_without_anything_held_out_the_last_weights_are_kept() -> None:
    told = rounds(FindLine(), Stage(epochs=40, learning_rate=0.05))
    assert [each.is_best for each in told] == [False] * 39 + [True]
    assert told[-1].losses["line"] < 0.1 * told[0].losses["line"]


def test_measurements_are_as_rare_as_asked_for_and_the_last_is_never_left_out() -> None:
    told = rounds(FindLine([1.0] * 5), validate_every=2)
    assert [bool(each.measures) for each in told] == [False, True, False, True, True]


def test_an_average_of_weights_is_what_is_measured_and_kept() -> None:
    task = FindLine([1.0] * 5)
    told = rounds(task, Stage(epochs=5, learning_rate=0.05, average=0.9))
    plain = FindLine([1.0] * 5)
    assert told[0].measures["weight"] != rounds(plain)[0].measures["weight"]
    assert float(task.network.state_dict()["layer.weight"]) == pytest.approx(told[0].measures["weight"])


def test_what_a_stage_holds_stands_still_and_loss_weights_count() -> None:
    task = FindLine()
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    rounds(task, Stage(epochs=2, learning_rate=0.1, frozen=("layer.weight",)))
    after = task.network.state_dict()
    assert torch.equal(after["layer.weight"], before["layer.weight"])
    assert not torch.equal(after["layer.bias"], before["layer.bias"])
    still = FindLine()
    rounds(still, Stage(epochs=2, learning_rate=0.1, loss_weights={"line": 0.0}))
    assert torch.equal(still.network.state_dict()["layer.weight"], before["layer.weight"])


def test_a_lesson_that_diverges_says_so() -> None:
    with pytest.raises(RecipeError, match="diverged"):
        rounds(FindLine(), Stage(epochs=3, learning_rate=0.1, loss_weights={"line": float("nan")}))
    with pytest.raises(RecipeError, match="matches no parameter"):
        rounds(FindLine(), Stage(epochs=1, learning_rate=0.1, trains=("nothing.*",)))
