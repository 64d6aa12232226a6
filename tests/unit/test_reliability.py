"""How honest covariances are: regions of the chi-square distribution, and errors along the world's axes."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from camloc.data.types import Estimate, Located, Lost
from camloc.evaluation.reliability import reliability, reliability_of, squared_deviations
from camloc.geometry.pose import Pose


def test_of_normal_errors_as_many_are_inside_as_stated() -> None:
    numbers = np.random.default_rng(0).normal(size=(20_000, 2, 3))
    found = reliability((numbers**2).sum(axis=2))
    assert found is not None
    assert found.frames == 20_000
    assert found.position == pytest.approx(found.levels, abs=0.01)
    assert found.orientation == pytest.approx(found.levels, abs=0.01)
    assert found.at(0.95) == pytest.approx((0.95, 0.95), abs=0.01)


def test_errors_are_measured_along_the_axes_of_the_world() -> None:
    rotation = Rotation.from_euler("xyz", (20, 40, 60), degrees=True).as_matrix()
    found = Pose(rotation, np.array([1.0, 2.0, 3.0]))
    covariance = np.diag([0.01, 0.02, 0.03, 0.1, 0.2, 0.3]) ** 2
    turn = Rotation.from_rotvec((0.02, 0.0, 0.03)).as_matrix()
    truth = Pose(turn @ rotation, found.translation + np.array([0.0, 0.4, 0.3]))
    assert squared_deviations(truth, found, covariance) == pytest.approx((5.0, 5.0))


def test_answers_without_a_covariance_do_not_count() -> None:
    pose = Pose(np.eye(3), np.zeros(3))
    with_covariance = Located("room", pose, covariance=np.eye(6))
    answers: list[Estimate] = [with_covariance, Located("room", pose), Lost("nothing")]
    truth = Pose(np.tile(np.eye(3), (3, 1, 1)), np.zeros((3, 3)))
    found = reliability_of(answers, truth)
    assert found is not None
    assert found.frames == 1
    assert found.position == (1.0,) * len(found.levels)
    assert reliability_of(answers[1:], truth[1:]) is None
