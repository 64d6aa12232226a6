"""The command line, called as a terminal calls it but in this process."""

import os
from pathlib import Path
from typing import NamedTuple

import pytest

from camloc.cli import main as cli


class Ended(NamedTuple):
    """How a command ended: its exit status and what it printed."""

    status: int
    out: str
    err: str


def camloc(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> Ended:
    """Run a command; what C libraries print is caught as well."""
    capfd.readouterr()
    status = 0
    try:
        cli.main([str(argument) for argument in arguments])
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return Ended(status, *capfd.readouterr())


def refused(capfd: pytest.CaptureFixture[str], *arguments: str | Path, status: int = 1) -> str:
    """Run a command that must be refused: one sentence, nothing printed. Returns the sentence."""
    ended = camloc(capfd, *arguments)
    assert ended.status == status, (ended.status, ended.err, ended.out)
    assert ended.out == ""
    return sentence(ended.err)


def sentence(err: str) -> str:
    """The one line that standard error holds, without the name of the program."""
    (line,) = err.splitlines()
    assert line.startswith("camloc: "), line
    message = line.removeprefix("camloc: ")
    assert "Traceback" not in message
    assert not message.endswith("."), message
    assert len(message) > 15, message
    return message


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder, with size and date, to see what a command leaves behind."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            state = path.lstat()
            found[str(path)] = (0, 0) if path.is_dir() else (state.st_size, state.st_mtime_ns)
    return found
