"""Comparing estimates: what is noise, what is not, and trajectories of other programs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.models import some_poses

from camloc.data.formats.tum import Trajectory, write_trajectory
from camloc.errors import CheckpointError, DatasetError
from camloc.evaluation.comparison import (
    Estimates,
    compare,
    difference,
    method_results,
    read_estimates,
    read_trajectory_of,
    truth_of,
)
from camloc.evaluation.report.comparison import comparison_figures, comparison_page
from camloc.geometry.pose import Pose

FRAMES = 120


def errors(scale: float, *, seeds: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Errors of runs that share the frames' difficulty, each run a little better or worse."""
    rng = np.random.default_rng(7)
    difficulty = rng.lognormal(0.0, 0.5, FRAMES)
    own = np.random.default_rng(seed)
    runs = scale * own.lognormal(0.0, 0.1, (seeds, 1))
    return difficulty * runs, 10.0 * difficulty * runs


def estimates(name: str, noise: float, *, seed: int = 0, lost: int = 0) -> Estimates:
    truth = some_poses(FRAMES).numpy().to(np.float64)
    rng = np.random.default_rng(seed)
    moved = truth.translation + noise * rng.normal(size=(FRAMES, 3))
    located = np.ones(FRAMES, dtype=bool)
    located[:lost] = False
    names = tuple(f"frame-{number}" for number in range(FRAMES))
    times = tuple(float(number) for number in range(FRAMES))
    sequences = ("one",) * 60 + ("two",) * 60
    return Estimates(name, str(seed), names, sequences, times, truth, Pose(truth.rotation, moved), located)


def test_two_methods_of_three_seeds_that_differ_by_their_seeds_alone_are_noise() -> None:
    found = difference(("a", "b"), errors(1.0, seeds=3, seed=1), errors(1.0, seeds=3, seed=2), draws=400)
    assert found.has_seeds
    assert found.verdict("meters") == "noise"
    assert found.verdict("degrees") == "noise"


def test_a_method_that_halves_the_errors_is_not_noise() -> None:
    found = difference(("a", "b"), errors(1.0, seeds=3, seed=1), errors(0.5, seeds=3, seed=2), draws=400)
    low, middle, high = found.meters
    assert low <= middle <= high < 0.0
    assert found.verdict("meters") == "smaller"
    assert found.better > 0.9
    back = difference(("b", "a"), errors(0.5, seeds=3, seed=2), errors(1.0, seeds=3, seed=1), draws=400)
    assert back.verdict("meters") == "larger"


def test_medians_spread_and_lost_frames() -> None:
    meters = np.array([[1.0, 2.0, np.inf, 4.0], [2.0, 3.0, 5.0, 6.0]])
    found = method_results("a", meters, meters)
    assert found.meters == pytest.approx(2.5)  # of the lower medians 2 and 3
    assert found.deviation == pytest.approx((0.5**0.5, 0.5**0.5))
    assert (found.lost, found.frames, found.seeds) == (0.5, 4, 2)
    assert found.quantile_90[0] is None
    lost = np.full((1, 4), np.inf)
    assert method_results("a", lost, lost).meters is None
    assert (
        difference(("a", "b"), (lost, lost), (meters, meters), draws=20)
        .verdict("meters")
        .startswith("unknown")
    )


def test_a_trajectory_is_matched_by_time_and_frames_it_lacks_are_lost(tmp_path: Path) -> None:
    run = estimates("run", 0.1)
    rows = list(range(0, FRAMES, 2))
    kept = run.poses[np.array(rows)]
    write_trajectory(Trajectory(tuple(row + 0.005 for row in rows), kept), tmp_path / "other.tum")
    other = read_trajectory_of(tmp_path / "other.tum", run, name="other")
    assert other.located.tolist() == [row % 2 == 0 for row in range(FRAMES)]
    found = compare((run, other))
    assert [method.lost for method in found.methods] == [0.0, 60.0]
    np.testing.assert_allclose(other.errors().meters[::2], run.errors().meters[::2])
    write_trajectory(Trajectory((1000.0, 1001.0), kept[:2]), tmp_path / "later.tum")
    with pytest.raises(DatasetError, match="within"):
        read_trajectory_of(tmp_path / "later.tum", run, name="later")
    truth = truth_of(tmp_path / "other.tum")
    assert float(truth.errors().meters.max()) == 0.0


def test_the_page_and_the_files_have_every_method() -> None:
    found = compare(
        (estimates("a", 0.1, seed=1), estimates("a", 0.1, seed=2), estimates("<b & c>", 0.4, seed=3, lost=5))
    )
    assert [method.seeds for method in found.methods] == [2, 1]
    sentences = " ".join(found.sentences())
    assert "(larger)" in sentences
    assert "single runs" in sentences
    figures = comparison_figures(found)
    assert set(figures) == {"position", "orientation", "along", "trajectories", "differences"}
    assert all(content.startswith(b"<?xml") for content in figures.values())
    page = comparison_page(found, figures)
    assert "&lt;b &amp; c&gt;" in page
    assert "Differences on the map" in page
    assert "<b & c>" not in page
    assert found.csv().count("\n") == 1 + 3 * FRAMES
    assert r"\toprule" in found.table().latex()
    assert r"$<$b \& c$>$" in found.table().latex()


def test_other_frames_other_truths_and_other_files_are_refused(tmp_path: Path) -> None:
    run, other = estimates("a", 0.1), estimates("b", 0.1)
    turned = replace(other, truth=Pose(other.truth.rotation, other.truth.translation + 0.05))
    with pytest.raises(DatasetError, match="different true poses"):
        compare((run, turned))
    renamed = replace(other, frames=tuple(f"x{name}" for name in other.frames))
    with pytest.raises(DatasetError, match="same frames"):
        compare((run, renamed))
    (tmp_path / "estimates.csv").write_text("image,tx\n1,2\n")
    with pytest.raises(CheckpointError, match="not a file of"):
        read_estimates(tmp_path / "estimates.csv", name="a")
    with pytest.raises(CheckpointError, match="camloc evaluate"):
        read_estimates(tmp_path / "missing.csv", name="a")
