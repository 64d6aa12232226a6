"""Where camloc keeps what it can make again."""

import os
from pathlib import Path


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
