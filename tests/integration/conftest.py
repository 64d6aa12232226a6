"""A place and a run that has learned it, made once for all tests of this folder."""

import io
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from tests.support.trained import Exported, train_run, write_place

from camloc.apps.cli import main


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the data set `place`, the run `run` and the pictures' cache. Not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAMLOC_CACHE", str(folder / "cache"))
        write_place(folder / "place")
        train_run(folder / "place", folder / "run")
        yield folder


@pytest.fixture(scope="session")
def exported(trained: Path) -> Exported:
    """The run as an ONNX file, by `camloc export`. Not to be changed."""
    path = trained / "exported.onnx"
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        main(["export", str(trained / "run"), "--out", str(path)])
    return Exported(path, out.getvalue(), err.getvalue())
