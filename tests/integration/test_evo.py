"""Errors are those of evo, another program, on the same TUM files: from its kept output, and from itself.

`tests/data/evo` holds two trajectories, the second without two of the frames, and what evo 1.38 computes
from them (`evo_ape tum truth.tum estimates.tum -r trans_part`, and `-r angle_deg`): errors of up to 11 m
and 179.9 degrees.
"""

import csv
import io
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.support.trained import Made

from camloc.evaluation.comparison import read_trajectory_of, truth_of
from camloc.evaluation.errors import error_statistics
from camloc.evaluation.results import RESULTS_NAME, Results
from camloc.geometry.pose import PoseError

KEPT = Path(__file__).parents[1] / "data" / "evo"
TOLERANCE = 1e-6

EVO = shutil.which("evo_ape")

# evo's relations, by the halves of a pose error.
RELATIONS = {"meters": "trans_part", "degrees": "angle_deg"}


def errors_of(folder: Path) -> PoseError:
    """Errors of the frames of `estimates.tum` that are located, by camloc."""
    estimates = read_trajectory_of(folder / "estimates.tum", truth_of(folder / "truth.tum"), name="estimates")
    found = estimates.errors()
    return PoseError(found.meters[estimates.located], found.degrees[estimates.located])


def by_evo(folder: Path, relation: str, work: Path) -> tuple[np.ndarray, dict[str, float]]:
    """Errors and statistics by evo."""
    assert EVO is not None
    saved = work / f"{relation}.zip"
    files = (str(folder / "truth.tum"), str(folder / "estimates.tum"))
    words = [EVO, "tum", *files, "-r", relation, "--save_results", str(saved)]
    environment = {**os.environ, "HOME": str(work), "MPLBACKEND": "agg"}
    subprocess.run(words, check=True, capture_output=True, env=environment)
    with zipfile.ZipFile(saved) as archive:
        errors = np.load(io.BytesIO(archive.read("error_array.npy")))
        statistics: dict[str, float] = json.loads(archive.read("stats.json"))
    return errors, statistics


@pytest.mark.parametrize("half", RELATIONS)
def test_errors_and_statistics_are_those_that_evo_has_computed(half: str) -> None:
    kept = json.loads((KEPT / "evo_ape.json").read_text())[half]
    found = errors_of(KEPT)
    assert len(found.meters) == 23
    np.testing.assert_allclose(getattr(found, half), kept["errors"], rtol=0, atol=TOLERANCE)
    statistics = getattr(error_statistics(found), half)
    for ours, theirs in (("mean", "mean"), ("median", "median"), ("maximum", "max")):
        assert getattr(statistics, ours) == pytest.approx(kept[theirs], abs=TOLERANCE, rel=0)


@pytest.mark.skipif(EVO is None, reason="evo is not installed: pip install evo puts evo_ape on the path")
@pytest.mark.parametrize("half", RELATIONS)
def test_an_evaluation_has_the_errors_that_evo_computes_from_its_files(
    half: str, evaluated: Made, tmp_path: Path
) -> None:
    with (evaluated.path / "estimates.csv").open(newline="") as file:
        ours = [float(row[half]) for row in csv.DictReader(file) if row[half]]
    theirs, statistics = by_evo(evaluated.path, RELATIONS[half], tmp_path)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)
    summary = getattr(Results.load(evaluated.path / RESULTS_NAME).headline.estimates, half)
    assert summary.mean == pytest.approx(statistics["mean"], abs=TOLERANCE, rel=0)
    assert summary.maximum == pytest.approx(statistics["max"], abs=TOLERANCE, rel=0)
