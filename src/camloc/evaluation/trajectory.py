"""Writes estimates as files that other programs read: CSV, TUM (for evo), COLMAP `images.txt`, JSON.

All poses are `world_from_cam` with OpenCV axes, except in COLMAP's file, which holds `cam_from_world`.
Quaternions are w first in CSV, JSON and COLMAP, and w last in TUM. A lost frame has no pose: TUM and COLMAP
files omit it, CSV and JSON name it with its reason.
"""

import csv
import json
from collections.abc import Sequence
from io import StringIO

import numpy as np

from camloc.data.formats.tum import Trajectory, trajectory_text
from camloc.data.types import Estimate, Frame, Located, Lost
from camloc.errors import DatasetError
from camloc.evaluation.errors import NO_REASON, ScoredSet
from camloc.geometry.pose import Pose

CSV_NAME = "estimates.csv"
ESTIMATE_TUM_NAME = "estimates.tum"
TRUTH_TUM_NAME = "truth.tum"

_QUATERNION_COLUMNS = tuple(f"{name}_world_from_cam" for name in ("qw", "qx", "qy", "qz"))
_POSE_COLUMNS = ("tx", "ty", "tz", *_QUATERNION_COLUMNS)
_NO_POSE = ("",) * len(_POSE_COLUMNS)
_NO_VERIFICATION = ("", "", "", "")
CSV_COLUMNS = (
    "image",
    *_POSE_COLUMNS,
    *(f"truth_{column}" for column in _POSE_COLUMNS),
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
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for scored in sets:
        for frame, answer, meters, degrees in zip(
            scored.frames, scored.answers, scored.errors.meters, scored.errors.degrees, strict=True
        ):
            pose, error, verified, reason = _NO_POSE, ("", ""), _NO_VERIFICATION, ""
            if isinstance(answer, Lost):
                reason = " ".join(answer.reason.split()) or NO_REASON
            else:
                pose, error = (
                    _pose_cells(answer.world_from_cam),
                    (_text(meters.item()), _text(degrees.item())),
                )
                verified = _verification_cells(answer)
            time = "" if frame.time is None else repr(float(frame.time))
            origin = (reason, scored.name, frame.sequence, time)
            writer.writerow((frame.name, *pose, *_pose_cells(frame.truth()), *error, *verified, *origin))
    return text.getvalue()


def estimates_tum(frames: Sequence[Frame], estimates: Sequence[Estimate]) -> str:
    """Located frames as TUM lines `time x y z qx qy qz qw`.

    The time is the frame's own if all frames have one and no two are equal, else the number of the frame in
    the list, from 0. `truth_tum` uses the same times for the same frames.
    """
    return _tum_text(
        [
            (time, estimate.world_from_cam)
            for time, estimate in zip(_times(frames), estimates, strict=True)
            if isinstance(estimate, Located)
        ]
    )


def truth_tum(frames: Sequence[Frame]) -> str:
    """The true poses of frames as TUM lines, with the times of `estimates_tum`."""
    return _tum_text([(time, frame.truth()) for time, frame in zip(_times(frames), frames, strict=True)])


def estimates_colmap(frames: Sequence[Frame], estimates: Sequence[Estimate]) -> str:
    """Located frames as COLMAP's `images.txt`: images numbered from 1, all of camera 1, no points.

    Raises:
        DatasetError: a name contains a line break, which the format does not allow.
    """
    lines = ["# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME", "# POINTS2D[] as (X, Y, POINT3D_ID)"]
    for number, (frame, estimate) in enumerate(zip(frames, estimates, strict=True), start=1):
        if not isinstance(estimate, Located):
            continue
        if any(character in frame.name for character in "\r\n"):
            raise DatasetError(f"the name {frame.name!r} contains a line break; rename that image")
        cam_from_world = estimate.world_from_cam.inverse()
        numbers = [*cam_from_world.quaternion_wxyz().tolist(), *cam_from_world.translation.tolist()]
        lines += [" ".join((str(number), *map(_text, numbers), "1", frame.name)), ""]
    return "\n".join(lines) + "\n"


def estimates_json(frames: Sequence[Frame], estimates: Sequence[Estimate]) -> str:
    """A JSON list with one object for each frame: its `image` name and the estimate's `to_dict()`."""
    rows = [
        {"image": frame.name, **estimate.to_dict()} for frame, estimate in zip(frames, estimates, strict=True)
    ]
    return json.dumps(rows, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _times(frames: Sequence[Frame]) -> Sequence[float]:
    times = [frame.time for frame in frames if frame.time is not None]
    return times if len(times) == len(frames) == len(set(times)) else range(len(frames))


def _tum_text(timed: Sequence[tuple[float, Pose]]) -> str:
    times = tuple(time for time, _ in timed)
    poses = Pose.stack([pose for _, pose in timed]) if timed else Pose.identity(0)
    return trajectory_text(Trajectory(times, poses))


def _pose_cells(world_from_cam: Pose) -> tuple[str, ...]:
    numbers = [*world_from_cam.translation.tolist(), *world_from_cam.quaternion_wxyz().tolist()]
    return tuple(_text(number) for number in numbers)


def _verification_cells(answer: Located) -> tuple[str, str, str, str]:
    """Whether the map confirms a pose, with how many inliers, and how sure it is."""
    if answer.verification is None:
        return "false", "", "", ""
    inliers = str(answer.verification.inliers)
    if answer.covariance is None:
        return "true", inliers, "", ""
    variances = np.diag(answer.covariance)
    orientation, position = np.degrees(np.sqrt(variances[:3].sum())), np.sqrt(variances[3:].sum())
    return "true", inliers, _text(float(position)), _text(float(orientation))


def _text(number: float) -> str:
    return f"{number:.9f}"
