"""Validation frames from the training sequences: the test frames never choose anything."""

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from camloc.core.types import Frame, oriented
from camloc.errors import RecipeError

# Parts of a place that are held out, where blocks of `SHORTEST_BLOCK` frames or more allow it.
HELD_PARTS = 3
SHORTEST_BLOCK = 5


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
    of every `every` is held out. Where there are few frames, blocks are shorter, down to `SHORTEST_BLOCK`
    frames, so that some `HELD_PARTS` parts of the place are held out: a single one may show what no other
    frame does. Short recordings get shorter blocks too, so that each of at least `every` frames gives some.

    Frames of which only the position is known validate nothing and count for no block. Those between two
    frames of a block that is held out are left out of both: their positions would tell what it asks.
    """
    if settings.every == 0:
        return tuple(frames), ()
    complete = oriented(frames)
    lengths = Counter(frame.sequence for frame in complete)
    several = len(complete) // (HELD_PARTS * settings.every)
    longest = min(settings.block, max(SHORTEST_BLOCK, several))
    passed: Counter[str] = Counter()
    held: list[Frame] = []
    for frame in complete:
        block = max(1, min(longest, lengths[frame.sequence] // settings.every))
        if (passed[frame.sequence] // block) % settings.every == settings.every // 2:
            held.append(frame)
        passed[frame.sequence] += 1
    apart = set(held)
    apart |= _follow(frames, apart) & _follow(frames[::-1], apart)
    return tuple(frame for frame in frames if frame not in apart), tuple(held)


def _follow(frames: Sequence[Frame], held: Set[Frame]) -> set[Frame]:
    """Positions alone whose last complete frame of the same sequence is held out."""
    is_within: dict[str, bool] = {}
    found = set()
    for frame in frames:
        if not frame.is_position_only:
            is_within[frame.sequence] = frame in held
        elif is_within.get(frame.sequence, False):
            found.add(frame)
    return found


def keep_orientations(frames: Sequence[Frame], every: int) -> tuple[Frame, ...]:
    """The frames, of whose orientations only every n-th stays, from the first; 0 leaves all as they are.

    Source: "Implicit Learning of Scene Geometry", section IV-F, where n is 3.

    Raises:
        RecipeError: `every` is negative.
    """
    if every < 0:
        raise RecipeError(
            f"keep_orientation_every is {every}; let it be 1 or more, or 0 to keep every orientation"
        )
    if every == 0:
        return tuple(frames)
    kept = set(oriented(frames)[::every])
    return tuple(
        frame if frame in kept else replace(frame, world_from_cam=frame.truth().without_orientation())
        for frame in frames
    )
