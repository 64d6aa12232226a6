"""Trainings with the orientations of a part of the frames, as in Table IV of scene geometry."""

import csv
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.support.models import TINY_BACKBONE, some_poses
from tests.support.tiny_training import recipe_for_images, tiny_images, tiny_model
from tests.support.trained import tiny_recipe, write_scene

from camloc.data import formats as datasets
from camloc.data.formats import table
from camloc.data.splits import HoldOut
from camloc.data.types import Scene, poses_of
from camloc.errors import CamlocError, DatasetError, RecipeError
from camloc.evaluation.baselines import baseline_errors
from camloc.evaluation.errors import empirical_quantile
from camloc.models.checkpoint import load_checkpoint
from camloc.models.scene_geometry import SceneGeometryConfig
from camloc.recipes import find_recipe, position_only
from camloc.runs.evaluate import evaluate_run
from camloc.runs.manifest import LAST, LOG, DataSource
from camloc.runs.prepare import prepare
from camloc.runs.train import train
from camloc.training.log import read_log
from camloc.training.loop import Epoch, Step, fit
from camloc.training.recipe import Recipe, Stage

ONLY_POSITION = {"orientation": 0.0, "consistency": 0.0, "reprojection": 0.0}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("positions") / "scene"
    write_scene(root)
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMLOC_CACHE", str(tmp_path_factory.getbasetemp() / "camloc-cache"))


def regressor() -> Recipe:
    """Two stages: whole poses, then positions alone."""
    stages = (
        Stage(epochs=2, learning_rate=2e-3, learns_from="full", average=0.9),
        Stage(epochs=2, learning_rate=2e-4, learns_from="positions", loss_weights={"orientation": 0.0}),
    )
    return replace(tiny_recipe(), stages=stages, keep_orientation_every=3, batch_size=4)


def point_maps() -> Recipe:
    """The same for scene geometry."""
    recipe = regressor()
    first, second = recipe.stages
    config = SceneGeometryConfig(TINY_BACKBONE, taps=(1,), hidden=8)
    stages = (first, replace(second, loss_weights=ONLY_POSITION))
    return replace(recipe, model="scene_geometry", config=config, stages=stages)


def go(scene: Path, folder: Path, recipe: Recipe) -> Iterator[Step | Epoch]:
    yield from train(prepare(recipe, name="tiny/positions", data=DataSource(str(scene)), folder=folder))


@pytest.mark.parametrize("recipe", [regressor(), point_maps()], ids=["regressor", "point_maps"])
def test_both_stages_run_and_an_interrupted_training_ends_with_the_same_bits(
    recipe: Recipe, scene: Path, tmp_path: Path
) -> None:
    """16 training frames: 6 with an orientation make one batch of 4, and 10 without make two."""
    steps = [event for event in go(scene, tmp_path / "whole", recipe) if isinstance(event, Step)]
    assert [(step.epoch, step.step, step.steps) for step in steps] == [
        *((1, 1, 1), (2, 1, 1)),
        *((3, 1, 2), (3, 2, 2), (4, 1, 2), (4, 2, 2)),
    ]
    for stop in ((2, 1), (3, 1), (4, 1)):
        for event in go(scene, tmp_path / "broken", recipe):
            if isinstance(event, Step) and (event.epoch, event.step) == stop:
                break
    assert sum(isinstance(event, Epoch) for event in go(scene, tmp_path / "broken", recipe)) == 1
    for name in ("checkpoint", LAST):
        ours, theirs = (tmp_path / run / name / "weights.safetensors" for run in ("whole", "broken"))
        assert ours.read_bytes() == theirs.read_bytes()
    losses = read_log(tmp_path / "whole" / LOG)
    assert len(losses) == 4


@pytest.mark.usefixtures("no_report")
def test_the_checkpoint_has_the_full_poses_and_the_evaluation_all_frames(scene: Path, tmp_path: Path) -> None:
    for _ in go(scene, tmp_path / "run", regressor()):
        pass
    (poses,) = load_checkpoint(tmp_path / "run").training_poses
    assert len(poses) == 6
    assert bool(poses.is_finite().all())
    (found,) = evaluate_run(tmp_path / "run").results.sets
    loaded = datasets.load(scene)
    expected = baseline_errors(poses_of(loaded.test), poses_of(loaded.train)).nearest_pose
    assert len(loaded.train) == 18
    median = empirical_quantile(expected.meters, 0.5)
    assert found.nearest_training_pose.meters.median == pytest.approx(median)


def test_fine_tuning_by_positions_leaves_the_orientation_head_of_a_regressor_alone() -> None:
    images = tiny_images(8)
    alone = replace(images, world_from_cam=some_poses(8).without_orientation())
    model = tiny_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stage = Stage(epochs=2, learning_rate=1e-2, learns_from="positions", loss_weights={"orientation": 0.0})
    for _ in fit(model, alone, recipe_for_images(stage)):
        pass
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("backbone.") for name in changed)
    assert any(name.startswith("position_") for name in changed)
    assert not any(name.startswith("orientation_head") for name in changed)
    assert "pose_loss.orientation" not in changed


def test_a_stage_without_frames_is_reported_before_the_first_one_trains() -> None:
    recipe = recipe_for_images(*regressor().stages)
    with pytest.raises(RecipeError, match="with a position alone"):
        next(iter(fit(tiny_model(), tiny_images(8), recipe)))


def mixed_table(scene: Path, path: Path, *, every: int) -> None:
    """The scene as a table in which only every n-th training frame has a quaternion; 0 for none."""
    loaded = datasets.load(scene)
    kept = set(loaded.train[::every] if every else ())
    frames = tuple(
        frame if frame in kept else replace(frame, world_from_cam=frame.truth().without_orientation())
        for frame in loaded.train
    )
    table.write(Scene(loaded.name, frames, loaded.test), path)


@pytest.mark.usefixtures("no_report")
def test_a_table_of_mixed_frames_is_learned_in_one_stage(scene: Path, tmp_path: Path) -> None:
    mixed_table(scene, scene / "mixed.csv", every=2)
    recipe = replace(tiny_recipe(epochs=2), hold_out=HoldOut(every=3, block=1))
    for _ in go(scene / "mixed.csv", tmp_path / "run", recipe):
        pass
    log = read_log(tmp_path / "run" / LOG)
    assert all(math.isfinite(row[f"loss_{name}"]) for row in log for name in ("position", "orientation"))
    (poses,) = load_checkpoint(tmp_path / "run").training_poses
    assert 0 < len(poses) < 9, "some whole poses are held out"
    (found,) = evaluate_run(tmp_path / "run", out=tmp_path / "out").results.sets
    assert found.mean_training_pose.lost == 0
    assert found.mean_training_pose.degrees.median is not None


def test_frames_without_any_orientation_are_refused_in_one_sentence(scene: Path, tmp_path: Path) -> None:
    mixed_table(scene, scene / "positions.csv", every=0)
    with (scene / "positions.csv").open() as file:
        assert any(row["qw_world_from_cam"] == "" for row in csv.DictReader(file))
    data = DataSource(str(scene / "positions.csv"))
    with pytest.raises(DatasetError, match="no training frame with an orientation") as caught:
        prepare(tiny_recipe(), name="tiny/none", data=data, folder=tmp_path / "run")
    assert isinstance(caught.value, CamlocError)
    assert "positions.csv" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("function", [position_only.scene_geometry, position_only.posenet])
def test_the_recipes_fine_tune_by_positions_at_a_tenth_of_the_rate(function: object) -> None:
    assert callable(function)
    recipe: Recipe = function()
    first, second = recipe.stages
    assert recipe.keep_orientation_every == 3
    assert (first.learns_from, second.learns_from) == ("full", "positions")
    assert second.learning_rate == pytest.approx(first.learning_rate / 10)
    assert second.epochs == pytest.approx(first.epochs / 2, abs=1)
    assert not first.loss_weights
    assert second.loss_weights
    assert "position" not in second.loss_weights
    assert set(second.loss_weights.values()) == {0.0}


def test_the_recipes_are_found() -> None:
    assert find_recipe("position_only/scene-geometry").model == "scene_geometry"
    assert find_recipe("position_only/posenet").model == "hyperpose"
