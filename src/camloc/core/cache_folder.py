"""Where camloc keeps what it can make again."""

import os
import time
from contextlib import suppress
from pathlib import Path

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


def remove_stale_parts(folder: Path) -> None:
    """Remove unfinished files (`.*.part`) of a cache that a killed process has left a day ago or longer."""
    for path in folder.glob(".*.part"):
        with suppress(OSError):  # finished or removed by another process meanwhile
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink()
