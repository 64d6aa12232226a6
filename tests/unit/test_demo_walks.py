"""Walks through the embedded scene, and the planned frames on them."""

from typing import Any

import numpy as np
import pytest

from market_square.free_space import free_space_of
from market_square.scene import SquareSettings, shots
from market_square.walks import AREAS, Walk


@pytest.mark.parametrize("area", sorted(AREAS))
def test_walks_keep_clear_of_obstacles(area: str) -> None:
    for seed in range(4):
        walk = Walk(AREAS[area], free_space_of(0), seconds=40.0, seed=seed)
        centers = np.array([walk.world_from_cam(moment)[:3, 3] for moment in walk.free_times(50)])
        clearance = free_space_of(0).clearance(centers[:, 0], centers[:, 1])
        assert clearance.min() >= AREAS[area].clearance_meters - 0.11
        assert (np.abs(centers[:, 2] - 1.6) < 0.3).all()


@pytest.mark.parametrize("area", sorted(AREAS))
def test_walks_do_not_leap(area: str) -> None:
    for seed in range(4):
        walk = Walk(AREAS[area], free_space_of(0), seconds=40.0, seed=seed)
        for moment in walk.free_times(60):
            step = walk.world_from_cam(moment + 0.1)[:3, 3] - walk.world_from_cam(moment)[:3, 3]
            assert np.linalg.norm(step) < 0.4


def test_walks_hold_proper_rotations() -> None:
    walk = Walk(AREAS["corner"], free_space_of(0), seconds=10.0, seed=1)
    rotation = walk.world_from_cam(4.2)[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) > 0


def test_the_training_walks_of_the_corner_cover_it_and_look_to_one_side() -> None:
    planned = [
        shot for shot in shots(SquareSettings(train_frames=200), free_space_of(0)) if shot.split == "train"
    ]
    centers = np.array([shot.world_from_cam[:3, 3] for shot in planned])
    forward = np.array([shot.world_from_cam[:3, 2] for shot in planned])
    heading = np.degrees(np.arctan2(forward[:, 1], forward[:, 0]))
    assert (np.ptp(centers, axis=0) > (5.0, 3.2, 0.2)).all()
    assert (np.ptp(centers, axis=0) < (6.5, 4.5, 0.6)).all()
    assert np.abs(heading - 128).max() < 42
    assert np.ptp(heading) > 60


def test_the_square_is_seen_all_around() -> None:
    planned = shots(SquareSettings(area="square", train_frames=120), free_space_of(0))
    forward = np.array([shot.world_from_cam[:3, 2] for shot in planned if shot.split == "train"])
    heading = np.degrees(np.arctan2(forward[:, 1], forward[:, 0]))
    assert (np.histogram(heading, bins=6, range=(-180, 180))[0] > 0).all()


def test_all_variants_of_the_test_walks_have_the_same_poses() -> None:
    scene = SquareSettings(train_frames=4, test_frames=6, variants=("night", "occluded"))
    planned = [shot for shot in shots(scene, free_space_of(0)) if shot.split == "test"]
    poses = {
        name: [shot.world_from_cam for shot in planned if shot.variant == name]
        for name in ("day", "night", "occluded")
    }
    assert all(len(of_variant) == 6 for of_variant in poses.values())
    assert np.array_equal(poses["day"], poses["night"])
    assert np.array_equal(poses["day"], poses["occluded"])


def test_training_and_test_walks_are_different_paths_through_the_same_area() -> None:
    planned = shots(SquareSettings(train_frames=300, test_frames=40, variants=("day",)), free_space_of(0))
    train, test = (
        np.array([shot.world_from_cam[:3, 3] for shot in planned if shot.split == split])
        for split in ("train", "test")
    )
    nearest = np.linalg.norm(test[:, None] - train[None], axis=-1).min(axis=1)
    assert nearest.min() > 1e-3
    assert np.median(nearest) < 0.4
    assert not {shot.walk for shot in planned if shot.split == "train"} & {
        shot.walk for shot in planned if shot.split == "test"
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"area": "moon"}, "unknown area 'moon', choose from corner, square"),
        ({"variants": ("fog",)}, "unknown variant 'fog'"),
        ({"width": 4}, "at least 8 x 8 pixels"),
        ({"train_frames": 0}, "at least one training"),
        ({"shutter_seconds": -1.0}, "shutter"),
    ],
)
def test_a_scene_that_cannot_be_rendered_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SquareSettings(**settings)
