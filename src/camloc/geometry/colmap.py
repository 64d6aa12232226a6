"""`pycolmap` without the side effects of its logging.

While it is imported, pycolmap installs a handler of SIGTERM that prints a stack trace. The handler that was
there before is put back, so that SIGTERM, as from `docker stop`, ends a process without output.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_before = signal.getsignal(signal.SIGTERM)

import pycolmap  # noqa: E402

if _before is not None:
    with suppress(ValueError):  # only the main thread may set handlers
        signal.signal(signal.SIGTERM, _before)

__all__ = ["pycolmap", "quiet"]


@contextmanager
def quiet(level: int = 3) -> Iterator[None]:
    """Print no log messages of pycolmap below a level: 1 for warnings, 3 for fatal errors."""
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = level
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before
