"""Where camloc keeps what it can make again."""

import os
import time
from pathlib import Path

import pytest

from camloc.core.files import cache_folder, remove_stale_parts


def test_camlocs_own_variable_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMLOC_CACHE", "/somewhere/mine")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere/shared")
    assert cache_folder() == Path("/somewhere/mine")


def test_the_users_cache_folder_comes_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAMLOC_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere/shared")
    assert cache_folder() == Path("/somewhere/shared/camloc")


def test_the_home_folder_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMLOC_CACHE", "")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path.home() / ".cache" / "camloc"


def test_only_unfinished_files_of_yesterday_are_removed(tmp_path: Path) -> None:
    yesterday = time.time() - 25 * 3600
    for name in (".old.part", ".new.part", "old.npy"):
        (tmp_path / name).write_text("half")
        if "old" in name:
            os.utime(tmp_path / name, (yesterday, yesterday))
    remove_stale_parts(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".new.part", "old.npy"}
