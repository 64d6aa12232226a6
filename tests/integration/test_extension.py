"""Extending a run by a scene: initial weights, training parameters, messages, and the old run unchanged."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.integration.conftest import made
from tests.support.command_line import listing, refused
from tests.support.several_scenes import (
    NAMES,
    scenes_recipe,
    train_scenes,
    write_lit_scene,
    write_scenes,
)

from camloc.data.types import Located
from camloc.errors import CheckpointError
from camloc.inference.localizer import Localizer
from camloc.models.checkpoint import load_checkpoint
from camloc.models.multi_scene import MultiSceneRegressor, latents_in
from camloc.runs import evaluate
from camloc.runs.evaluate import scene_results
from camloc.runs.extend import ExtensionResults, extension_recipe, load_partial_weights, recipe_of
from camloc.runs.manifest import DataSource, Extension, RunManifest

Capture = pytest.CaptureFixture[str]
State = dict[str, torch.Tensor]
Extend = Callable[[str, int], Path]


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two scenes, and the data of a third."""
    root = tmp_path_factory.mktemp("extension")
    train_scenes(write_scenes(root / "data"), root / "run")
    write_lit_scene(root / "attic", light=(0.0, 0.2, 0.9), away=-500.0)
    return root / "run"


def extended(
    run: Path, out: Path, *options: str, data: Path | None = None, has_report: bool = False
) -> ExtensionResults:
    """Extend a run by the scene in `data`, the attic beside the run by default."""
    data = data or run.parent / "attic"
    with pytest.MonkeyPatch.context() as patch:
        # Drawing the reports of the scenes before and after takes longer than everything else.
        patch.setattr(evaluate, "has_extra", lambda _extra: has_report)
        ended = made("extend", run, *options, "--data", data, "--out", out)
    assert ("report.html" in ended.err) == has_report
    assert data.name in ended.out
    return ExtensionResults.load(out)


@pytest.fixture(scope="module")
def extension(trained_run: Path) -> Extend:
    """A run that extends `trained_run`, by the parameters that train and the epochs. Not to be changed."""

    @cache
    def of(moves: str, epochs: int) -> Path:
        out = trained_run.parent / f"{moves}-{epochs}"
        extended(trained_run, out, "--epochs", str(epochs), "--moves", moves)
        return out

    return of


def states(trained_run: Path, out: Path) -> tuple[State, State]:
    return load_checkpoint(trained_run).model.state_dict(), load_checkpoint(out / "last").model.state_dict()


def test_a_scene_is_added_and_the_old_run_stays(trained_run: Path, tmp_path: Path) -> None:
    before = listing(trained_run)
    results = extended(trained_run, tmp_path / "new", "--epochs", "20", "--fraction", "0.5", has_report=True)
    assert listing(trained_run) == before
    checkpoint = load_checkpoint(tmp_path / "new")
    assert checkpoint.metadata.scenes == (*NAMES, "attic")
    assert [len(poses) for poses in checkpoint.training_poses] == [16, 16, 8]
    metadata = RunManifest.load(tmp_path / "new")
    assert metadata.extension == Extension(str(trained_run.resolve()), 0.5)
    assert [each.scene for each in results.known] == list(NAMES)
    assert results.new.name == "attic"
    assert (results.fraction, results.epochs, results.moves) == (0.5, 20, "all")
    assert results.right_before == 1.0
    # The nearest training pose is taken from the training frames in use, and no others of the new scene.
    assert scene_results(tmp_path / "new", "attic").train_frames == 9
    assert scene_results(tmp_path / "new", NAMES[0]).train_frames == 18
    image = DataSource(str(trained_run.parent / "attic")).load().test[0].image
    answer = Localizer.load(tmp_path / "new").locate(image)
    assert isinstance(answer, Located)
    assert answer.scene == "attic"
    assert np.abs(answer.world_from_cam.translation + 500.0).max() < 10


def test_the_worlds_of_known_scenes_are_loaded(trained_run: Path, extension: Extend) -> None:
    known, now = states(trained_run, extension("all", 1))
    for name in ("world.center", "world.camera_radius", "world.orientation"):
        assert torch.equal(now[name][:2], known[name])
    assert float((now["world.center"][2] + 500.0).abs().max()) < 5


@pytest.mark.parametrize("moves", ["scene", "heads"])
def test_parameters_that_do_not_train_stay_the_same(moves: str, trained_run: Path, extension: Extend) -> None:
    known, now = states(trained_run, extension(moves, 1))
    changed = {
        name
        for name, value in known.items()
        if not name.startswith("world.")
        and not torch.equal(value, now[name][: len(value)] if value.ndim else now[name])
    }
    if moves == "scene":
        assert changed == set()
    else:
        assert {"scene.weight", "position_transformer.query_of_scene"} <= changed
        assert all(
            name.startswith(("scene.", "pose_loss.", "position_h", "orientation_h"))
            or name.endswith("_of_scene")
            for name in changed
        )
    new = now["position_transformer.query_of_scene"]
    assert new.shape[0] == 3


def test_poses_in_known_scenes_stay_the_same_to_the_last_bit_where_only_the_new_scene_trains(
    trained_run: Path, extension: Extend
) -> None:
    new_run = extension("scene", 2)
    known, now = load_checkpoint(trained_run).model, load_checkpoint(new_run / "last").model
    assert isinstance(known, MultiSceneRegressor)
    assert isinstance(now, MultiSceneRegressor)
    images = torch.rand(5, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for number in range(len(NAMES)):
            scene = torch.full((5,), number)
            before, after = (
                model.pose_in(latents_in(model.encode(images), scene), scene) for model in (known, now)
            )
            assert torch.equal(before.translation, after.translation)
            assert torch.equal(before.rotation, after.rotation)
    later = [value for name, value in now.named_parameters() if ".of_group.0.output" in name]
    assert later
    assert all(bool(value.any()) for value in later)
    # A scene whose images are all put into it has the errors that it had.
    for each in ExtensionResults.load(new_run).known:
        assert each.decided_after is not None
        if each.decided_after.right == each.decided_after.frames:
            assert each.after == each.before


def test_a_scene_in_a_group_of_its_own_can_be_followed_by_others(tmp_path: Path, extension: Extend) -> None:
    write_lit_scene(tmp_path / "loft", light=(0.9, 0.9, 0.2), away=300.0)
    for moves in ("scene", "all"):
        out, data = tmp_path / moves, tmp_path / "loft"
        extended(extension("scene", 1), out, "--epochs", "1", "--moves", moves, data=data)
        metadata = load_checkpoint(out).metadata
        assert metadata.scenes == (*NAMES, "attic", "loft")
        assert metadata.config["groups"] == ([2, 1, 1] if moves == "scene" else [2, 2])


def test_only_the_new_scenes_rows_train_where_nothing_else_does(trained_run: Path, extension: Extend) -> None:
    one, two = (states(trained_run, extension("scene", epochs))[1] for epochs in (1, 2))
    name = "position_transformer.query_of_scene"
    assert torch.equal(one[name][:2], two[name][:2])
    assert not torch.equal(one[name][2], two[name][2])


def test_the_same_command_again_trains_nothing_anew(
    trained_run: Path, extension: Extend, capfd: Capture
) -> None:
    weights = (extension("heads", 1) / "checkpoint" / "weights.safetensors").read_bytes()
    extended(trained_run, extension("heads", 1), "--epochs", "1", "--moves", "heads")
    assert (extension("heads", 1) / "checkpoint" / "weights.safetensors").read_bytes() == weights
    data = ("--data", trained_run.parent / "attic", "--out", extension("heads", 1))
    message = refused(capfd, "extend", trained_run, *data, "--fraction", "0.5")
    assert "holds a run with other settings" in message


@pytest.fixture(scope="module")
def cached_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two scenes on cached features, and the data of a third."""
    root = tmp_path_factory.mktemp("cached-extension")
    frozen = ("backbone.network.*conv1.[0-9].*", "backbone.network.*bn1.*", "backbone.network.*layer1.*")
    (stage,) = scenes_recipe(epochs=1).stages
    recipe = replace(scenes_recipe(), stages=(replace(stage, batch_norm="frozen"),)).cached(2, frozen=frozen)
    train_scenes(write_scenes(root / "data"), root / "run", recipe)
    write_lit_scene(root / "attic", light=(0.0, 0.2, 0.9), away=-500.0)
    return root / "run"


@pytest.mark.parametrize("moves", ["all", "scene"])
def test_a_run_on_cached_features_is_extended_on_them(moves: str, cached_run: Path, tmp_path: Path) -> None:
    results = extended(cached_run, tmp_path / "new", "--epochs", "1", "--moves", moves)
    assert results.new.name == "attic"
    assert RunManifest.load(tmp_path / "new").feature_seconds > 0
    known, now = states(cached_run, tmp_path / "new")
    still = [name for name in known if name.startswith("backbone.") and "layer1" in name]
    assert still
    assert all(torch.equal(now[name], known[name]) for name in still)


def test_impossible_settings_are_refused(trained_run: Path, tmp_path: Path, capfd: Capture) -> None:
    command = ("extend", trained_run, "--data", trained_run.parent / "attic", "--out", tmp_path / "new")
    assert "fraction of 0 of the frames cannot be" in refused(capfd, *command, "--fraction", "0")
    assert "needs 1 epoch or more, not 0" in refused(capfd, *command, "--epochs", "0")
    garden = (
        "extend",
        trained_run,
        "--data",
        trained_run.parent / "data" / "garden",
        "--out",
        tmp_path / "new",
    )
    assert "2 scenes are called 'garden'" in refused(capfd, *garden)


def test_a_run_cannot_be_extended_by_another_network(trained_run: Path) -> None:
    recipe = extension_recipe(recipe_of(RunManifest.load(trained_run)), known=2, epochs=1)
    assert recipe.balanced
    assert recipe.stages[0].epochs == 1
    from tests.support.tiny_training import tiny_model

    with pytest.raises(CheckpointError, match="holds another network"):
        load_partial_weights(tiny_model(), trained_run)
