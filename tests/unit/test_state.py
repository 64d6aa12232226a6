"""A state file resumes exactly, or is reported as damaged in one sentence."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from camloc.errors import CheckpointError
from camloc.training.state import Position, Saving, load_modules, load_state, read_position, save_state

Tensors = dict[str, Tensor]
Trained = tuple[nn.Module, torch.optim.Optimizer]


def trained(kind: type[torch.optim.Adam] = torch.optim.Adam, *, steps: int = 3) -> Trained:
    """A network of two layers after some steps."""
    torch.manual_seed(steps)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optimizer = kind(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(5, 3)).square().sum().backward()
        optimizer.step()
    return model, optimizer


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state of a training after three steps."""
    model, optimizer = trained()
    path = tmp_path / "state.safetensors"
    position = Position("abc", epoch=3, best_score=0.5, best_epoch=2, seconds=9.0)
    save_state(path, position, {"model": model, "best": model.state_dict()}, optimizer)
    return path


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_a_resumed_training_makes_the_same_step(kind: type[torch.optim.Adam], tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    model, optimizer = trained(kind)
    save_state(path, Position("abc", epoch=3), {"model": model}, optimizer)
    other, other_optimizer = trained(kind, steps=1)
    assert load_state(path, {"model": other}, other_optimizer) == {}
    image = torch.randn(5, 3)
    for network, steps in ((model, optimizer), (other, other_optimizer)):
        steps.zero_grad()
        network(image).square().sum().backward()
        steps.step()
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_best_weights_and_the_position_come_back(state: Path) -> None:
    model, _ = trained()
    best = load_state(state, {"model": trained(steps=1)[0]}, trained(steps=1)[1])
    assert best.keys() == model.state_dict().keys()
    assert all(torch.equal(best[name], value) for name, value in model.state_dict().items())
    assert read_position(state) == Position("abc", epoch=3, best_score=0.5, best_epoch=2, seconds=9.0)


def test_a_missing_score_is_infinite(tmp_path: Path) -> None:
    model, optimizer = trained()
    save_state(tmp_path / "state", Position("abc", epoch=1), {"model": model}, optimizer)
    assert read_position(tmp_path / "state").best_score == math.inf


def states_of(epochs: int, *, writing: float, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs, of 10 seconds each, after which a state is written that takes `writing` seconds."""
    now = 0.0

    def write(*_: Any) -> None:
        nonlocal now
        now += writing

    monkeypatch.setattr("camloc.training.state.save_state", write)
    monkeypatch.setattr("camloc.training.state.time", SimpleNamespace(monotonic=lambda: now))
    model, optimizer = trained()
    saving, written = Saving(), []
    for epoch in range(epochs):
        now += 10.0
        if saving.is_due():
            saving.save(Path("state"), Position("abc", epoch=epoch), {"model": model}, optimizer)
            written.append(epoch)
    return written


def test_a_state_is_written_after_every_epoch_where_that_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    assert states_of(5, writing=0.9, monkeypatch=monkeypatch) == [0, 1, 2, 3, 4]


def test_writing_states_takes_a_tenth_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    # 3 of 33 seconds, and a first one early.
    assert states_of(40, writing=3.0, monkeypatch=monkeypatch) == list(range(0, 40, 3))


def renamed(old: str, new: str) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.update({new: tensors.pop(old)})


def without(start: str) -> Callable[[Tensors], object]:
    return lambda tensors: [tensors.pop(name) for name in list(tensors) if name.startswith(start)]


def given(name: str, value: Tensor) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.update({name: value})


DAMAGES: dict[str, Callable[[Tensors], object]] = {
    "no network": without("model|"),
    "a weight is missing": without("model|0.bias"),
    "a weight of another shape": given("model|0.bias", torch.zeros(7)),
    "a weight too many": given("model|2.bias", torch.zeros(4)),
    "no optimiser": without("optimizer|"),
    "a moment is missing": without("optimizer|1|exp_avg_sq"),
    "all second moments are missing": lambda tensors: [
        tensors.pop(name) for name in list(tensors) if name.endswith("exp_avg_sq")
    ],
    "a moment of another shape": given("optimizer|1|exp_avg", torch.zeros(5)),
    "a step that is a vector": given("optimizer|1|step", torch.zeros(4)),
    "an unknown moment": given("optimizer|1|exp_max", torch.zeros(4)),
    "a word as a number": renamed("optimizer|0|step", "optimizer|zero|step"),
    "no number": renamed("optimizer|0|step", "optimizer||step"),
    "a negative number": renamed("optimizer|0|step", "optimizer|-1|step"),
    "a number beyond the last": renamed("optimizer|0|step", "optimizer|4|step"),
    "an endless number": renamed("optimizer|0|step", f"optimizer|{'9' * 5000}|step"),
    "no best weights": without("best|"),
    "a best weight is missing": without("best|1.weight"),
    "a best weight of another shape": given("best|1.bias", torch.zeros(3)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_reported_in_one_sentence(damage: str, state: Path) -> None:
    tensors = load_file(state)
    DAMAGES[damage](tensors)
    with safe_open(state, framework="pt") as file:
        metadata = file.metadata()
    save_file(tensors, state, metadata=metadata)
    with pytest.raises(CheckpointError, match="delete it to train from the start") as caught:
        load_state(state, {"model": trained(steps=1)[0]}, trained(steps=1)[1])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(state))
    assert caught.value.__cause__ is None


def test_a_file_that_is_no_state_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    model, optimizer = trained()
    for content in (b"", b"no state", bytes(100)):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="delete it to train from the start"):
            load_modules(path, {"model": model})
        with pytest.raises(CheckpointError, match="delete it to train from the start"):
            load_state(path, {"model": model}, optimizer)


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        {},
        {"fingerprint": 3},
        {"fingerprint": "abc", "stage": "first"},
        {"fingerprint": "abc", "epoch": 1.5},
        {"fingerprint": "abc", "seconds": None},
        {"fingerprint": "abc", "colour": "red"},
    ],
)
def test_a_damaged_position_is_reported(metadata: Any, tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_file({"model|x": torch.zeros(1)}, path, metadata={"position": json.dumps(metadata)})
    with pytest.raises(CheckpointError, match="delete it to train from the start"):
        read_position(path)
