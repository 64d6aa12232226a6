"""How often a model of several places names the right one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from camloc.core.types import Estimate, Located


@dataclass(frozen=True)
class PlaceDecision:
    """What was decided about photographs of one place.

    Attributes:
        frames: how many there were.
        right: how many were put into their place; one without any answer was not.
        taken_for: how many were put into which other place, the most frequent first.
    """

    frames: int
    right: int
    taken_for: dict[str, int] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Of the frames that were put into their place; all of them where there was nothing to decide."""
        return self.right / self.frames if self.frames else 1.0


def place_decision(estimates: Sequence[Estimate], scene: str) -> PlaceDecision:
    """What was decided about photographs of `scene`."""
    places = Counter(each.scene for each in estimates if isinstance(each, Located))
    right = places.pop(scene, 0)
    return PlaceDecision(len(estimates), right, dict(places.most_common()))


def all_decisions(decisions: Sequence[PlaceDecision]) -> PlaceDecision:
    """The decisions about several places together."""
    taken: Counter[str] = Counter()
    for each in decisions:
        taken.update(each.taken_for)
    return PlaceDecision(
        sum(each.frames for each in decisions),
        sum(each.right for each in decisions),
        dict(taken.most_common()),
    )
