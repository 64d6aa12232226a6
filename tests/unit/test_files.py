"""Files are written whole or not at all, and the cache has its folder."""

import errno
import os
import time
from pathlib import Path

import pytest

from camloc.core.files import (
    cache_folder,
    is_sound_cache,
    read_regular,
    remove_stale_parts,
    seal_cache,
    sha256_of,
    write_atomically,
)
from camloc.core.sealed import SealError, check_own_checksum
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
    """Those of a cache for the folder, and those of a file when it is written again; nobody else's."""
    yesterday = time.time() - 25 * 3600
    old, new = "0123456789ab", "ba9876543210"
    names = [f".{old}.part", f".a.txt.{old}.part", "old.npy", ".notes.part", f".b.txt.{old}.part"]
    for name in (*names, f".{new}.part", f".a.txt.{new}.part"):
        (tmp_path / name).write_text("half")
        if name in names:
            os.utime(tmp_path / name, (yesterday, yesterday))
    remove_stale_parts(tmp_path)
    assert not (tmp_path / f".{old}.part").exists()
    write_atomically(tmp_path / "a.txt", "whole")
    left = {"a.txt", "old.npy", ".notes.part", f".b.txt.{old}.part", f".{new}.part", f".a.txt.{new}.part"}
    assert {path.name for path in tmp_path.iterdir()} == left
    remove_stale_parts(tmp_path / "missing")


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"12345")
    assert read_regular(tmp_path / "a.json", most_bytes=5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_regular(tmp_path / "a.json", most_bytes=4)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        for read in (read_regular, sha256_of):
            with pytest.raises(OSError, match="not a regular file"):
                read(path)


def test_devices_and_pipes_are_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(CamlocError, match="could not be written"):
        write_atomically(pipe, "nobody reads it")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, "text")
    assert os.read(reader, 9) == b"text"
    os.close(reader)
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(CamlocError, match="the disk is full"):
        write_atomically(tmp_path / "full", "text")
    assert (tmp_path / "full").is_char_device()
    assert pipe.is_fifo()
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "full"}


def test_files_with_a_hole_are_refused_at_once(tmp_path: Path) -> None:
    """The SHA-256 of 128 GB of zeros takes minutes."""
    weights, cache = tmp_path / "weights.bin", tmp_path / "a.npy"
    for path in (weights, cache):
        path.write_bytes(b"content")
    seal_cache(cache)
    for path in (weights, cache):
        with path.open("wb") as file:
            file.truncate(2**37)
    started = time.monotonic()
    with pytest.raises(OSError, match="more than"):
        sha256_of(weights)
    with pytest.raises(SealError, match="no checksum"):
        check_own_checksum(weights, near="end")
    assert not is_sound_cache(cache, of="the cache")
    assert time.monotonic() - started < 5


def test_a_cache_below_the_home_of_nobody_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMLOC_CACHE", "~nobody-of-this-name/cache")
    with pytest.raises(CamlocError, match="name a folder in CAMLOC_CACHE"):
        cache_folder()


def test_a_cache_is_sound_until_one_of_its_files_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = (tmp_path / "a.npy", tmp_path / "a.labels.npz")
    for path in files:
        path.write_bytes(b"content")
    assert not is_sound_cache(files[0], files[1:], of="the cache"), "it has no checksums"
    assert caplog.messages == []
    seal_cache(files[0], files[1:])
    for path in (*files, tmp_path / "a.sha256"):
        whole = path.read_bytes()
        for damaged in (b"", whole[:-1], bytes([whole[0] ^ 1]) + whole[1:]):
            path.write_bytes(damaged)
            caplog.clear()
            assert not is_sound_cache(files[0], files[1:], of="the cache")
            assert caplog.messages == [f"camloc: the cache {files[0]} is damaged and is made again"]
        path.write_bytes(whole)
        assert is_sound_cache(files[0], files[1:], of="the cache")
