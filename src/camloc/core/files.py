"""Writing files so that nothing half-written is ever left behind."""

import errno
import os
from pathlib import Path
from uuid import uuid4

from camloc.errors import CamlocError


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a whole file or nothing: a reader sees the old content or the new, never a part.

    The data goes to a hidden file in the same folder, reaches the disk, and then takes the name.
    Folders above `path` are made where they are missing. Text is written as UTF-8.

    Raises:
        CamlocError: the disk is full, or the folder or the file may not be written.
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
        raise CamlocError(_sentence(path, problem)) from None
    finally:
        _remove(unfinished)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the folder itself may be what is wrong, and that is told already
        return


def _sentence(path: Path, problem: OSError) -> str:
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path} was not written because the disk is full; free some space and try again"
    reason = (problem.strerror or str(problem)).lower()
    return f"{path} could not be written ({reason}); choose a folder that can be written to"
