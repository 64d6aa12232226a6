"""The page of maps: what is counted as near, wrong and covered, and what the page shows of it."""

import numpy as np
import pytest
from benchmarks import maps
from benchmarks.foreign_images import foreign_images, shares
from benchmarks.maps import Answers, ForeignRow, MapRow, Measured, Outcomes, SetRow
from benchmarks.plain_map import matches

from camloc.core.config import from_json, to_json
from camloc.evaluation.reliability import LEVELS, Reliability
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose


def test_images_without_a_pose_are_infinitely_wrong_and_far_poses_are_wrong() -> None:
    errors = [(0.01, 0.1), (0.02, 0.2), (0.3, 0.1), (1.3, 0.1), (0.1, 10.1), None]
    found = maps.answers_of([(0.001 * number, each) for number, each in enumerate(errors)], (0.25, 2.0))
    assert (found.verified, found.wrong) == (5, 2)
    assert (found.meters, found.degrees) == (0.1, 0.1)
    assert found.near == pytest.approx(2 / 6)
    assert found.milliseconds == pytest.approx(2.5)
    nothing = maps.answers_of([(0.001, None)] * 3, (0.25, 2.0))
    assert (nothing.verified, nothing.meters, nothing.degrees, nothing.near) == (0, None, None, 0.0)


def test_the_angle_of_a_half_turn_is_not_zero() -> None:
    half_turn = Pose(np.diag([-1.0, -1.0, 1.0]), np.zeros(3))
    assert maps.error(Pose(np.eye(3), np.zeros(3)), half_turn) == pytest.approx((0.0, 180.0))


def test_only_mutual_and_distinct_descriptors_match() -> None:
    points = np.array([[0, 0], [10, 0], [20, 0], [20, 1]], np.float32)
    queries = np.array([[0, 1], [0, 3], [20, 0.5]], np.float32)
    keypoints, rows = matches(queries, points)
    assert (keypoints.tolist(), rows.tolist()) == ([0], [0])


def test_few_images_of_one_place_leave_more_to_the_others() -> None:
    assert shares({"a": 500, "b": 20, "c": 500}, 300) == {"a": 140, "b": 20, "c": 140}


def test_noise_fills_the_image_and_has_the_camera_of_the_map() -> None:
    camera = Camera(64, 48, 60.0, 60.0, 32.0, 24.0)
    found = list(foreign_images([], {}, [camera], total=50))
    assert len(found) == 50
    assert all(each.image.shape == (48, 64, 3) and each.camera == camera for each in found)
    assert len({each.image.tobytes() for each in found}) == 50


def test_the_page_shows_every_row_and_comes_back_from_its_numbers() -> None:
    ours = Answers(verified=9, wrong=1, meters=0.0123, degrees=0.345, near=0.9, milliseconds=12.3)
    plain = Answers(verified=4, wrong=0, meters=None, degrees=None, near=0.4, milliseconds=45.6)
    inside = {0.68: (0.61, 0.62), 0.95: (0.91, 0.92)}
    position, orientation = zip(*(inside.get(level, (0.5, 0.5)) for level in LEVELS), strict=True)
    each = SetRow(10, 78.9, ours, plain, Reliability(9, LEVELS, position, orientation))
    row = MapRow("m", 301, 12_345, 3_900_000, 41.0, 82.0, 50, {"day": each, "night": each})
    foreign = ForeignRow({"noise": 50, "fox": 450}, {"noise": 0, "fox": 0}, {"noise": 0, "fox": 3})
    trust = {"corner": {"focal length times 0.5": Outcomes(30, 9, 1)}}
    measured = Measured({"corner": row}, {"corner": foreign}, trust)
    assert from_json(to_json(measured), Measured) == measured
    text = maps.page(measured)
    for part in (
        "| the corner | 301 | 12,345 | 3.90 | 41 s | 82 s | 50 |",
        "| **the corner, night** | camloc | 10 | 0.0123 m, 0.345° | 90.0% | 9 | 1 | 1 | 79 ms | 12.3 ms |",
        "|  | plain | 10 | ∞, ∞ | 40.0% | 4 | 6 | 0 | 79 ms | 45.6 ms |",
        "| the corner, day | 9 | 61% | 91% | 62% | 92% |",
        "| the corner | focal length times 0.5 | 30 | 9 | 1 |",
        "| the corner | 500 | 50 noise, 450 fox | 0 | 3 (3 fox) |",
    ):
        assert part in text
    assert "elsewhere" not in maps.page(Measured({"corner": row}))
