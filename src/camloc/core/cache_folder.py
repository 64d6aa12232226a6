"""Where camloc keeps what it can make again."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from camloc.errors import CamlocError

# What is being written gets longer every few moments: a file of yesterday was given up.
_STALE_SECONDS = 24 * 3600.0


def cache_folder() -> Path:
    """The user's cache folder for camloc; it need not exist yet.

    $CAMLOC_CACHE where that is set, else `camloc` in $XDG_CACHE_HOME, else ~/.cache/camloc.
    """
    own = os.environ.get("CAMLOC_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    parent = Path(shared).expanduser() if shared else Path.home() / ".cache"
    return parent / "camloc"


@contextmanager
def cache_file(path: Path, *, of: str) -> Iterator[BinaryIO]:
    """A large file of a cache to write into, which takes its name when the block ends.

    It is written, not mapped: a mapped file on a full disk ends the process with a bus error. Where the block
    fails nothing is left of it.

    Args:
        path: what it will be called; folders above it are made where they are missing.
        of: the cache's name, for the message.

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
        reason = (problem.strerror or str(problem)).lower()
        raise CamlocError(
            f"{of} {path.parent} cannot be written ({reason}); name a folder with room for it in CAMLOC_CACHE"
        ) from None
    finally:
        with suppress(OSError):  # the folder itself may be what is wrong, and that is told
            unfinished.unlink()


def remove_stale_parts(folder: Path) -> None:
    """Remove unfinished files (`.*.part`) of a cache that a killed process has left a day ago or longer."""
    for path in folder.glob(".*.part"):
        with suppress(OSError):  # finished or removed by another process meanwhile
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink()
