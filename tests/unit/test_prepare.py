"""A budget is scaled by the usual time of a step, measured for long enough on a busy machine."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from lightning_fabric import Fabric
from tests.support.tiny_training import tiny_images, tiny_model
from tests.support.trained import tiny_recipe

from camloc.runs import prepare
from camloc.training.loop import Step


def test_slow_beginnings_hiccups_and_ends_of_epochs_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)

    def fit(*_: object, **__: object) -> Iterator[Any]:
        for number in range(10_000):
            clock.now += 9.0 if number < 4 or number % 10 == 0 else 0.25
            yield Step(epoch=1, step=number, steps=number)
            if number % 3 == 2:
                clock.now += 4.0
                yield SimpleNamespace(epoch=1)

    monkeypatch.setattr(prepare, "fit", fit)
    monkeypatch.setattr(prepare, "time", SimpleNamespace(monotonic=lambda: clock.now))
    seconds = prepare.seconds_per_step(
        tiny_recipe(), model=tiny_model(), train=tiny_images(6), fabric=Fabric(accelerator="cpu", devices=1)
    )
    assert seconds == 0.25


class Machine:
    """Steps that take the given seconds, one after the other; the last of them repeats."""

    def __init__(self, *seconds: float) -> None:
        self.seconds, self.now, self.taken = seconds, 0.0, 0

    def fit(self, *_: Any, **__: Any) -> Iterator[Step]:
        while True:
            self.now += self.seconds[min(self.taken, len(self.seconds) - 1)]
            self.taken += 1
            yield Step(1, self.taken, 1)

    def monotonic(self) -> float:
        return self.now


def measured(machine: Machine, monkeypatch: pytest.MonkeyPatch, *, trial_seconds: float) -> float:
    monkeypatch.setattr(prepare, "fit", machine.fit)
    monkeypatch.setattr(prepare, "time", SimpleNamespace(monotonic=machine.monotonic))
    return prepare.seconds_per_step(
        tiny_recipe(),
        model=tiny_model(),
        train=tiny_images(6),
        fabric=Fabric(accelerator="cpu", devices=1),
        trial_seconds=trial_seconds,
    )


@pytest.mark.parametrize(("trial_seconds", "steps"), [(0.0, 30), (2.0, 30), (12.0, 120)])
def test_steps_are_tried_for_some_time_and_some_at_least(
    trial_seconds: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(0.1)
    assert measured(machine, monkeypatch, trial_seconds=trial_seconds) == pytest.approx(0.1)
    assert machine.taken == pytest.approx(steps, abs=1)


def test_a_machine_that_is_busy_at_first_does_not_count_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = (1.0,) * 40
    assert measured(Machine(*busy, 0.1), monkeypatch, trial_seconds=0.0) == pytest.approx(1.0)
    assert measured(Machine(*busy, 0.1), monkeypatch, trial_seconds=60.0) == pytest.approx(0.1)
