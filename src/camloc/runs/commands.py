"""Runs commands of camloc in processes of their own, whose output is kept in a log."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_running: set[subprocess.Popen[bytes]] = set()


class CommandFailed(Exception):  # noqa: N818 - caught by the callers and shown in their tables
    """A command ended with an error; the text is its last words."""


@contextmanager
def ended_together() -> Iterator[None]:
    """End the running commands on SIGTERM inside the block; for the main thread only.

    Ctrl+C needs no such help: a terminal sends it to all processes.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        for process in tuple(_running):
            process.terminate()
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_camloc(words: Sequence[str], log: Path) -> None:
    """Run `camloc WORDS` in a process of its own, with its output added to a log.

    Raises:
        CommandFailed: it ended with an error.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as output:
        start = output.tell()
        output.write(f"$ camloc {' '.join(words)}\n")
        output.flush()
        process = subprocess.Popen(
            [sys.executable, "-m", "camloc", *words], stdout=output, stderr=subprocess.STDOUT
        )
        _running.add(process)
        try:
            status = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        finally:
            _running.discard(process)
    if status:
        printed = log.read_bytes()[start:].decode(errors="replace")
        lines = [line.strip() for line in printed.splitlines() if line.strip()]
        # Warnings begin like the sentence that a command ends with, but behind a traceback only the last line
        # is the reason.
        sentences = [] if "Traceback (most recent call last):" in lines else lines
        last = next((line for line in reversed(sentences) if line.startswith("camloc: ")), lines[-1])
        raise CommandFailed(f"{last.removeprefix('camloc: ')} (see {log})")
