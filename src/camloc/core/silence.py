"""Warnings and logs turned off while something runs."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class _WithoutWarnings:
    """No warning is shown while any thread is inside.

    `warnings.catch_warnings` alone restores the filters that it found, which with overlapping threads
    are another thread's: warnings would stay off for good. So the first in saves, the last out restores.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._caught.__exit__(None, None, None)


without_warnings = _WithoutWarnings()


@contextmanager
def without_logs() -> Iterator[None]:
    """Nothing less than an error is logged, and the root logger is left as it was.

    Libraries that log to the root logger give it a handler where it has none, and then everything that any
    library ever says is printed.
    """
    disabled, handlers = logging.root.manager.disable, logging.root.handlers[:]
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
        logging.root.handlers[:] = handlers
