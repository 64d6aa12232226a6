"""The files of an evaluation beside its report: results.json, estimates.csv, two TUM files, points.ply.

Poses in estimates.csv and in the TUM files (for evo) are `world_from_cam` with OpenCV axes. A lost frame has
no pose: TUM files omit it, the table names it with its reason.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from camloc.core.files import csv_text, write_atomically
from camloc.core.sampling import even_rows
from camloc.core.sealed import write_checksums
from camloc.data.estimate_files import (
    NO_POSE,
    NO_VERIFICATION,
    POSE_COLUMNS,
    estimates_tum,
    number_text,
    pose_cells,
    times_of,
    tum_text,
    verification_cells,
)
from camloc.data.types import NO_REASON, Frame, Located, Lost
from camloc.evaluation.errors import ScoredSet
from camloc.evaluation.predicted_points import CLOUD_NAME, MappedView, ply, point_cloud
from camloc.evaluation.results import RESULTS_NAME, Results

REPORT_NAME = "report.html"

# Images whose points make the cloud.
MOST_MAPPED = 60

CSV_NAME = "estimates.csv"
ESTIMATE_TUM_NAME = "estimates.tum"
TRUTH_TUM_NAME = "truth.tum"

# The checksums of these three files.
CHECKSUMS_NAME = "estimates.sha256"
CHECKED_NAMES = (CSV_NAME, ESTIMATE_TUM_NAME, TRUTH_TUM_NAME)

CSV_COLUMNS = (
    "image",
    *POSE_COLUMNS,
    *(f"truth_{column}" for column in POSE_COLUMNS),
    "meters",
    "degrees",
    "verified",
    "inliers",
    "sigma_m",
    "sigma_deg",
    "lost",
    "set",
    "sequence",
    "time",
)


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


def estimates_csv(sets: Sequence[ScoredSet]) -> str:
    """One row a frame: the estimate, the truth, the error, and the reason of a lost frame.

    The estimate has the column names of a table of posed images, so that `data.formats.table` reads it back;
    the columns of the truth start with `truth_`. Cells without a value, as of a lost frame, are empty.

    `verified` is "true" for a pose that the map of the scene confirms and "false" for another one. A verified
    pose has the number of its `inliers`, and the roots of the summed variances of its position (`sigma_m`, in
    the unit of the scene, as `meters`) and of its orientation (`sigma_deg`).
    """
    rows: list[Sequence[object]] = [CSV_COLUMNS]
    for scored in sets:
        for frame, answer, meters, degrees in zip(
            scored.frames, scored.answers, scored.errors.meters, scored.errors.degrees, strict=True
        ):
            pose, error, verified, reason = NO_POSE, ("", ""), NO_VERIFICATION, ""
            if isinstance(answer, Lost):
                reason = " ".join(answer.reason.split()) or NO_REASON
            else:
                pose, error = (
                    pose_cells(answer.world_from_cam),
                    (number_text(meters.item()), number_text(degrees.item())),
                )
                verified = verification_cells(answer)
            time = "" if frame.time is None else repr(float(frame.time))
            origin = (reason, scored.name, frame.sequence, time)
            rows.append((frame.name, *pose, *pose_cells(frame.truth()), *error, *verified, *origin))
    return csv_text(rows)


def truth_tum(frames: Sequence[Frame]) -> str:
    """The true poses of frames as TUM lines, with the times of `estimates_tum`."""
    return tum_text([(time, frame.truth()) for time, frame in zip(times_of(frames), frames, strict=True)])
