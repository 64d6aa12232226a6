"""A budget's schedule is measured on steps as they usually are, not on the slow ones among them."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from lightning_fabric import Fabric
from tests.support.tiny_training import tiny_model, tiny_pictures
from tests.support.trained import tiny_recipe

from camloc.runs import budget
from camloc.training.plan import Step


def test_slow_beginnings_hiccups_and_ends_of_epochs_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)

    def fit(*_: object, **__: object) -> Iterator[Any]:
        for number in range(10_000):
            clock.now += 9.0 if number < 4 or number % 10 == 0 else 0.25
            yield Step(epoch=1, step=number, steps=number)
            if number % 3 == 2:
                clock.now += 4.0
                yield SimpleNamespace(epoch=1)

    monkeypatch.setattr(budget, "fit", fit)
    monkeypatch.setattr(budget, "time", SimpleNamespace(monotonic=lambda: clock.now))
    seconds = budget.seconds_per_step(
        tiny_recipe(), model=tiny_model(), train=tiny_pictures(6), fabric=Fabric(accelerator="cpu", devices=1)
    )
    assert seconds == 0.25
