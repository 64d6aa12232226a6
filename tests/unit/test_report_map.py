"""A run with a map shows what the map verified: in the report, in the table, and in estimates.csv."""

import csv
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from tests.support.estimates import frames_with_images, line_of_poses, off_by

from camloc.data.types import Estimate, Located, Lost, Verification
from camloc.evaluation.errors import EvaluatedSet, score_sets
from camloc.evaluation.files import estimates_csv
from camloc.evaluation.report.build import report_html
from camloc.evaluation.report.figures import MapPoints, map_points
from camloc.evaluation.results import MapRecord, Results, results_of, verification_counts
from camloc.evaluation.table import format_table

TRAINING = line_of_poses(12)
RECORD = MapRecord(points=1234, frames=12, size_bytes=1_250_000, calibrated_on=9, least_inliers=14)
POINTS = MapPoints(np.random.default_rng(0).normal(size=(300, 3)), np.arange(2, 302))


def verified(estimate: Estimate, inliers: int) -> Located:
    """The estimate as if a map had confirmed it."""
    assert isinstance(estimate, Located)
    found = Verification(
        inliers, 0.9, 80.0, 0.5, 0.6, 0.0, 30, 0.4, 10, 900, "retrieval", "given", {"matching": 0.01}
    )
    covariance = np.diag([0.0003, 0.0002, 0.0004, 0.01, 0.02, 0.06])
    return replace(estimate, verification=found, covariance=covariance)


@pytest.fixture
def evaluated(tmp_path: Path) -> EvaluatedSet:
    """Four images: two verified, one that only the network locates, one lost."""
    frames = frames_with_images(tmp_path, line_of_poses(4))
    network = tuple(off_by(frame, meters=0.4, degrees=3.0) for frame in frames[:3])
    exact = [
        verified(off_by(frame, meters=0.01), inliers)
        for frame, inliers in zip(frames, (40, 60), strict=False)
    ]
    answers: tuple[Estimate, ...] = (*exact, network[2], Lost("no pose agrees"))
    alone: tuple[Estimate, ...] = (*network, Lost("no pose agrees"))
    only: tuple[Estimate, ...] = (*exact, Lost("not verified"), Lost("no pose agrees"))
    return EvaluatedSet(
        "day", frames, answers, every_method={"none": alone, "map": answers, "verified": only}
    )


def results(evaluated: EvaluatedSet, record: MapRecord | None = RECORD) -> Results:
    return results_of(
        score_sets([evaluated], TRAINING),
        train_frames=12,
        model="posenet",
        recipe="room/baseline",
        scene="kitchen",
        refined_by="map",
        scene_map=record,
    )


def test_answers_are_verified_unverified_or_lost(evaluated: EvaluatedSet) -> None:
    counts = verification_counts(evaluated.estimates)
    assert (counts.verified, counts.unverified, counts.lost, counts.inliers) == (2, 1, 1, 50)
    assert counts.milliseconds == {"matching": pytest.approx(10.0)}
    none = verification_counts([Lost("dark")])
    assert (none.verified, none.lost, none.inliers) == (0, 1, None)


def test_the_report_shows_the_network_and_the_map_side_by_side(evaluated: EvaluatedSet) -> None:
    scored = score_sets([evaluated], TRAINING)
    page = report_html(results(evaluated), scored, TRAINING, map_points=POINTS)
    for part in (
        "<h2>Map</h2>",
        "1,234 points of 12 training images in 1.2 MB",
        "9 held-out training images, verified from 14 inliers on",
        "network alone",
        "map alone",
        "matching 10.0",
        "Points of the map and training cameras",
    ):
        assert part in page, part
    assert "Effect of refinement" not in page


def test_the_report_of_a_run_without_a_map_has_no_section_for_it(evaluated: EvaluatedSet) -> None:
    alone = replace(evaluated, every_method={})
    page = report_html(results(alone, None), score_sets([alone], TRAINING), TRAINING)
    assert "<h2>Map</h2>" not in page


def test_the_table_shows_the_counts_and_the_bytes(evaluated: EvaluatedSet) -> None:
    text = format_table(results(evaluated))
    assert "network alone" in text
    assert "1.2 MB" in text
    assert "day: 2 verified (50 inliers in the median), 1 unverified, 1 lost" in text


def test_a_map_without_calibration_says_so(evaluated: EvaluatedSet) -> None:
    record = replace(RECORD, calibrated_on=0, least_inliers=None, size_bytes=180_000)
    text = " ".join(format_table(results(evaluated, record)).split())
    assert "180 kB; not calibrated" in text


def test_the_csv_says_how_sure_a_verified_pose_is(evaluated: EvaluatedSet) -> None:
    rows = list(csv.DictReader(StringIO(estimates_csv(score_sets([evaluated], TRAINING)))))
    assert [(row["verified"], row["inliers"]) for row in rows] == [
        ("true", "40"),
        ("true", "60"),
        ("false", ""),
        ("", ""),
    ]
    assert float(rows[0]["sigma_m"]) == pytest.approx(0.3)
    assert float(rows[0]["sigma_deg"]) == pytest.approx(np.degrees(0.03))
    assert rows[2]["sigma_m"] == rows[3]["sigma_deg"] == ""


def test_the_results_come_back_with_the_map(evaluated: EvaluatedSet, tmp_path: Path) -> None:
    results(evaluated).save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == results(evaluated)


def test_the_figure_of_the_points_is_small_and_the_same_each_time() -> None:
    many = MapPoints(np.random.default_rng(0).normal(size=(30_000, 3)), np.full(30_000, 2))
    figure = map_points(many, TRAINING)
    assert figure == map_points(many, TRAINING)
    assert len(figure) < 400_000
