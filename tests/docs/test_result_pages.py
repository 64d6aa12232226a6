"""Pages of results say what their files of numbers say, and nothing that was typed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmarks import (
    cached_training,
    compact_generators,
    exported,
    hypernetworks,
    latency_page,
    refinement_page,
    regressors,
    regressors_page,
    robustness,
    scenes_page,
    strangers,
    student_page,
)
from benchmarks.many_scenes_page import Costs
from benchmarks.many_scenes_page import page as many_scenes_page
from benchmarks.room_page import (
    ROOMS,
    Learned,
    MachineRuns,
    Measured,
    curve_figure,
    curve_name,
    page,
    summary,
)
from benchmarks.rooms import curve_of
from benchmarks.trainings import Repeated, Table

from camloc.core.config import from_json, to_json
from camloc.evaluation.results import Results
from camloc.runs.evaluate import evaluate_run
from camloc.runs.manifest import RunManifest
from camloc.training.log import read_log

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
MEASURED = [scene for scene in ROOMS if (RESULTS / f"{scene}.json").exists()]


def learned(folder: Path) -> Learned:
    results = Results.load(folder / "results.json")
    return Learned(
        "baseline APR",
        "room/baseline",
        results,
        "2 cores",
        curve_of(folder),
        {"none": results.headline.estimates},
    )


@pytest.fixture(scope="module")
def runs(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> MachineRuns:
    folder = tmp_path_factory.mktemp("pages") / "run"
    evaluate_run(trained / "run", out=folder)
    for name in ("run.json", "log.jsonl"):
        (folder / name).write_bytes((trained / "run" / name).read_bytes())
    return MachineRuns("cpu", (learned(folder),))


@pytest.mark.parametrize("scene", MEASURED)
def test_a_rooms_page_is_what_its_numbers_give(scene: str) -> None:
    measured = Measured.load(RESULTS / f"{scene}.json")
    assert (RESULTS / f"{scene}.md").read_text() == page(measured, ROOMS[scene])
    for each in measured.runs:
        assert (RESULTS / curve_name(scene, each)).exists() == (curve_figure(each) is not None)


PAGES: tuple[tuple[str, type, Callable[[Any], str]], ...] = (
    ("refinement_cost", refinement_page.Measured, refinement_page.page),
    ("latency", latency_page.Measured, latency_page.page),
    ("many_scenes", Costs, many_scenes_page),
    ("scenes", scenes_page.Measured, scenes_page.page),
    ("exported", exported.Measured, exported.page),
    ("regressors", regressors_page.Measured, regressors_page.page),
    ("robustness", Table, robustness.page),
    ("strangers", strangers.Measured, strangers.page),
    ("compact_generators", compact_generators.Measured, compact_generators.page),
    ("cached_training", cached_training.Measured, cached_training.page),
    ("pose_autoencoders", student_page.Students, student_page.page),
)


@pytest.mark.parametrize(("name", "kind", "page_of"), PAGES, ids=[name for name, *_ in PAGES])
def test_a_page_is_what_its_numbers_give(name: str, kind: type, page_of: Callable[[Any], str]) -> None:
    measured: Any = from_json((RESULTS / f"{name}.json").read_bytes(), kind)
    assert (RESULTS / f"{name}.md").read_text() == page_of(measured)


@pytest.mark.parametrize(
    ("path", "block", "said"),
    [
        (
            hypernetworks.MODEL_PAGE,
            regressors.BLOCK,
            lambda: regressors_page.verdicts(regressors_page.Measured.load(RESULTS / "regressors.json")),
        ),
        (
            hypernetworks.MODEL_PAGE,
            robustness.BLOCK,
            lambda: robustness.verdict(Table.load(RESULTS / "robustness.json")),
        ),
    ],
    ids=["regressors", "robustness"],
)
def test_the_models_page_says_whether_hypernetworks_helped(
    path: Path, block: str, said: Callable[[], str]
) -> None:
    text = (ROOT / path).read_text()
    written = text.partition(f"<!-- {block}:")[2].partition(f"<!-- end of {block} -->")[0]
    assert written.partition("-->")[2].strip() == said()


def test_a_training_that_was_stopped_is_named(trained: Path, tmp_path: Path) -> None:
    evaluate_run(trained / "run", out=tmp_path / "run")
    results = Results.load(tmp_path / "run" / "results.json")
    assert results.training is not None
    for epochs, said in ((60, ""), (59, "PoseNet after 59 of 60 epochs")):
        training = replace(results.training, epochs=epochs, schedule_share=1.0)
        row = Repeated("one core", [replace(results, training=training)])
        page = regressors_page.page(regressors_page.Measured({"an hour": Table({"PoseNet": row})}))
        assert ("Stopped before" in page) == bool(said)
        assert said in page


def test_tables_of_other_budgets_and_machines_stand_beside_each_other(trained: Path, tmp_path: Path) -> None:
    evaluate_run(trained / "run", out=tmp_path / "run")
    results = Results.load(tmp_path / "run" / "results.json")
    measured = regressors_page.Measured({})
    for machine in ("one core", "a GPU", "one core"):
        measured = measured.with_table(Table({"PoseNet": Repeated(machine, [results])}))
    assert [name.partition(", ")[2] for name in measured.tables] == ["one core", "a GPU"]


def test_rows_measured_anew_take_the_scene_of_their_like(trained: Path, tmp_path: Path) -> None:
    evaluate_run(trained / "run", out=tmp_path / "run")
    results = Results.load(tmp_path / "run" / "results.json")
    old = Table({"b": Repeated("one core", [results]), "a": Repeated("one core", [results])})
    new = Table({"b": Repeated("two cores", [results, results])})
    both = old.with_rows(new, order=["a", "b", "c"])
    assert [(label, row.machine, len(row.results)) for label, row in both.rows.items()] == [
        ("a", "one core", 1),
        ("b", "two cores", 2),
    ]
    assert both.rows["b"].words() == "2 seeds, 6 epochs, two cores"


def test_the_readme_has_the_table_of_red_kitchens_page() -> None:
    measured = Measured.load(RESULTS / "redkitchen.json")
    assert summary(measured.runs[0], ROOMS["redkitchen"]) in (ROOT / "README.md").read_text()


def test_a_curve_has_the_seconds_of_features_and_of_training(trained: Path, tmp_path: Path) -> None:
    rows = [row for row in read_log(trained / "run" / "log.jsonl") if "validation_meters" in row]
    assert curve_of(trained / "run") == tuple(
        (round(row["seconds"], 1), row["validation_meters"], row["validation_degrees"]) for row in rows
    )
    (tmp_path / "log.jsonl").write_bytes((trained / "run" / "log.jsonl").read_bytes())
    replace(RunManifest.load(trained / "run"), feature_seconds=100.0).save(tmp_path)
    assert curve_of(tmp_path)[0][0] == pytest.approx(100.0 + rows[0]["seconds"], abs=0.06)


def test_a_page_shows_each_device_with_its_figure(runs: MachineRuns) -> None:
    (one,) = runs.models
    other = MachineRuns("cuda", (replace(one, machine="some GPU, 16 cores"),))
    measured = Measured("hololens", (other,)).with_runs(runs).with_runs(other)
    assert [each.device for each in measured.runs] == ["cpu", "cuda"]
    text = page(measured, ROOMS["hololens"])
    for part in (
        "## On a CPU",
        "## On a GPU",
        "hololens-cpu.svg",
        "hololens-cuda.svg",
        "some GPU",
        "2 cores",
    ):
        assert part in text
    assert f"| {runs.models[0].results.parameters:,} |" in text
    assert from_json(to_json(measured), Measured) == measured


def test_the_figure_shows_every_model_over_minutes(runs: MachineRuns) -> None:
    figure = curve_figure(runs)
    assert figure is not None
    assert b"minutes" in figure or b"<svg" in figure
    assert len(figure) < 60_000
    silent = replace(runs, models=tuple(replace(each, curve=()) for each in runs.models))
    assert curve_figure(silent) is None
    assert ".svg" not in page(Measured("hololens", (silent,)), ROOMS["hololens"])


def test_a_page_shows_what_other_seeds_give(runs: MachineRuns) -> None:
    (one,) = runs.models
    assert "several seeds" not in page(Measured("corner", (runs,)), ROOMS["corner"])
    errors = one.results.headline.estimates
    assert errors.meters.median is not None
    worse = replace(errors, meters=replace(errors.meters, median=errors.meters.median + 0.3))
    headline = replace(one.results.headline, estimates=worse)
    other = replace(one.results, headline=headline, sets=(headline, *one.results.sets[1:]))
    repeated = MachineRuns("cpu", (replace(one, other_seeds=(other,)),))
    text = page(Measured("corner", (repeated,)), ROOMS["corner"])
    first = errors.meters.median
    assert f"| {first + 0.15:.3f} m ({first:.3f} to {first + 0.3:.3f}) |" in text


def test_a_model_that_is_not_trained_again_keeps_its_numbers(runs: MachineRuns) -> None:
    (one,) = runs.models
    points, again = replace(one, label="scene geometry"), replace(one, machine="4 cores")
    measured = Measured("hololens", (runs,)).with_runs(MachineRuns("cpu", (points,)))
    measured = measured.with_runs(MachineRuns("cpu", (again,)))
    (kept,) = measured.runs
    assert [(each.label, each.machine) for each in kept.models] == [
        ("baseline APR", "4 cores"),
        ("scene geometry", "2 cores"),
    ]
