"""The sections of a report, each a function from numbers to HTML."""

from collections.abc import Mapping, Sequence
from html import escape

import torch

from camloc.data.types import Located
from camloc.evaluation.baselines import BaselineErrors, baseline_errors
from camloc.evaluation.errors import ErrorStatistics, EvaluatedSet
from camloc.evaluation.report import page
from camloc.evaluation.report.figures import camera_map, curves_of, errors_along, training_curve
from camloc.evaluation.report.wording import angle, bound, comparison, distance, method_name, percent, verdict
from camloc.evaluation.report.words import settings_text, training_record
from camloc.evaluation.results import Results, SetResults
from camloc.geometry.pose import Pose

# Each set's figure is some tens of kilobytes; with more sets than this the rest has tables alone.
_MOST_SET_FIGURES = 12


def header(results: Results) -> str:
    """The title, and what was reached, in plain words."""
    headline = results.headline
    sentence = comparison(headline.estimates, headline.nearest_training_pose, headline.mean_training_pose)
    return (
        f'<header><p class="eyebrow">camloc report · {escape(results.model)} · {escape(results.recipe)}</p>\n'
        f"<h1>{escape(results.scene)}</h1>\n"
        f'<p class="verdict">{escape(verdict(results))}</p>\n<p>{escape(sentence)}</p></header>'
    )


def tiles(results: Results) -> str:
    """The few numbers that most readers want, beside the nearest training pose's."""
    estimates, nearest = results.headline.estimates, results.headline.nearest_training_pose
    unit, limits = results.unit, (0.25, 2.0)
    tiles = [
        ("Median position", distance(estimates.meters.median, unit), distance(nearest.meters.median, unit)),
        ("Median orientation", angle(estimates.degrees.median), angle(nearest.degrees.median)),
        (
            f"Within {bound(*limits, unit)}",
            percent(estimates.recall(*limits)),
            percent(nearest.recall(*limits)),
        ),
    ]
    shown = [(term, value, f"nearest pose {other}") for term, value, other in tiles]
    shown.append(("Lost", f"{estimates.lost:,}", f"of {estimates.frames:,}"))
    if decision := results.headline.decision:
        shown.append(("Right scene", percent(decision.share), f"of {decision.frames:,}"))
    if results.timing:
        shown.append(("Time an image", f"{results.timing.median:.0f} ms", results.timing.device))
    items = "".join(
        f'<div class="tile"><dt>{escape(term)}</dt>'
        f"<dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
        for term, value, note in shown
    )
    return f'<dl class="tiles">{items}</dl>'


def numbers(part: SetResults, unit: str) -> str:
    """Quantiles of the result and of the baselines."""

    def cells(statistics: ErrorStatistics) -> list[str]:
        meters, degrees = statistics.meters, statistics.degrees
        pairs = (
            (meters.median, degrees.median),
            (meters.mean, degrees.mean),
            (meters.quantile_90, degrees.quantile_90),
            (meters.maximum, degrees.maximum),
        )
        return [f"{escape(distance(far, unit))}<small>{angle(turned)}</small>" for far, turned in pairs]

    rows = [(label, cells(statistics)) for label, statistics in part.rows()]
    return page.table(("", "Median", "Mean", "90 %", "Maximum"), rows, emphasis="Estimate")


def recalls(part: SetResults, unit: str) -> str:
    """Recalls of the result and of the baselines."""
    headings = [bound(recall.meters, recall.degrees, unit) for recall in part.estimates.recalls]
    rows = [
        (label, [percent(recall.share) for recall in statistics.recalls]) for label, statistics in part.rows()
    ]
    return page.table(("Share within", *headings), rows, emphasis="Estimate")


def refinements(results: Results) -> str:
    """Every way of refining positions beside the network's own answers, or nothing where nothing refines."""
    if not any(part.every_method for part in results.sets):
        return ""

    def cells(statistics: ErrorStatistics) -> list[str]:
        meters = statistics.meters
        shown = (meters.median, meters.mean, meters.quantile_90)
        return [escape(distance(value, results.unit)) for value in shown]

    tables = [
        page.table(
            (part.name if len(results.sets) > 1 else "", "Median", "Mean", "90 %"),
            [(method_name(way), cells(statistics)) for way, statistics in part.every_method.items()],
            emphasis=method_name(results.refined_by),
        )
        for part in results.sets
    ]
    explained = (
        "Positions moved towards training cameras near the answer; orientations stay as they are. The mean "
        "of the neighbours looks at no image: what it gives, knowing the training cameras gives."
    )
    return f"<h2>What refining changes</h2>\n<p>{explained}</p>\n" + "\n".join(tables)


def map_of_cameras(evaluated: EvaluatedSet, training_poses: Pose, unit: str) -> str:
    """The map of the true and the estimated cameras of a test set."""
    answers = evaluated.answers()
    truth = evaluated.truth()
    poses = [
        answer.world_from_cam.to("cpu").to(torch.float64) if isinstance(answer, Located) else true
        for answer, true in zip(answers, truth, strict=True)
    ]
    located = torch.tensor([isinstance(answer, Located) for answer in answers])
    svg = camera_map(truth, Pose.stack(poses), training_poses, located=located, unit=unit)
    return page.drawing(
        svg,
        kind="map",
        title="Map of true and estimated cameras",
        caption="True and estimated cameras, joined by a line, among the training cameras; arrows point "
        "where cameras look. The two world axes along which the training cameras spread most are "
        "shown, which in most scenes is the view from above.",
    )


def test_sets(results: Results, sets: Sequence[EvaluatedSet], training_poses: Pose) -> str:
    """One section for each test set, or the course of the errors alone where there is just one."""
    filled = [evaluated for evaluated in sets if evaluated.frames]
    several = len(filled) > 1
    parts = [] if several else ["<h2>Along the test set</h2>"]
    for number, (evaluated, part) in enumerate(zip(filled, results.sets, strict=True)):
        if several:
            sentence = comparison(part.estimates, part.nearest_training_pose, part.mean_training_pose)
            count = f"{part.estimates.frames:,} images, {part.estimates.lost:,} lost."
            if part.decision:
                count += f" {percent(part.decision.share)} were put into the right scene."
            parts += [
                f"<h2>Test set: {escape(part.name)}</h2>",
                f"<p>{count} {escape(sentence)}</p>",
                numbers(part, results.unit),
            ]
        if number < _MOST_SET_FIGURES:
            parts.append(_along(evaluated, baseline_errors(evaluated.truth(), training_poses), results.unit))
    return "\n".join(parts)


def _along(evaluated: EvaluatedSet, baselines: BaselineErrors, unit: str) -> str:
    svg = errors_along(
        curves_of(evaluated.errors(), baselines)[:2],
        sequences=[frame.sequence for frame in evaluated.frames],
        unit=unit,
    )
    return page.drawing(
        svg,
        title=f"Error of each image of {evaluated.name}",
        caption="The error of each image in turn, on a logarithmic scale; red crosses at the upper edge "
        "are lost images, dotted upright lines separate sequences.",
    )


def training(log: Sequence[Mapping[str, float]], unit: str) -> str:
    """The training curves, or nothing where the log has none."""
    svg = training_curve(log, unit=unit)
    if svg is None:
        return ""
    caption = "The loss on training images, and the median error on images held out of them."
    return "<h2>Training</h2>\n" + page.drawing(svg, title="Training over epochs", caption=caption)


def metadata(results: Results) -> str:
    """Model, recipe, budget, software; all settings can be unfolded."""
    settings = settings_text(results)
    metadata = f"<h2>What was run</h2>\n{page.definitions(training_record(results), kind='metadata')}"
    if not settings:
        return metadata
    return f"{metadata}\n<details><summary>All settings</summary><pre>{escape(settings)}</pre></details>"


def how_to_go_on(sentences: Sequence[str]) -> str:
    """Advice as a list."""
    items = "\n".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<h2>How to go on</h2>\n<ul>\n{items}\n</ul>"
