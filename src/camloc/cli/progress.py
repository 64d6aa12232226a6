"""The console output of commands: progress bars, training epochs, tables and lists."""

import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from camloc.data.image_io import Preprocess
    from camloc.data.types import ExpectedError, Unit
    from camloc.runs.prepare import Training
    from camloc.training.loop import Epoch

# Names of scenes and files are printed as they are: square brackets in them are not markup.
console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


# Seconds between two lines of progress where the output goes to a file, which has no bar.
_BETWEEN_LINES = 30.0


class Update(Protocol):
    """A function that is called with the number of finished items, their total, and a new label if it
    changes.
    """

    def __call__(self, done: int, total: int, *, label: str = "") -> None: ...


@contextmanager
def counted(label: str) -> Iterator[Update]:
    """A progress bar that the yielded function updates; without a terminal a line every half minute."""
    last_line = time.monotonic()
    with _bar() as bar:
        task = bar.add_task(label, total=None, visible=False)

        def update(done: int, total: int, *, label: str = label) -> None:
            nonlocal last_line
            bar.update(task, completed=done, total=total, visible=True, description=label)
            if not console.is_terminal and time.monotonic() - last_line >= _BETWEEN_LINES:
                last_line = time.monotonic()
                console.print(f"{label}: {done:,} of {total:,}")

        yield update


@contextmanager
def steps() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar over several steps: call the yielded function with step, count and total.

    Where no bar is shown, such as in a file, the name of each step is printed when it begins.
    """
    with _bar() as bar:
        task = bar.add_task("", total=None, visible=False)
        current = ""

        def update(step: str, done: int, total: int) -> None:
            nonlocal current
            if step != current and not console.is_terminal:
                console.print(f"  {step} ...")
            current = step
            bar.update(task, description=step, completed=done, total=total, visible=True)

        yield update


def train_and_show(training: "Training", introduction: str) -> bool:
    """Train, with a bar over all steps and a line for each epoch with a new best validation error.

    Returns False in all processes except the first; these show nothing.
    """
    from camloc.data.types import common_unit
    from camloc.runs.prepare import cut_off_share
    from camloc.runs.train import train
    from camloc.training.loop import Epoch

    events = train(training)
    if not training.fabric.is_global_zero:
        for _ in events:
            pass
        return False
    console.print(introduction)
    show_cut_off(cut_off_share(training), training.recipe.preprocess)
    epochs, unit = training.recipe.epochs, common_unit(scene.unit for scene in training.scenes)
    with _bar() as bar:
        task = bar.add_task("training", total=None)
        for event in events:
            if not isinstance(event, Epoch):
                bar.update(
                    task,
                    total=epochs * event.steps,
                    completed=(event.epoch - 1) * event.steps + event.step,
                    description=f"epoch {event.epoch} of {epochs}",
                )
            elif event.is_best or event.epoch == epochs:
                bar.console.print(_line(event, epochs, unit))
    show_unlearned(training.folder)
    return True


# A larger share of an image that the network does not see is worth a warning.
_MUCH = 0.1


def show_cut_off(share: float, preprocess: "Preprocess") -> None:
    """Print which share of the training images the network does not see, with a warning if it is large."""
    size = f"{preprocess.width} x {preprocess.height}"
    text = f"the network sees {size} pixels: {share:.1%} of the images is cut off"
    if share > _MUCH:
        text = f"warning: {text}; train on images of that shape, or turned to it, to use all of them"
    console.print(text)


def show_unlearned(run: Path) -> None:
    """Print which scenes the network of a run has not learned, and the remedy."""
    from camloc.runs.train import unlearned_scenes

    for each in unlearned_scenes(run):
        console.print(
            f"did not learn {each.scene}: held-out frames {_errors(each.found, each.unit)}, no better than "
            f"{_errors(each.mean_pose, each.unit)} of the mean training pose; its images will be lost until "
            f"it trains longer (a larger --budget, or none) or a map finds them (camloc map {run})"
        )


def _errors(found: "ExpectedError", unit: "Unit") -> str:
    return f"{found.meters:.3f} {unit} {found.degrees:.2f}°"


def _line(event: "Epoch", epochs: int, unit: "Unit") -> str:
    width = len(str(epochs))
    loss = sum(event.losses.values())
    text = f"epoch {event.epoch:>{width}}  loss {loss:7.3f}"
    if event.validation is not None:
        meters, degrees = event.validation
        text += f"   held-out frames {meters:6.3f} {unit}  {degrees:6.2f}°"
        if event.right_scene is not None and len(event.scenes) > 1:
            text += f"  scene {event.right_scene:6.1%}"
    return text + ("   best so far" if event.is_best and event.validation is not None else "")


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description:<16}", markup=False),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,  # a bar written to a file is noise
    )


# Width of the output where there is no terminal, such as in a file.
_FILE_WIDTH = 160

# A description is printed beside its name if it has at least this many columns, else below.
_LEAST_BESIDE = 40


def show_groups(groups: Iterable[tuple[str, Mapping[str, Sequence[str]]]]) -> None:
    """Print groups of names with their descriptions, each group under its heading."""
    width = _console().width
    for heading, rows in groups:
        print("\n".join((*textwrap.wrap(heading, width), *_group(rows, width), "")))


def _group(rows: Mapping[str, Sequence[str]], width: int) -> list[str]:
    """The lines of a group.

    Names are never cut; descriptions stand beside them, or below on a narrow terminal.
    """
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


def show_wide(content: Table, width: int) -> None:
    """Print a table at least `width` columns wide, which the terminal breaks rather than cuts."""
    screen = Console(highlight=False)
    screen.width = max(screen.width, width)
    screen.print(content, soft_wrap=True)


def show(headings: Sequence[str], rows: Iterable[Sequence[str]], *, names: int = 1) -> None:
    """Print a table whose first `names` columns are never cut, because users type them next."""
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
