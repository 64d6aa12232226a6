"""Validation frames from the training sequences: the test frames never choose anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from camloc.core.types import Frame


@dataclass(frozen=True)
class HoldOut:
    """Which training frames are kept for validation.

    Neighbours in a recording are nearly the same picture, so whole blocks are held out, not single
    frames, and validation errors stay honest.

    Attributes:
        every: one block of so many is held out; 0 holds out nothing.
        block: length of a block in frames.
    """

    every: int = 8
    block: int = 20


def hold_out(frames: Sequence[Frame], settings: HoldOut) -> tuple[tuple[Frame, ...], tuple[Frame, ...]]:
    """Frames to train on and frames to validate on, each in the order given.

    Blocks are counted within each sequence, and the middle one of every `every` is held out. Short
    recordings get shorter blocks, so that each of at least `every` frames gives some.
    """
    if settings.every <= 0:
        return tuple(frames), ()
    train: list[Frame] = []
    held: list[Frame] = []
    for _, recording in groupby(frames, key=lambda frame: frame.sequence):
        members = list(recording)
        block = max(1, min(settings.block, len(members) // settings.every))
        for index, frame in enumerate(members):
            is_held = (index // block) % settings.every == settings.every // 2
            (held if is_held else train).append(frame)
    return tuple(train), tuple(held)
