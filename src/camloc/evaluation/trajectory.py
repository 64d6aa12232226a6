"""Writes the estimates of test frames beside their truth: a table, and TUM files for evo.

All poses are `world_from_cam` with OpenCV axes. A lost frame has no pose: TUM files omit it, the table names
it with its reason.
"""

from collections.abc import Sequence

from camloc.core.files import csv_text
from camloc.data.estimate_files import (
    NO_POSE,
    NO_VERIFICATION,
    POSE_COLUMNS,
    number_text,
    pose_cells,
    times_of,
    tum_text,
    verification_cells,
)
from camloc.data.types import NO_REASON, Frame, Lost
from camloc.evaluation.errors import ScoredSet

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
