"""The tolerances of the checks, on both sides of each."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.strategies import rotation_about

from camloc.data.checks import (
    ORTHOGONALITY,
    PUBLISHED_QUATERNION_LENGTH,
    Row,
    frames_from_matrices,
    frames_from_quaternions,
)
from camloc.data.formats.parts.files import clean_name
from camloc.data.types import Frame
from camloc.errors import DatasetError


def _row(number: int, numbers: list[float]) -> Row:
    return Row(f"poses.txt, line {number}", Frame(f"{number}.png", Path(f"{number}.png")), numbers)


def _at(centres: list[list[float]]) -> list[Row]:
    return [_row(number, [*centre, 1.0, 0.0, 0.0, 0.0]) for number, centre in enumerate(centres)]


def _matrix(rotation: torch.Tensor) -> list[float]:
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = rotation
    return matrix.flatten().tolist()


ROTATION = rotation_about([1.0, -2.0, 0.5], 2.0)


@pytest.mark.parametrize("error", [0.0, 3e-4, 1e-3, 4e-3])
def test_a_rotation_that_is_a_little_off_is_projected(error: float) -> None:
    noise = torch.from_numpy(np.random.default_rng(0).uniform(-error, error, (3, 3)))
    (frame,) = frames_from_matrices([_row(1, _matrix(ROTATION + noise))])
    rotation = frame.truth().rotation
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), rtol=0, atol=1e-12)
    np.testing.assert_allclose(rotation, ROTATION, rtol=0, atol=2 * error + 1e-12)


def test_the_scale_that_a_rotation_may_hide_has_a_limit() -> None:
    allowed = (1 + 0.99 * ORTHOGONALITY) ** 0.5
    frames_from_matrices([_row(1, _matrix(ROTATION * allowed))])
    refused = (1 + 1.01 * ORTHOGONALITY) ** 0.5
    with pytest.raises(DatasetError, match=r"poses\.txt, line 1: the pose of 1\.png is not a rotation"):
        frames_from_matrices([_row(1, _matrix(ROTATION * refused))])


@pytest.mark.parametrize("length", [0.96, 1.0, 1.045])
def test_a_quaternion_of_nearly_unit_length_is_normalised(length: float) -> None:
    (frame,) = frames_from_quaternions([_row(1, [0, 0, 0, 0, length, 0, 0])], rotation="world_from_cam")
    expected = np.diag([1.0, -1.0, -1.0])
    np.testing.assert_allclose(frame.truth().rotation, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("length", [0.5, 0.94, 1.06, 2.0])
def test_a_quaternion_far_from_unit_length_is_refused(length: float) -> None:
    row = _row(3, [0, 0, 0, 0, length, 0, 0])
    with pytest.raises(DatasetError, match=r"poses\.txt, line 3.*length"):
        frames_from_quaternions([row], rotation="world_from_cam")


@pytest.mark.parametrize("length", [0.5, 2.0])
def test_the_published_lists_may_have_longer_quaternions(length: float) -> None:
    row = _row(3, [0, 0, 0, 0, length, 0, 0])
    frames_from_quaternions([row], rotation="cam_from_world", longest=PUBLISHED_QUATERNION_LENGTH)


@pytest.mark.parametrize("length", [1e-300, 0.0])
def test_a_quaternion_of_no_length_is_refused(length: float) -> None:
    row = _row(3, [0, 0, 0, length, 0, 0, 0])
    with pytest.raises(DatasetError, match=r"poses\.txt, line 3"):
        frames_from_quaternions([row], rotation="world_from_cam", longest=PUBLISHED_QUATERNION_LENGTH)


def test_the_direction_of_a_quaternion_does_not_move_the_centre() -> None:
    row = _row(1, [1, 2, 3, 0.8, 0.6, 0, 0])
    (forth,) = frames_from_quaternions([row], rotation="world_from_cam")
    (back,) = frames_from_quaternions([row], rotation="cam_from_world")
    np.testing.assert_allclose(forth.truth().rotation, back.truth().rotation.T, rtol=0, atol=1e-15)
    assert forth.truth().translation.tolist() == back.truth().translation.tolist() == [1.0, 2.0, 3.0]


ROUTE = [[float(meters), 0.1 * meters, 0.0] for meters in range(0, 10_000, 10)]
PARKED_FIRST = [[0.0, 0.001 * number, 0.0] for number in range(2000)] + [[10.0 * i, 0, 0] for i in range(500)]
TWO_TOWNS = [[float(number), 0.0, 0.0] for number in range(50)] + [[5e4 + i, 0.0, 0.0] for i in range(50)]


@pytest.mark.parametrize(
    "centres",
    [
        ROUTE,
        PARKED_FIRST,
        TWO_TOWNS,
        [[5.7e6 + x, 6.2e5 + y, z] for x, y, z in ROUTE],
        [[0.0, 0.0, 0.0], [9e9, 0.0, 0.0]],
        [[0.0, 0.0, 0.0]] * 5,
        [[0.0, 0.0, 0.0]] * 5 + [[900.0, 0.0, 0.0]],
    ],
    ids=["route of 10 km", "parked first", "two towns", "UTM", "two frames", "one scene", "below 1 km"],
)
def test_frames_that_belong_together_pass(centres: list[list[float]]) -> None:
    assert len(frames_from_quaternions(_at(centres), rotation="world_from_cam")) == len(centres)


@pytest.mark.parametrize("far", [[[3e9, 0.0, 0.0]], [[3e9, 0.0, 0.0], [3e9, 1.0, 0.0]], [[0.0, -1e300, 0.0]]])
def test_a_frame_far_from_all_others_is_refused(far: list[list[float]]) -> None:
    rows = _at([*ROUTE[:200], *far])
    with pytest.raises(
        DatasetError, match=r"poses\.txt, line 20\d: the frame 20\d\.png .* away from all others"
    ):
        frames_from_quaternions(rows, rotation="world_from_cam")
    assert len(frames_from_quaternions(rows[:200], rotation="world_from_cam")) == 200


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("images/1.png", "images/1.png"),
        ("./images/1.png", "images/1.png"),
        ("images\\1.png", "images/1.png"),
        ("images//a/../1.png ", "images/1.png"),
        ("ümläut 1.png", "ümläut 1.png"),
        ("..1.png", "..1.png"),
    ],
)
def test_names_have_forward_slashes_and_no_detours(text: str, name: str) -> None:
    assert clean_name(text, "list") == name


@pytest.mark.parametrize(
    "text",
    ["", " ", ".", "..", "../a.png", "a/../../b.png", "/a.png", "\\\\host\\a.png", "c:/a.png", "C:a.png"],
)
def test_names_stay_within_the_data_set(text: str) -> None:
    with pytest.raises(DatasetError, match="list, line 1"):
        clean_name(text, "list, line 1")
