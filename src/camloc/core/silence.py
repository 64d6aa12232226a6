"""Context managers that silence the warnings and messages of libraries."""

import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class _WithoutWarnings:
    """No warning is shown while any thread is inside the block.

    `warnings.catch_warnings` alone restores the filters that it found. With overlapping threads these may be
    another thread's, and warnings would stay off forever. Therefore the first thread that enters saves the
    filters, and the last one that leaves restores them.
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
    """Log errors alone inside the block; afterwards the root logger has its previous handlers.

    A library that logs to a root logger without handlers adds one; from then on all messages of all libraries
    would be printed.
    """
    disabled, handlers = logging.root.manager.disable, logging.root.handlers[:]
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
        logging.root.handlers[:] = handlers


_DESCRIPTOR = threading.Lock()


@contextmanager
def without_c_messages() -> Iterator[None]:
    """Discard what C libraries print to the process's standard error inside the block."""
    with _DESCRIPTOR:
        before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
            os.close(nowhere)
