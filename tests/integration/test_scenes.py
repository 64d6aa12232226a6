"""One model of several scenes: trained, distinguished, evaluated, exported, the same after interruptions."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.command_line import camloc, refused
from tests.support.damage import reseal
from tests.support.several_scenes import (
    AWAY,
    NAMES,
    prepared,
    scenes_recipe,
    stop_in_epoch,
    train_scenes,
    write_scenes,
)
from tests.support.trained import tiny_recipe

from camloc.cli.options import data_sources
from camloc.core.sealed import unsealed_json
from camloc.data.types import Located
from camloc.errors import CheckpointError, DatasetError, RecipeError
from camloc.evaluation.multi_scene import ScenesResults
from camloc.inference.localizer import Localizer
from camloc.inference.onnx.export import export_onnx
from camloc.models.checkpoint import load_checkpoint
from camloc.runs.evaluate import evaluate_run, evaluate_scenes, scene_results
from camloc.runs.manifest import DataSource, RunManifest
from camloc.runs.train import train
from camloc.training.log import read_log

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture(scope="module")
def sources(root: Path) -> tuple[DataSource, ...]:
    return write_scenes(root / "data")


@pytest.fixture(scope="module")
def learned(root: Path, sources: tuple[DataSource, ...]) -> Path:
    """A run that has learned both scenes, and its evaluation."""
    train_scenes(sources, root / "run")
    evaluate_scenes(root / "run")
    return root / "run"


@pytest.fixture(scope="module")
def exported_scenes(learned: Path) -> Path:
    """The run as an ONNX file."""
    export_onnx(load_checkpoint(learned), learned.parent / "model.onnx")
    return learned.parent / "model.onnx"


def test_a_checkpoint_names_its_scenes_and_keeps_the_poses_of_each(learned: Path) -> None:
    checkpoint = load_checkpoint(learned)
    assert checkpoint.metadata.scenes == NAMES
    assert checkpoint.metadata.config["scenes"] == 2
    garden, cellar = (poses.translation.mean() for poses in checkpoint.training_poses)
    assert abs(garden) < 5
    assert abs(cellar - AWAY) < 5
    assert RunManifest.load(learned).scenes == NAMES


def test_every_scene_has_its_own_world(learned: Path) -> None:
    centers = load_checkpoint(learned).model.get_buffer("world.center")
    assert centers.dtype == torch.float64
    assert float((centers[1] - centers[0]).min()) > AWAY - 5


def test_scenes_are_distinguished_and_answers_are_in_their_worlds(
    learned: Path, sources: tuple[DataSource, ...]
) -> None:
    localizer = Localizer.load(learned)
    for source, name, middle in zip(sources, NAMES, (0.0, AWAY), strict=True):
        for answer in localizer.locate_all(source.load().test):
            assert isinstance(answer, Located)
            assert answer.scene == name
            assert 0.5 < answer.probability <= 1.0
            assert np.abs(answer.world_from_cam.translation - np.asarray(middle)).max() < 10


def test_the_error_to_expect_is_that_of_the_scene(learned: Path, sources: tuple[DataSource, ...]) -> None:
    metadata = load_checkpoint(learned).metadata
    assert set(metadata.expected_errors) == set(NAMES)
    assert metadata.expected_error == pytest.approx(
        [sum(each) / 2 for each in zip(*metadata.expected_errors.values(), strict=True)]
    )
    answer = Localizer.load(learned).locate(sources[1].load().test[0].image)
    assert isinstance(answer, Located)
    assert answer.expected_error == metadata.expected_errors["cellar"]


def test_results_have_every_scene_and_how_often_it_was_named(learned: Path) -> None:
    results = ScenesResults.load(learned / "results.json")
    assert unsealed_json((learned / "results.json").read_bytes(), ScenesResults) == results
    assert [scene.name for scene in results.scenes] == list(NAMES)
    assert (results.decision.frames, results.decision.right) == (12, 12)
    medians = [scene.headline.estimates.meters.median or 0.0 for scene in results.scenes]
    assert results.meters == pytest.approx(sum(medians) / 2)
    for name in NAMES:
        single = scene_results(learned, name)
        assert single.scene == name
        assert single.headline.decision is not None
        assert single.headline.decision.share == 1.0
        files = {path.name for path in (learned / "scenes" / name).iterdir()}
        assert {"results.json", "estimates.csv", "estimates.tum", "truth.tum", "report.html"} <= files
        assert "Right scene" in (learned / "scenes" / name / "report.html").read_text()
    page = (learned / "report.html").read_text()
    assert all(f'href="scenes/{name}/report.html"' in page for name in NAMES)
    assert page.count("100 %") == 4


def test_validation_is_logged_with_the_share_of_right_scenes(learned: Path) -> None:
    rows = read_log(learned / "log.jsonl")
    assert rows[-1]["validation_right_scene"] == 1.0
    assert "loss_scene" in rows[0]
    assert rows[-1]["loss_scene"] < rows[0]["loss_scene"]


def test_an_exported_model_names_the_same_scenes(
    learned: Path, sources: tuple[DataSource, ...], exported_scenes: Path
) -> None:
    frames = [source.load().test[0] for source in sources]
    ours, theirs = (list(Localizer.load(path).locate_all(frames)) for path in (learned, exported_scenes))
    for one, other in zip(ours, theirs, strict=True):
        assert isinstance(one, Located)
        assert isinstance(other, Located)
        assert (one.scene, one.expected_error) == (other.scene, other.expected_error)
        assert one.probability == pytest.approx(other.probability, abs=1e-4)
        np.testing.assert_allclose(
            one.world_from_cam.matrix(), other.world_from_cam.matrix(), rtol=0, atol=1e-4
        )


def test_an_exported_model_is_evaluated_in_all_its_scenes(
    exported_scenes: Path, sources: tuple[DataSource, ...]
) -> None:
    found = evaluate_scenes(exported_scenes, data=sources)
    assert [each.scene for each in found.scenes] == list(NAMES)
    assert found.results.decision.share == 1.0
    folder = exported_scenes.with_suffix("")
    assert found.report == folder / "report.html"
    assert scene_results(folder, NAMES[1]).runtime == "ONNX Runtime"


def test_images_are_located_with_the_scene_and_its_probability(
    learned: Path, sources: tuple[DataSource, ...], capfd: Capture
) -> None:
    image = sources[1].load().test[0].image
    assert f"{image}  cellar (" in camloc(capfd, "locate", learned, image).out
    (row,) = json.loads(camloc(capfd, "locate", learned, image, "--format", "json").out)
    assert row["scene"] == "cellar"
    assert 0.5 < row["probability"] <= 1.0


@pytest.mark.usefixtures("no_report")
def test_a_run_of_several_scenes_is_evaluated_from_the_command_line(
    learned: Path, root: Path, tmp_path: Path, capfd: Capture
) -> None:
    ended = camloc(capfd, "evaluate", learned, "--out", tmp_path / "all")
    assert ended.status == 0, ended.err
    assert [name in ended.out for name in (*NAMES, "mean")] == [True] * 3
    cellar = ("--data", root / "data" / "cellar")
    assert camloc(capfd, "evaluate", learned, *cellar, "--out", tmp_path / "one").status == 0
    assert [scene.name for scene in ScenesResults.load(tmp_path / "one" / "results.json").scenes] == [
        "cellar"
    ]
    message = refused(capfd, "evaluate", learned, *cellar, "--scene", "attic", "--out", tmp_path / "attic")
    assert "has not learned 'attic', only garden, cellar" in message
    with pytest.raises(DatasetError, match="has learned 2 scenes"):
        evaluate_run(learned)


def test_a_training_that_was_stopped_ends_with_the_same_bits(
    sources: tuple[DataSource, ...], tmp_path: Path
) -> None:
    recipe = replace(scenes_recipe(epochs=3), balanced=True)
    train_scenes(sources, tmp_path / "whole", recipe)
    stop_in_epoch(sources, tmp_path / "stopped", 3, recipe)
    train_scenes(sources, tmp_path / "stopped", recipe)
    for name in ("weights.safetensors", "checkpoint.json"):
        whole = (tmp_path / "whole" / "last" / name).read_bytes()
        assert (tmp_path / "stopped" / "last" / name).read_bytes() == whole


def test_scenes_in_another_order_are_another_run(sources: tuple[DataSource, ...], tmp_path: Path) -> None:
    prepared(sources, tmp_path)
    with pytest.raises(CheckpointError, match="holds a run with other settings"):
        prepared(sources[::-1], tmp_path)


def test_frames_are_held_out_of_every_scene(sources: tuple[DataSource, ...], tmp_path: Path) -> None:
    training = prepared(sources, tmp_path)
    assert training.validation is not None
    assert training.validation.scene.bincount().tolist() == [2, 2]
    assert training.train.scene.bincount().tolist() == [16, 16]
    assert [len(frames) for frames in training.train_frames] == [16, 16]


@pytest.mark.usefixtures("no_report")
def test_one_scene_is_a_list_of_one(sources: tuple[DataSource, ...], tmp_path: Path) -> None:
    recipe = scenes_recipe(epochs=1)
    for _ in train(prepared(sources[:1], tmp_path, recipe)):
        pass
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.metadata.scenes == ("garden",)
    assert checkpoint.metadata.config["scenes"] == 1
    assert evaluate_run(tmp_path).results.headline.decision is None


def test_a_model_of_one_scene_refuses_several(sources: tuple[DataSource, ...], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="hyperpose learns one scene, not 2; take a recipe"):
        prepared(sources, tmp_path, tiny_recipe())


def test_two_scenes_need_two_names(sources: tuple[DataSource, ...], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="2 scenes are called 'garden'; give each a name with --scene"):
        prepared((sources[0], sources[0]), tmp_path)


def test_a_checkpoint_of_fewer_names_than_scenes_is_refused(learned: Path, tmp_path: Path) -> None:
    for name in ("weights.safetensors", "checkpoint.json"):
        (tmp_path / name).write_bytes((learned / "checkpoint" / name).read_bytes())
    metadata = json.loads((tmp_path / "checkpoint.json").read_text())
    (tmp_path / "checkpoint.json").write_text(json.dumps({**metadata, "scenes": ["garden"]}))
    reseal(tmp_path)
    with pytest.raises(CheckpointError, match="names 1 scenes for a model of 2"):
        load_checkpoint(tmp_path)


def test_several_folders_scenes_and_options_are_put_together(root: Path) -> None:
    data = root / "data"
    every = data_sources((data,), layout="auto", scenes=("all",), options=())
    assert [each.scene for each in every] == sorted(NAMES)
    assert {each.root for each in every} == {str(data.resolve())}
    both = (data / "garden", data / "cellar")
    named = data_sources(both, layout="auto", scenes=("a", "b"), options=("x=1", "b:y=2"))
    assert [(each.scene, each.options) for each in named] == [("a", {"x": "1"}), ("b", {"x": "1", "y": "2"})]
    assert [each.scene for each in data_sources(both, layout="auto", scenes=(), options=())] == ["", ""]


@pytest.mark.parametrize(
    ("count", "scenes", "options", "message"),
    [
        (0, (), (), "name the folder of the data set with --data"),
        (2, ("a",), (), "2 folders have 1 names; give one --scene for each --data"),
        (2, ("a", "b"), ("c:x=1",), "the option 'c:x=1' is for 'c', which no --scene names"),
        (1, ("all",), (), "has no folders that are scenes"),
    ],
)
def test_folders_and_names_that_do_not_belong_together_are_reported(
    count: int, scenes: tuple[str, ...], options: tuple[str, ...], message: str, root: Path
) -> None:
    folders = (root / "data" / "garden", root / "data" / "cellar")[:count]
    with pytest.raises((RecipeError, DatasetError), match=message):
        data_sources(folders, layout="auto", scenes=scenes, options=options)


def test_a_list_of_images_is_of_one_scene(root: Path) -> None:
    folders = (root / "data" / "garden", root / "data" / "cellar")
    with pytest.raises(RecipeError, match="a list of images is for a single scene"):
        data_sources(folders, layout="auto", scenes=(), options=(), train_list=root / "train.txt")
