"""Frames with a known position and no orientation: their properties, means, splits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.models import some_poses

from camloc.data.splits import HoldOut, hold_out, keep_orientations
from camloc.data.types import Frame, oriented, poses_of
from camloc.errors import RecipeError
from camloc.evaluation.baselines import nearest_training_pose
from camloc.geometry import Pose
from camloc.geometry.pose_search import mean_pose
from camloc.models.regressor import WorldFrame


def recording(pattern: str, *, sequence: str = "a") -> list[Frame]:
    """Frames of a recording: O has an orientation, p only a position."""
    frames = []
    for number, kind in enumerate(pattern):
        pose = Pose.identity()
        frames.append(
            Frame(
                f"{sequence}/{number}.png",
                Path(f"{number}.png"),
                world_from_cam=pose if kind == "O" else pose.without_orientation(),
                sequence=sequence,
            )
        )
    return frames


def pattern_of(frames: tuple[Frame, ...]) -> str:
    return "".join("p" if frame.is_position_only else "O" for frame in frames)


def test_a_position_alone_differs_from_a_pose_and_from_no_pose() -> None:
    whole, alone = recording("Op")
    assert not whole.is_position_only
    assert alone.is_position_only
    assert not Frame("1.png", Path("1.png")).is_position_only
    assert np.isfinite(alone.truth().translation).all()
    assert oriented([whole, alone]) == (whole,)
    assert poses_of([whole, alone]).has_orientation().tolist() == [True, False]
    assert poses_of([whole, alone]).is_finite().tolist() == [True, False]


def test_means_take_orientations_where_there_are_some_and_positions_from_all() -> None:
    poses = some_poses(8)
    partly = Pose.cat([poses[:5], poses[5:].without_orientation()])
    torch.testing.assert_close(mean_pose(partly).rotation, mean_pose(poses[:5]).rotation)
    torch.testing.assert_close(mean_pose(partly).translation, mean_pose(poses).translation)
    assert not mean_pose(poses.without_orientation()).has_orientation()
    frame = WorldFrame("standardised")
    frame.observe(partly)
    assert all(bool(buffer.isfinite().all()) for buffer in frame.buffers())
    torch.testing.assert_close(frame.get_buffer("center"), poses.translation.mean(0))


def test_the_nearest_centre_needs_no_orientation() -> None:
    poses = some_poses(20)
    found = nearest_training_pose(poses[:3], poses.without_orientation(), meters_per_degree=0.0)
    torch.testing.assert_close(found.tensor().translation, poses[:3].translation)


def test_positions_alone_validate_nothing_and_stay_to_be_learned_from() -> None:
    frames = [*recording("O" * 40), *recording("p" * 30, sequence="b")]
    train, held = hold_out(frames, HoldOut(every=4, block=5))
    assert pattern_of(held) == "O" * 10
    assert pattern_of(train) == "O" * 30 + "p" * 30
    assert hold_out(frames[:40], HoldOut(every=4, block=5))[1] == held


def test_positions_amid_a_block_that_is_held_out_are_left_out_of_both() -> None:
    frames = recording("OpOp" * 8 + "ppp")
    train, held = hold_out(frames, HoldOut(every=2, block=2))
    left_out = [frame for frame in frames if frame not in {*train, *held}]
    assert pattern_of(held) == "O" * 8
    assert [frame.name for frame in held[:2]] == ["a/4.png", "a/6.png"]
    assert [frame.name for frame in left_out] == ["a/5.png", "a/13.png", "a/21.png", "a/29.png"]
    assert hold_out(frames, HoldOut(every=0)) == (tuple(frames), ())


def test_every_third_frame_keeps_its_orientation() -> None:
    frames = recording("O" * 7)
    kept = keep_orientations(frames, 3)
    assert pattern_of(kept) == "OppOppO"
    assert [frame.name for frame in kept] == [frame.name for frame in frames]
    np.testing.assert_array_equal(poses_of(kept).translation, poses_of(frames).translation)
    assert pattern_of(keep_orientations(recording("pOpOO"), 2)) == "pOppO"
    assert keep_orientations(frames, 0) == keep_orientations(frames, 1) == tuple(frames)
    with pytest.raises(RecipeError, match="keep_orientation_every is -1"):
        keep_orientations(frames, -1)
