"""Files that are written completely or not at all, and the cache folder."""

import errno
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from camloc.errors import CamlocError

# A running process writes to its unfinished file every few seconds: one of yesterday is abandoned.
_STALE_SECONDS = 24 * 3600.0


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a file completely or not at all: a reader gets the old content or the new, never a part.

    The data is written to a hidden file in the same folder, flushed to the disk, and renamed.
    Missing parent folders are created. Text is written as UTF-8.

    Raises:
        CamlocError: the disk is full, or the file cannot be written.
    """
    content = data.encode() if isinstance(data, str) else data
    unfinished = path.with_name(f".{path.name}.{uuid4().hex[:12]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"{path} was not written because the disk is full; free some space and try again"
        else:
            message = (
                f"{path} could not be written ({_reason(problem)}); choose a folder that can be written to"
            )
        raise CamlocError(message) from None
    finally:
        with suppress(OSError):  # the folder itself may be unusable
            unfinished.unlink(missing_ok=True)


def file_name(name: str) -> str:
    """A name that comes from data as the name of a single file or folder: never a path, "." or "..".

    Letters, digits and ``-_+=.,`` and spaces stay; everything else becomes "_".
    """
    safe = re.sub(r"[^\w\-+=., ]", "_", name).strip(". ")[:120]
    return safe or "_"


def cache_folder() -> Path:
    """The user's cache folder for camloc, which may not exist yet.

    $CAMLOC_CACHE if set, else `camloc` in $XDG_CACHE_HOME, else ~/.cache/camloc.
    """
    own = os.environ.get("CAMLOC_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    parent = Path(shared).expanduser() if shared else Path.home() / ".cache"
    return parent / "camloc"


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


def remove_stale_parts(folder: Path) -> None:
    """Remove unfinished files (`.*.part`) that a killed process left in a cache at least a day ago."""
    for path in folder.glob(".*.part"):
        with suppress(OSError):  # finished or removed by another process meanwhile
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink()


def _reason(problem: OSError) -> str:
    return (problem.strerror or str(problem)).lower()
