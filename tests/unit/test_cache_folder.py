"""Where camloc keeps what it can make again."""

from pathlib import Path

import pytest

from camloc.core.cache_folder import cache_folder


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
