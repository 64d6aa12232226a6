"""Commands of camloc in processes of their own end with the one that started them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from camloc.runs.commands import CommandFailed, run_camloc

_PROGRAM = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from camloc.runs import commands

commands.sys.executable = sys.argv[1]
with commands.ended_together(), ThreadPoolExecutor(1) as pool:
    for _ in pool.map(lambda log: commands.run_camloc([], log), [Path(sys.argv[2])] * 2):
        pass
"""


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that a process can receive")
def test_sigterm_ends_the_commands_that_run(tmp_path: Path) -> None:
    sleeper, written = tmp_path / "sleeper", tmp_path / "process"
    sleeper.write_text(f"#!/bin/sh\necho $$ >> {written}\nexec sleep 60\n")
    sleeper.chmod(0o755)
    program = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(sleeper), str(tmp_path / "log")])
    end = time.monotonic() + 60.0
    while not (written.exists() and written.read_text().endswith("\n")) and time.monotonic() < end:
        time.sleep(0.05)
    program.send_signal(signal.SIGTERM)
    assert program.wait(timeout=20.0) == 128 + signal.SIGTERM
    (process,) = map(int, written.read_text().split())
    assert not _is_alive(process)


def test_a_command_that_fails_gives_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"no-such-run"):
        run_camloc(["evaluate", "no-such-run"], tmp_path / "log")
