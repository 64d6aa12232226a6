"""Windows of frames: of one recording, in its order, around every frame that is learned from."""

from dataclasses import replace

import pytest
import torch
from tests.support.tiny_training import recipe_for_images

from camloc.errors import RecipeError
from camloc.training.recipe import Stage, Window
from camloc.training.tasks import windows_around

STAGE = Stage(epochs=1, learning_rate=1e-3)


def around(rows: list[int], sequence: list[int], window: Window) -> list[list[int]]:
    found: list[list[int]] = windows_around(torch.tensor(rows), torch.tensor(sequence), window).tolist()
    return found


def test_every_frame_is_the_middle_of_one_window() -> None:
    found = around(list(range(7)), [0] * 7, Window(frames=3, apart=2))
    assert [window[1] for window in found] == list(range(7))
    assert found[3] == [1, 3, 5]


def test_the_ends_of_a_recording_stand_in_for_frames_that_it_does_not_have() -> None:
    found = around(list(range(5)), [0] * 5, Window(frames=3, apart=2))
    assert found == [[0, 0, 2], [0, 1, 3], [0, 2, 4], [1, 3, 4], [2, 4, 4]]


def test_no_window_goes_from_one_recording_to_another() -> None:
    sequence = [0, 0, 0, 1, 1, 1]
    for window in around(list(range(6)), sequence, Window(frames=3, apart=1)):
        assert len({sequence[frame] for frame in window}) == 1


def test_frames_of_several_recordings_may_alternate() -> None:
    found = around(list(range(6)), [0, 1, 0, 1, 0, 1], Window(frames=3, apart=1))
    assert found == [[0, 0, 2], [1, 1, 3], [0, 2, 4], [1, 3, 5], [2, 4, 4], [3, 5, 5]]


def test_frames_that_are_not_learned_from_are_in_no_window() -> None:
    found = around([0, 1, 4, 5], [0] * 6, Window(frames=3, apart=1))
    assert found == [[0, 0, 1], [0, 1, 4], [1, 4, 5], [4, 5, 5]]


@pytest.mark.parametrize("apart", [1, 10])
def test_windows_of_one_frame_are_the_frames(apart: int) -> None:
    assert around([2, 5, 6], [0, 0, 1, 1, 1, 2, 2], Window(1, apart)) == [[2], [5], [6]]


def test_an_even_window_has_its_frame_after_the_middle() -> None:
    assert around(list(range(4)), [0] * 4, Window(frames=2, apart=1)) == [[0, 0], [0, 1], [1, 2], [2, 3]]


@pytest.mark.parametrize(("frames", "apart"), [(0, 1), (3, 0), (-1, 1)])
def test_a_window_that_cannot_be_is_refused(frames: int, apart: int) -> None:
    with pytest.raises(RecipeError, match="let both be 1 or more"):
        Window(frames, apart)


def test_a_batch_holds_whole_windows() -> None:
    recipe = replace(recipe_for_images(STAGE), batch_size=12, window=Window(3, 10))
    assert recipe.windows_per_batch == 4
    with pytest.raises(RecipeError, match="make it a multiple"):
        replace(recipe, batch_size=32)
