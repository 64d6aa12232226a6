"""Steps that are killed before any of their writes and done again leave what an undisturbed one leaves."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.trained import write_scene

_CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("killed")
    write_scene(folder / "scene")
    command = [sys.executable, "-m", "tests.support.killed_writes", str(folder)]
    ended = subprocess.run(command, cwd=_CHECKOUT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    found: dict[str, dict[str, Any]] = json.loads((folder / "killed.json").read_text())
    return found


@pytest.mark.parametrize(("step", "files"), [("import", 32), ("poses", 33), ("map", 3), ("export", 4)])
def test_what_is_killed_and_done_again_leaves_the_same_files(
    step: str, files: int, killed: dict[str, dict[str, Any]]
) -> None:
    assert killed[step]["files"] == files
    assert killed[step]["tried"] >= 12
    assert killed[step]["wrong"] == []
