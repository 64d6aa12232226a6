"""A budget is scaled by the usual time of a step, measured for long enough on a busy machine."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning_fabric import Fabric
from tests.support.damage import SCENE
from tests.support.estimates import frames_with_images, line_of_poses
from tests.support.layouts import CAMERA, WRITERS, write_image
from tests.support.tiny_training import tiny_images, tiny_model
from tests.support.trained import tiny_recipe

from camloc.data.augment import Augment
from camloc.data.types import Frame, Scene
from camloc.models.layers.transformer import PositionCodesConfig
from camloc.recipes import room
from camloc.runs import prepare
from camloc.runs.manifest import DataSource, RunManifest
from camloc.training.loop import Step
from camloc.training.recipe import Recipe


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


def measured(machine: Machine, monkeypatch: pytest.MonkeyPatch, **seconds: float) -> float:
    monkeypatch.setattr(prepare, "fit", machine.fit)
    monkeypatch.setattr(prepare, "time", SimpleNamespace(monotonic=machine.monotonic))
    return prepare.seconds_per_step(
        tiny_recipe(),
        model=tiny_model(),
        train=tiny_images(6),
        fabric=Fabric(accelerator="cpu", devices=1),
        **seconds,
    )


@pytest.mark.parametrize(("trial_seconds", "steps"), [(0.0, 30), (2.0, 30), (12.0, 120)])
def test_steps_are_tried_for_some_time_and_some_at_least(
    trial_seconds: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(0.1)
    assert measured(machine, monkeypatch, trial_seconds=trial_seconds) == pytest.approx(0.1)
    assert machine.taken == pytest.approx(steps, abs=1)


def test_a_trial_ends_at_its_share_of_the_budget_but_has_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    for most, steps in ((2.5, 1), (20.0, 7)):
        machine = Machine(3.0)
        assert measured(machine, monkeypatch, most_seconds=most) == pytest.approx(3.0)
        assert machine.taken == steps


def test_a_machine_that_is_busy_at_first_does_not_count_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = (1.0,) * 40
    assert measured(Machine(*busy, 0.1), monkeypatch, trial_seconds=0.0) == pytest.approx(1.0)
    assert measured(Machine(*busy, 0.1), monkeypatch, trial_seconds=60.0) == pytest.approx(0.1)


def with_budget(
    seconds: float, *, features: float, full: float, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> float:
    """Fit a recipe of 6 epochs, which need `full` seconds, into a budget; returns the epochs."""

    def share(_recipe: Recipe, left: float, **_: object) -> float:
        return left / full

    monkeypatch.setattr(prepare, "schedule_share", share)
    manifest = RunManifest("r", {}, (), ("scene",), budget_seconds=seconds, feature_seconds=features)
    fabric = Fabric(accelerator="cpu", devices=1)
    recipe, _ = prepare._with_schedule(
        tiny_recipe(), manifest, folder, model=tiny_model(), train=tiny_images(6), fabric=fabric
    )
    return recipe.epochs


@pytest.mark.parametrize(
    ("seconds", "features", "epochs", "printed"),
    [
        (700.0, 0.0, 7, ""),
        (300.0, 0.0, 3, ""),
        (100.0, 0.0, 1, "2 epochs need 3.3 minutes, the recipe's 6 epochs 10.0 minutes"),
        (700.0, 600.0, 1, "10.0 minutes of which features take, is too short"),
        (700.0, 700.0, 1, "the features alone take more than the budget"),
    ],
)
def test_a_budget_of_less_than_two_epochs_is_reported(
    seconds: float,
    features: float,
    epochs: int,
    printed: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    found = with_budget(seconds, features=features, full=600.0, monkeypatch=monkeypatch, folder=tmp_path)
    assert found == epochs
    assert len(caplog.messages) == bool(printed)
    assert printed in caplog.text


def test_features_that_eat_the_budget_are_reported_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(prepare, "time", SimpleNamespace(monotonic=lambda: clock.now))
    counted: list[int] = []
    update = prepare._warned_if_slow(lambda done, _: counted.append(done), 60.0)
    assert update is not None
    for done in range(1, 11):
        clock.now += 6.0
        update(done, 100)
    assert counted == [*range(1, 11)]
    assert caplog.messages == [
        "camloc: computing features takes about 10.0 minutes of the budget of 60 seconds; give a larger "
        "--budget, or fewer --cached-variants"
    ]


def test_images_are_not_turned_if_intrinsics_are_unknown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames = frames_with_images(tmp_path, line_of_poses(4))
    known = tuple(replace(frame, camera=CAMERA) for frame in frames)
    turning = replace(tiny_recipe(), augment=Augment(yaw_degrees=9.0, zoom=1.2, brightness=0.3))
    assert prepare._without_turns(turning, (Scene("a", known),)) is turning
    assert caplog.messages == []
    found = prepare._without_turns(turning, (Scene("a", known), Scene("b", (*known[:3], frames[3]))))
    assert found.augment == Augment(brightness=0.3)
    assert "1 of the training images have no intrinsics" in caplog.text
    needing = replace(turning, model="scene_geometry")
    assert prepare._without_turns(needing, (Scene("b", frames),)) is needing, "which is refused"


def recipe_for(
    sizes: list[tuple[int, int]], folder: Path, *, codes: PositionCodesConfig | None = None
) -> Recipe:
    """The recipe of 64 x 48 pixels that a training on images of these sizes has."""
    frames = []
    for number, size in enumerate(sizes):
        write_image(folder / f"{number}.png", size)
        frames.append(Frame(f"{number}.png", folder / f"{number}.png"))
    recipe = tiny_recipe()
    if codes is not None:
        recipe = replace(recipe, config=replace(room.transposenet().config, codes=codes))
    return prepare._with_shape_of(recipe, (tuple(frames),))


def test_the_network_takes_the_shape_of_portrait_images(tmp_path: Path) -> None:
    landscape, portrait = (60, 40), (40, 60)
    assert recipe_for([landscape, landscape, portrait], tmp_path) == tiny_recipe()
    found = recipe_for([portrait, landscape, portrait], tmp_path, codes=PositionCodesConfig(image_width=64))
    assert (found.preprocess.width, found.preprocess.height) == (48, 64)
    assert (found.config.codes.image_width, found.config.codes.image_height) == (48, 64)


def test_notes_of_a_scene_are_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = WRITERS["table"](tmp_path, SCENE)
    (tmp_path / "3.png").unlink()
    source = DataSource(str(tmp_path), options={**options, "missing": "skip"})
    for _ in range(2):
        assert source.load().notes
    (record,) = caplog.records
    assert "left out because their images do not exist: 1 of 8 frames" in record.getMessage()
