"""`results.json` and `report.html` of a model of several scenes: the scenes side by side."""

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
from camloc.evaluation.errors import SceneDecision, all_decisions
from camloc.evaluation.report import page
from camloc.evaluation.report.wording import angle, distance, percent, plain
from camloc.evaluation.results import RESULTS_NAME, Results, SetResults, TrainingRecord

_REPORT = "report.html"
_HEADINGS = ("median", "90 %", "nearest training pose", "right scene", "lost")


@dataclass(frozen=True)
class OneScene:
    """What of a scene stands in the results of all.

    Attributes:
        name: of the scene.
        unit: of its positions.
        headline: its first test set; all of them are in `scenes/<name>/results.json`.
    """

    name: str
    unit: Unit
    headline: SetResults


@dataclass(frozen=True)
class ScenesResults:
    """What one model reached in several scenes.

    Attributes:
        model, recipe: names of the network and of its settings.
        scenes: each scene's first test set.
        meters, degrees: means over the scenes of the medians, as papers average; None where one is
            infinite, and metres also where a scene is not metric.
        decision: how often the right scene was named in all of them.
        parameters: number of learned values.
        training: seed, device and budget.
        settings: the recipe's settings as plain values.
        software: versions of what it ran on.
        format: of this file.
    """

    model: str
    recipe: str
    scenes: tuple[OneScene, ...]
    meters: float | None
    degrees: float | None
    decision: SceneDecision
    parameters: int | None = None
    training: TrainingRecord | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=dict)
    format: int = 1

    @classmethod
    def load(cls, path: Path) -> "ScenesResults":
        """Read the `results.json` of a run of several scenes.

        Raises:
            CheckpointError: no such file, not JSON, or keys of another version.
        """
        try:
            return from_json(path.read_bytes(), cls)
        except (OSError, RecipeError) as problem:
            raise CheckpointError(f"{path} is not a results file of several scenes: {problem}") from None


def scenes_results(results: Sequence[Results]) -> ScenesResults:
    """The results of several scenes, from those of each."""
    first = results[0]
    scenes = tuple(OneScene(each.scene, each.unit, each.headline) for each in results)
    decisions = [each.headline.decision for each in results if each.headline.decision is not None]
    is_metric = all(each.unit == "m" for each in results)
    return ScenesResults(
        model=first.model,
        recipe=first.recipe,
        scenes=scenes,
        meters=_mean([each.headline.estimates.meters.median for each in results]) if is_metric else None,
        degrees=_mean([each.headline.estimates.degrees.median for each in results]),
        decision=all_decisions(decisions),
        parameters=first.parameters,
        training=first.training,
        settings=first.settings,
        software=first.software,
    )


def write_scenes(folder: Path, results: ScenesResults) -> Path:
    """Write `results.json` and `report.html` of all scenes into a folder; returns the report's path.

    Raises:
        CamlocError: a file cannot be written.
    """
    write_atomically(folder / RESULTS_NAME, to_json(results))
    write_atomically(folder / _REPORT, scenes_html(results))
    return folder / _REPORT


def scenes_table(results: ScenesResults) -> Table:
    """The scenes for the terminal, and their mean."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("scene", no_wrap=True)
    for heading in _HEADINGS:
        table.add_column(heading, justify="right")
    for scene in results.scenes:
        table.add_row(plain(scene.name), *_cells(scene))
    table.add_section()
    table.add_row("mean", *_mean_cells(results), style="bold")
    return table


def scenes_html(results: ScenesResults) -> str:
    """A page with a row for each scene, which links to the scene's own report."""
    rows = "\n".join(
        f'<tr><th scope="row"><a href="scenes/{escape(scene.name)}/{_REPORT}">{escape(scene.name)}</a></th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(scene))
        + "</tr>"
        for scene in results.scenes
    )
    mean = "".join(f"<td>{escape(cell)}</td>" for cell in _mean_cells(results))
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in ("", *_HEADINGS))
    taken = results.decision.taken_for
    confused = (
        f"<p>Images of other scenes were taken for "
        f"{escape(', '.join(f'{name} ({count:,})' for name, count in taken.items()))}.</p>"
        if taken
        else ""
    )
    body = (
        f'<header><p class="eyebrow">camloc report · {escape(results.model)} · {escape(results.recipe)}</p>\n'
        f"<h1>{len(results.scenes)} scenes</h1>\n"
        f'<p class="verdict">One model answered {results.decision.frames:,} test images and named the '
        f"right scene of {percent(results.decision.share)}.</p></header>\n"
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n'
        f'<tr class="result"><th scope="row">mean</th>{mean}</tr>\n</tbody></table></div>\n{confused}'
        '<p class="note">An image that was put into another scene is lost: its pose is in another world. '
        "The mean is that of the scenes' medians.</p>\n"
        "<footer>Made by camloc. The scenes' own reports are in the folder scenes beside this page.</footer>"
    )
    return page.whole_page(f"{len(results.scenes)} scenes: {results.model} · camloc report", body)


def _cells(scene: OneScene) -> tuple[str, ...]:
    part = scene.headline
    medians = [
        f"{distance(each.meters.median, scene.unit)} {angle(each.degrees.median)}"
        for each in (part.estimates, part.nearest_training_pose)
    ]
    meters, degrees = part.estimates.meters.quantile_90, part.estimates.degrees.quantile_90
    right = percent(part.decision.share) if part.decision else ""
    most = f"{distance(meters, scene.unit)} {angle(degrees)}"
    return medians[0], most, medians[1], right, f"{part.estimates.lost:,}"


def _mean_cells(results: ScenesResults) -> tuple[str, ...]:
    lost = sum(scene.headline.estimates.lost for scene in results.scenes)
    far = "" if results.meters is None else f"{distance(results.meters, 'm')} "
    turned = angle(results.degrees)
    return f"{far}{turned}", "", "", percent(results.decision.share), f"{lost:,}"


def _mean(medians: Sequence[float | None]) -> float | None:
    known = [each for each in medians if each is not None]
    return fmean(known) if len(known) == len(medians) else None
