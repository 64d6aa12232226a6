"""What holds for the statistics of any errors, and for scores in any world frame."""

import json
import math
from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.support.strategies import pose_batches, poses

from camloc.core.config import from_json, to_json
from camloc.data.types import Frame, Located
from camloc.evaluation.baselines import baseline_errors
from camloc.evaluation.errors import ErrorStatistics, empirical_quantile, error_statistics, pose_errors
from camloc.geometry import Pose, PoseError

pairs = st.tuples(st.floats(0, 100), st.floats(0, 180))
lost_or_pairs = st.one_of(st.just((math.inf, math.inf)), pairs)
frame_errors = st.lists(lost_or_pairs, min_size=1, max_size=30)


def errors(rows: list[tuple[float, float]]) -> PoseError:
    table = torch.tensor(rows, dtype=torch.float64)
    return PoseError(table[:, 0], table[:, 1])


@given(frame_errors, st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_is_an_error_that_the_share_does_not_exceed_and_no_smaller_one_is(
    rows: list[tuple[float, float]], share: float
) -> None:
    values = errors(rows).meters
    quantile = empirical_quantile(values, share)
    assert quantile in values.tolist()
    assert (values <= quantile).double().mean().item() >= share - 1e-12
    assert (values < quantile).double().mean().item() < share


@given(frame_errors)
def test_statistics_are_strict_json_and_come_back_the_same(rows: list[tuple[float, float]]) -> None:
    statistics = error_statistics(errors(rows))
    text = to_json(statistics)

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    json.loads(text, parse_constant=refuse)
    assert from_json(text, ErrorStatistics) == statistics


@given(frame_errors)
def test_the_order_of_the_frames_does_not_matter(rows: list[tuple[float, float]]) -> None:
    backwards = error_statistics(errors(rows[::-1]))
    forwards = error_statistics(errors(rows))
    assert forwards.recalls == backwards.recalls
    assert forwards.meters.median == backwards.meters.median
    assert forwards.degrees.quantile_90 == backwards.degrees.quantile_90


@given(st.lists(pairs, min_size=1, max_size=30), st.data())
def test_losing_a_frame_never_improves_a_number(rows: list[tuple[float, float]], data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(rows) - 1))
    before = error_statistics(errors(rows))
    after = error_statistics(errors([*rows[:row], (math.inf, math.inf), *rows[row + 1 :]]))
    for earlier, later in zip(before.recalls, after.recalls, strict=True):
        assert later.share <= earlier.share
    for name in ("median", "mean", "quantile_90", "maximum"):
        for earlier_summary, later_summary in (
            (before.meters, after.meters),
            (before.degrees, after.degrees),
        ):
            later_value = getattr(later_summary, name)
            assert later_value is None or later_value >= getattr(earlier_summary, name)


@given(pose_batches(4), pose_batches(4), pose_batches(6), poses())
def test_errors_and_baselines_ignore_the_world_frame(
    truth: Pose, estimates: Pose, training: Pose, elsewhere_from_world: Pose
) -> None:
    moved_truth = elsewhere_from_world @ truth
    here = pose_errors(_frames(truth), _located(estimates))
    there = pose_errors(_frames(moved_truth), _located(elsewhere_from_world @ estimates))
    torch.testing.assert_close(there.meters, here.meters, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(there.degrees, here.degrees, rtol=1e-6, atol=1e-6)
    nearest = baseline_errors(truth, training).nearest_position.meters
    moved = baseline_errors(moved_truth, elsewhere_from_world @ training).nearest_position.meters
    torch.testing.assert_close(moved, nearest, rtol=1e-9, atol=1e-9)


def _frames(truth: Pose) -> tuple[Frame, ...]:
    return tuple(
        Frame(f"{number}.png", Path("x.png"), world_from_cam=pose.numpy())
        for number, pose in enumerate(truth)
    )


def _located(estimates: Pose) -> tuple[Located, ...]:
    return tuple(Located("scene", pose) for pose in estimates)
