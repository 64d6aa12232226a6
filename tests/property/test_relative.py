"""The motion between two cameras is converted exactly, in both forms and both directions."""

import torch
from hypothesis import given
from tests.support.strategies import pose_batches, poses

from camloc.geometry import Pose
from camloc.geometry.pose import motion_of_step, reference_from_query, world_from_query, world_step


@given(pose_batches(3), pose_batches(3))
def test_what_was_taken_apart_is_put_together(reference: Pose, query: Pose) -> None:
    again = world_from_query(reference, reference_from_query(reference, query))
    torch.testing.assert_close(again.matrix(), query.matrix(), rtol=0, atol=1e-9)


@given(poses(), poses())
def test_the_motion_says_where_the_query_is_for_the_reference(reference: Pose, query: Pose) -> None:
    """The query's centre, brought into the reference camera's frame, is the motion's translation."""
    motion = reference_from_query(reference, query)
    centre_in_reference = reference.inverse().apply(query.translation.unsqueeze(0))[0]
    torch.testing.assert_close(motion.translation, centre_in_reference, rtol=0, atol=1e-9)
    point_in_query = torch.tensor([[0.3, -0.2, 1.5]], dtype=torch.float64)
    torch.testing.assert_close(
        motion.apply(point_in_query),
        reference.inverse().apply(query.apply(point_in_query)),
        rtol=0,
        atol=1e-9,
    )


@given(pose_batches(2), pose_batches(2))
def test_a_step_in_world_axes_is_the_difference_of_centres(reference: Pose, query: Pose) -> None:
    motion = reference_from_query(reference, query)
    step = world_step(reference, motion)
    torch.testing.assert_close(step, query.translation - reference.translation, rtol=0, atol=1e-9)
    again = motion_of_step(reference, step, motion.rotation)
    torch.testing.assert_close(again.matrix(), motion.matrix(), rtol=0, atol=1e-9)


@given(pose_batches(2), pose_batches(2))
def test_the_way_back_is_the_inverse(reference: Pose, query: Pose) -> None:
    there, back = reference_from_query(reference, query), reference_from_query(query, reference)
    torch.testing.assert_close((there @ back).matrix(), Pose.identity(2).tensor().matrix(), rtol=0, atol=1e-9)


@given(poses(), poses(), poses())
def test_a_motion_does_not_depend_on_the_worlds_frame(other: Pose, reference: Pose, query: Pose) -> None:
    ours = reference_from_query(reference, query)
    theirs = reference_from_query(other @ reference, other @ query)
    torch.testing.assert_close(ours.matrix(), theirs.matrix(), rtol=0, atol=1e-8)
