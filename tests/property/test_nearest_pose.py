"""The nearest pose is the one that comparing all finds, and the mean pose is in the middle."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.support.kinds import on_both_kinds
from tests.support.strategies import pose_batches, poses, rotation_about, rotations, tensors
from torch import Tensor

from camloc import geometry
from camloc.evaluation.baselines import nearest_training_pose
from camloc.geometry import Pose, pose_error, pose_search, rotation_angle

mean_pose = on_both_kinds(geometry.mean_pose, atol=1e-9)
camera_radius = on_both_kinds(pose_search.camera_radius, atol=1e-9)


@given(pose_batches(5, within=10.0), pose_batches(4, within=10.0), st.sampled_from([0.0, 0.02, 1.0]))
def test_the_nearest_training_pose_is_what_comparing_all_finds(
    queries: Pose, references: Pose, meters_per_degree: float
) -> None:
    found = nearest_training_pose(queries, references, meters_per_degree=meters_per_degree).tensor()
    for query, near in zip(queries, found, strict=True):
        errors = [pose_error(query, reference) for reference in (near, *references)]
        distance, *others = [float(e.meters + meters_per_degree * e.degrees) for e in errors]
        assert distance == pytest.approx(min(others), abs=1e-9)


@given(pose_batches(4))
def test_a_pose_is_nearest_to_itself(references: Pose) -> None:
    found = nearest_training_pose(references, references, meters_per_degree=0.1).tensor()
    assert pose_error(found, references).meters.max() < 1e-12


@given(pose_batches(3), pose_batches(3), poses())
def test_nearest_ignores_the_world_frame(queries: Pose, references: Pose, other_from_world: Pose) -> None:
    moved = Pose.stack([other_from_world @ query for query in queries])
    others = Pose.stack([other_from_world @ reference for reference in references])

    def distances(some: Pose, among: Pose) -> Tensor:
        error = pose_error(nearest_training_pose(some, among, meters_per_degree=0.5).tensor(), some)
        total: Tensor = error.meters + 0.5 * error.degrees
        return total

    torch.testing.assert_close(distances(moved, others), distances(queries, references), rtol=0.0, atol=1e-8)


@given(poses())
def test_the_mean_of_one_pose_is_that_pose(pose: Pose) -> None:
    error = pose_error(mean_pose(Pose.stack([pose, pose])), pose)
    assert error.meters < 1e-12
    assert error.degrees < 1e-11


@given(rotations(), tensors(3, within=10.0), tensors(3), st.floats(0.01, 1.5))
def test_the_mean_of_two_opposite_changes_is_the_middle(
    rotation: Tensor, centre: Tensor, step: Tensor, radians: float
) -> None:
    pair = Pose.stack(
        [
            Pose(rotation @ rotation_about((1.0, 2.0, 3.0), sign * radians), centre + sign * step)
            for sign in (-1.0, 1.0)
        ]
    )
    mean = mean_pose(pair)
    torch.testing.assert_close(mean.translation, centre, rtol=0.0, atol=1e-12)
    assert rotation_angle(mean.rotation, rotation) < 1e-12


@given(pose_batches(4), poses())
def test_the_mean_moves_with_the_world(batch: Pose, other_from_world: Pose) -> None:
    scatter = torch.linalg.svdvals(batch.rotation.mean(0))
    if torch.linalg.det(batch.rotation.mean(0)) < 0.05 or scatter[-1] < 0.05:
        return  # rotations that point everywhere have no unique mean
    moved = mean_pose(Pose.stack([other_from_world @ pose for pose in batch]))
    error = pose_error(moved, other_from_world @ mean_pose(batch))
    assert error.meters < 1e-10
    assert math.radians(error.degrees.item()) < 1e-10


def test_the_camera_radius_is_the_rms_distance_of_the_centres_to_their_mean() -> None:
    centers = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [1.0, 3.0, 0.0], [1.0, -3.0, 0.0]])
    poses = Pose(torch.eye(3).expand(4, 3, 3), centers + 7.0)
    assert float(camera_radius(poses)) == pytest.approx(math.sqrt((1.0 + 1.0 + 9.0 + 9.0) / 4.0))
