"""The page of several scenes and its curve, and the figure of a walk, from invented results."""

from dataclasses import replace
from pathlib import Path

from benchmarks.robustness import DRAWN, walk_figure
from benchmarks.scenes import Extensions, Measured, Together, extension_figure, page
from tests.support.estimates import line_of_poses, small_set

from camloc.core.config import from_json, to_json
from camloc.evaluation.errors import SceneDecision, score_sets
from camloc.evaluation.multi_scene import OneScene, ScenesResults
from camloc.evaluation.results import Results, results_of
from camloc.runs.extend import Comparison, ExtensionResults

KNOWN = (Comparison("garden", (0.1, 2.0), (0.11, 2.0), SceneDecision(80, 80), SceneDecision(80, 76)),)


def made_up(folder: Path) -> Measured:
    scored = score_sets([small_set(folder)], line_of_poses(3))
    found = results_of(scored, train_frames=3, model="m", recipe="r", scene="attic")
    twice = with_median(found, 2.0)
    every = ScenesResults("m", "r", (), 0.1, 1.0, SceneDecision(100, 99))
    parts = tuple(
        ExtensionResults(
            "run",
            fraction,
            2,
            "all",
            OneScene("attic", "m", each.headline),
            KNOWN,
            1.0,
            0.95,
        )
        for fraction, each in ((0.25, twice), (1.0, found))
    )
    kinds = ("MS-Transformer", "MS-HyperPose")
    return Measured(
        "1 of 2 cores",
        tuple(Together(kind, every, (twice,), (found,)) for kind in kinds),
        tuple(Extensions(kind, parts) for kind in kinds),
    )


def with_median(results: Results, factor: float) -> Results:
    errors = results.headline.estimates
    assert errors.meters.median is not None
    meters = replace(errors.meters, median=factor * errors.meters.median)
    headline = replace(results.headline, estimates=replace(errors, meters=meters))
    return replace(results, headline=headline, sets=(headline, *results.sets[1:]))


def test_the_page_has_the_ratios_that_its_numbers_give(tmp_path: Path) -> None:
    measured = made_up(tmp_path)
    text = page(measured)
    assert text.count("| 2.00, 1.00 |") == 4  # each kind: together over alone, and a quarter over all
    assert text.count("+10 %") == 4
    assert "99.0%" in text
    assert "1 of 2 cores" in text
    assert page(from_json(to_json(measured), Measured)) == text


def test_the_curve_has_every_part_of_every_kind(tmp_path: Path) -> None:
    measured = made_up(tmp_path)
    drawn = extension_figure(measured)
    assert drawn.startswith(b"<?xml")
    assert drawn == extension_figure(measured)
    (first, second), one = measured.extensions, measured.extensions[0].results[1:]
    assert extension_figure(replace(measured, extensions=(replace(first, results=one), second))) != drawn


def test_the_walk_is_drawn_from_the_estimates_of_runs(tmp_path: Path) -> None:
    def figure(meters: str) -> bytes:
        rows = ["set,meters", "occluded,0.5", f"occluded,{meters}", "day,0.1", "day,0.2"]
        (tmp_path / "estimates.csv").write_text("\n".join(rows))
        return walk_figure({label: [tmp_path] for label in DRAWN}, {"a": 0.0, "b": 0.4})

    assert figure("0.7").startswith(b"<?xml")
    assert figure("0.7") != figure("")  # a frame that was lost is a gap
