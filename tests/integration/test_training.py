"""Trainings as a whole: exact after interruptions, the same on two processes, honest when they fail."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from tests.support.tiny_training import recipe_for_images, tiny_images, tiny_model
from tests.support.trained import tiny_recipe, write_scene
from tests.support.training_script import KILLS, STAGES, WINDOW, loss_curve, shared_run, two_stage_recipe

from camloc.data.image_cache import ImageCache
from camloc.errors import CamlocError, CheckpointError, RecipeError
from camloc.models.checkpoint import load_checkpoint
from camloc.runs import prepare as preparation
from camloc.runs.manifest import LAST, LOG, DataSource, RunManifest
from camloc.runs.prepare import Compute, Training, prepare
from camloc.runs.train import train
from camloc.training.log import read_log
from camloc.training.loop import Epoch, Step, fit
from camloc.training.recipe import Recipe, Stage
from camloc.training.state import read_position

_CHECKOUT = Path(__file__).parents[2]
_TIMEOUT_SECONDS = 400

# Bits of a double agree to 9 digits after some epochs; the order of sums differs.
_SAME = 1e-6


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("training") / "scene"
    write_scene(root)
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMLOC_CACHE", str(tmp_path_factory.getbasetemp() / "camloc-cache"))


def run_script(task: str, folder: Path) -> None:
    """One of the tasks of `tests/support/training_script.py`, in a process of its own."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "CAMLOC_CACHE": str(folder / "cache"),
        "MASTER_ADDR": "127.0.0.1",
    }
    command = [sys.executable, "-m", "tests.support.training_script", task, str(folder)]
    done = subprocess.run(
        command,
        cwd=_CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="module")
def killed(scene: Path) -> Path:
    """The folder with an undisturbed run and one that was killed again and again."""
    run_script("killed", scene.parent)
    return scene.parent


def test_trainings_were_killed_where_they_should_be(killed: Path) -> None:
    endings = json.loads((killed / "endings.json").read_text())
    assert endings == [["undisturbed", 0], *[["killed", -9]] * (1 + len(KILLS)), *[["killed", 0]] * 2]


@pytest.mark.parametrize("kept", ["checkpoint", LAST])
def test_a_training_that_was_killed_ends_with_the_same_bits(killed: Path, kept: str) -> None:
    for name in ("weights.safetensors", "checkpoint.json"):
        undisturbed = (killed / "undisturbed" / kept / name).read_bytes()
        assert (killed / "killed" / kept / name).read_bytes() == undisturbed, name


def test_the_log_of_a_killed_training_has_every_epoch_once(killed: Path) -> None:
    timings = {"seconds", "images_per_second"}
    logs = [
        [{name: value for name, value in row.items() if name not in timings} for row in read_log(path / LOG)]
        for path in (killed / "undisturbed", killed / "killed")
    ]
    assert [row["epoch"] for row in logs[1]] == [1, 2, 3, 4, 5, 6]
    assert logs[0] == logs[1]
    seconds = [row["seconds"] for row in read_log(killed / "killed" / LOG)]
    assert seconds == sorted(seconds), "time counts on over the interruptions"


def test_a_killed_training_leaves_nothing_unfinished(killed: Path) -> None:
    names = {path.name for path in (killed / "killed").iterdir()}
    assert names == {"checkpoint", LAST, LOG, "run.json", "state.safetensors", "tensorboard"}
    for folder in ("checkpoint", LAST):
        inside = {path.name for path in (killed / "killed" / folder).iterdir()}
        assert inside == {"weights.safetensors", "checkpoint.json"}


def test_the_second_stage_left_the_backbone_alone(killed: Path) -> None:
    kept, last = (load_checkpoint(killed / "killed" / name).model for name in ("checkpoint", LAST))
    for name, tensor in kept.state_dict().items():
        if name.startswith("backbone."):
            assert torch.equal(tensor, last.state_dict()[name])


@pytest.fixture(scope="module")
def shared(scene: Path) -> Path:
    """The folder with the trainings of two processes."""
    run_script("shared", scene.parent)
    return scene.parent


def test_two_processes_learn_what_one_learns(shared: Path) -> None:
    result = json.loads((shared / "shared.json").read_text())
    alone, weights = loss_curve(Fabric(accelerator="cpu", devices=1, precision="64-true"))
    assert len(alone) == 6
    for ours, theirs in zip(alone, result["curve"], strict=True):
        assert ours == pytest.approx(theirs, rel=_SAME, abs=_SAME)
    first, second = result["checksums"]
    assert first == second, "both processes hold the same weights"
    assert [float(weight.double().sum()) for weight in weights.values()] == pytest.approx(
        first, rel=1e-5, abs=1e-5
    )


def test_two_processes_learn_from_windows_what_one_learns(shared: Path) -> None:
    result = json.loads((shared / "shared.json").read_text())
    alone, _ = loss_curve(Fabric(accelerator="cpu", devices=1, precision="64-true"), window=WINDOW)
    assert len(alone) == 3
    assert "relative_orientation" in alone[0]
    for ours, theirs in zip(alone, result["windows"], strict=True):
        assert ours == pytest.approx(theirs, rel=_SAME, abs=_SAME)


def test_a_run_of_two_processes_is_the_run_of_one(shared: Path, tmp_path: Path) -> None:
    shutil.copytree(shared / "scene", tmp_path / "scene")
    shared_run(tmp_path, name="alone", devices=1)
    timings = {"seconds", "images_per_second"}
    rows = [read_log(path / LOG) for path in (shared / "shared", tmp_path / "alone")]
    assert len(rows[0]) == 2
    for ours, theirs in zip(*rows, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours.keys() - timings:
            assert ours[name] == pytest.approx(theirs[name], rel=_SAME, abs=_SAME), name
    assert (shared / "shared" / "run.json").exists()
    assert (
        load_checkpoint(shared / "shared").metadata.epoch
        == load_checkpoint(tmp_path / "alone").metadata.epoch
    )


def stage(**settings: Any) -> Stage:
    return Stage(**{"epochs": 2, "learning_rate": 1e-3, **settings})


def epochs_of(events: Iterator[Step | Epoch]) -> list[Epoch]:
    return [event for event in events if isinstance(event, Epoch)]


def snapshot(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_a_diverging_loss_is_reported_in_one_sentence() -> None:
    recipe = recipe_for_images(stage(learning_rate=1e30, epochs=5))
    with pytest.raises(RecipeError, match=r"diverged.*lower the learning rate") as caught:
        epochs_of(fit(tiny_model(), tiny_images(16), recipe))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_without_validation_the_last_weights_are_kept(average: float) -> None:
    model = tiny_model()
    recipe = recipe_for_images(stage(epochs=3, average=average))
    last: dict[str, torch.Tensor] = {}
    bests = []
    for event in fit(model, tiny_images(8), recipe):
        if isinstance(event, Epoch):
            assert event.validation is None
            last = snapshot(event.model)
            bests.append(event.is_best)
    assert bests == [False, False, True]
    assert_same(snapshot(model), last)


def test_with_validation_the_best_weights_are_kept() -> None:
    """A rate that ruins the weights later on leaves an earlier epoch the best."""
    model, validation = tiny_model(), tiny_images(8, seed=1)
    recipe = recipe_for_images(stage(epochs=6, learning_rate=3e-2))
    best: dict[str, torch.Tensor] = {}
    epochs = []
    for event in fit(model, tiny_images(16), recipe, validation=validation):
        if isinstance(event, Epoch):
            epochs.append(event)
            if event.is_best:
                best = snapshot(event.model)
    assert_same(snapshot(model), best)
    assert epochs[0].is_best
    assert sum(epoch.is_best for epoch in epochs) < 6


def test_validation_that_never_gives_a_number_keeps_the_last_weights() -> None:
    validation = tiny_images(4, seed=1)
    nowhere = replace(
        validation.world_from_cam,
        translation=torch.full_like(validation.world_from_cam.translation, torch.nan),
    )
    lost = replace(validation, world_from_cam=nowhere)
    model = tiny_model()
    epochs = epochs_of(fit(model, tiny_images(8), recipe_for_images(stage(), stage()), validation=lost))
    assert [epoch.is_best for epoch in epochs] == [False, True, False, True]
    assert epochs[0].validation is not None
    assert epochs[0].validation[0] == float("inf")


def test_validation_comes_when_it_is_due_and_at_the_end() -> None:
    recipe = replace(recipe_for_images(stage(epochs=5), stage(epochs=1)), validate_every=2)
    epochs = epochs_of(fit(tiny_model(), tiny_images(8), recipe, validation=tiny_images(4, seed=1)))
    assert [epoch.validation is not None for epoch in epochs] == [False, True, False, True, True, True]
    assert [(epoch.epoch, epoch.stage) for epoch in epochs] == [*((n, 0) for n in range(1, 6)), (6, 1)]


def test_the_same_seed_gives_the_same_training_and_another_another() -> None:
    def weights(seed: int) -> dict[str, torch.Tensor]:
        model = tiny_model(dropout=0.2)
        epochs_of(fit(model, tiny_images(8), recipe_for_images(stage()), seed=seed))
        return snapshot(model)

    assert_same(weights(1), weights(1))
    one, other = weights(1), weights(2)
    assert not all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_steps_are_reported_and_an_incomplete_batch_is_left_out() -> None:
    events = list(fit(tiny_model(), tiny_images(11), recipe_for_images(stage(epochs=1))))
    assert events[:2] == [Step(1, 1, 2), Step(1, 2, 2)]
    assert isinstance(events[2], Epoch)


def test_fewer_images_than_a_batch_are_one_batch() -> None:
    epochs = epochs_of(fit(tiny_model(), tiny_images(3), recipe_for_images(stage(epochs=1), batch_size=8)))
    assert len(epochs) == 1
    assert all(value == value for value in epochs[0].losses.values())


@pytest.mark.parametrize(("count", "batch_size"), [(12, 3), (3, 8)])
def test_a_batch_that_cannot_be_shared_evenly_is_refused(count: int, batch_size: int) -> None:
    class TwoProcesses(Fabric):
        """As if launched, without a second process."""

        @property
        def world_size(self) -> int:
            return 2

    fabric = TwoProcesses(accelerator="cpu", devices=1)
    with pytest.raises(RecipeError, match="batch of 3 cannot be shared evenly by 2"):
        epochs_of(
            fit(
                tiny_model(),
                tiny_images(count),
                recipe_for_images(stage(), batch_size=batch_size),
                fabric=fabric,
            )
        )


def leave_after(events: Iterator[Step | Epoch], epoch: int) -> None:
    """Train until an epoch is saved: until the first step of the next."""
    for event in events:
        if isinstance(event, Step) and event.epoch > epoch:
            return


def test_only_the_same_training_resumes_a_state(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    recipe, images = recipe_for_images(stage(epochs=3)), tiny_images(8)
    leave_after(fit(tiny_model(), images, recipe, state=state), 2)
    assert read_position(state).epoch == 2
    assert [epoch.epoch for epoch in epochs_of(fit(tiny_model(), images, recipe, state=state))] == [3]
    longer = recipe_for_images(stage(epochs=4))
    assert len(epochs_of(fit(tiny_model(), images, longer, state=state))) == 4
    assert len(epochs_of(fit(tiny_model(), tiny_images(8, seed=5), longer, state=state))) == 4


def test_the_state_of_another_network_is_not_resumed(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    recipe, images = recipe_for_images(stage(epochs=2)), tiny_images(8)
    leave_after(fit(tiny_model(), images, recipe, state=state), 1)
    other = tiny_model()
    other.position_hyper = other.orientation_hyper = None
    assert len(epochs_of(fit(other, images, recipe, state=state))) == 2


@pytest.mark.parametrize("content", [b"", b"no state", bytes(100)])
def test_a_damaged_state_is_reported(content: bytes, tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    state.write_bytes(content)
    with pytest.raises(CheckpointError, match="delete it to train from the start"):
        epochs_of(fit(tiny_model(), tiny_images(8), recipe_for_images(stage()), state=state))


def test_a_state_that_is_cut_short_is_reported(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    recipe, images = recipe_for_images(stage(epochs=2)), tiny_images(8)
    leave_after(fit(tiny_model(), images, recipe, state=state), 1)
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        epochs_of(fit(tiny_model(), images, recipe, state=state))


def prepared(scene: Path, folder: Path, recipe: Recipe | None = None, **settings: Any) -> Training:
    data = settings.pop("data", DataSource(str(scene)))
    return prepare(recipe or tiny_recipe(), name="tiny/hyperpose", data=data, folder=folder, **settings)


def test_a_run_is_resumed_by_the_same_settings(scene: Path, tmp_path: Path) -> None:
    """Settings read from a file equal those that were written, although tuples became lists."""
    first = prepared(scene, tmp_path)
    assert prepared(scene, tmp_path).manifest.schedule_share == first.manifest.schedule_share == 1.0
    assert RunManifest.load(tmp_path).recipe == "tiny/hyperpose"


def test_a_run_folder_with_other_settings_is_refused(scene: Path, tmp_path: Path) -> None:
    prepared(scene, tmp_path)
    before = (tmp_path / "run.json").read_bytes()
    recipe = tiny_recipe()
    (only,) = recipe.stages
    other_data = DataSource(str(scene), layout="sevenscenes")
    refused: list[tuple[Recipe | None, dict[str, Any]]] = [
        (None, {"seed": 1}),
        (None, {"budget_seconds": 60.0}),
        (None, {"data": other_data}),
        (None, {"compute": Compute(precision="bf16-mixed")}),
        (replace(recipe, batch_size=4), {}),
        (replace(recipe, stages=(replace(only, learning_rate=1e-4),)), {}),
        (replace(recipe, config=replace(recipe.config, hypernetwork=None)), {}),
    ]
    for changed, settings in refused:
        with pytest.raises(CheckpointError, match=r"holds a run with other settings.*--out"):
            prepared(scene, tmp_path, changed, **settings)
    assert (tmp_path / "run.json").read_bytes() == before


@pytest.mark.parametrize(("has_bfloat16", "chosen"), [(True, "bf16-mixed"), (False, "32-true")])
def test_the_precision_is_that_of_the_processor_and_of_the_run_that_is_resumed(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_bfloat16: bool, chosen: str
) -> None:
    monkeypatch.setattr("camloc.runs.prepare.cpu_multiplies_bfloat16", lambda: has_bfloat16)
    first = prepared(scene, tmp_path, compute=Compute(precision="auto"))
    monkeypatch.setattr("camloc.runs.prepare.cpu_multiplies_bfloat16", lambda: not has_bfloat16)
    resumed = prepared(scene, tmp_path, compute=Compute(precision="auto"))
    assert first.manifest.precision == resumed.manifest.precision == chosen
    assert str(resumed.fabric._precision.precision) == chosen


def test_a_budget_changes_the_schedule_alone(scene: Path, tmp_path: Path) -> None:
    training = prepared(scene, tmp_path, two_stage_recipe(), budget_seconds=3.0)
    share = training.manifest.schedule_share
    assert share > 0
    assert share != 1.0
    original = two_stage_recipe()
    assert [each.epochs for each in training.recipe.stages] == [max(1, round(3 * share))] * 2
    schedule = ("epochs", "step_epochs")
    for scaled, whole in zip(training.recipe.stages, original.stages, strict=True):
        assert replace(scaled, **{name: getattr(whole, name) for name in schedule}) == whole
    assert replace(training.recipe, stages=original.stages) == original


def test_the_trial_of_a_budget_leaves_no_trace_in_the_network(scene: Path, tmp_path: Path) -> None:
    timed = prepared(scene, tmp_path / "timed", two_stage_recipe(), budget_seconds=3.0).model
    untimed = prepared(scene, tmp_path / "untimed", two_stage_recipe()).model
    assert_same(snapshot(timed), snapshot(untimed))
    assert all(parameter.requires_grad for parameter in timed.parameters())


def test_the_schedule_of_a_budget_is_remembered(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepared(scene, tmp_path, budget_seconds=3.0)

    def measured_again(*_: object, **__: object) -> float:
        raise AssertionError("an interrupted run must not measure anew")

    monkeypatch.setattr(preparation, "schedule_share", measured_again)
    again = prepared(scene, tmp_path, budget_seconds=3.0)
    assert again.recipe == first.recipe
    assert again.manifest.schedule_share == first.manifest.schedule_share


@pytest.mark.parametrize("share", [0.001, 0.5, 3.0])
def test_scaling_keeps_at_least_an_epoch_of_every_stage(share: float) -> None:
    recipe = two_stage_recipe()
    scaled = recipe.scaled(share)
    assert [each.epochs for each in scaled.stages] == [max(1, round(3 * share))] * 2
    assert recipe.scaled(1.0) == recipe


def test_a_run_that_cannot_be_written_is_reported_in_a_sentence(scene: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where a folder should be")
    with pytest.raises(CamlocError, match="could not be written"):
        prepared(scene, tmp_path / "run")


def test_a_run_without_held_out_frames_keeps_its_last_epoch(scene: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(epochs=2)
    training = prepared(scene, tmp_path, replace(recipe, hold_out=replace(recipe.hold_out, every=0)))
    assert training.validation is None
    assert isinstance(training.train, ImageCache)
    assert len(training.train) == 18
    list(train(training))
    kept, last = (load_checkpoint(tmp_path / name) for name in ("checkpoint", LAST))
    assert kept.metadata.expected_error is None
    assert kept.metadata.epoch == last.metadata.epoch == 2
    assert_same(snapshot(kept.model), snapshot(last.model))


def test_the_stages_of_these_tests_average_and_freeze() -> None:
    first, second = STAGES
    assert first.average > 0
    assert second.trains != ("*",)
