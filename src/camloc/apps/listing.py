"""Tables of what there is, on a terminal or into a file."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Wide enough for whole sentences where nobody's terminal sets a limit.
_FILE_WIDTH = 160


def show(headings: Sequence[str], rows: Iterable[Sequence[str]], *, names: int = 1) -> None:
    """Print a table whose first `names` columns are never cut, because they are what is typed next."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_FILE_WIDTH)
    table = Table(box=None, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, no_wrap=number < names, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # names are shown as they are: square brackets are not markup
    console.print(table)
