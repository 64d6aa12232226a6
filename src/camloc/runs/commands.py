"""Runs commands of camloc in processes of their own, whose output is kept in a log."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


class CommandFailed(Exception):  # noqa: N818 - caught by the callers and shown in their tables
    """A command ended with an error; the text is its last words."""


def run_camloc(words: Sequence[str], log: Path) -> None:
    """Run `camloc WORDS` in a process of its own, with its output added to a log.

    Raises:
        CommandFailed: it ended with an error.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as output:
        output.write(f"$ camloc {' '.join(words)}\n")
        output.flush()
        process = subprocess.Popen(
            [sys.executable, "-m", "camloc", *words], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            status = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if status:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        last = next((line for line in reversed(lines) if line.startswith("camloc: ")), lines[-1])
        raise CommandFailed(f"{last.removeprefix('camloc: ')} (see {log})")
