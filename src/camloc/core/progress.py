"""Progress of long work: functions that callers pass, and that are called now and then."""

from collections.abc import Callable

CountProgress = Callable[[int, int], None]
"""Called with the number of finished items and their total."""

StepProgress = Callable[[str, int, int], None]
"""Called with the name of the step, the number of its finished items, and their total."""

ShareProgress = Callable[[str, float], None]
"""Called with the name of the step and its finished share, from 0 to 1."""


def silent(*_: object) -> None:
    """Progress that is not shown."""
