"""A scene and a run that has learned it, made once for all tests."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from tests.support.blocked import WITHOUT_TORCH
from tests.support.shared import made_once
from tests.support.trained import Made, scene_with_cache, train_run

from camloc.cli.main import main
from camloc.runs import evaluate
from market_square import SquareSettings, render


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the data set `scene`, the run `run` and the images' cache. Not to be changed."""

    def make(folder: Path) -> None:
        with scene_with_cache(folder):
            train_run(folder / "scene", folder / "run")

    folder = made_once(tmp_path_factory, "trained", make)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAMLOC_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data set, with a cache of its own for all tests of a file."""
    with scene_with_cache(tmp_path_factory.mktemp("cached")) as folder:
        yield folder / "scene"


@pytest.fixture(scope="session")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The run as an ONNX file, by `camloc export`. Not to be changed."""
    return made_by_command(tmp_path_factory, "exported", "model.onnx", "export", trained / "run")


@pytest.fixture(scope="session")
def evaluated(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The folder of the run's evaluation, by `camloc evaluate`. Not to be changed."""
    return made_by_command(tmp_path_factory, "evaluated", "evaluated", "evaluate", trained / "run")


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations write no report.html: drawing it takes longer than locating a few images."""
    monkeypatch.setattr(evaluate, "has_extra", lambda _extra: False)


SQUARE = SquareSettings(
    width=256, height=192, train_frames=60, test_frames=8, variants=("day",), depth_every=0
)


@pytest.fixture(scope="session")
def square(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the embedded scene, large enough for a map. Not to be changed."""
    folder = made_once(tmp_path_factory, "square", lambda folder: render(SQUARE, folder, processes=1))
    (scene,) = folder.iterdir()
    return scene


@pytest.fixture(scope="session")
def square_map(square: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a map alone, built by the command in a process without torch. Not to be changed."""

    def make(folder: Path) -> None:
        program = (
            f"{WITHOUT_TORCH}"
            "from camloc.cli.main import main\n"
            f"main(['map', {str(square)!r}, '--out', {str(folder / 'square')!r}, '--size', '2MB'])\n"
        )
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        assert "points from 60 images" in ended.stdout

    return made_once(tmp_path_factory, "runs", make) / "square"


def made(*arguments: str | Path) -> Made:
    """What a command leaves at its last argument."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        main([str(argument) for argument in arguments])
    return Made(Path(arguments[-1]), out.getvalue(), err.getvalue())


def made_by_command(factory: pytest.TempPathFactory, name: str, path: str, *arguments: str | Path) -> Made:
    """What a command leaves at a path, and what it printed, once for all worker processes."""

    def make(folder: Path) -> None:
        _, *printed = made(*arguments, "--out", folder / path)
        (folder / "printed.json").write_text(json.dumps(printed))

    folder = made_once(factory, name, make)
    return Made(folder / path, *json.loads((folder / "printed.json").read_text()))
