"""Evaluating a run of several places: each as a run of one, and a page that shows them together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from camloc.errors import DatasetError
from camloc.evaluation.places import PlacesResults, places_results, write_places
from camloc.evaluation.results import RESULTS_NAME, Results
from camloc.localizer import Localizer
from camloc.runs.evaluate import FrameProgress, evaluate_scene, test_sets
from camloc.runs.evaluated import facts_of, folder_of_results, sources_of
from camloc.runs.facts import DataSource
from camloc.runs.knowledge import thinned

PLACES = "places"


@dataclass(frozen=True, eq=False)
class PlacesEvaluation:
    """What an evaluation of several places found.

    Attributes:
        results: of the places together.
        places: of each place.
        report: the page that shows them all.
    """

    results: PlacesResults
    places: tuple[Results, ...]
    report: Path


def evaluate_places(
    run: Path,
    *,
    data: Sequence[DataSource] = (),
    out: Path | None = None,
    device: str = "cpu",
    refine: str = "none",
    progress: FrameProgress | None = None,
) -> PlacesEvaluation:
    """Locate the test frames of every place that a run has learned, or of those of `data`.

    Leaves in `places/<name>` of the folder that `folder_of_results` names what `evaluate_run` leaves of one
    place, and beside that folder a `results.json` and a `report.html` of all of them. A place without test
    frames is left out. Baselines copy only such photographs of a place that joined as were learned from.
    `refine` is that of `Localizer`.

    Raises:
        CheckpointError: the run is incomplete or damaged.
        DatasetError: there are no test frames at all, or the model has not learned a place of `data`.
        RecipeError: an exported file is evaluated on nothing.
    """
    facts = facts_of(run)
    out = folder_of_results(run, out)
    localizer = Localizer.load(run, device=device, refine=refine)
    scenes = [source.load() for source in sources_of(run, facts, data)]
    if facts is not None and facts.extension is not None and not data:
        scenes[-1] = thinned(scenes[-1], facts.extension.fraction)
    tested = [scene for scene in scenes if test_sets(scene)]
    if not tested:
        raise DatasetError(f"none of the places of {run} has test frames; name a split that has some")
    found = []
    for scene in tested:
        evaluation = evaluate_scene(
            scene,
            run=run,
            facts=facts,
            localizer=localizer,
            out=out / PLACES / scene.name,
            progress=progress,
        )
        found.append(evaluation.results)
    results = places_results(found)
    report = write_places(out, results)
    return PlacesEvaluation(results, tuple(found), report)


def place_results(folder: Path, place: str) -> Results:
    """What an earlier evaluation of a run of several places found about one of them."""
    return Results.load(folder / PLACES / place / RESULTS_NAME)
