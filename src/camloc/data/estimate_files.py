"""Estimates as files that other programs read: JSON, CSV, TUM (for evo), COLMAP, nerfstudio, GeoPose.

All poses are `world_from_cam` with OpenCV axes, except in COLMAP's model, which holds `cam_from_world`, and
in nerfstudio's transforms.json, which has OpenGL axes. Quaternions are w first in CSV, JSON and COLMAP, and w
last in TUM and GeoPose. A lost image has no pose: TUM, COLMAP, nerfstudio and GeoPose files omit it, CSV and
JSON name it with its reason.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from camloc.core.files import csv_text
from camloc.data.geopose import Anchor, geopose
from camloc.data.types import NO_REASON, Estimate, Frame, Located, Lost, Scene
from camloc.errors import DatasetError
from camloc.geometry.pose import Pose

QUATERNION_COLUMNS = tuple(f"{name}_world_from_cam" for name in ("qw", "qx", "qy", "qz"))
POSE_COLUMNS = ("tx", "ty", "tz", *QUATERNION_COLUMNS)
NO_POSE = ("",) * len(POSE_COLUMNS)
NO_VERIFICATION = ("", "", "", "")

CSV_COLUMNS = (
    *("image", "time", "scene", *POSE_COLUMNS, "verified", "inliers"),
    *("sigma_m", "sigma_deg", "expected_meters", "expected_degrees", "lost"),
)


def csv_header() -> str:
    """The first line of a table of estimates."""
    return csv_text([CSV_COLUMNS])


def csv_row(name: str, estimate: Estimate) -> str:
    """An estimate as a line under `csv_header`, which the layout `table` reads back.

    A verified pose has the roots of the summed variances of its position (`sigma_m`, in the unit of the
    scene) and of its orientation (`sigma_deg`). Cells without a value are empty.
    """
    time = "" if estimate.time is None else repr(estimate.time)
    if isinstance(estimate, Lost):
        reason = " ".join(estimate.reason.split()) or NO_REASON
        return csv_text([(name, time, "", *NO_POSE, *NO_VERIFICATION, "", "", reason)])
    error = estimate.expected_error
    expected = ("", "") if error is None else (number_text(error.meters), number_text(error.degrees))
    pose = pose_cells(estimate.world_from_cam)
    return csv_text([(name, time, estimate.scene, *pose, *verification_cells(estimate), *expected, "")])


def estimate_text(name: str, estimate: Estimate) -> str:
    """An estimate as one line of text."""
    name = name if name.isprintable() else ascii(name)
    if isinstance(estimate, Lost):
        return f"{name}  lost: {estimate.reason}"
    pose = estimate.world_from_cam
    quaternion = " ".join(f"{value:.6f}" for value in pose.quaternion_wxyz().tolist())
    scene = (
        estimate.scene if estimate.probability == 1.0 else f"{estimate.scene} ({estimate.probability:.0%})"
    )
    text = f"{name}  {scene}  position {_position(pose)}  quaternion_wxyz {quaternion}"
    if (found := estimate.verification) is not None:
        text += f"  verified by {found.inliers} inliers"
    if estimate.is_bridged:
        text += "  bridged"
    if (error := estimate.expected_error) is not None:
        text += f"  expected error {error.meters:.3f} {estimate.unit} {error.degrees:.2f}°"
    if estimate.residual is not None:
        text += f"  residual {estimate.residual:.3f} {estimate.unit}"
    if estimate.unrefined is not None and estimate.verification is None:
        text += f"  refined from {_position(estimate.unrefined)}"
    return text


def json_line(name: str, estimate: Estimate) -> str:
    """An estimate as one line of JSON: its `image` name and its `to_dict()`."""
    return json.dumps({"image": name, **estimate.to_dict()}, allow_nan=False, ensure_ascii=False) + "\n"


def estimates_json(frames: Sequence[Frame], estimates: Sequence[Estimate]) -> str:
    """A JSON list with one object for each frame: its `image` name and the estimate's `to_dict()`."""
    rows = [
        {"image": frame.name, **estimate.to_dict()} for frame, estimate in zip(frames, estimates, strict=True)
    ]
    return json.dumps(rows, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def geopose_line(estimate: Estimate, anchors: Mapping[str, Anchor]) -> str:
    """An estimate as a GeoPose on one line, or "" for a lost image.

    Raises:
        DatasetError: the scene has no anchor.
    """
    if isinstance(estimate, Lost):
        return ""
    return json.dumps(geopose(estimate, anchors), allow_nan=False) + "\n"


def estimates_tum(frames: Sequence[Frame], estimates: Sequence[Estimate]) -> str:
    """Located frames as TUM lines `time x y z qx qy qz qw`.

    The time is the frame's own if all frames have one and no two are equal, else the number of the frame in
    the list, from 0.
    """
    timed = zip(times_of(frames), estimates, strict=True)
    return tum_text([(time, each.world_from_cam) for time, each in timed if isinstance(each, Located)])


def write_colmap(frames: Sequence[Frame], estimates: Sequence[Estimate], folder: Path) -> None:
    """Write located frames as a text model of COLMAP: cameras, images, and no points.

    Raises:
        DatasetError: nothing is located, frames are of several scenes, a name holds a blank, or the camera of
            an estimate is unknown.
        CamlocError: the folder cannot be written.
    """
    from camloc.data.formats import colmap  # here, since readers import what most answers do not need

    colmap.write(_located_scene(frames, estimates, "COLMAP"), folder, form="text")


def write_nerfstudio(frames: Sequence[Frame], estimates: Sequence[Estimate], path: Path) -> None:
    """Write located frames as a transforms.json.

    Raises:
        DatasetError: nothing is located, or frames are of several scenes.
        CamlocError: the file cannot be written.
    """
    from camloc.data.formats import nerfstudio

    nerfstudio.write(_located_scene(frames, estimates, "nerfstudio"), path)


def times_of(frames: Sequence[Frame]) -> Sequence[float]:
    """The times of frames if all have one and no two are equal, else their numbers from 0."""
    times = [frame.time for frame in frames if frame.time is not None]
    return times if len(times) == len(frames) == len(set(times)) else range(len(frames))


def tum_text(timed: Sequence[tuple[float, Pose]]) -> str:
    """Poses with their times as the lines of a TUM trajectory."""
    times = tuple(time for time, _ in timed)
    poses = Pose.stack([pose.numpy() for _, pose in timed]) if timed else Pose.identity(0)
    from camloc.data.formats.tum import Trajectory, trajectory_text

    return trajectory_text(Trajectory(times, poses))


def pose_cells(world_from_cam: Pose) -> tuple[str, ...]:
    """The cells of a pose under `POSE_COLUMNS`."""
    numbers = [*world_from_cam.translation.tolist(), *world_from_cam.quaternion_wxyz().tolist()]
    return tuple(number_text(number) for number in numbers)


def verification_cells(answer: Located) -> tuple[str, str, str, str]:
    """The cells of a verification: whether the map confirms the pose, its inliers, and its uncertainty."""
    if answer.verification is None:
        return "false", "", "", ""
    inliers = str(answer.verification.inliers)
    if answer.covariance is None:
        return "true", inliers, "", ""
    variances = np.diag(answer.covariance)
    orientation, position = np.degrees(np.sqrt(variances[:3].sum())), np.sqrt(variances[3:].sum())
    return "true", inliers, number_text(float(position)), number_text(float(orientation))


def number_text(number: float) -> str:
    """A number with nine decimals."""
    return f"{number:.9f}"


def _located_scene(frames: Sequence[Frame], estimates: Sequence[Estimate], program: str) -> Scene:
    """The located frames with their poses and cameras."""
    found, scenes = [], set()
    for frame, estimate in zip(frames, estimates, strict=True):
        if isinstance(estimate, Located):
            scenes.add(estimate.scene)
            pose = estimate.world_from_cam.numpy()
            found.append(replace(frame, camera=estimate.camera, world_from_cam=pose))
    if not found:
        raise DatasetError(f"no image is located, and {program} has no file for that")
    if len(scenes) > 1:
        raise DatasetError(
            f"the images are in the scenes {', '.join(sorted(scenes))}, and {program} has one world; locate "
            f"the images of each scene alone"
        )
    return Scene("located", tuple(found))


def _position(pose: Pose) -> str:
    return " ".join(f"{value:.4f}" for value in pose.translation.tolist())
