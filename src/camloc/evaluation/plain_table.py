"""A table of texts, for the terminal and as Markdown, CSV and LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table as RichTable

from camloc.core.config import to_json
from camloc.core.files import csv_text, write_atomically
from camloc.evaluation.report.wording import plain

FORMATS = ("md", "csv", "tex", "json")

_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%_#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"±": r"$\pm$", "°": r"$^\circ$", "∞": r"$\infty$", "<": "$<$", ">": "$>$"}
)


def save_formats(stem: Path, contents: Sequence[str | bytes]) -> tuple[Path, ...]:
    """Write the contents of a table in the order of `FORMATS`: `stem` with these endings.

    Raises:
        CamlocError: a file cannot be written.
    """
    paths = tuple(stem.with_name(f"{stem.name}.{ending}") for ending in FORMATS)
    for path, content in zip(paths, contents, strict=True):
        write_atomically(path, content)
    return paths


def latex_text(text: str) -> str:
    """A text with the signs that LaTeX reads as commands escaped."""
    return text.translate(_LATEX)


def latex_table(rows: Sequence[Sequence[str]], *, below_rules: Sequence[int] = ()) -> str:
    """A `tabular` for the package booktabs: headings, rows, and rules above some of the rows."""
    lines = [" & ".join(map(latex_text, row)) + r" \\" for row in rows]
    for number in (1, *below_rules):
        lines[number - 1] += r" \midrule"
    start = rf"\begin{{tabular}}{{l{'r' * (len(rows[0]) - 1)}}}"
    return "\n".join([start, r"\toprule", *lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def terminal_table(
    headings: Sequence[str], *, title: str = "", caption: str = "", wraps: bool = False
) -> RichTable:
    """An empty table for the terminal: a column of names, then columns of numbers, which may wrap."""
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), caption_justify="left")
    table.title, table.caption = plain(title) or None, plain(caption) or None
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=not (wraps and number))
    return table


@dataclass(frozen=True)
class PlainTable:
    """A table of texts.

    Attributes:
        title: above the table, or "".
        headings: of the columns, the first of the names of the rows.
        rows: a text for each column.
        remarks: below the table.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    remarks: tuple[str, ...] = ()

    def rich(self) -> RichTable:
        """The table for the terminal."""
        table = terminal_table(self.headings, title=self.title, caption="\n".join(self.remarks))
        for row in self.rows:
            table.add_row(*map(plain, row))
        return table

    def markdown(self) -> str:
        """A section with the table."""
        rules = ("---", *("--:" for _ in self.headings[1:]))
        lines = [f"| {' | '.join(cells)} |" for cells in (self.headings, rules, *self.rows)]
        return "\n".join([f"## {self.title}", "", *lines, "", *(f"- {each}" for each in self.remarks)]) + "\n"

    def csv(self) -> str:
        """The table as CSV."""
        return csv_text((self.headings, *self.rows))

    def latex(self) -> str:
        """The table as a `tabular` for the package booktabs."""
        return latex_table((self.headings, *self.rows))

    def save(self, stem: Path) -> tuple[Path, ...]:
        """Write `stem` with the endings of `FORMATS`.

        Raises:
            CamlocError: a file cannot be written.
        """
        return save_formats(stem, (self.markdown(), self.csv(), self.latex(), to_json(self)))
