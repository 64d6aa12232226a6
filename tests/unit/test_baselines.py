"""The baselines: what is copied, and how it is chosen."""

import pytest
import torch
from tests.support.estimates import line_of_poses, pose_at

from camloc.errors import DatasetError
from camloc.evaluation.baselines import baseline_errors, meters_per_degree_of, nearest_training_pose
from camloc.geometry import Pose, pose_error


def test_the_nearest_position_and_the_nearest_pose_are_two_things() -> None:
    training = Pose.stack(
        [pose_at(0.0, degrees=180.0), pose_at(0.2, degrees=0.0), pose_at(9.0, degrees=90.0)]
    )
    errors = baseline_errors(Pose.stack([pose_at(0.0)]), training)
    assert errors.nearest_position.meters.tolist() == pytest.approx([0.0], abs=1e-9)
    assert errors.nearest_position.degrees.tolist() == pytest.approx([180.0], abs=1e-9)
    assert errors.nearest_pose.meters.tolist() == pytest.approx([0.2], abs=1e-9)
    assert errors.nearest_pose.degrees.tolist() == pytest.approx([0.0], abs=1e-9)


def test_the_mean_pose_answers_every_frame_alike() -> None:
    training = Pose.stack([pose_at(-1.0, degrees=-10.0), pose_at(3.0, degrees=10.0)])
    errors = baseline_errors(Pose.stack([pose_at(1.0), pose_at(4.0, degrees=30.0)]), training)
    assert errors.mean_pose.meters.tolist() == pytest.approx([0.0, 3.0], abs=1e-9)
    assert errors.mean_pose.degrees.tolist() == pytest.approx([0.0, 30.0], abs=1e-6)


def test_the_oracle_is_never_worse_than_any_other_training_pose() -> None:
    training, truth = line_of_poses(40), line_of_poses(13, step=1.37)
    balance = meters_per_degree_of(training)
    chosen = pose_error(nearest_training_pose(truth, training, meters_per_degree=balance), truth)
    best = chosen.meters + balance * chosen.degrees
    by_position = baseline_errors(truth, training).nearest_position.meters
    for other in training:
        error = pose_error(other, truth)
        assert bool((best <= error.meters + balance * error.degrees + 1e-12).all())
        assert bool((by_position <= error.meters + 1e-12).all())


def test_frames_that_are_compared_in_blocks_are_chosen_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    training, truth = line_of_poses(40), line_of_poses(13, step=1.37)
    at_once = baseline_errors(truth, training).nearest_pose
    monkeypatch.setattr("camloc.evaluation.baselines._PAIRS", 90)
    torch.testing.assert_close(baseline_errors(truth, training).nearest_pose, at_once)


def test_the_choice_does_not_depend_on_the_unit_of_the_world() -> None:
    training, truth = line_of_poses(40), line_of_poses(13, step=1.37)

    def in_millimetres(poses: Pose) -> Pose:
        return Pose(poses.rotation, poses.translation * 1000.0)

    small = baseline_errors(truth, training).nearest_pose
    large = baseline_errors(in_millimetres(truth), in_millimetres(training)).nearest_pose
    torch.testing.assert_close(large.meters, small.meters * 1000.0)
    torch.testing.assert_close(large.degrees, small.degrees)


def test_cameras_that_only_move_are_chosen_by_position() -> None:
    training = Pose.stack([pose_at(float(number)) for number in range(5)])
    assert meters_per_degree_of(training) == 0.0
    errors = baseline_errors(Pose.stack([pose_at(3.2, degrees=40.0)]), training)
    assert errors.nearest_pose.meters.tolist() == pytest.approx([0.2])


def test_cameras_that_only_turn_are_chosen_by_orientation() -> None:
    training = Pose.stack([pose_at(1.0, degrees=20.0 * number) for number in range(5)])
    assert meters_per_degree_of(training) == 1.0
    errors = baseline_errors(Pose.stack([pose_at(1.0, degrees=43.0)]), training)
    assert errors.nearest_pose.degrees.tolist() == pytest.approx([3.0])


def test_one_training_pose_is_every_baseline() -> None:
    errors = baseline_errors(Pose.stack([pose_at(2.0)]), Pose.stack([pose_at(0.0)]))
    assert [error.meters.item() for error in errors] == [2.0, 2.0, 2.0]


def test_baselines_without_training_poses_are_refused() -> None:
    with pytest.raises(DatasetError, match="not 0 and 3"):
        baseline_errors(line_of_poses(3), line_of_poses(3)[:0])
    with pytest.raises(DatasetError, match="not 3 and 0"):
        baseline_errors(line_of_poses(3)[:0], line_of_poses(3))
