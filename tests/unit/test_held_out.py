"""Validation frames: whole blocks of the training recordings."""

from itertools import groupby
from pathlib import Path

import pytest

from camloc.data.splits import HoldOut, hold_out
from camloc.data.types import Frame
from camloc.errors import RecipeError


def frames(**lengths: int) -> list[Frame]:
    """Recordings of the lengths given, one after the other."""
    return [
        Frame(f"{name}/{number:04d}.png", Path(name) / f"{number:04d}.png", sequence=name)
        for name, length in lengths.items()
        for number in range(length)
    ]


def numbers(chosen: tuple[Frame, ...]) -> list[int]:
    return [int(frame.image.stem) for frame in chosen]


def test_the_middle_block_of_every_few_is_held_out() -> None:
    train, held = hold_out(frames(a=150), HoldOut(every=5, block=10))
    assert numbers(held) == [*range(20, 30), *range(70, 80), *range(120, 130)]
    assert numbers(train) == [number for number in range(150) if number not in numbers(held)]


def test_few_frames_are_held_out_in_several_blocks_all_the_same() -> None:
    _, held = hold_out(frames(a=90), HoldOut(every=5, block=25))
    assert numbers(held) == [*range(12, 18), *range(42, 48), *range(72, 78)]
    _, held = hold_out(frames(a=60), HoldOut(every=6, block=25))  # not shorter than 5 frames
    assert numbers(held) == [*range(15, 20), *range(45, 50)]


def test_every_frame_is_on_one_side_and_the_order_stays() -> None:
    everything = frames(a=83, b=7, c=240)
    train, held = hold_out(everything, HoldOut())
    assert [frame for frame in everything if frame in set(train)] == list(train)
    assert [frame for frame in everything if frame in set(held)] == list(held)
    assert sorted(frame.name for frame in (*train, *held)) == sorted(frame.name for frame in everything)


def test_blocks_are_counted_within_each_recording() -> None:
    _, held = hold_out(frames(a=45, b=50, c=100), HoldOut(every=5, block=10))
    by_sequence = {name: numbers(tuple(group)) for name, group in groupby(held, lambda f: f.sequence)}
    assert by_sequence == {
        "a": [18, 19, 20, 21, 22, 23, 24, 25, 26],
        "b": [*range(20, 30)],
        "c": [*range(20, 30), *range(70, 80)],
    }


def test_short_recordings_give_shorter_blocks() -> None:
    _, held = hold_out(frames(a=8, b=16, c=3), HoldOut(every=8, block=20))
    assert [frame.name for frame in held] == ["a/0004.png", "b/0008.png", "b/0009.png"]


def test_recordings_whose_frames_alternate_are_kept_separate() -> None:
    apart = frames(a=40, b=40)
    alternating = [frame for pair in zip(apart[:40], apart[40:], strict=True) for frame in pair]
    expected = {frame.name for frame in hold_out(apart, HoldOut(every=4, block=5))[1]}
    assert {frame.name for frame in hold_out(alternating, HoldOut(every=4, block=5))[1]} == expected
    assert len(expected) == 20


def test_nothing_is_held_out_by_default_settings_of_zero() -> None:
    everything = frames(a=30)
    assert hold_out(everything, HoldOut(every=0)) == (tuple(everything), ())


def test_a_single_frame_is_a_training_frame() -> None:
    train, held = hold_out(frames(a=1), HoldOut())
    assert (len(train), len(held)) == (1, 0)


@pytest.mark.parametrize(("every", "block"), [(1, 20), (-1, 20), (8, 0)])
def test_settings_that_leave_nothing_to_learn_from_are_refused(every: int, block: int) -> None:
    with pytest.raises(RecipeError, match="held out"):
        HoldOut(every=every, block=block)
