"""What is wrong with the path of the poses and with the split, by positions and orientations alone."""

import re
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64
from scipy.spatial import KDTree

from camloc.data.types import Frame, Scene, oriented, poses_of
from camloc.geometry.pose import Pose
from camloc.geometry.pose_search import camera_radius
from camloc.geometry.rotation import rotation_angle
from camloc.mapping.check.findings import MOST_NAMED, Finding, named

# Poses are the same if their numbers differ by less than this share of the camera radius, or as rotations.
_SAME = 1e-9


# A test frame leaks if training frames are this near to it in its recording, on both sides.
_BESIDE = 2

# Share of the test frames that may leak; and that may have no training frame near.
_LEAKS, _UNCOVERED = 0.3, 0.1

# A training frame is near if it is closer than this share of the typical depth and looks in a direction
# within these degrees.
_NEAR_DEPTH, _NEAR_DEGREES = 1.0, 45.0

# Nearest training frames that are considered for each test frame.
_CANDIDATES = 8

# A step above this multiple of the usual step of its recording is a jump, where no images are compared.
_JUMP = 40.0


@dataclass(frozen=True, eq=False)
class CameraPath:
    """The frames with a whole pose, in the order in which they were taken as far as that is known.

    Attributes:
        frames: sorted by condition and recording, and by time or name within it.
        rotations: (n, 3, 3) `world_from_cam`.
        centres: (n, 3) positions.
        is_test: (n,) whether a frame is for testing.
        condition: (n,) number of the condition of a frame, such as another season; 0 for the usual one.
        radius: root mean square distance to the mean centre.
    """

    frames: tuple[Frame, ...]
    rotations: Float[np.ndarray, "n 3 3"]
    centres: Float[np.ndarray, "n 3"]
    is_test: Bool[np.ndarray, "n"]
    condition: Int64[np.ndarray, "n"]
    radius: float

    def neighbours(self) -> Int64[np.ndarray, "k 2"]:
        """Numbers of frames that follow each other in a recording."""
        return np.array(
            [
                (index, index + 1)
                for index in range(len(self.frames) - 1)
                if self.frames[index].sequence == self.frames[index + 1].sequence
                and self.condition[index] == self.condition[index + 1]
            ],
            dtype=np.int64,
        ).reshape(-1, 2)


def path_of(scene: Scene) -> CameraPath:
    """The frames of a scene, all its conditions included, as a path."""
    condition_of = {
        id(frame): number for number, part in enumerate(scene.conditions.values(), start=1) for frame in part
    }
    test = {id(frame) for frame in scene.test} | condition_of.keys()
    frames = oriented(scene.frames)
    ordered = tuple(sorted(frames, key=lambda frame: (condition_of.get(id(frame), 0), *_order(frame))))
    poses = poses_of(ordered)
    rotations = np.asarray(poses.rotation, dtype=np.float64)
    centres = np.asarray(poses.translation, dtype=np.float64)
    radius = float(camera_radius(Pose(rotations, centres)))
    is_test = np.array([id(frame) in test for frame in ordered], dtype=np.bool_)
    condition = np.array([condition_of.get(id(frame), 0) for frame in ordered], dtype=np.int64)
    return CameraPath(ordered, rotations, centres, is_test, condition, radius)


def _order(frame: Frame) -> tuple[str, float, list[tuple[int, str]]]:
    """By recording, time, and name, in which numbers count as numbers."""
    parts = [
        (int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d{1,18})", frame.name)
    ]
    return frame.sequence, frame.time or 0.0, parts


def largest_steps(path: CameraPath) -> list[tuple[int, int]]:
    """The frames before and after each step, the steps that are largest beside their neighbours first."""
    sizes = _relative_steps(path)
    pairs = path.neighbours()
    return [(int(one), int(other)) for one, other in pairs[np.argsort(-sizes, kind="stable")]]


def _relative_steps(path: CameraPath) -> Float[np.ndarray, "k"]:
    """Each step between neighbours over the usual step around it; of position or of angle, the larger."""
    pairs = path.neighbours()
    if not len(pairs):
        return np.empty(0)
    meters = np.linalg.norm(path.centres[pairs[:, 0]] - path.centres[pairs[:, 1]], axis=1)
    radians = np.asarray(rotation_angle(path.rotations[pairs[:, 0]], path.rotations[pairs[:, 1]]))
    parts = []
    for steps, floor in ((meters, 1e-3 * path.radius), (radians, 0.01)):
        usual = np.array([np.median(steps[max(0, index - 10) : index + 11]) for index in range(len(steps))])
        parts.append(steps / np.maximum(usual, max(floor, float(np.median(steps)) / 2)))
    return np.asarray(np.maximum(parts[0], parts[1]))


def path_findings(path: CameraPath, *, depth: float, is_depth_measured: bool) -> list[Finding]:
    """Findings on the path and the split: constant poses, jumps, leaks, uncovered test frames.

    Args:
        path: the frames.
        depth: typical depth of what they see, in units of the world; an estimate where it was not measured.
        is_depth_measured: whether images were compared; jumps are then found by them, and not here.
    """
    findings = _frozen(path)
    if not is_depth_measured:
        findings += _jumps(path)
    findings += _leaks(path, depth)
    findings += _uncovered(path, depth)
    return findings


def same_poses(path: CameraPath) -> list[list[int]]:
    """Groups of frames of one condition whose poses are exactly the same.

    Other seasons may be images of the same places, edited ones in particular.
    """
    scale = max(path.radius, 1e-300) * _SAME
    numbers = path.centres / scale, path.rotations.reshape(-1, 9) / _SAME, path.condition[:, None]
    table = np.concatenate(numbers, axis=1)
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, row in enumerate(np.round(table)):
        groups[(row + 0.0).tobytes()].append(index)
    return [members for members in groups.values() if len(members) > 1]


def _frozen(path: CameraPath) -> list[Finding]:
    findings = []
    turns = np.asarray(rotation_angle(path.rotations, path.rotations[:1]))
    if len(path.frames) > 2 and path.radius > 0 and float(turns.max()) < 1e-6:
        findings.append(
            Finding(
                "error",
                "constant orientation",
                f"all {len(path.frames)} frames have the same orientation, which only a camera on rails has; "
                f"the file may hold no orientations",
            )
        )
    if len(path.frames) > 2 and path.radius == 0:
        findings.append(
            Finding(
                "error",
                "constant position",
                f"all {len(path.frames)} frames are at one position; the file may hold no positions",
            )
        )
    return findings


def _jumps(path: CameraPath) -> list[Finding]:
    sizes = _relative_steps(path)
    pairs = path.neighbours()
    large = np.flatnonzero(sizes > _JUMP)
    if not len(large):
        return []
    order = large[np.argsort(-sizes[large], kind="stable")]
    names = [path.frames[int(pairs[index, 1])].name for index in order]
    return [
        Finding(
            "warning",
            "jump",
            f"the path jumps by more than {_JUMP:.0f} times its usual step at {len(names)} frames "
            f"({named(names)}): lost tracking, other units from there on, or two recordings in one; look at "
            f"the images without --quick",
            tuple(names[:MOST_NAMED]),
        )
    ]


def _leaks(path: CameraPath, depth: float) -> list[Finding]:
    """Test frames between training frames of the same recording that see the same part of the scene."""
    if not path.is_test.any() or path.is_test.all():
        return []
    leaking = []
    for index in np.flatnonzero(path.is_test).tolist():
        sides = [
            any(_is_training_beside(path, index, sign * step, depth) for step in range(1, _BESIDE + 1))
            for sign in (-1, 1)
        ]
        if all(sides):
            leaking.append(path.frames[index].name)
    count = int(path.is_test.sum())
    if len(leaking) <= _LEAKS * count:
        return []
    return [
        Finding(
            "error",
            "leak",
            f"{len(leaking)} of {count} test frames lie between training frames of the same recording "
            f"({named(leaking)}), so errors on them say nothing about new images; test on a recording of its "
            f"own, or on blocks (--option split=blocks)",
            tuple(leaking[:MOST_NAMED]),
        )
    ]


def _is_training_beside(path: CameraPath, index: int, offset: int, depth: float) -> bool:
    other = index + offset
    if not 0 <= other < len(path.frames) or path.is_test[other]:
        return False
    if path.frames[other].sequence != path.frames[index].sequence:
        return False
    near = np.linalg.norm(path.centres[index] - path.centres[other]) < 0.25 * depth
    angle = float(rotation_angle(path.rotations[index], path.rotations[other]))
    return bool(near and angle < np.deg2rad(20.0))


def _uncovered(path: CameraPath, depth: float) -> list[Finding]:
    """Test frames without a near training frame of a similar viewing direction."""
    if not path.is_test.any() or path.is_test.all():
        return []
    forward = path.rotations[:, :, 2]
    places = np.concatenate((path.centres / depth, forward), axis=1)
    training, test = np.flatnonzero(~path.is_test), np.flatnonzero(path.is_test)
    _, found = KDTree(places[training]).query(places[test], [*range(1, min(_CANDIDATES, len(training)) + 1)])
    near = training[found]
    close = np.linalg.norm(path.centres[near] - path.centres[test][:, None], axis=2) < _NEAR_DEPTH * depth
    alike = (forward[near] * forward[test][:, None]).sum(axis=2) > np.cos(np.deg2rad(_NEAR_DEGREES))
    names = [path.frames[index].name for index in test[~(close & alike).any(axis=1)]]
    count = len(test)
    if len(names) <= _UNCOVERED * count:
        return []
    return [
        Finding(
            "warning",
            "uncovered test frames",
            f"{len(names)} of {count} test frames have no training frame near that looks the same way "
            f"({named(names)}); no network or map can answer there, so add training images",
            tuple(names[:MOST_NAMED]),
        )
    ]
