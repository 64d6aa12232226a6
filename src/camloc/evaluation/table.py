"""Tables of results for the terminal.

Means, maxima and further recalls are in `results.json` and in the report.
"""

from io import StringIO
from itertools import zip_longest

from rich.console import Console
from rich.table import Table

from camloc.evaluation.errors import ErrorStatistics
from camloc.evaluation.multi_scene import ScenesResults
from camloc.evaluation.plain_table import terminal_table
from camloc.evaluation.published import MEAN, Published, published_of
from camloc.evaluation.report.wording import (
    angle,
    bound,
    distance,
    map_sentence,
    method_name,
    percent,
    plain,
    verification,
)
from camloc.evaluation.results import Results, SetResults

_SHOWN_RECALLS = ((0.25, 2.0), (0.5, 5.0))
_SHORT_UNITS = {"m": "m", "units": "u"}  # the longer word would not fit into 80 columns
_BASELINES = ("nearest pose", "nearest position", "mean pose")


def results_table(results: Results) -> Table:
    """One block for each test set, 80 columns wide: the result in bold, refinement methods, baselines.

    Consecutive test sets with the same baselines, as of equal camera poses, share a block.
    """
    unit = _SHORT_UNITS[results.unit]
    captions = []
    if results.unit != "m":
        captions.append(f"{unit}: {results.unit} of a world whose scale is not known")
    if decision := results.headline.decision:
        captions.append(f"located in the right scene: {percent(decision.share)} of {results.headline.name}")
    if results.scene_map:
        captions.append(f"map: {map_sentence(results.scene_map)}")
    captions += [
        f"{part.name}: {verification(part.verification)}" for part in results.sets if part.verification
    ]
    printed = {each.scene: each for each in published_of(results.recipe)}
    if results.scene in printed:
        captions.append(source_sentence(printed[results.scene]))
    recalls = (bound(meters, degrees, unit) for meters, degrees in _SHOWN_RECALLS)
    headings = ("test set", "median", "90 %", *recalls, "lost")
    table = terminal_table(headings, caption="\n".join(captions))
    for part, following in zip_longest(results.sets, results.sets[1:]):
        _add_row(table, f"{part.name} ({part.estimates.frames:,})", part.estimates, unit, is_estimate=True)
        for method, statistics in part.every_method.items():
            if method != results.refined_by:  # which is the row above
                label = method_name(method, has_map=results.scene_map is not None)
                _add_row(table, f"  {label}", statistics, unit)
        if part.unrejected:
            _add_row(table, "  no image rejected", part.unrejected, unit)
        is_headline = part.name == results.headline.name
        column = results.scene if is_headline else f"{results.scene}|{part.name}"
        if column in printed:
            table.add_row("  printed in the paper", printed[column].numbers)
        if following is None or _baselines(following) != _baselines(part):
            for label, statistics in _baselines(part):
                _add_row(table, f"  {label}", statistics, unit)
            table.add_section()
    return table


def source_sentence(printed: Published) -> str:
    """The paper and table of a printed number, its true poses, and its misprint if there is one."""
    note = f"; {printed.note}" if printed.note else ""
    return f"printed: {printed.source}; true poses from {printed.truth}{note}"


def scenes_table(results: ScenesResults) -> Table:
    """The scenes and their mean, with the printed results of the recipe."""
    printed = {each.scene: each for each in published_of(results.recipe)}
    headings = ("scene", *results.HEADINGS, *(("printed",) if printed else ()))
    caption = source_sentence(next(iter(printed.values()))) if printed else ""
    table = terminal_table(headings, caption=caption, wraps=True)
    for scene in results.scenes:
        table.add_row(plain(scene.name), *scene.cells(), *_numbers(printed, scene.name))
    table.add_section()
    table.add_row("mean", *results.mean_cells(), *_numbers(printed, MEAN), style="bold")
    return table


def _numbers(printed: dict[str, Published], column: str) -> tuple[str, ...]:
    """The further cell of a row: empty where the paper prints nothing, none where there is no column."""
    if not printed:
        return ()
    return (printed[column].numbers if column in printed else "",)


def format_table(results: Results) -> str:
    """`results_table` as plain text without colours, with a final newline."""
    text = StringIO()
    Console(file=text, width=200, color_system=None, force_terminal=False).print(results_table(results))
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    return "\n".join(line for line in lines if line) + "\n"


def _baselines(part: SetResults) -> list[tuple[str, ErrorStatistics]]:
    # The whole names would not fit into 80 columns.
    retrieval = (
        name.removeprefix("Retrieval, ").replace("interpolated", "interp.") for name in part.retrieval
    )
    labels = (*_BASELINES, *retrieval)
    return [(label, statistics) for label, (_, statistics) in zip(labels, part.rows()[1:], strict=True)]


def _add_row(
    table: Table, label: str, statistics: ErrorStatistics, unit: str, *, is_estimate: bool = False
) -> None:
    pairs = [
        (statistics.meters.median, statistics.degrees.median),
        (statistics.meters.quantile_90, statistics.degrees.quantile_90),
    ]
    table.add_row(
        plain(label),
        *(f"{distance(meters, unit)} {angle(degrees):>5}" for meters, degrees in pairs),
        *(percent(statistics.recall(*limits)) for limits in _SHOWN_RECALLS),
        f"{statistics.lost:,}" if is_estimate else "",
        style="bold" if is_estimate else None,
    )
