"""The files of an evaluation beside its report: results.json, estimates.csv, two TUM files, points.ply."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from camloc.core.files import write_atomically
from camloc.core.sampling import even_rows
from camloc.core.sealed import write_checksums
from camloc.data.estimate_files import estimates_tum
from camloc.data.types import Located
from camloc.evaluation.errors import ScoredSet
from camloc.evaluation.predicted_points import CLOUD_NAME, MappedView, ply, point_cloud
from camloc.evaluation.results import RESULTS_NAME, Results
from camloc.evaluation.trajectory import (
    CHECKED_NAMES,
    CHECKSUMS_NAME,
    CSV_NAME,
    ESTIMATE_TUM_NAME,
    TRUTH_TUM_NAME,
    estimates_csv,
    truth_tum,
)

REPORT_NAME = "report.html"

# Images whose points make the cloud.
MOST_MAPPED = 60


def write_files(
    folder: Path,
    results: Results,
    sets: Sequence[ScoredSet],
    *,
    mapped: Mapping[int, MappedView] | None = None,
) -> None:
    """Write all files of an evaluation but the report.

    Args:
        folder: to write into.
        results: statistics of the sets.
        sets: the test sets, the headline first.
        mapped: for models that predict points, the points of some frames of the first set.

    Raises:
        CamlocError: a file cannot be written.
    """
    headline = sets[0]
    (folder / CHECKSUMS_NAME).unlink(missing_ok=True)  # those of an earlier evaluation
    results.save(folder / RESULTS_NAME)
    write_atomically(folder / CSV_NAME, estimates_csv(sets))
    write_atomically(folder / ESTIMATE_TUM_NAME, estimates_tum(headline.frames, headline.answers))
    write_atomically(folder / TRUTH_TUM_NAME, truth_tum(headline.frames))
    write_checksums(folder / CHECKSUMS_NAME, [folder / name for name in CHECKED_NAMES])
    if mapped:
        write_atomically(folder / CLOUD_NAME, ply(point_cloud(mapped.values())))


def rows_to_map(scored: ScoredSet) -> list[int]:
    """Frames whose points are shown: located ones at even steps, and the best, a middle and the worst."""
    located = [row for row, answer in enumerate(scored.answers) if isinstance(answer, Located)]
    if not located:
        return []
    chosen = {located[step] for step in even_rows(len(located), MOST_MAPPED)}
    return sorted(chosen | set(best_middle_worst(scored, located)))


def best_middle_worst(scored: ScoredSet, rows: Iterable[int]) -> list[int]:
    """At most three different rows, the best first."""
    combined = scored.combined(scored.errors)
    order = sorted(rows, key=lambda row: (float(combined[row]), row))
    return list(dict.fromkeys((order[0], order[len(order) // 2], order[-1])))
