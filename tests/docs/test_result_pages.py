"""Pages of results show the numbers of their files, and nothing that was typed."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmarks import (
    alignment,
    cached_training,
    check,
    damage,
    demo,
    exported,
    generators,
    geometry_ablations,
    hypernetworks,
    install,
    latency,
    many_frames,
    many_scenes,
    map_ablation,
    map_supervision,
    maps,
    out_of_distribution,
    paper_tables,
    pose_autoencoders,
    readers,
    refinement,
    regressors,
    robustness,
    rooms,
    scene_search,
    scenes,
    service,
    startup,
    structure_from_motion,
    tracking,
    training_curves,
)
from benchmarks.page import block
from benchmarks.rooms import ROOMS, Learned, MachineRuns, curve_figure, curve_name, curve_of
from benchmarks.trainings import MODEL_PAGE, Repeated, Table
from tests.support.trained import Made

from camloc.core.config import from_json, to_json
from camloc.evaluation.results import Results
from camloc.runs.manifest import RunManifest
from camloc.training.log import read_log

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"

# Every page by its name, the type of its numbers and the function that writes it.
PAGES: dict[str, tuple[type, Callable[[Any], str]]] = {
    "alignment": (dict, alignment.page),
    "cached_training": (dict, cached_training.page),
    "check": (dict, check.page),
    "corner": (rooms.Measured, rooms.page),
    "damage": (damage.Measured, damage.page),
    "demo": (demo.Measured, demo.page),
    "exported": (exported.Measured, exported.page),
    "generators": (dict, generators.page),
    "geometry_ablations": (geometry_ablations.Ablations, geometry_ablations.page),
    "hypernetworks": (hypernetworks.Measured, hypernetworks.page),
    "hololens": (rooms.Measured, rooms.page),
    "install": (install.Measured, install.page),
    "latency": (latency.Measured, latency.page),
    "many_scenes": (dict, many_scenes.page),
    "many_frames": (many_frames.Measured, many_frames.page),
    "map_ablation": (map_ablation.Measured, map_ablation.page),
    "map_supervision": (map_supervision.Measured, map_supervision.page),
    "maps": (maps.Measured, maps.page),
    "out_of_distribution": (out_of_distribution.Measured, out_of_distribution.page),
    "paper_tables": (paper_tables.Measured, paper_tables.page),
    "pose_autoencoders": (pose_autoencoders.Students, pose_autoencoders.page),
    "readers": (readers.Measured, readers.page),
    "redkitchen": (rooms.Measured, rooms.page),
    "refinement_cost": (dict, refinement.page),
    "regressors": (regressors.Measured, regressors.page),
    "robustness": (Table, robustness.page),
    "scene_search": (scene_search.Measured, scene_search.page),
    "scenes": (scenes.Measured, scenes.page),
    "structure_from_motion": (structure_from_motion.Measured, structure_from_motion.page),
    "startup": (startup.Measured, startup.page),
    "service": (service.Service, service.page),
    "tracking": (tracking.Measured, tracking.page),
    "training_curves": (training_curves.Measured, training_curves.page),
}
FIGURES = {
    "corner-cpu.svg",
    "hololens-cpu.svg",
    "hypernetworks.svg",
    "pose_autoencoders.png",
    "redkitchen-cpu.svg",
    "robustness.svg",
    "scenes.svg",
    "training_curves.svg",
}


def measured(name: str) -> Any:
    """The numbers of a page."""
    return from_json((RESULTS / f"{name}.json").read_bytes(), PAGES[name][0])


def test_the_folder_of_results_holds_every_page_with_its_numbers_and_figures_and_nothing_else() -> None:
    wanted = {f"{name}.{kind}" for name in PAGES for kind in ("json", "md")} | FIGURES
    assert {path.name for path in RESULTS.iterdir()} == wanted


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_the_numbers_of_its_file(name: str) -> None:
    assert (RESULTS / f"{name}.md").read_text() == PAGES[name][1](measured(name))


def test_the_page_on_hypernetworks_shows_the_numbers_of_the_other_pages() -> None:
    assert measured("hypernetworks") == hypernetworks.measured()


def test_the_figure_of_training_has_the_lines_of_its_file() -> None:
    """Other versions of matplotlib place them elsewhere."""
    drawn, committed = (
        training_curves.figure(measured("training_curves")),
        training_curves.FIGURE.read_bytes(),
    )
    assert drawn.count(b'<g id="line2d_') == committed.count(b'<g id="line2d_') > 0


@pytest.mark.parametrize(
    ("points", "reached"),
    [
        ([(10.0, 0.5, 9.0), (20.0, 0.3, 4.0), (30.0, 0.2, 3.0)], 20.0),
        ([(10.0, 0.3, 4.0), (20.0, 0.5, 9.0), (30.0, 0.2, 3.0)], 30.0),  # worse in between
        ([(10.0, 0.2, 3.0), (20.0, 0.2, 6.0)], None),  # in one half of the pose alone
    ],
)
def test_a_training_is_as_good_once_both_errors_stay_small(
    points: list[tuple[float, float, float]], reached: float | None
) -> None:
    assert training_curves.Curve(tuple(points), 0, 0.0, 0.0).reached(0.4, 5.0) == reached


@pytest.mark.parametrize("scene", ROOMS)
def test_a_room_has_a_figure_for_every_device_with_curves(scene: str) -> None:
    drawn = {curve_name(scene, each) for each in measured(scene).runs if curve_figure(each) is not None}
    assert drawn == {name for name in FIGURES if name.startswith(f"{scene}-")}


def test_the_readme_shows_the_measured_output_of_the_demo() -> None:
    assert block(ROOT / demo.README, demo.BLOCK) == demo.output(measured("demo"))


def test_the_maps_of_the_readme_are_those_that_were_measured() -> None:
    assert block(ROOT / maps.README, maps.BLOCK) == maps.summary(measured("maps"))


def test_the_readme_shows_the_table_of_red_kitchen() -> None:
    written = block(ROOT / rooms.README, rooms.BLOCK)
    assert written == rooms.summary(measured("redkitchen").runs[0], ROOMS["redkitchen"])


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("hypernetworks", hypernetworks.model_block),
        ("regressors", regressors.verdicts),
        ("robustness", robustness.verdict),
    ],
)
def test_the_page_of_hyperpose_shows_the_measured_verdicts(name: str, verdict: Callable[[Any], str]) -> None:
    module = {"hypernetworks": hypernetworks, "regressors": regressors, "robustness": robustness}[name]
    assert block(ROOT / MODEL_PAGE, module.BLOCK) == verdict(measured(name))


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
def runs(trained: Path, evaluated: Made, tmp_path_factory: pytest.TempPathFactory) -> MachineRuns:
    folder = shutil.copytree(evaluated.path, tmp_path_factory.mktemp("pages") / "run")
    for name in ("run.json", "log.jsonl"):
        (folder / name).write_bytes((trained / "run" / name).read_bytes())
    return MachineRuns("cpu", (learned(folder),))


def test_a_training_that_was_stopped_is_named(evaluated: Made) -> None:
    results = Results.load(evaluated.path / "results.json")
    assert results.training is not None
    for epochs, note in ((60, ""), (59, "PoseNet after 59 of 60 epochs")):
        training = replace(results.training, epochs=epochs, schedule_share=1.0)
        row = Repeated("one core", [replace(results, training=training)])
        page = regressors.page(regressors.Measured({"an hour": Table({"PoseNet": row})}))
        assert ("Stopped before" in page) == bool(note)
        assert note in page


def test_tables_of_other_budgets_and_machines_stand_beside_each_other(evaluated: Made) -> None:
    results = Results.load(evaluated.path / "results.json")
    found = regressors.Measured({})
    for machine in ("one core", "a GPU", "one core"):
        found = found.with_table(Table({"PoseNet": Repeated(machine, [results])}))
    assert [name.partition(", ")[2] for name in found.tables] == ["one core", "a GPU"]


def test_new_rows_replace_those_of_the_same_label(evaluated: Made) -> None:
    results = Results.load(evaluated.path / "results.json")
    old = Table({"b": Repeated("one core", [results]), "a": Repeated("one core", [results])})
    new = Table({"b": Repeated("two cores", [results, results])})
    both = old.with_rows(new, order=["a", "b", "c"])
    assert [(label, row.machine, len(row.results)) for label, row in both.rows.items()] == [
        ("a", "one core", 1),
        ("b", "two cores", 2),
    ]
    assert both.rows["b"].trainings() == "2 seeds, 6 epochs"


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
    both = rooms.Measured("hololens", (other,)).with_runs(runs).with_runs(other)
    assert [each.device for each in both.runs] == ["cpu", "cuda"]
    text = rooms.page(both)
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
    assert from_json(to_json(both), rooms.Measured) == both


def test_the_figure_of_a_room_is_small_and_missing_without_curves(runs: MachineRuns) -> None:
    figure = curve_figure(runs)
    assert figure is not None
    assert b"<svg" in figure
    assert len(figure) < 60_000
    silent = replace(runs, models=tuple(replace(each, curve=()) for each in runs.models))
    assert curve_figure(silent) is None
    assert ".svg" not in rooms.page(rooms.Measured("hololens", (silent,)))


def test_a_page_shows_what_other_seeds_give(runs: MachineRuns) -> None:
    (one,) = runs.models
    assert "several seeds" not in rooms.page(rooms.Measured("corner", (runs,)))
    errors = one.results.headline.estimates
    assert errors.meters.median is not None
    worse = replace(errors, meters=replace(errors.meters, median=errors.meters.median + 0.3))
    headline = replace(one.results.headline, estimates=worse)
    other = replace(one.results, headline=headline, sets=(headline, *one.results.sets[1:]))
    repeated = MachineRuns("cpu", (replace(one, other_seeds=(other,)),))
    text = rooms.page(rooms.Measured("corner", (repeated,)))
    first = errors.meters.median
    assert f"| {first + 0.15:.3f} m ({first:.3f} to {first + 0.3:.3f}) |" in text


def test_a_model_that_is_not_trained_again_keeps_its_numbers(runs: MachineRuns) -> None:
    (one,) = runs.models
    points, again = replace(one, label="scene geometry"), replace(one, machine="4 cores")
    known = rooms.Measured("hololens", (runs,)).with_runs(MachineRuns("cpu", (points,)))
    (kept,) = known.with_runs(MachineRuns("cpu", (again,))).runs
    assert [(each.label, each.machine) for each in kept.models] == [
        ("baseline APR", "4 cores"),
        ("scene geometry", "2 cores"),
    ]
