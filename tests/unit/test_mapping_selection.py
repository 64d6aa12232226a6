"""Points are chosen so that every frame keeps some, all over its image."""

import numpy as np

from camloc.mapping.selection import choose_frames, choose_points


def crowded(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """2,000 points that frames 0 to 39 see often, and 400 that frames 40 to 49 see twice each."""
    rng = np.random.default_rng(seed)
    point, frame = [], []
    for number in range(2400):
        members = (
            rng.choice(40, 20, replace=False) if number < 2000 else 40 + rng.choice(10, 2, replace=False)
        )
        point += [number] * len(members)
        frame += members.tolist()
    position = rng.uniform(-1.0, 1.0, (len(point), 2))
    return np.array(point), np.array(frame), position, np.ones(2400)


def test_frames_with_few_points_keep_enough() -> None:
    point, frame, position, worth = crowded()
    rows = choose_points(point, frame, position, worth, 300)
    assert len(rows) == 300
    assert (np.diff(rows) > 0).all()
    seen = np.bincount(frame[np.isin(point, rows)], minlength=50)
    assert seen.min() >= 15
    longest = np.arange(300)  # by track length alone none of the last 400 is chosen
    assert np.bincount(frame[np.isin(point, longest)], minlength=50)[40:].max() == 0


def test_points_spread_over_the_image() -> None:
    """200 points in the middle of one frame's image and 20 near its border."""
    point, frame = np.arange(220), np.zeros(220, dtype=np.int64)
    position = np.concatenate((np.zeros((200, 2)), np.full((20, 2), 0.95)))
    rows = choose_points(point, frame, position, np.ones(220), 40)
    assert (rows >= 200).sum() >= 12


def test_points_that_are_worth_more_come_first() -> None:
    point, frame, position, worth = crowded()
    worth = np.where(np.arange(len(worth)) % 2, 1.0, 0.01)
    rows = choose_points(point, frame, position, worth, 200)
    assert (rows % 2).mean() > 0.9


def test_all_points_are_kept_where_there_is_room() -> None:
    point, frame, position, worth = crowded()
    np.testing.assert_array_equal(choose_points(point, frame, position, worth, 5000), np.arange(2400))


def test_frames_stand_for_all() -> None:
    coordinates = np.concatenate((np.zeros((50, 2)), np.ones((1, 2)), np.full((1, 2), 5.0)))
    coordinates[:50] += np.random.default_rng(0).normal(0.0, 0.01, (50, 2))
    rows = choose_frames(coordinates, 3)
    assert {50, 51} < set(rows.tolist())
    np.testing.assert_array_equal(choose_frames(coordinates, 99), np.arange(52))
