"""`Finding`: one thing that is wrong with a data set, or that its user should know."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One fault of a data set.

    Attributes:
        level: "error" if training or evaluation on this data would be wasted, otherwise "warning".
        kind: a short name of the fault, such as "direction of the poses".
        sentence: what is wrong, with numbers, and what to do.
        frames: names of frames that show it, the clearest first; not all of them.
    """

    level: Level
    kind: str
    sentence: str
    frames: tuple[str, ...] = ()


# Names of frames that a finding keeps.
MOST_NAMED = 6


def named(names: Sequence[str], most: int = 3) -> str:
    """A few names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
