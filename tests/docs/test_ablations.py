"""The ablations: each line has a row, each row trains once, and the page shows the numbers."""

from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks import geometry_ablations
from benchmarks.ablation_rows import SCENES, SceneName, rows_of, tables_of
from benchmarks.geometry_ablations import Ablations, Settings, page
from tests.support.command_line import listing

from camloc.core.config import from_json, to_builtins
from camloc.models import build_model
from camloc.training.optim import start_stage


@pytest.mark.parametrize("scene", SCENES)
def test_every_line_of_a_table_has_a_row_with_its_method_and_every_row_has_a_line(
    scene: SceneName,
) -> None:
    rows = {row.key: row for row in rows_of(scene, epochs=3, scratch_epochs=2)}
    lines = [line for table in tables_of(scene) for line in table.lines]
    if scene == "redkitchen":  # nothing in it moves, and nobody has drawn masks for it
        lines = [line for line in lines if line.method != "none, masked"]
    assert {line.key for line in lines} == set(rows)
    assert all(line.method in rows[line.key].methods for line in lines)


@pytest.mark.parametrize("scene", SCENES)
def test_rows_differ_and_differ_from_the_base_by_little(scene: SceneName) -> None:
    rows = {row.key: row.recipe for row in rows_of(scene, epochs=3, scratch_epochs=2)}
    settings = [str(to_builtins(recipe)) for recipe in rows.values()]
    assert len(set(settings)) == len(settings)
    base = rows["base"]
    for key in ("grid 8", "grid 4", "alike", "direct points", *(key for key in rows if "losses" in key)):
        assert replace(rows[key], config=base.config) == base, key
    for key in ("third", "regressor third"):
        tuned = rows[key.replace("third", "positions")]
        assert replace(tuned, stages=tuned.stages[:1]) == rows[key]
        # A third of the frames, three times as often: as many steps as the row with all poses.
        assert rows[key].epochs == 3 * base.epochs
        assert (tuned.keep_orientation_every, tuned.stages[1].learns_from) == (3, "positions")


@pytest.mark.parametrize("scene", SCENES)
def test_every_row_trains_what_its_stages_name(scene: SceneName) -> None:
    for row in rows_of(scene, epochs=3, scratch_epochs=2):
        model = build_model(row.recipe.model, row.recipe.config)
        for stage in row.recipe.stages:
            start_stage(stage, model)
        trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
        is_end_to_end = "backbone" in row.key or row.key.startswith("regressor") or scene == "demo"
        assert any(name.startswith("backbone.") for name in trained) == is_end_to_end, row.key


def test_a_row_is_trained_once_and_shown_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMLOC_CACHE", str(tmp_path / "cache"))
    settings = Settings(
        scenes=("demo",),
        rows=("base",),
        epochs=1,
        demo_frames=16,
        demo_test_frames=2,
        results=tmp_path / "results" / "ablations.json",
        out=tmp_path / "runs",
    )
    geometry_ablations.main(settings)
    ablations = from_json(settings.results.read_bytes(), Ablations)
    (row,) = ablations.measurements
    assert (row.key, row.seed, row.epochs, row.frames) == ("base", 0, 1, 16)
    assert set(row.errors) == {"weights", "none", "none, masked", "rigid-ransac", "pnp-ransac"}
    assert all(set(by_set) == {"day", "occluded"} for by_set in row.errors.values())
    text = settings.results.with_suffix(".md").read_text()
    assert text == page(ablations)
    for part in ("Table II", "Table III", "Table IV", "people and cars masked", "nearest training pose"):
        assert part in text
    assert "Backbones" not in text
    before = listing(tmp_path / "runs")
    geometry_ablations.main(settings)
    assert listing(tmp_path / "runs") == before
    assert from_json(settings.results.read_bytes(), Ablations) == ablations
