"""A table of a paper with our results beside the printed ones, as text, Markdown, CSV, LaTeX and JSON."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal, NamedTuple

from rich.table import Table as RichTable

from camloc.core.config import from_json, to_json
from camloc.core.files import csv_text, read_regular
from camloc.errors import CheckpointError, RecipeError
from camloc.evaluation.errors import mean_of_all
from camloc.evaluation.plain_table import latex_table, save_formats, terminal_table
from camloc.evaluation.published import MEAN, ORIGINAL, Cell, PrintedTable, average_ranks, scene_and_set
from camloc.evaluation.report.wording import INFINITE, plain

Kind = Literal["printed", "ours", "baseline"]


@dataclass(frozen=True)
class Result:
    """Median errors of one column.

    Attributes:
        meters, degrees: None where the paper prints none, or where half of our frames or more are lost.
        deviation: standard deviations over the seeds, or None for one seed and for printed numbers.
        text: the printed form with its digits; "" for our results.
    """

    meters: float | None
    degrees: float | None
    deviation: tuple[float, float] | None = None
    text: str = ""

    def __str__(self) -> str:
        if self.text:
            return self.text
        halves = (INFINITE if each is None else rounded(each) for each in (self.meters, self.degrees))
        if self.deviation is None:
            return "/".join(halves)
        pairs = zip(halves, self.deviation, strict=True)
        return "/".join(f"{half}±{rounded(deviation)}" for half, deviation in pairs)


def rounded(value: float) -> str:
    """Two digits behind the point, halves up: 2.085 is 2.09, as in the papers' averages."""
    return str(Decimal(f"{value:.6f}").quantize(Decimal("0.01"), ROUND_HALF_UP))


def of_cell(cell: Cell | None) -> Result | None:
    """The result in a printed cell."""
    return None if cell is None else Result(cell.meters, cell.degrees, text=str(cell))


def over_seeds(results: Sequence[Result]) -> Result | None:
    """The mean over seeds and their standard deviation; None where there are none."""
    if not results:
        return None
    meters = [each.meters for each in results if each.meters is not None]
    degrees = [each.degrees for each in results if each.degrees is not None]
    if len(meters) < len(results) or len(degrees) < len(results):
        return Result(None, None)
    deviation = (stdev(meters), stdev(degrees)) if len(results) > 1 else None
    return Result(fmean(meters), fmean(degrees), deviation)


def mean_of(results: Sequence[Result | None]) -> Result | None:
    """The mean over the scenes, as the papers average; None where a scene is missing.

    The deviation is left out: deviations of scenes are not that of their mean.
    """
    found = [each for each in results if each is not None]
    if not found or len(found) < len(results):
        return None
    return Result(mean_of_all([each.meters for each in found]), mean_of_all([each.degrees for each in found]))


@dataclass(frozen=True)
class Row:
    """One row of a reproduced table.

    Attributes:
        label: of the method.
        kind: "printed" in the paper; "ours"; or a "baseline" that needs no training.
        cells: one for each column.
        mean: over the scenes, where the table has such a column.
        scenes: our results by scene, where the table prints their mean alone.
        ranks: of the position, of the orientation, of both.
        record: how ours was trained.
        problem: why a cell of ours is missing, or "".
        group: of a printed method that is not "APR": such rows are not compared with for the best.
    """

    label: str
    kind: Kind
    cells: tuple[Result | None, ...]
    mean: Result | None = None
    scenes: dict[str, Result] = field(default_factory=dict)
    ranks: tuple[int, int, int] | None = None
    record: str = ""
    problem: str = ""
    group: str = ""


class _Line(NamedTuple):
    """A line of a shown table.

    Attributes:
        opens: the name of the block where this is its first line, or "".
        block: the name of its block, or "".
        row: the row.
        cells: its texts.
        is_below_rule: whether a rule is above it.
    """

    opens: str
    block: str
    row: Row
    cells: tuple[str, ...]
    is_below_rule: bool


@dataclass(frozen=True)
class Reproduction:
    """A table of a paper with our rows beside the printed ones.

    Attributes:
        name: of the table in `camloc reproduce`.
        title, source: its subject, and the paper that prints it.
        truth: the source of the true poses of the printed rows.
        columns: of the paper.
        has_mean: whether a column of means follows.
        prints_mean: whether the paper prints the means.
        has_ranks: whether columns of ranks follow.
        rows: the printed rows, each with ours below it, then the baselines.
        notes: misprints and other remarks.
        data: the data set of our rows.
    """

    name: str
    title: str
    source: str
    truth: str
    columns: tuple[str, ...]
    has_mean: bool
    prints_mean: bool
    has_ranks: bool
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    data: str = ""

    @property
    def headings(self) -> tuple[str, ...]:
        """The headings of the columns after the label."""
        columns = tuple(column.replace("|", " ") for column in self.columns)
        mean = (MEAN,) if self.has_mean else ()
        return (*columns, *mean, *(("ranks", "final rank") if self.has_ranks else ()))

    def results(self, row: Row) -> tuple[Result | None, ...]:
        """The results of a row: its columns, and the mean where the table has one."""
        return (*row.cells, row.mean) if self.has_mean else row.cells

    def cells(self, row: Row) -> tuple[str, ...]:
        """The texts of a row under the headings."""
        texts = tuple("-" if each is None else str(each) for each in self.results(row))
        if not self.has_ranks:
            return texts
        ranks = ("", "") if row.ranks is None else (f"{row.ranks[0]}/{row.ranks[1]}", str(row.ranks[2]))
        return (*texts, *ranks)

    def best(self) -> dict[int, tuple[float | None, float | None]]:
        """The smallest position and orientation errors of each column, among absolute pose regressors."""
        found: dict[int, tuple[float | None, float | None]] = {}
        rows = [self.results(row) for row in self.rows if row.kind != "baseline" and not row.group]
        for column, cells in enumerate(zip(*rows, strict=True)):
            meters = [each.meters for each in cells if each is not None and each.meters is not None]
            degrees = [each.degrees for each in cells if each is not None and each.degrees is not None]
            found[column] = (min(meters, default=None), min(degrees, default=None))
        return found

    def marked(self, row: Row, bold: tuple[str, str]) -> tuple[str, ...]:
        """`cells` with the best halves between the two words of `bold`."""
        best, texts = self.best(), list(self.cells(row))
        if row.kind == "baseline" or row.group:
            return tuple(texts)
        for column, result in enumerate(self.results(row)):
            if result is None:
                continue
            pairs = list(zip((result.meters, result.degrees), best[column], strict=True))
            halves = texts[column].split("/")
            if len(halves) == 1:  # printed without a position or without an orientation
                pairs = pairs[:1] if result.degrees is None else pairs[1:]
            texts[column] = "/".join(
                f"{bold[0]}{half}{bold[1]}" if value is not None and value == least else half
                for half, (value, least) in zip(halves, pairs, strict=True)
            )
        return tuple(texts)

    def blocks(self) -> dict[str, tuple[int, ...]]:
        """The numbers of the columns that are shown side by side, by scene where scenes have test sets.

        A table without test sets is one block, named "".
        """
        if not any("|" in column for column in self.columns):
            return {"": tuple(range(len(self.headings)))}
        scenes = [scene_and_set(column)[0] for column in self.columns]
        return {
            each: tuple(number for number, scene in enumerate(scenes) if scene == each)
            for each in dict.fromkeys(scenes)
        }

    def _lines(self, bold: tuple[str, str]) -> Iterator[_Line]:
        """The lines of all blocks."""
        marked = [(row, self.marked(row, bold)) for row in self.rows]
        first = next((row for row in self.rows if row.kind == "baseline"), None)
        for place, (block, numbers) in enumerate(self.blocks().items()):
            for number, (row, cells) in enumerate(marked):
                yield _Line(
                    block if number == 0 else "",
                    block,
                    row,
                    tuple(cells[each] for each in numbers),
                    is_below_rule=row is first or (number == 0 and place > 0),
                )

    def _shown_headings(self) -> tuple[str, ...]:
        """The headings of a block behind the labels: those of the table, or the names of the test sets."""
        first = next(iter(self.blocks()))
        if not first:
            return self.headings
        return tuple(scene_and_set(self.columns[number])[1] or ORIGINAL for number in self.blocks()[first])

    def rich(self) -> RichTable:
        """The table for the terminal."""
        title, caption = f"{self.source}: {self.title}", "\n".join(self.remarks())
        table = terminal_table(("method", *self._shown_headings()), title=title, caption=caption)
        for line in self._lines(("[bold]", "[/bold]")):
            if line.is_below_rule:
                table.add_section()
            if line.opens:
                table.add_row(plain(line.opens), style="bold")
            style = {"printed": None, "ours": "cyan", "baseline": "dim"}[line.row.kind]
            table.add_row(plain(_label(line.row)), *line.cells, style=style)
        return table

    @property
    def width(self) -> int:
        """Characters that the terminal's table needs."""
        return max(map(len, map(_label, self.rows))) + 3 + 15 * len(self._shown_headings())

    def remarks(self) -> list[str]:
        """The remarks below the table: units, truths, how ours were trained, failures, misprints."""
        remarks = [
            "Median errors of all test images in metres/degrees; the smallest of absolute pose regressors "
            f"are bold. Printed rows: true poses from {self.truth}."
        ]
        if MEAN in (*self.columns, *self.headings):
            by_paper = "" if self.prints_mean else ", computed here from the printed numbers"
            remarks.append(f"Mean: of the scenes' medians{by_paper}.")
        if self.data:
            remarks.append(
                f"Ours: {self.data}. The median of an even number of images is the lower of the middle two; "
                "no image is rejected."
            )
        if any(INFINITE in cell for row in self.rows for cell in self.cells(row)):
            remarks.append(
                f"{INFINITE}: half of the images or more have no pose, or one in another scene of a network "
                "of several."
            )
        if any(row.kind == "baseline" for row in self.rows):
            remarks.append("Below the line: baselines on our data; the nearest poses are oracles.")
        remarks += [f"{row.label}: {row.record}." for row in self.rows if row.kind == "ours" and row.record]
        remarks += [f"{row.label}: {row.problem}" for row in self.rows if row.problem]
        return [*remarks, *self.notes]

    def markdown(self) -> str:
        """A section with the table."""
        scene = ("scene",) if "" not in self.blocks() else ()
        headings = (*scene, "method", *self._shown_headings())
        lines = [f"## {self.source}: {self.title}", "", f"| {' | '.join(headings)} |"]
        lines.append(f"|{' --- |' * (len(scene) + 1)}{' ---: |' * len(self._shown_headings())}")
        for line in self._lines(("**", "**")):
            texts = (*((line.block,) if scene else ()), _label(line.row).strip(), *line.cells)
            lines.append(f"| {' | '.join(text.replace('|', chr(92) + '|') for text in texts)} |")
        return "\n".join([*lines, "", *(f"- {remark}" for remark in self.remarks())]) + "\n"

    def csv(self) -> str:
        """One line for each result: row, kind, column, metres, degrees, their deviations over seeds."""
        rows: list[tuple[str, ...]] = [
            ("method", "kind", "column", "meters", "degrees", "meters_std", "degrees_std")
        ]
        columns = (*self.columns, MEAN) if self.has_mean else self.columns
        for row in self.rows:
            for column, each in (*zip(columns, self.results(row), strict=True), *row.scenes.items()):
                if each is not None:
                    numbers = (each.meters, each.degrees, *(each.deviation or (None, None)))
                    meters, degrees, *deviation = ("" if value is None else f"{value:g}" for value in numbers)
                    rows.append((row.label, row.kind, column, meters, degrees, *deviation))
        return csv_text(rows)

    def latex(self) -> str:
        """A `tabular` for the package booktabs, below comments that hold the remarks."""
        rows: list[tuple[str, ...]] = [("Method", *self._shown_headings())]
        rules = []
        for line in self._lines(("\0", "\1")):
            if line.is_below_rule:
                rules.append(len(rows))
            if line.opens:
                rows.append((line.opens, *("" for _ in line.cells)))
            rows.append((_label(line.row).strip(), *line.cells))
        comments = "".join(f"% {line}\n" for line in (f"{self.source}: {self.title}", *self.remarks()))
        text = latex_table(rows, below_rules=rules)
        return comments + text.replace("\0", r"\textbf{").replace("\1", "}")

    def save(self, stem: Path) -> tuple[Path, ...]:
        """Write `stem` with the endings of `plain_table.FORMATS`.

        Raises:
            CamlocError: a file cannot be written.
        """
        return save_formats(stem, (self.markdown(), self.csv(), self.latex(), to_json(self)))

    @classmethod
    def load(cls, path: Path) -> "Reproduction":
        """Read the JSON file of `save`.

        Raises:
            CheckpointError: no such file, or of another version.
        """
        try:
            return from_json(read_regular(path), cls)
        except (OSError, RecipeError) as problem:
            raise CheckpointError(f"{path} is not a table of `camloc reproduce`: {problem}") from None


def reproduction(
    table: PrintedTable,
    ours: dict[int, Row],
    baselines: Sequence[Row],
    *,
    data: str = "",
) -> Reproduction:
    """Put our rows and the baselines under the printed rows, and rank where the paper ranks.

    Args:
        table: the paper's.
        ours: our rows by the number of the printed row.
        baselines: rows below.
        data: the data set of our rows.
    """
    has_mean = table.prints_mean or (len(table.columns) > 1 and all("|" not in c for c in table.columns))
    rows = []
    for number, printed in enumerate(table.rows):
        ranks = None if table.ranks is None else table.ranks.get(printed.method)
        mean = of_cell(printed.mean)
        if mean is None and has_mean:
            mean = mean_of([of_cell(cell) for cell in printed.cells])
        group = "" if printed.kind == "APR" else printed.kind
        cells = tuple(map(of_cell, printed.cells))
        rows.append(Row(printed.method, "printed", cells, mean, ranks=ranks, group=group))
        if number in ours:
            rows.append(_ranked(ours[number], table, number))
    notes = [f"Misprint, {method}: {what}." for method, what in (table.misprints or {}).items()]
    return Reproduction(
        name=table.name,
        title=table.title,
        source=table.source,
        truth=table.truth,
        columns=table.columns,
        has_mean=has_mean,
        prints_mean=table.prints_mean or table.columns == (MEAN,),
        has_ranks=table.ranks is not None,
        rows=(*rows, *baselines),
        notes=(*([table.note] if table.note else []), *notes),
        data=data,
    )


def _ranked(row: Row, table: PrintedTable, number: int) -> Row:
    """Our row with the ranks that it would have in place of the printed one."""
    (cell,) = row.cells if table.ranks is not None else (None,)
    if cell is None or cell.meters is None or cell.degrees is None:
        return row
    means = {
        other.method: (each.meters, each.degrees)
        for place, other in enumerate(table.rows)
        if place != number and (each := other.cells[0]) is not None
    }
    known = {m: (x, y) for m, (x, y) in means.items() if x is not None and y is not None}
    ranks = average_ranks({**known, row.label: (cell.meters, cell.degrees)})[row.label]
    return replace(row, ranks=ranks)


def our_label(method: str) -> str:
    """The label of our row of a method, without the paper's own "ours"."""
    return "ours: " + re.sub(r"\s*[(\[]ours[)\]]|^ours,\s*", "", method, flags=re.IGNORECASE)


def _label(row: Row) -> str:
    if row.kind == "printed":
        return f"{row.label} ({row.group})" if row.group else row.label
    return f"  {row.label}"
