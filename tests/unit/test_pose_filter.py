"""The filter and the smoother: against simulated motion, with outliers, gaps and odometry."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from camloc.geometry.pose import Pose
from camloc.inference.pose_filter import (
    Measurement,
    MotionModel,
    PoseFilter,
    State,
    likeliest_model,
    predict,
    residual,
    run_filter,
    smoothed,
)

SIGMA = np.repeat((0.01, 0.03), 3)
TIMES = tuple(float(time) for time in np.arange(60) / 30.0)
MODEL = MotionModel(acceleration=0.5, angular_acceleration=0.5)


def truth(time: float) -> Pose:
    turn = Rotation.from_euler("zyx", [0.4 * time, 0.2 * np.sin(time), 0.1])
    return Pose(turn.as_matrix(), np.array([np.sin(time), 0.3 * time, 0.2 * np.cos(2 * time)]))


def measurements(seed: int = 0, sigma: np.ndarray = SIGMA) -> list[Measurement | None]:
    rng = np.random.default_rng(seed)
    found: list[Measurement | None] = []
    for time in TIMES:
        error = rng.normal(0.0, sigma)
        pose = truth(time)
        turned = Rotation.from_rotvec(error[:3]).as_matrix() @ pose.rotation
        found.append(Measurement(Pose(turned, pose.translation + error[3:]), np.diag(sigma**2), True))
    return found


def errors(states: list[State | None]) -> np.ndarray:
    return np.array(
        [
            residual(state.world_from_cam, truth(time))
            for state, time in zip(states, TIMES, strict=True)
            if state
        ]
    )


def test_the_smooth_path_is_nearer_to_the_truth_than_the_measurements_and_than_the_filter() -> None:
    measured = measurements()
    steps, _ = run_filter(TIMES, measured, MODEL)
    alone = errors([State.start(each, MODEL) for each in measured if each])
    online = errors([step.updated if step else None for step in steps])
    smooth = errors(smoothed(steps))
    for rows in (slice(0, 3), slice(3, 6)):
        rms = [float(np.sqrt((each[:, rows] ** 2).mean())) for each in (alone, online, smooth)]
        assert rms[2] < 0.8 * rms[1] < 0.8 * rms[0]


def test_covariances_say_how_large_the_errors_are() -> None:
    squared = []
    for seed in range(2):
        steps, _ = run_filter(TIMES, measurements(seed), MODEL)
        states = smoothed(steps)
        for state, error in zip(states, errors(states), strict=True):
            assert state is not None
            squared.append(float(error @ np.linalg.solve(state.covariance[:6, :6], error)))
    assert 3.0 < float(np.mean(squared)) < 9.0  # 6 for a covariance that is exact


def test_a_gap_is_bridged_and_grows_uncertain_until_a_measurement_ends_it() -> None:
    measured = measurements()
    measured[20:30] = [None] * 10
    steps, _ = run_filter(TIMES, measured, MODEL)
    online = [float(np.trace(step.updated.covariance[3:6, 3:6])) for step in steps if step]
    assert np.all(np.diff(online[20:30]) > 0)
    assert online[30] < online[29]
    states = smoothed(steps)
    assert float(np.abs(errors(states)[20:30, 3:]).max()) < 0.05
    middle, end = (states[row] for row in (25, 45))
    assert middle is not None
    assert end is not None
    assert np.trace(middle.covariance[3:6, 3:6]) > np.trace(end.covariance[3:6, 3:6])


def test_outliers_are_left_out() -> None:
    measured = measurements()
    for row in (15, 33):
        one = measured[row]
        assert one is not None
        pose = Pose(one.world_from_cam.rotation, one.world_from_cam.translation + np.array([2.0, 0.0, 0.0]))
        measured[row] = one._replace(world_from_cam=pose)
    steps, _ = run_filter(TIMES, measured, MODEL)
    assert [row for row, step in enumerate(steps) if step and not step.is_used] == [15, 33]
    assert float(np.abs(errors(smoothed(steps))[:, 3:]).max()) < 0.1


def test_a_wrong_start_is_given_up_when_poses_agree_against_it() -> None:
    measured = measurements()
    first = measured[0]
    assert first is not None
    wrong = Pose(first.world_from_cam.rotation, first.world_from_cam.translation + 5.0)
    measured[0] = first._replace(world_from_cam=wrong, covariance=first.covariance * 0.01)
    tracker = PoseFilter(replace(MODEL, acceleration=0.01))
    steps = [tracker.advance(time, each) for time, each in zip(TIMES, measured, strict=True)]
    last = steps[-1]
    assert last is not None
    assert np.linalg.norm(residual(last.updated.world_from_cam, truth(TIMES[-1]))[3:]) < 0.5


def test_an_unverified_pose_counts_only_where_it_is_expected_and_never_starts() -> None:
    (first, second, *_) = measurements()
    assert first is not None
    assert second is not None
    tracker = PoseFilter(MODEL)
    assert tracker.advance(0.0, first._replace(is_verified=False)) is None
    tracker.advance(0.0, first)
    far = Pose(second.world_from_cam.rotation, second.world_from_cam.translation + 1.0)
    step = tracker.advance(TIMES[1], Measurement(far, second.covariance, False))
    assert step is not None
    assert not step.is_used
    near = tracker.advance(TIMES[2], second._replace(is_verified=False))
    assert near is not None
    assert near.is_used


def test_odometry_carries_the_pose_where_images_are_lost() -> None:
    measured: list[Measurement | None] = [*measurements()[:10], *[None] * 50]
    motions = [None, *(truth(a).inverse() @ truth(b) for a, b in pairwise(TIMES))]
    steps, _ = run_filter(TIMES, measured, MODEL, motions)
    carried = errors([step.updated if step else None for step in steps])
    alone, _ = run_filter(TIMES, measured, MODEL)
    drifted = errors([step.updated if step else None for step in alone])
    assert np.linalg.norm(carried[-1, 3:]) < 0.1 < np.linalg.norm(drifted[-1, 3:])


def test_the_likeliest_model_finds_the_acceleration() -> None:
    measured = measurements()
    costs = {
        factor: run_filter(TIMES, measured, replace(MODEL, acceleration=MODEL.acceleration * factor))[1]
        for factor in (0.01, 1.0, 100.0)
    }
    assert costs[1.0] < min(costs[0.01], costs[100.0])
    found = likeliest_model(TIMES[:10], measured[:10], replace(MODEL, acceleration=50.0))
    assert found.acceleration < 10.0
    assert found.measurement_scale >= 1.0
    few = [None] * 15 + list(measured[:5])
    assert likeliest_model(TIMES[:20], few, MODEL) == MODEL


@pytest.mark.parametrize("motion", [None, Pose(Rotation.from_rotvec([0, 0.3, 0]).as_matrix(), np.ones(3))])
def test_the_transition_is_the_derivative_of_the_prediction(motion: Pose | None) -> None:
    state = State(truth(0.7), np.array([1.0, -2.0, 0.5]), np.array([0.02, -0.01, 0.03]), np.eye(12) * 1e-4)
    after, transition = predict(state, 0.1, MODEL, motion)
    step = 1e-6
    for axis in range(6):
        error = np.zeros(6)
        error[axis] = step
        turned = Rotation.from_rotvec(error[:3]).as_matrix() @ state.world_from_cam.rotation
        moved = replace(state, world_from_cam=Pose(turned, state.world_from_cam.translation + error[3:]))
        changed = residual(after.world_from_cam, predict(moved, 0.1, MODEL, motion)[0].world_from_cam)
        np.testing.assert_allclose(changed / step, transition[:6, axis], atol=1e-4)
