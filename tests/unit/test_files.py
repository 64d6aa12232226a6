"""Files are written whole or not at all, and the cache has its folder."""

import errno
import os
import time
from pathlib import Path

import pytest

from camloc.core.files import cache_folder, remove_stale_parts, write_atomically
from camloc.errors import CamlocError


def test_text_and_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    write_atomically(tmp_path / "new" / "deep" / "a.txt", "grün\n")
    write_atomically(tmp_path / "b.bin", b"\x00\r\n")
    assert (tmp_path / "new" / "deep" / "a.txt").read_bytes() == "grün\n".encode()
    assert (tmp_path / "b.bin").read_bytes() == b"\x00\r\n"


def test_an_existing_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old and longer")
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_is_a_sentence_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os if step == "fsync" else Path, step, full)
    with pytest.raises(CamlocError, match=r"a\.txt was not written because the disk is full"):
        write_atomically(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_leaves_no_part_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a.txt", "new")
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_is_reported_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CamlocError, match="could not be written"):
        write_atomically(tmp_path / "file" / "a.txt", "new")
    with pytest.raises(CamlocError, match="could not be written"):
        write_atomically(tmp_path, "a folder has this name")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


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
