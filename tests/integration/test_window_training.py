"""Learning from windows of frames: exact resume, held-out frames and positions alone as for single frames."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.support.tiny_training import RECORDING, recipe_for_images, tiny_images, window_model
from tests.support.trained import tiny_recipe, write_scene
from torch import Tensor

from camloc.data.batch import Batch
from camloc.data.image_cache import ImageCache
from camloc.models.decoding import RegressedPose
from camloc.models.hyperpose import HyperPose
from camloc.runs.manifest import DataSource
from camloc.runs.prepare import prepare
from camloc.runs.train import train
from camloc.training.log import read_log
from camloc.training.loop import Epoch, Step, fit
from camloc.training.recipe import Recipe, Stage, Window

WINDOW = Window(frames=3, apart=2)


def windows() -> Recipe:
    return replace(recipe_for_images(Stage(epochs=3, learning_rate=1e-3), batch_size=6), window=WINDOW)


def drawn_batches(
    images: ImageCache, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[Batch, list[int]]]:
    """The batches of one epoch, and which images they were drawn from."""
    model = window_model()
    rows: list[list[int]] = []
    batches: list[Batch] = []
    draw, losses = ImageCache.drawn, type(model).losses

    def drawn(self: ImageCache, chosen: Tensor, *args: object, **settings: object) -> Batch:
        rows.append(chosen.tolist())
        return draw(self, chosen, *args, **settings)  # type: ignore[arg-type]

    def watched(self: HyperPose, output: RegressedPose, batch: Batch) -> dict[str, Tensor]:
        batches.append(batch)
        return losses(self, output, batch)

    monkeypatch.setattr(ImageCache, "drawn", drawn)
    monkeypatch.setattr(type(model), "losses", watched)
    next(event for event in fit(model, images, recipe) if isinstance(event, Epoch))
    return list(zip(batches, rows, strict=True))


def test_a_batch_is_window_after_window(monkeypatch: pytest.MonkeyPatch) -> None:
    images = tiny_images(24)
    drawn = drawn_batches(images, windows(), monkeypatch)
    assert len(drawn) == 12, "one window around every image, two to a batch"
    middles = []
    for batch, rows in drawn:
        assert batch.window == 3
        assert torch.equal(batch.world_from_cam.translation, images.world_from_cam.translation[rows])
        for window in (rows[:3], rows[3:]):
            middles.append(window[1])
            first = window[1] - window[1] % RECORDING
            clamped = [min(max(window[1] + step, first), first + RECORDING - 1) for step in (-2, 0, 2)]
            assert window == clamped
    assert sorted(middles) == list(range(24))


def test_the_motion_between_frames_is_learned() -> None:
    long = replace(windows(), stages=(Stage(epochs=30, learning_rate=3e-3),))
    epochs = [event for event in fit(window_model(), tiny_images(6), long) if isinstance(event, Epoch)]
    assert epochs[-1].losses["relative_position"] < epochs[0].losses["relative_position"] - 0.3


def test_an_interrupted_training_on_windows_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole, parts = window_model(), window_model()
    for _ in fit(whole, tiny_images(12), windows()):
        pass
    state = tmp_path / "state.safetensors"
    for event in fit(parts, tiny_images(12), windows(), state=state):
        if isinstance(event, Step) and event.epoch == 3:
            break
    again = window_model(seed=9)
    epochs = [
        event for event in fit(again, tiny_images(12), windows(), state=state) if isinstance(event, Epoch)
    ]
    assert [epoch.epoch for epoch in epochs] == [3]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_other_windows_are_another_training(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    for _ in fit(window_model(), tiny_images(12), windows(), state=state):
        pass
    other = replace(windows(), window=replace(WINDOW, apart=1))
    assert (
        sum(isinstance(event, Epoch) for event in fit(window_model(), tiny_images(12), other, state=state))
        == 3
    )


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAMLOC_CACHE", str(tmp_path / "cache"))
    write_scene(tmp_path / "scene")
    return tmp_path


def window_recipe() -> Recipe:
    recipe = tiny_recipe(epochs=2)
    regression = replace(recipe.config.regression, relative=recipe.config.regression.pose_loss)
    config = replace(recipe.config, regression=regression)
    return replace(recipe, config=config, batch_size=6, window=WINDOW)


@pytest.mark.parametrize("keep_orientation_every", [0, 3])
def test_a_run_on_windows_logs_absolute_and_relative_losses(scene: Path, keep_orientation_every: int) -> None:
    """With frames held out, and with positions alone among the frames of a window."""
    recipe = replace(window_recipe(), keep_orientation_every=keep_orientation_every)
    training = prepare(
        recipe, name="tiny/windows", data=DataSource(str(scene / "scene")), folder=scene / "run"
    )
    assert training.validation is not None
    for _ in train(training):
        pass
    rows = read_log(scene / "run" / "log.jsonl")
    assert len(rows) == 2
    for row in rows:  # which has the numbers that are finite
        assert {name for name in row if name.startswith("loss_")} == {
            f"loss_{name}"
            for name in ("position", "orientation", "relative_position", "relative_orientation")
        }
