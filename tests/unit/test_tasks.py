"""Training rows: windows within one recording, images of several scenes, frames of a stage."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.support.models import some_poses
from tests.support.tiny_training import recipe_for_images, tiny_images

from camloc.errors import RecipeError
from camloc.geometry import Pose
from camloc.training.recipe import LearnsFrom, Stage, Window
from camloc.training.scenes import joined
from camloc.training.tasks import balanced_order, training_rows, windows_around

STAGE = Stage(epochs=1, learning_rate=1e-3)


def around(rows: list[int], sequence: list[int], window: Window) -> list[list[int]]:
    found: list[list[int]] = windows_around(torch.tensor(rows), torch.tensor(sequence), window).tolist()
    return found


def test_every_frame_is_the_middle_of_one_window() -> None:
    found = around(list(range(7)), [0] * 7, Window(frames=3, apart=2))
    assert [window[1] for window in found] == list(range(7))
    assert found[3] == [1, 3, 5]


def test_the_end_frames_of_a_recording_repeat_for_frames_beyond_them() -> None:
    found = around(list(range(5)), [0] * 5, Window(frames=3, apart=2))
    assert found == [[0, 0, 2], [0, 1, 3], [0, 2, 4], [1, 3, 4], [2, 4, 4]]


def test_no_window_goes_from_one_recording_to_another() -> None:
    sequence = [0, 0, 0, 1, 1, 1]
    for window in around(list(range(6)), sequence, Window(frames=3, apart=1)):
        assert len({sequence[frame] for frame in window}) == 1


def test_frames_of_several_recordings_may_alternate() -> None:
    found = around(list(range(6)), [0, 1, 0, 1, 0, 1], Window(frames=3, apart=1))
    assert found == [[0, 0, 2], [1, 1, 3], [0, 2, 4], [1, 3, 5], [2, 4, 4], [3, 5, 5]]


def test_other_frames_are_in_no_window() -> None:
    found = around([0, 1, 4, 5], [0] * 6, Window(frames=3, apart=1))
    assert found == [[0, 0, 1], [0, 1, 4], [1, 4, 5], [4, 5, 5]]


@pytest.mark.parametrize("apart", [1, 10])
def test_windows_of_one_frame_are_the_frames(apart: int) -> None:
    assert around([2, 5, 6], [0, 0, 1, 1, 1, 2, 2], Window(1, apart)) == [[2], [5], [6]]


def test_an_even_window_has_its_frame_after_the_middle() -> None:
    assert around(list(range(4)), [0] * 4, Window(frames=2, apart=1)) == [[0, 0], [0, 1], [1, 2], [2, 3]]


@pytest.mark.parametrize(("frames", "apart"), [(0, 1), (3, 0), (-1, 1)])
def test_a_window_below_one_is_refused(frames: int, apart: int) -> None:
    with pytest.raises(RecipeError, match="let both be 1 or more"):
        Window(frames, apart)


def test_a_batch_holds_whole_windows() -> None:
    recipe = replace(recipe_for_images(STAGE), batch_size=12, window=Window(3, 10))
    assert recipe.windows_per_batch == 4
    with pytest.raises(RecipeError, match="make it a multiple"):
        replace(recipe, batch_size=32)


def test_rows_of_joined_images_are_those_of_their_scenes() -> None:
    first, second = tiny_images(13), tiny_images(5, seed=1)
    second = replace(second, scene=torch.ones(5, dtype=torch.int64))
    whole = joined([first, second])
    assert len(whole) == 18
    rows = torch.tensor([17, 0, 12, 13, 4, 13])
    batch = whole.batch(rows)
    expected = np.concatenate([first.images, second.images])[rows.numpy()]
    assert np.array_equal((batch.images * 255).round().byte().numpy(), expected)
    assert batch.scene.tolist() == [1, 0, 0, 1, 0, 1]
    assert torch.equal(batch.world_from_cam.translation[1], first.world_from_cam.translation[0])
    assert torch.equal(batch.world_from_cam.translation[0], second.world_from_cam.translation[4])
    # Recordings of 12 images: two of the first scene, one of the second.
    assert whole.sequence.unique().tolist() == [0, 1, 2]
    assert set(whole.sequence[:13].tolist()) & set(whole.sequence[13:].tolist()) == set()


def test_intrinsics_are_only_known_where_every_scene_has_them() -> None:
    first, second = tiny_images(4), tiny_images(3)
    assert joined([first, second]).intrinsics is not None
    assert joined([first, replace(second, intrinsics=None)]).intrinsics is None


@pytest.mark.parametrize("sizes", [(100, 10), (7, 7, 7), (1, 30, 4), (12,)])
def test_every_scene_has_an_equal_part_of_a_balanced_epoch(sizes: tuple[int, ...]) -> None:
    scene = torch.cat([torch.full((size,), 3 * number) for number, size in enumerate(sizes)])
    order = balanced_order(scene, torch.Generator().manual_seed(0))
    assert len(order) == len(scene)
    counts = [int((scene[order] == 3 * number).sum()) for number in range(len(sizes))]
    assert max(counts) - min(counts) <= 1
    for number, size in enumerate(sizes):  # each image once before any a second time
        times = order[scene[order] == 3 * number].bincount(minlength=len(scene))[scene == 3 * number]
        assert int(times.max()) - int(times.min()) <= 1
        assert int(times.max()) == -(-counts[number] // size)
    assert order.tolist() != sorted(order.tolist())
    again = balanced_order(scene, torch.Generator().manual_seed(0))
    assert torch.equal(order, again)


def poses_with_orientation(known: list[bool]) -> Pose:
    """Poses of which some are positions alone."""
    poses = some_poses(max(1, len(known)))[: len(known)]
    return (
        Pose.cat(
            [
                poses[row : row + 1] if has else poses[row : row + 1].without_orientation()
                for row, has in enumerate(known)
            ]
        )
        if known
        else poses
    )


@pytest.mark.parametrize(
    ("learns_from", "rows"), [("all", [0, 1, 2, 3]), ("full", [0, 3]), ("positions", [1, 2])]
)
def test_a_stage_trains_on_the_frames_that_it_names(learns_from: LearnsFrom, rows: list[int]) -> None:
    poses = poses_with_orientation([True, False, False, True])
    assert training_rows(Stage(1, 1e-3, learns_from=learns_from), poses).tolist() == rows


@pytest.mark.parametrize(
    ("learns_from", "known", "message"),
    [
        ("full", [False, False], "with an orientation"),
        ("positions", [True, True], "with a position alone"),
        ("all", [], "there"),
    ],
)
def test_a_stage_without_frames_is_reported_in_one_sentence(
    learns_from: LearnsFrom, known: list[bool], message: str
) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        training_rows(Stage(1, 1e-3, learns_from=learns_from), poses_with_orientation(known))
    assert "\n" not in str(caught.value)
