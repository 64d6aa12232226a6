"""A library that is not installed is named in one sentence, with the extra that installs it."""

import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from tests.support.command_line import refused

from camloc.core import extras
from camloc.core.extras import Extra, extra_of, has_extra, require_extra
from camloc.errors import MissingExtraError

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("extra", get_args(Extra))
def test_the_libraries_of_an_extra_are_declared(extra: Extra) -> None:
    declared = {each.partition(">")[0].partition("[")[0] for each in PROJECT["optional-dependencies"][extra]}
    libraries = extras._LIBRARIES[extra]
    assert libraries
    assert {name.replace("_", "-") for name in libraries} <= declared
    assert all(extra_of(name) == extra for name in libraries)


def test_all_holds_every_extra_but_the_largest() -> None:
    (everything,) = PROJECT["optional-dependencies"]["all"]
    named = set(everything.removeprefix("camloc[").removesuffix("]").split(","))
    assert named == {*get_args(Extra)} - {"edit", "cluster", "features"}


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    require_extra("train", "training")
    monkeypatch.setitem(sys.modules, "timm", None)
    assert not has_extra("train")
    with pytest.raises(MissingExtraError, match=r"^training needs timm; .*pip install 'camloc\[train\]'$"):
        require_extra("train", "training")


def test_a_command_without_its_libraries_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def without(*_: object) -> object:
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")

    monkeypatch.setattr("camloc.cli.main.parsed", without)
    assert (
        refused(capfd, "models") == "camloc models needs torch; install it with pip install 'camloc[train]'"
    )


def test_a_module_of_no_extra_is_an_ordinary_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from camloc.cli.main import main

    def without(*_: object) -> object:
        raise ModuleNotFoundError("No module named 'sandwich'", name="sandwich")

    monkeypatch.setattr("camloc.cli.main.parsed", without)
    with pytest.raises(ModuleNotFoundError):
        main(["models"])
