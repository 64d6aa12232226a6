"""The time that each stage of locating an image takes, for `camloc locate --profile`.

Code names a stage with `stage`; whoever wants the times runs it inside `measured`. Otherwise nothing is
measured, and a stage costs less than a microsecond.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_SECONDS: ContextVar[dict[str, float] | None] = ContextVar("camloc_stages", default=None)


@contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Collect the seconds of this thread's stages inside the block, by their names."""
    seconds: dict[str, float] = {}
    token = _SECONDS.set(seconds)
    try:
        yield seconds
    finally:
        _SECONDS.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Add the time inside the block to the stage of that name."""
    seconds = _SECONDS.get()
    if seconds is None:
        yield
        return
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started
