"""`results.json` and `report.html` of a model of several places: the places side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from statistics import fmean
from typing import Any

from rich import box
from rich.table import Table

from camloc.core.config import from_json, to_json
from camloc.core.files import write_atomically
from camloc.data.types import Unit
from camloc.errors import CheckpointError, RecipeError
from camloc.evaluation.errors import PlaceDecision, all_decisions
from camloc.evaluation.report import page
from camloc.evaluation.report.wording import angle, distance, percent, plain
from camloc.evaluation.results import RESULTS_NAME, Results, SetResults, TrainingFacts

_REPORT = "report.html"
_HEADINGS = ("median", "90 %", "nearest training pose", "right place", "lost")


@dataclass(frozen=True)
class OnePlace:
    """What of a place stands in the results of all.

    Attributes:
        name: of the place.
        unit: of its positions.
        headline: its first test set; all of them are in `places/<name>/results.json`.
    """

    name: str
    unit: Unit
    headline: SetResults


@dataclass(frozen=True)
class PlacesResults:
    """What one model reached in several places.

    Attributes:
        model, recipe: names of the network and of its settings.
        places: each place's first test set.
        meters, degrees: means over the places of the medians, as papers average; None where one is
            infinite, and metres also where a place is not metric.
        decision: how often the right place was named in all of them.
        parameters: number of learned values.
        training: seed, device and budget.
        settings: the recipe's settings as plain values.
        software: versions of what it ran on.
        format: of this file.
    """

    model: str
    recipe: str
    places: tuple[OnePlace, ...]
    meters: float | None
    degrees: float | None
    decision: PlaceDecision
    parameters: int | None = None
    training: TrainingFacts | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=dict)
    format: int = 1

    @classmethod
    def load(cls, path: Path) -> "PlacesResults":
        """Read the `results.json` of a run of several places.

        Raises:
            CheckpointError: no such file, not JSON, or keys of another version.
        """
        try:
            return from_json(path.read_bytes(), cls)
        except (OSError, RecipeError) as problem:
            raise CheckpointError(f"{path} is not a results file of several places: {problem}") from None


def places_results(results: Sequence[Results]) -> PlacesResults:
    """The results of several places, from those of each."""
    first = results[0]
    places = tuple(OnePlace(each.scene, each.unit, each.headline) for each in results)
    decisions = [each.headline.decision for each in results if each.headline.decision is not None]
    is_metric = all(each.unit == "m" for each in results)
    return PlacesResults(
        model=first.model,
        recipe=first.recipe,
        places=places,
        meters=_mean([each.headline.estimates.meters.median for each in results]) if is_metric else None,
        degrees=_mean([each.headline.estimates.degrees.median for each in results]),
        decision=all_decisions(decisions),
        parameters=first.parameters,
        training=first.training,
        settings=first.settings,
        software=first.software,
    )


def write_places(folder: Path, results: PlacesResults) -> Path:
    """Write `results.json` and `report.html` of all places into a folder; returns the report's path.

    Raises:
        CamlocError: a file cannot be written.
    """
    write_atomically(folder / RESULTS_NAME, to_json(results))
    write_atomically(folder / _REPORT, places_html(results))
    return folder / _REPORT


def places_table(results: PlacesResults) -> Table:
    """The places for the terminal, and their mean."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("place", no_wrap=True)
    for heading in _HEADINGS:
        table.add_column(heading, justify="right")
    for place in results.places:
        table.add_row(plain(place.name), *_cells(place))
    table.add_section()
    table.add_row("mean", *_mean_cells(results), style="bold")
    return table


def places_html(results: PlacesResults) -> str:
    """A page with a row for each place, which links to the place's own report."""
    rows = "\n".join(
        f'<tr><th scope="row"><a href="places/{escape(place.name)}/{_REPORT}">{escape(place.name)}</a></th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(place))
        + "</tr>"
        for place in results.places
    )
    mean = "".join(f"<td>{escape(cell)}</td>" for cell in _mean_cells(results))
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in ("", *_HEADINGS))
    taken = results.decision.taken_for
    confused = (
        f"<p>Photographs of other places were taken for "
        f"{escape(', '.join(f'{name} ({count:,})' for name, count in taken.items()))}.</p>"
        if taken
        else ""
    )
    body = (
        f'<header><p class="eyebrow">camloc report · {escape(results.model)} · {escape(results.recipe)}</p>\n'
        f"<h1>{len(results.places)} places</h1>\n"
        f'<p class="verdict">One model answered {results.decision.frames:,} test photographs and named the '
        f"right place of {percent(results.decision.share)}.</p></header>\n"
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n'
        f'<tr class="result"><th scope="row">mean</th>{mean}</tr>\n</tbody></table></div>\n{confused}'
        '<p class="note">A photograph that was put into another place is lost: its pose is in another world. '
        "The mean is that of the places' medians.</p>\n"
        "<footer>Made by camloc. The places' own reports are in the folder places beside this page.</footer>"
    )
    return page.whole_page(f"{len(results.places)} places: {results.model} · camloc report", body)


def _cells(place: OnePlace) -> tuple[str, ...]:
    part = place.headline
    medians = [
        f"{distance(each.meters.median, place.unit)} {angle(each.degrees.median)}"
        for each in (part.estimates, part.nearest_training_pose)
    ]
    meters, degrees = part.estimates.meters.quantile_90, part.estimates.degrees.quantile_90
    right = percent(part.decision.share) if part.decision else ""
    most = f"{distance(meters, place.unit)} {angle(degrees)}"
    return medians[0], most, medians[1], right, f"{part.estimates.lost:,}"


def _mean_cells(results: PlacesResults) -> tuple[str, ...]:
    lost = sum(place.headline.estimates.lost for place in results.places)
    far = "" if results.meters is None else f"{distance(results.meters, 'm')} "
    turned = angle(results.degrees)
    return f"{far}{turned}", "", "", percent(results.decision.share), f"{lost:,}"


def _mean(medians: Sequence[float | None]) -> float | None:
    known = [each for each in medians if each is not None]
    return fmean(known) if len(known) == len(medians) else None
