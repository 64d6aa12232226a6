"""Pairs of frames overlap, do not stand on one spot, and grow linearly in number."""

import numpy as np
from scipy.spatial.transform import Rotation

from camloc.mapping.pairs import PairSettings, Views, frame_pairs, probe_pairs


def views(centers: np.ndarray, yaw_degrees: np.ndarray) -> Views:
    """Cameras with a horizontal field of view of 90 degrees that look along z, turned to the right."""
    rotations = Rotation.from_rotvec(np.deg2rad(yaw_degrees)[:, None] * (0.0, 1.0, 0.0)).as_matrix()
    count = len(centers)
    return Views(rotations, centers, np.full(count, 300.0), np.ones((count, 2)))


def walk(count: int, step: float) -> Views:
    """A video of a walk to the right, all frames looking the same way."""
    centers = np.arange(count)[:, None] * np.array((step, 0.0, 0.0))
    return views(centers, np.zeros(count))


def test_frames_that_look_away_from_each_other_are_no_pair() -> None:
    apart = views(np.zeros((2, 3)) + np.array([[0.0], [0.3]]), np.array([0.0, 180.0]))
    assert len(frame_pairs(apart, 2.0, PairSettings())) == 0
    alike = views(np.zeros((2, 3)) + np.array([[0.0], [0.3]]), np.array([0.0, 10.0]))
    assert frame_pairs(alike, 2.0, PairSettings()).tolist() == [[0, 1]]


def test_pairs_are_listed_once_and_in_order() -> None:
    pairs = frame_pairs(walk(50, 0.1), 2.0, PairSettings(count=6))
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    np.testing.assert_array_equal(pairs, pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))])
    assert set(pairs.ravel().tolist()) == set(range(50))


def test_a_slow_video_is_paired_over_a_baseline() -> None:
    """A thousand frames within 2 m: the nearest neighbours alone are 2 mm apart."""
    slow = walk(1000, 0.002)
    pairs = frame_pairs(slow, 2.0, PairSettings(count=8))
    baseline = 0.002 * (pairs[:, 1] - pairs[:, 0])
    angles = np.rad2deg(np.arctan2(baseline, 2.0))
    assert np.median(angles) > 2.0


def test_pairs_grow_linearly() -> None:
    counts = [len(frame_pairs(walk(count, 0.1), 2.0, PairSettings(count=8))) for count in (200, 400, 800)]
    assert counts[1] <= 2.1 * counts[0]
    assert counts[2] <= 2.1 * counts[1]
    assert counts[2] <= 8 * 800


def test_probes_are_pairs_of_near_frames() -> None:
    pairs = probe_pairs(walk(100, 0.1), 20)
    assert 20 <= len(pairs) <= 60
    assert (np.diff(pairs, axis=1) > 0).all()
    assert np.diff(pairs, axis=1).max() <= 5
    assert len(probe_pairs(walk(1, 0.1), 20)) == 0
