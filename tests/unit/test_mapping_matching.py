"""Descriptors match if they are mutual nearest neighbours and distinct; keypoints if the poses allow it."""

import numpy as np

from camloc.mapping.matching import FrameKeypoints, MatchSettings, match_codes, match_pairs
from camloc.mapping.pairs import Views


def codes(*rows: tuple[int, ...]) -> np.ndarray:
    return np.array(rows, dtype=np.uint8).reshape(len(rows), -1)


def test_mutual_nearest_neighbours() -> None:
    first = codes((0, 0), (100, 100), (10, 10))
    second = codes((101, 100), (1, 0))
    assert match_codes(first, second, 1.0).tolist() == [[0, 1], [1, 0]]


def test_what_is_not_distinct_does_not_match() -> None:
    first, second = codes((100, 100)), codes((100, 90), (100, 111))
    assert match_codes(first, second, 0.8).tolist() == []
    assert match_codes(first, second, 0.95).tolist() == [[0, 0]]


def test_images_without_features_match_nothing() -> None:
    some, none = codes((1, 2)), np.empty((0, 2), dtype=np.uint8)
    for first, second in ((some, none), (none, some), (none, none)):
        assert match_codes(first, second, 0.9).shape == (0, 2)


def test_distances_are_exact() -> None:
    """Of two descriptors that differ in one number the nearer one is found, however long they are."""
    first = np.full((1, 128), 255, dtype=np.uint8)
    second = np.zeros((2, 128), dtype=np.uint8)
    second[1, 77] = 1
    assert match_codes(first, second, 1.0).tolist() == [[0, 1]]


def test_matches_off_the_epipolar_line_are_left_out_and_numbers_count_through_all_frames() -> None:
    views = Views(
        np.tile(np.eye(3), (3, 1, 1)),
        np.array([[0.0, 0.0, 0.0], [9.0, 9.0, 9.0], [1.0, 0.0, 0.0]]),
        np.full(3, 500.0),
        np.ones((3, 2)),
    )
    descriptors = codes((0, 0), (200, 0), (0, 200))
    scales = np.ones(3, dtype=np.float32)
    first = FrameKeypoints(np.array([[0.1, 0.0], [0.2, 0.1], [0.3, 0.2]]), scales, descriptors)
    other = FrameKeypoints(np.zeros((4, 2)), np.ones(4, np.float32), np.zeros((4, 2), np.uint8))
    second = FrameKeypoints(np.array([[0.0, 0.0], [0.1, 0.12], [0.2, 0.2]]), scales, descriptors)
    shares: list[float] = []
    found, tried = match_pairs(
        [first, other, second], views, np.array([[0, 2]]), MatchSettings(), progress=shares.append
    )
    assert found.tolist() == [[0, 7], [2, 9]]  # the second is 10 pixels off in height
    assert tried == 3
    assert shares == [1.0]
