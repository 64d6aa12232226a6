"""Evaluating a run of a model that finds points leaves the points, also where images are damaged."""

from pathlib import Path

import pytest
from tests.support.models import small_config
from tests.support.trained import TEST_FRAMES, tiny_recipe, write_scene

from camloc.data import formats as datasets
from camloc.runs.evaluate import evaluate_run
from camloc.runs.manifest import DataSource
from camloc.runs.prepare import prepare
from camloc.runs.train import train
from camloc.training.recipe import Recipe

HEADING = "Learned scene geometry"


def geometry_recipe() -> Recipe:
    """A few updates of the smallest model that finds points."""
    whole = tiny_recipe(epochs=1)
    return Recipe(
        model="scene_geometry",
        config=small_config("scene_geometry"),
        preprocess=whole.preprocess,
        stages=whole.stages,
        augment=whole.augment,
        batch_size=whole.batch_size,
        hold_out=whole.hold_out,
    )


def test_a_damaged_image_does_not_keep_the_points_from_being_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMLOC_CACHE", str(tmp_path / "cache"))
    write_scene(tmp_path / "scene")
    data = DataSource(str(tmp_path / "scene"))
    for _ in train(prepare(geometry_recipe(), name="tiny/points", data=data, folder=tmp_path / "run")):
        pass
    datasets.load(tmp_path / "scene").test[1].image.write_bytes(b"\x89PNG")
    evaluation = evaluate_run(tmp_path / "run", out=tmp_path / "out")
    assert evaluation.results.headline.estimates.frames == TEST_FRAMES
    assert evaluation.results.headline.estimates.lost >= 1
    assert HEADING in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert (
        (tmp_path / "out" / "points.ply").read_bytes().startswith(b"ply\nformat binary_little_endian 1.0\n")
    )


def test_a_model_that_regresses_leaves_no_points(trained: Path, tmp_path: Path) -> None:
    evaluate_run(trained / "run", out=tmp_path)
    assert HEADING not in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not (tmp_path / "points.ply").exists()
