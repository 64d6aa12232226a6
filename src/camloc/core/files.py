"""Files that are written completely or not at all, and the cache folder."""

import csv
import errno
import hashlib
import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from camloc.errors import CamlocError

# A running process writes to its unfinished file every few seconds: one of yesterday is abandoned.
_STALE_SECONDS = 24 * 3600.0

# Largest JSON file that is read: metadata of a run have kilobytes.
MOST_JSON_BYTES = 16_000_000

# Largest file of weights. The SHA-256 of a larger one, such as a file with a hole, would take minutes.
MOST_WEIGHTS_BYTES = 2**32

# File name extension of the checksums of a cache's files.
_CHECKSUMS = ".sha256"


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """The rows of a table as lines of CSV."""
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a file completely or not at all: a reader gets the old content or the new, never a part.

    The data is written to a hidden file in the same folder, flushed to the disk, and renamed.
    Missing parent folders are created. Text is written as UTF-8. A device or a pipe, such as
    `/dev/stdout`, is written to as it is.

    Raises:
        CamlocError: the disk is full, or the file cannot be written.
    """
    content = data.encode() if isinstance(data, str) else data
    if path.exists() and not path.is_file() and not path.is_dir():
        _write_through(path, content)
        return
    unfinished = path.with_name(f".{path.name}.{uuid4().hex[:12]}.part")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_stale_parts(path.parent, of=path.name)
            with unfinished.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
    finally:
        with suppress(OSError):  # the folder itself may be unusable
            unfinished.unlink(missing_ok=True)


def _write_through(path: Path, content: bytes) -> None:
    """Write to a device or a pipe, which renaming a file would replace."""
    with writing(path):
        # Without O_NONBLOCK, opening a pipe waits for its reader; writing may wait.
        descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
        if hasattr(os, "set_blocking"):
            os.set_blocking(descriptor, True)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of the file system inside the block into one about the file or folder that it writes.

    Raises:
        CamlocError: the disk is full, or the file or folder cannot be written.
        BrokenPipeError: the reader of a pipe has gone, as `head` does.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"{path} was not written because the disk is full; free some space and try again"
        else:
            message = (
                f"{path} could not be written ({_reason(problem)}); choose a folder that can be written to"
            )
        raise CamlocError(message) from None


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` a hard link to a file, or a copy where the file system has no links or is another.

    Raises:
        OSError: neither is possible.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        unfinished = target.with_name(f".{target.name}.part")
        shutil.copyfile(source, unfinished)
        unfinished.replace(target)


def read_regular(path: Path, *, most_bytes: int = MOST_JSON_BYTES) -> bytes:
    """The content of a regular file of a bounded size.

    A pipe would be waited for, and a device never ends.

    Raises:
        OSError: it cannot be read, is no regular file, or has more than `most_bytes` bytes.
    """
    # Without O_NONBLOCK, opening a pipe waits for its writer.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file")
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(f"{path} has more than {most_bytes:,} bytes")
    return content


def sha256_of(path: Path, *, most_bytes: int = MOST_WEIGHTS_BYTES) -> str:
    """The SHA-256 of a regular file of a bounded size, in hexadecimal.

    Raises:
        OSError: it cannot be read, is no regular file, or has more than `most_bytes` bytes.
    """
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise OSError(f"{path} is not a regular file")
    if state.st_size > most_bytes:
        raise OSError(f"{path} has more than {most_bytes:,} bytes")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_name(name: str) -> str:
    """A name that comes from data as the name of a single file or folder: never a path, "." or "..".

    Letters, digits and ``-_+=.,`` and spaces stay; everything else becomes "_".
    """
    safe = re.sub(r"[^\w\-+=., ]", "_", name).strip(". ")[:120]
    return safe or "_"


def cache_folder() -> Path:
    """The user's cache folder for camloc, which may not exist yet.

    $CAMLOC_CACHE where that is set, else `camloc` in $XDG_CACHE_HOME, else ~/.cache/camloc.

    Raises:
        CamlocError: the folder is below the home folder of a user that does not exist.
    """
    own, shared = os.environ.get("CAMLOC_CACHE"), os.environ.get("XDG_CACHE_HOME")
    named = own or (f"{shared}/camloc" if shared else "~/.cache/camloc")
    try:
        return Path(named).expanduser()
    except RuntimeError:
        raise CamlocError(
            f"the cache folder {named} is below a home folder that cannot be found; name a folder in "
            f"CAMLOC_CACHE"
        ) from None


def is_sound_cache(path: Path, others: Sequence[Path] = (), *, of: str) -> bool:
    """Whether the files of a cache are complete and have the checksums that `seal_cache` wrote.

    Says so in a warning if files are there that do not have them.

    Args:
        path: the largest file; its checksums are in the file beside it that ends in `.sha256`.
        others: the other files.
        of: name of the cache, for the warning.
    """
    files, checksums = (path, *others), path.with_suffix(_CHECKSUMS)
    if not all(each.exists() for each in (*files, checksums)):  # another version's, or never finished
        return False
    try:
        expected = read_regular(checksums)
        # The sizes first: a wrong one needs no reading.
        sizes = [int(line.split()[1]) for line in expected.splitlines()]
        if sizes == [each.stat().st_size for each in files] and expected == _checksums(files):
            return True
    except (OSError, ValueError, IndexError):  # removed by another process meanwhile, or no such lines
        pass
    logging.getLogger(__name__).warning("camloc: %s %s is damaged and is made again", of, path)
    return False


def seal_cache(path: Path, others: Sequence[Path] = ()) -> None:
    """Write the checksums of the files of a cache beside them; arguments as of `is_sound_cache`.

    Raises:
        CamlocError: the file cannot be written.
    """
    write_atomically(path.with_suffix(_CHECKSUMS), _checksums((path, *others)))


def _checksums(files: Sequence[Path]) -> bytes:
    """A line for each file: SHA-256, size in bytes, name."""
    sizes = [each.stat().st_size for each in files]
    lines = (
        f"{sha256_of(each, most_bytes=size)} {size} {each.name}\n"
        for each, size in zip(files, sizes, strict=True)
    )
    return "".join(lines).encode()


@contextmanager
def cache_file(path: Path, *, of: str) -> Iterator[BinaryIO]:
    """Open a large file of a cache for writing; it gets its name when the block ends.

    The file is not memory-mapped: a mapped file on a full disk ends the process with a bus error. If the
    block fails, the unfinished file is removed.

    Args:
        path: final path of the file; missing parent folders are created.
        of: name of the cache, for the message.

    Raises:
        CamlocError: the cache cannot be written.
    """
    unfinished = path.with_name(f".{uuid4().hex[:12]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale_parts(path.parent)
        with unfinished.open("xb") as file:
            yield file
        unfinished.replace(path)
    except OSError as problem:
        raise CamlocError(
            f"{of} {path.parent} cannot be written ({_reason(problem)}); name a folder with room for it in "
            f"CAMLOC_CACHE"
        ) from None
    finally:
        with suppress(OSError):  # the folder itself may be unusable
            unfinished.unlink(missing_ok=True)


def remove_stale_parts(folder: Path, *, of: str = "") -> None:
    """Remove unfinished files that a killed process left in a folder a day ago or longer.

    Args:
        folder: where to look; subfolders are left alone.
        of: name of the file that they would have become; "" for those of a cache.
    """
    name = re.compile(rf"\.{re.escape(of)}{'[.]' if of else ''}[0-9a-f]{{12}}\.part")
    with suppress(OSError):  # the folder is missing
        for entry in os.scandir(folder):
            if name.fullmatch(entry.name) is None:
                continue
            with suppress(OSError):  # finished or removed by another process meanwhile
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > _STALE_SECONDS:
                    Path(entry.path).unlink()


def _reason(problem: OSError) -> str:
    return (problem.strerror or str(problem)).lower()
