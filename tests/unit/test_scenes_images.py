"""Images of several scenes as one, and epochs in which every scene has its part."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.support.tiny_training import tiny_images

from camloc.training.scenes import joined
from camloc.training.tasks import balanced_order


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
    # Recordings of 12 images: two of the first place, one of the second.
    assert whole.sequence.unique().tolist() == [0, 1, 2]
    assert set(whole.sequence[:13].tolist()) & set(whole.sequence[13:].tolist()) == set()


def test_intrinsics_are_only_known_where_every_scene_has_them() -> None:
    first, second = tiny_images(4), tiny_images(3)
    assert joined([first, second]).intrinsics is not None
    assert joined([first, replace(second, intrinsics=None)]).intrinsics is None


@pytest.mark.parametrize("sizes", [(100, 10), (7, 7, 7), (1, 30, 4), (12,)])
def test_every_scene_has_its_part_of_a_balanced_epoch(sizes: tuple[int, ...]) -> None:
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
