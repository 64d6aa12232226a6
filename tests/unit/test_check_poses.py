"""Matches of points that nobody took a photograph of: each fault of poses and intrinsics is named."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from tests.support.layouts import looking_at_target

from camloc.data.types import Frame, Scene
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose
from camloc.mapping.check import readings
from camloc.mapping.check.agreement import Agreement, measure_agreement
from camloc.mapping.check.correspondences import Correspondences, Sample, Tried
from camloc.mapping.check.path import CameraPath, largest_steps, path_findings, path_of

Array = NDArray[np.float64]

CAMERA = Camera(640, 480, 500.0, 500.0, 320.0, 240.0)
FRAMES = 24


def _scene(change: Callable[[int, Array, Array], tuple[Any, Any]] = lambda _, R, c: (R, c)) -> Scene:
    """A walk past a cloud of points."""
    frames = []
    for number in range(FRAMES):
        turn = number / FRAMES * 1.5
        centre = np.array([-2.0 * np.cos(turn), -1.0 - turn, np.sin(4 * turn) + 0.02 * number])
        # The camera sways, so that no reading of the axes is as good as another.
        sway = Rotation.from_rotvec(
            [0.2 * np.sin(3 * turn), 0.15 * np.cos(5 * turn), 0.4 * np.sin(2.3 * turn)]
        )
        right = looking_at_target(centre)[:3, :3] @ sway.as_matrix()
        rotation, moved = change(number, right, centre)
        pose = Pose(np.asarray(rotation), np.asarray(moved))
        frames.append(Frame(f"{number:03d}.png", Path("none"), CAMERA, pose))
    return Scene("walk", tuple(frames))


def _sample(
    *, focal: float | tuple[float, float] = 1.0, shift: float = 0.0, gaps: Sequence[int] = (2, 5)
) -> Sample:
    """Matches of the true walk, seen through another lens than the given one, with half a pixel of noise."""
    random = np.random.default_rng(0)
    points = np.array([0.5, 4.0, -1.0]) + random.normal(0, 1.0, (40, 3))
    path = path_of(_scene())

    def seen(number: int) -> Array:
        local = (points - path.centres[number]) @ path.rotations[number]
        flat = local[:, :2] / local[:, 2:] * np.array(focal) + (shift, 0.0)
        return np.asarray(flat + random.normal(0, 0.5 / 500.0, flat.shape))

    pairs = [(first, first + gap) for first in range(0, FRAMES - 6, 2) for gap in gaps]
    found = tuple(Correspondences(a, b, seen(a), seen(b), 500.0, "recording") for a, b in pairs)
    steps = tuple(
        Correspondences(a, a + 1, seen(a), seen(a + 1), 500.0, "step") for a in range(1, FRAMES - 1, 2)
    )
    return Sample((*found, *steps), tuple(Tried(a, a + 1, 80) for a in range(FRAMES - 1)), ())


def _agreement(scene: Scene, sample: Sample) -> Agreement:
    return measure_agreement(path_of(scene), sample, unit="m", has_cameras=True)


@pytest.fixture(autouse=True)
def _fewer_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve pairs tell these readings apart, in a third of the time."""
    monkeypatch.setattr(readings, "_FIRST_PAIRS", 12)


def test_right_poses_are_not_suspected() -> None:
    agreement = _agreement(_scene(), _sample())
    assert not agreement.findings
    assert 2.0 < agreement.depth < 8.0


_GL = np.diag([1.0, -1.0, -1.0])
_MIRROR = np.diag([1.0, -1.0, 1.0])
_ZY = np.array([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]])


def _quaternion(rotation: Array, order: tuple[int, ...]) -> Array:
    numbers = Pose(rotation, np.zeros(3)).quaternion_wxyz()[list(order)]
    return np.asarray(Pose.from_quaternion_wxyz(numbers, np.zeros(3)).rotation)


FAULTS: dict[str, tuple[str, str, Callable[[int, Array, Array], tuple[Any, Any]]]] = {
    "inverted": ("direction of the poses", "cam_from_world", lambda _, R, c: (R.T, -R.T @ c)),
    "transposed": ("direction of the poses", "transposed", lambda _, R, c: (R.T, c)),
    "translations": ("direction of the poses", "translations", lambda _, R, c: (R, -R.T @ c)),
    "opengl": ("camera axes", "OpenGL", lambda _, R, c: (R @ _GL, c)),
    "turned": ("camera axes", "turned by 180", lambda _, R, c: (R @ np.diag([-1.0, -1.0, 1.0]), c)),
    "inverted opengl": (
        "direction of the poses and camera axes",
        "OpenGL",
        lambda _, R, c: ((R @ _GL).T, -(R @ _GL).T @ c),
    ),
    "w last": (
        "order of the quaternion",
        "w last",
        lambda _, R, c: (_quaternion(R, (1, 2, 3, 0)), c),
    ),
    "w first": (
        "order of the quaternion",
        "w first",
        lambda _, R, c: (_quaternion(R.T, (3, 0, 1, 2)).T, c),
    ),
    "mirrored": ("mirrored", "mirrored", lambda _, R, c: (_MIRROR @ R @ _MIRROR, _MIRROR @ c)),
    "axes of positions": ("world axes", "x, z, y", lambda _, R, c: (R, _ZY @ c)),
    "units": ("mixed units", "factor of about", lambda n, R, c: (R, c * 100 if n % 4 == 0 else c)),
    "jump": ("jump", "jump at 012.png", lambda n, R, c: (R, c + (n >= 12) * np.array([0, 0, 1.5]))),
    "scale": ("scale", "millimetres", lambda _, R, c: (R, c * 1000)),
    "radians as degrees": (
        "orientations",
        "in radians, and are read as degrees",
        lambda _, R, c: (
            Rotation.from_rotvec(np.deg2rad(Rotation.from_matrix(R).as_rotvec())).as_matrix(),
            c,
        ),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_poses_is_named(fault: str) -> None:
    kind, words, change = FAULTS[fault]
    (finding, *_) = _agreement(_scene(change), _sample()).findings
    assert (finding.kind, finding.level) == (kind, "error")
    assert words in finding.sentence


@pytest.mark.parametrize("factor", [0.6, 0.75, 1.3, 1.6])
def test_a_wrong_focal_length_is_named_with_its_factor(factor: float) -> None:
    (finding,) = _agreement(_scene(), _sample(focal=factor)).findings
    assert finding.kind == "focal length"
    named = float(finding.sentence.split("focal length of ")[1].split(" ")[0])
    assert named == pytest.approx(factor, rel=0.06)


def test_a_focal_length_that_is_wrong_in_one_direction_is_named() -> None:
    (finding,) = _agreement(_scene(), _sample(focal=(1.0, 1.3))).findings
    assert finding.kind == "focal length"
    assert "(along x)" in finding.sentence


def test_a_wrong_principal_point_is_named() -> None:
    (finding,) = _agreement(_scene(), _sample(shift=0.15)).findings
    assert finding.kind == "principal point"


def test_a_focal_length_that_was_assumed_is_not_agreement() -> None:
    assert not measure_agreement(path_of(_scene()), _sample(focal=1.6), unit="m", has_cameras=False).findings


def test_poses_in_another_order_than_the_images_are_named() -> None:
    order = np.random.default_rng(1).permutation(FRAMES)
    scene = _scene()
    train = tuple(
        replace(frame, world_from_cam=scene.train[int(of)].world_from_cam)
        for frame, of in zip(scene.train, order, strict=True)
    )
    (finding, *_) = _agreement(replace(scene, train=train), _sample()).findings
    assert "order" in finding.sentence


def _split(test: Callable[[int], bool]) -> CameraPath:
    frames = _scene().train
    train = tuple(frame for number, frame in enumerate(frames) if not test(number))
    return path_of(Scene("walk", train, tuple(frame for n, frame in enumerate(frames) if test(n))))


def test_test_frames_between_training_frames_leak() -> None:
    findings = path_findings(_split(lambda number: number % 5 == 2), depth=5.0, is_depth_measured=True)
    assert [finding.kind for finding in findings] == ["leak"]
    assert not path_findings(_split(lambda number: 8 <= number < 14), depth=5.0, is_depth_measured=True)


def test_test_frames_far_from_all_training_frames_are_named() -> None:
    def far(number: int, rotation: Array, centre: Array) -> tuple[Any, Any]:
        return rotation, centre + (number >= 18) * np.array([50.0, 0, 0])

    frames = _scene(far).train
    path = path_of(Scene("walk", frames[:18], frames[18:]))
    (finding,) = path_findings(path, depth=5.0, is_depth_measured=True)
    assert finding.kind == "uncovered test frames"
    assert finding.level == "warning"


def test_the_largest_step_comes_first() -> None:
    def jumping(number: int, rotation: Array, centre: Array) -> tuple[Any, Any]:
        return rotation, centre + (number >= 7) * np.array([0, 30.0, 0])

    path = path_of(_scene(jumping))
    assert largest_steps(path)[0] == (6, 7)
    assert [each.kind for each in path_findings(path, depth=5.0, is_depth_measured=False)] == ["jump"]


def _changed_blocks(change: Callable[[Array, Array], tuple[Any, Any]]) -> Scene:
    """The walk with two blocks of test frames, whose poses are changed."""

    def is_test(number: int) -> bool:
        return 5 <= number < 11 or 16 <= number < 22

    frames = _scene(lambda n, R, c: change(R, c) if is_test(n) else (R, c)).train
    train = tuple(frame for number, frame in enumerate(frames) if not is_test(number))
    return Scene("walk", train, tuple(frame for n, frame in enumerate(frames) if is_test(n)))


def test_test_frames_in_another_world_are_named() -> None:
    turn = Rotation.from_rotvec([0.3, 1.0, 0.2]).as_matrix()
    scene = _changed_blocks(lambda R, c: (turn @ R, turn @ c + np.array([3.0, 1.0, 0.0])))
    (finding,) = _agreement(scene, _sample()).findings
    assert finding.kind == "several worlds"
    assert "training frames" in finding.sentence
    assert "test frames" in finding.sentence


def test_test_frames_that_alone_are_read_otherwise_are_named() -> None:
    (finding,) = _agreement(_changed_blocks(lambda R, c: (R @ _GL, c)), _sample()).findings
    assert finding.kind == "camera axes"
    assert finding.sentence.startswith("of the test frames alone, the camera axes are OpenGL's")


def test_orientations_by_angles_in_degrees_that_are_read_as_radians_are_named() -> None:
    def wrong(_: int, rotation: Array, centre: Array) -> tuple[Any, Any]:
        turn = Rotation.from_matrix(rotation)
        return Rotation.from_euler("ZYX", turn.as_euler("ZYX", degrees=True)).as_matrix(), centre

    (finding,) = _agreement(_scene(wrong), _sample()).findings
    assert finding.kind == "orientations"
    assert "angles in degrees may be read as radians" in finding.sentence


# Number of the first frame of a second recording.
_SECOND = FRAMES // 2


def _two_recordings(change: Callable[[Array, Array], tuple[Any, Any]]) -> Scene:
    """The walk as two recordings, the second with other poses."""
    frames = _scene(lambda n, R, c: (R, c) if n < _SECOND else change(R, c)).train
    return Scene("walk", tuple(replace(f, sequence="ab"[n >= _SECOND]) for n, f in enumerate(frames)))


def _sample_of_recordings(across: int) -> Sample:
    """The matches within the two recordings, and some between them."""
    pairs = [pair for pair in _sample(gaps=(2, 4, 5)).pairs if pair.kind != "step"]
    within = [pair for pair in pairs if (pair.first < _SECOND) == (pair.second < _SECOND)]
    between = [replace(p, kind="across") for p in pairs if (p.first < _SECOND) != (p.second < _SECOND)]
    return Sample((*within, *between[:across]), (), ())


def test_a_small_shift_of_all_later_positions_is_named_with_its_size() -> None:
    scene = _scene(lambda n, R, c: (R, c + (n >= 13) * np.array([0.1, -0.4, 0.2])))
    sample = _sample(gaps=(2, 4, 5, 6))
    without_steps = Sample(tuple(pair for pair in sample.pairs if pair.kind != "step"), (), ())
    finding, *_ = _agreement(scene, without_steps).findings
    assert (finding.level, finding.kind, finding.frames) == ("error", "jump", ("013.png",))
    assert "jump by 0.46 " in finding.sentence


def test_frames_that_are_wrong_already_explain_what_contradicts_them() -> None:
    random = np.random.default_rng(0)
    wrong = {6, 7, 8, 9}
    scene = _scene(lambda n, R, c: (R, c + random.normal(0, 1.5, 3) if n in wrong else c))
    path, sample = path_of(scene), _sample()
    assert measure_agreement(path, sample, unit="m", has_cameras=True).findings
    assert not measure_agreement(path, sample, wrong, unit="m", has_cameras=True).findings


@pytest.mark.parametrize("size", [1.0, 0.3])
def test_recordings_in_two_worlds_are_named(size: float) -> None:
    turn = Rotation.from_rotvec(size * np.array([0.3, 1.0, 0.2])).as_matrix()
    scene = _two_recordings(lambda R, c: (turn @ R, turn @ c + size * np.array([3.0, 1.0, 0.0])))
    (finding,) = _agreement(scene, _sample_of_recordings(6)).findings
    assert (finding.level, finding.kind) == ("error", "several worlds")
    assert "recording 'a'" in finding.sentence


def test_recordings_in_one_world_are_not_suspected() -> None:
    assert not _agreement(_two_recordings(lambda R, c: (R, c)), _sample_of_recordings(6)).findings


def test_recordings_that_nothing_connects_are_a_warning() -> None:
    (finding,) = _agreement(_two_recordings(lambda R, c: (R, c)), _sample_of_recordings(0)).findings
    assert (finding.level, finding.kind) == ("warning", "unconnected recordings")


def test_poses_that_are_to_be_read_otherwise_from_some_frame_on_are_named() -> None:
    scene = _scene(lambda n, R, c: (R @ _GL if n >= 10 else R, c))
    finding, *_ = _agreement(scene, _sample()).findings
    assert finding.kind == "camera axes"
    assert finding.sentence.startswith("of the frames from 010.png on alone, the camera axes are OpenGL's")


@pytest.mark.parametrize("factor", [1000.0, 0.01, 2.5])
def test_positions_in_another_unit_from_some_frame_on_are_named(factor: float) -> None:
    scene = _scene(lambda n, R, c: (R, c * factor if n >= 14 else c))
    finding, *_ = _agreement(scene, _sample()).findings
    assert finding.kind == "mixed units"


def test_a_principal_point_between_those_that_are_tried_is_named() -> None:
    sample, shift = _sample(), np.array([-0.11, 0.17])
    moved = tuple(
        replace(
            pair,
            first_plane=pair.first_plane + shift,
            second_plane=pair.second_plane + shift,
        )
        for pair in sample.pairs
    )
    (finding,) = _agreement(_scene(), replace(sample, pairs=moved)).findings
    assert finding.kind == "principal point"
