"""`report.html`: what a run reached, in one file that opens anywhere, offline, and prints."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from camloc.core.files import write_atomically
from camloc.evaluation.baselines import balance_of, baseline_errors
from camloc.evaluation.errors import EvaluatedSet
from camloc.evaluation.predicted_points import CLOUD_NAME, MappedView, ply, point_cloud
from camloc.evaluation.report import page, sections
from camloc.evaluation.report.figures import curves_of, error_curves
from camloc.evaluation.report.frames import best_and_worst
from camloc.evaluation.report.learned import what_it_has_learned
from camloc.evaluation.report.words import WORDS, advice
from camloc.evaluation.results import RESULTS_NAME, Results, headline_of
from camloc.evaluation.trajectory import (
    CSV_NAME,
    ESTIMATE_TUM_NAME,
    TRUTH_TUM_NAME,
    estimates_csv,
    estimates_tum,
    truth_tum,
)
from camloc.geometry.pose import Pose

REPORT_NAME = "report.html"


def write_evaluation(
    folder: Path,
    results: Results,
    sets: Sequence[EvaluatedSet],
    training_poses: Pose,
    *,
    log: Sequence[Mapping[str, float]] = (),
    mapped: Mapping[int, MappedView] | None = None,
) -> None:
    """Write all that an evaluation leaves: results.json, estimates.csv, two TUM files, report.html.

    Models that find points in images leave points.ply as well. The arguments are those of
    `write_report`.

    Raises:
        CamlocError: a file cannot be written.
        DatasetError: there are no test frames or no training poses.
    """
    headline = headline_of(sets)
    results.save(folder / RESULTS_NAME)
    write_atomically(folder / CSV_NAME, estimates_csv(sets))
    write_atomically(folder / ESTIMATE_TUM_NAME, estimates_tum(headline.frames, headline.answers()))
    write_atomically(folder / TRUTH_TUM_NAME, truth_tum(headline.frames))
    if mapped:
        write_atomically(folder / CLOUD_NAME, ply(point_cloud(mapped.values())))
    write_report(folder, results, sets, training_poses, log=log, mapped=mapped)


def write_report(
    folder: Path,
    results: Results,
    sets: Sequence[EvaluatedSet],
    training_poses: Pose,
    *,
    log: Sequence[Mapping[str, float]] = (),
    mapped: Mapping[int, MappedView] | None = None,
) -> Path:
    """Write `report.html` into a folder and return its path.

    Args:
        folder: of the run; made where it is missing.
        results: of `results_of` for the same sets.
        sets: the test sets, whose images are read for the best and the worst frames.
        training_poses: (m,) poses of the training frames.
        log: rows of the training log; see `figures.training_curve`.
        mapped: for models that find points in images, what they say about some frames of the first
            test set, by the frames' row in it.

    Raises:
        CamlocError: the file cannot be written.
        DatasetError: there are no test frames or no training poses.
    """
    path = folder / REPORT_NAME
    write_atomically(path, report_html(results, sets, training_poses, log=log, mapped=mapped))
    return path


def report_html(
    results: Results,
    sets: Sequence[EvaluatedSet],
    training_poses: Pose,
    *,
    log: Sequence[Mapping[str, float]] = (),
    mapped: Mapping[int, MappedView] | None = None,
) -> str:
    """The page that `write_report` writes."""
    headline = headline_of(sets)
    errors = headline.errors()
    baselines = baseline_errors(headline.truth(), training_poses)
    balance = balance_of(training_poses)
    curves = curves_of(errors, baselines)
    parts = [
        sections.header(results),
        sections.tiles(results),
        f"<h2>{'Results' if len(results.sets) == 1 else 'Results on ' + escape(results.headline.name)}</h2>",
        sections.numbers(results.headline, results.unit),
        '<p class="note">Position over orientation. The words are explained at the end.</p>',
        "<h2>How many are near enough</h2>",
        sections.recalls(results.headline, results.unit),
        sections.refinements(results),
        "<h2>How errors are distributed</h2>",
        page.drawing(
            *error_curves(curves, unit=results.unit),
            title="Share of images within an error, over the error",
            caption="The farther left and up a line is, the better. Where it crosses the dotted line is the "
            "median; a line that ends below 100 % has lost images. Errors are on a logarithmic scale.",
        ),
        "<h2>Map</h2>",
        sections.map_of_cameras(headline, training_poses, results.unit),
        sections.test_sets(results, sets, training_poses),
        best_and_worst(
            headline.frames,
            headline.answers(),
            errors,
            baselines.nearest_pose,
            meters_per_degree=balance,
            unit=results.unit,
        ),
        what_it_has_learned(headline, mapped or {}, training_poses, unit=results.unit),
        sections.training(log, results.unit),
        sections.metadata(results),
        "<h2>What the words mean</h2>",
        page.definitions(WORDS, kind="words"),
        sections.how_to_go_on(advice(results, errors, baselines, meters_per_degree=balance)),
        "<footer>Made by camloc. This file holds everything it shows, small copies of some test images "
        "included; it loads nothing from elsewhere.</footer>",
    ]
    title = f"{results.scene}: {results.model} · camloc report"
    return page.whole_page(title, "\n".join(part for part in parts if part))
