"""Validation frames from the training sequences: the test frames never choose anything."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from camloc.core.types import Frame
from camloc.errors import RecipeError


@dataclass(frozen=True)
class HoldOut:
    """Which training frames are kept for validation.

    Neighbours in a recording are nearly the same picture, so whole blocks are held out, not single
    frames, and validation errors stay honest.

    Attributes:
        every: one block of so many is held out; 0 holds out nothing.
        block: length of a block in frames.

    Raises:
        RecipeError: nothing would be left to train on.
    """

    every: int = 8
    block: int = 20

    def __post_init__(self) -> None:
        if self.every == 1 or self.every < 0 or self.block < 1:
            raise RecipeError(
                f"one of every {self.every} blocks of {self.block} frames cannot be held out; let it be one "
                f"of every 2 or more (0 for none), of 1 frame or more"
            )


def hold_out(frames: Sequence[Frame], settings: HoldOut) -> tuple[tuple[Frame, ...], tuple[Frame, ...]]:
    """Frames to train on and frames to validate on, each in the order given.

    Blocks are counted within each sequence, also where frames of several alternate, and the middle one
    of every `every` is held out. Short recordings get shorter blocks, so that each of at least `every`
    frames gives some.
    """
    if settings.every == 0:
        return tuple(frames), ()
    lengths = Counter(frame.sequence for frame in frames)
    passed: Counter[str] = Counter()
    train: list[Frame] = []
    held: list[Frame] = []
    for frame in frames:
        block = max(1, min(settings.block, lengths[frame.sequence] // settings.every))
        is_held = (passed[frame.sequence] // block) % settings.every == settings.every // 2
        (held if is_held else train).append(frame)
        passed[frame.sequence] += 1
    return tuple(train), tuple(held)
