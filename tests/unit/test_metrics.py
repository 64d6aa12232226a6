"""The numbers of a table, by hand: quantiles, recalls, lost frames, and what is refused."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.estimates import off_by, pose_at

from camloc.data.types import Frame, Located, Lost
from camloc.errors import CheckpointError, DatasetError
from camloc.evaluation.errors import EvaluatedSet, error_statistics, pose_errors
from camloc.geometry import Pose, PoseError

INF = math.inf


def errors(meters: list[float], degrees: list[float] | None = None) -> PoseError:
    return PoseError(
        torch.tensor(meters, dtype=torch.float64), torch.tensor(degrees or meters, dtype=torch.float64)
    )


def frame(x: float = 0.0) -> Frame:
    return Frame(f"{x}.png", Path("nowhere.png"), world_from_cam=pose_at(x).numpy())


def test_statistics_of_ten_frames_are_those_of_the_hand_computation() -> None:
    statistics = error_statistics(errors([5, 1, 2, 3, 4, 10, 9, 8, 7, 6], [0.5] * 10))
    assert statistics.meters.median == 5.0  # the lower of the middle two: half of the frames are within it
    assert statistics.meters.mean == 5.5
    assert statistics.meters.quantile_90 == 9.0
    assert statistics.meters.maximum == 10.0
    assert statistics.degrees.median == statistics.degrees.mean == statistics.degrees.maximum == 0.5
    assert (statistics.frames, statistics.lost) == (10, 0)


def test_the_median_of_an_odd_number_is_the_middle_one() -> None:
    assert error_statistics(errors([3, 1, 2])).meters.median == 2.0


def test_one_frame_is_its_own_statistics() -> None:
    summary = error_statistics(errors([0.3])).meters
    assert summary.median == summary.mean == summary.quantile_90 == summary.maximum == 0.3


def test_lost_frames_are_infinitely_wrong_in_every_number() -> None:
    statistics = error_statistics(errors([0.01, 0.02, INF]))
    assert statistics.lost == 1
    assert statistics.meters.median == 0.02
    assert statistics.meters.mean is None
    assert statistics.meters.quantile_90 is None
    assert statistics.meters.maximum is None
    assert statistics.recall(5.0, 10.0) == pytest.approx(2 / 3)


def test_a_median_with_more_than_half_lost_is_infinite() -> None:
    assert error_statistics(errors([0.01, INF, INF])).meters.median is None
    assert error_statistics(errors([0.01, INF])).meters.median == 0.01  # half of two frames are within it


def test_a_frame_that_is_lost_in_one_number_is_lost_in_both() -> None:
    statistics = error_statistics(errors([0.01, INF], [INF, 1.0]))
    assert statistics.lost == 2
    assert statistics.degrees.median is None
    assert all(recall.share == 0.0 for recall in statistics.recalls)


def test_recall_needs_both_bounds_and_includes_them() -> None:
    statistics = error_statistics(errors([0.25, 0.25, 0.26, 0.01], [2.0, 2.1, 1.0, 90.0]))
    assert statistics.recall(0.25, 2.0) == 0.25
    assert statistics.recall(0.5, 5.0) == 0.75
    assert statistics.recall(5.0, 10.0) == 0.75
    assert statistics.recall(0.05, 5.0) == 0.0


def test_a_bound_that_was_not_counted_is_no_recall() -> None:
    with pytest.raises(KeyError, match="no recall"):
        error_statistics(errors([0.1])).recall(0.3, 3.0)


@pytest.mark.parametrize("bad", [math.nan, -0.1])
def test_an_error_that_is_not_a_number_raises(bad: float) -> None:
    with pytest.raises(ValueError, match="not a number"):
        error_statistics(errors([0.1, bad], [1.0, 1.0]))
    with pytest.raises(ValueError, match="not a number"):
        error_statistics(errors([0.1, 0.1], [1.0, bad]))


def test_no_frames_are_no_result() -> None:
    with pytest.raises(DatasetError, match="no frames to evaluate"):
        error_statistics(errors([]))
    with pytest.raises(DatasetError, match="no test frames"):
        pose_errors((), ())


def test_estimates_are_scored_against_their_own_frame() -> None:
    frames = (frame(0.0), frame(10.0), frame(20.0))
    found = pose_errors(
        frames, (off_by(frames[0], meters=0.5, degrees=3.0), Lost("blur"), off_by(frames[2], degrees=170.0))
    )
    np.testing.assert_allclose(found.meters, [0.5, INF, 0.0], atol=1e-9)
    np.testing.assert_allclose(found.degrees, [3.0, INF, 170.0], atol=1e-6)


def test_a_perfect_estimate_has_no_error_and_is_not_dropped() -> None:
    frames = tuple(frame(0.1 * number) for number in range(50))
    statistics = error_statistics(pose_errors(frames, tuple(off_by(one) for one in frames)))
    assert statistics.frames == 50
    assert statistics.meters.maximum == 0.0
    assert statistics.degrees.maximum is not None
    assert statistics.degrees.maximum < 1e-6
    assert statistics.recall(0.05, 5.0) == 1.0


def test_an_estimate_in_single_precision_is_scored_in_double() -> None:
    one = frame(3.0)
    found = pose_errors((one,), (Located("kitchen", one.truth().to(np.float32)),))
    assert found.meters.dtype == np.float64
    assert found.degrees.item() < 1e-4


def test_an_answer_in_another_scene_counts_as_lost_where_scenes_are_compared() -> None:
    one = frame()
    evaluated = EvaluatedSet("day", (one,), (off_by(one, scene="cellar"),), scene="kitchen")
    assert evaluated.errors().meters.item() == INF
    assert evaluated.answers() == (Lost("located in cellar"),)
    assert EvaluatedSet("day", (one,), (off_by(one, scene="cellar"),)).errors().meters.item() == 0.0


def test_an_estimate_that_is_not_a_number_raises() -> None:
    bad = Pose(torch.full((3, 3), math.nan, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    with pytest.raises(CheckpointError, match=r"0\.0\.png is not a number"):
        pose_errors((frame(),), (Located("kitchen", bad),))


def test_a_frame_without_a_true_pose_raises() -> None:
    with pytest.raises(DatasetError, match=r"image\.jpg is unknown"):
        pose_errors((Frame("image.jpg", Path("image.jpg")),), (Lost("blur"),))


def test_a_missing_estimate_raises() -> None:
    with pytest.raises(ValueError, match="2 frames have 1 estimates"):
        pose_errors((frame(0.0), frame(1.0)), (Lost("blur"),))
