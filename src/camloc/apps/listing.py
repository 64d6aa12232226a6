"""Tables of what there is, on a terminal or into a file."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Wide enough for whole sentences where nobody's terminal sets a limit.
_FILE_WIDTH = 160

# Columns that a description needs beside a name; with fewer it stands below.
_LEAST_BESIDE = 40


def show_groups(groups: Iterable[tuple[str, Mapping[str, Sequence[str]]]]) -> None:
    """Print names with what they are, each group under its heading, as wide as the terminal."""
    width = _console().width
    for heading, rows in groups:
        print("\n".join((*textwrap.wrap(heading, width), *_group(rows, width), "")))


def _group(rows: Mapping[str, Sequence[str]], width: int) -> list[str]:
    """The names, never cut, and their paragraphs: beside them, or below where that leaves too little room."""
    column = max(map(len, rows)) + 4
    beside = width - column >= _LEAST_BESIDE
    indent = " " * (column if beside else 6)
    lines = []
    for name, paragraphs in rows.items():
        wrapped = [line for paragraph in paragraphs for line in textwrap.wrap(paragraph, width - len(indent))]
        described = [indent + line for line in wrapped]
        if beside and described:
            described[0] = f"  {name}".ljust(column) + described[0][column:]
        else:
            described.insert(0, f"  {name}")
        lines += described
    return lines


def show(headings: Sequence[str], rows: Iterable[Sequence[str]], *, names: int = 1) -> None:
    """Print a table whose first `names` columns are never cut, because they are what is typed next."""
    console = _console()
    table = Table(box=None, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, no_wrap=number < names, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # names are shown as they are: square brackets are not markup
    console.print(table)


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_FILE_WIDTH)
