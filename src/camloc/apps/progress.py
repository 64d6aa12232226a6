"""Progress bars, and training's error falling on screen."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from camloc.training.plan import Epoch, Step

console = Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def counted(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for something counted: call what is yielded with the number done and of all."""
    with _bar() as bar:
        task = bar.add_task(label, total=None, visible=False)

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        yield update


def watched(events: "Iterable[Step | Epoch]", *, epochs: int) -> "Iterator[Epoch]":
    """Show a bar over all steps of a training and a line whenever held-out frames are located better."""
    from camloc.training.plan import Epoch

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
                continue
            if event.is_best or event.epoch == epochs:
                bar.console.print(_line(event, epochs))
            yield event


def _line(event: "Epoch", epochs: int) -> str:
    width = len(str(epochs))
    loss = sum(event.losses.values())
    text = f"epoch {event.epoch:>{width}}  loss {loss:7.3f}"
    if event.validation is not None:
        meters, degrees = event.validation
        text += f"   held-out frames {meters:6.3f} m  {degrees:6.2f}°"
        if event.right_place is not None and len(event.places) > 1:
            text += f"  place {event.right_place:6.1%}"
    return text + ("   best so far" if event.is_best and event.validation is not None else "")


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,  # in a file, a bar is noise
    )
