"""Commands, links, programs and examples of the README and the guides work."""

import io
import re
import runpy
import shlex
import shutil
import sys
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

import pytest
from tests.support.trained import Made

from camloc.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def typed_commands() -> list[tuple[str, list[str]]]:
    """Every `camloc ...` line of an indented or fenced block, with the page that it is on."""
    found = []
    for page in PAGES:
        for line in page.read_text().splitlines():
            typed = re.match(r"(?:    |uv run |pip install uv && uv run )(?:uv run )?camloc (\w.*)", line)
            if typed:
                words = shlex.split(typed[1].split("  #")[0])
                found.append((page.name, words))
    return found


def test_there_are_commands_to_check() -> None:
    assert len(typed_commands()) >= 8


@cache
def help_of(command: str) -> str:
    """The help of a command, which many lines name."""
    out = io.StringIO()
    with redirect_stdout(out), pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    return out.getvalue()


@pytest.mark.parametrize(("page", "words"), typed_commands())
def test_commands_and_options_exist(page: str, words: list[str]) -> None:
    assert words[0] in COMMANDS, page
    for word in words[1:]:
        if word.startswith("--"):
            assert word in help_of(words[0]), f"{page}: camloc {words[0]} has no option {word}"


def test_the_readmes_program_runs(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    shutil.copytree(trained / "run", tmp_path / "runs" / "room")
    shutil.copy(next((trained / "scene").glob("seq-*/*.color.png")), tmp_path / "image.jpg")
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "README.md", "exec"), {})
    assert "verified" in capsys.readouterr().out


def test_the_guides_recipe_variant_builds() -> None:
    page = (ROOT / "docs" / "guides" / "training.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(program, "training.md", "exec"), names)
    assert getattr(names["recipe"], "batch_size", None) == 8


@pytest.mark.parametrize("example", sorted(path.name for path in (ROOT / "examples").glob("*.py")))
def test_examples_run_and_are_short(
    example: str,
    trained: Path,
    exported: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert len((ROOT / "examples" / example).read_text().splitlines()) <= 40
    image = next((trained / "scene").glob("seq-*/*.color.png"))
    arguments = {
        "01_locate.py": [str(trained / "run"), str(image)],
        "02_train.py": [str(trained / "scene"), str(tmp_path / "run")],
        "04_onnx_without_camloc.py": [str(exported.path), str(image)],
    }[example]
    monkeypatch.setenv("CAMLOC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", [example, *arguments])
    runpy.run_path(str(ROOT / "examples" / example), run_name="__main__")
    assert capsys.readouterr().out.strip()
