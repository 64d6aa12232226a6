"""The table of results for the terminal, 80 columns wide: every result with its baselines under it.

Means, maxima and further recalls are in `results.json` and in the report.
"""

from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table

from camloc.evaluation.results import Results, SetResults
from camloc.evaluation.wording import angle, bound, distance, percent

_SHOWN_RECALLS = ((0.25, 2.0), (0.5, 5.0))


def results_table(results: Results) -> Table:
    """One block for each test set."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    table.add_column("Test set", no_wrap=True)
    table.add_column("", no_wrap=True)
    for heading in ("median", "90 % within"):
        table.add_column(heading, justify="right", no_wrap=True)
    for meters, degrees in _SHOWN_RECALLS:
        table.add_column(bound(meters, degrees, results.unit), justify="right", no_wrap=True)
    table.add_column("lost", justify="right", no_wrap=True)
    for part in results.sets:
        _add_block(table, part, results.unit)
    return table


def format_table(results: Results) -> str:
    """`results_table` as plain text without colours, with a final newline."""
    text = StringIO()
    Console(file=text, width=200, color_system=None, force_terminal=False).print(results_table(results))
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    return "\n".join(line for line in lines if line) + "\n"


def _add_block(table: Table, part: SetResults, unit: str) -> None:
    for number, (label, statistics) in enumerate(part.rows()):
        pairs = [
            (statistics.meters.median, statistics.degrees.median),
            (statistics.meters.quantile_90, statistics.degrees.quantile_90),
        ]
        first = number == 0
        table.add_row(
            _plain(f"{part.name} ({statistics.frames:,})") if first else "",
            label,
            *(f"{distance(meters, unit)} {angle(degrees):>6}" for meters, degrees in pairs),
            *(percent(statistics.recall(*limits)) for limits in _SHOWN_RECALLS),
            f"{statistics.lost:,}" if first else "",
            style="bold" if first else None,
            end_section=number == len(part.rows()) - 1,
        )


def _plain(text: str) -> str:
    """A name as it is: square brackets in it are not markup."""
    return text.replace("[", r"\[")
