"""Held-out frames decide when an answer is verified and how sure it is."""

from dataclasses import replace

import numpy as np
from tests.support.synthetic_map import CAMERA, foreign, looking, map_of, room, seen

from camloc.geometry.pose import Pose
from camloc.inference.map_calibration import (
    LEAST_FRAMES,
    Fold,
    HeldOutFrame,
    Trial,
    calibrate,
    with_covariance,
)
from camloc.inference.verification import MapLocalizer, Rejected, VerificationSettings, VerifiedPose
from camloc.mapping.scene_map import Calibration

SIZE = (CAMERA.width, CAMERA.height)
ROOM = room()
STAGED = VerificationSettings(small_map=100, frame_counts=(3, 8), coarse_keypoints=100)


def poses(count: int, seed: int) -> list[Pose]:
    rng = np.random.default_rng(seed)
    return [looking(rng.uniform(-0.8, 0.8, 3) * (1, 1, 0.3), rng.uniform(0, 360)) for _ in range(count)]


def held_out(count: int, *, noise: float, truth: float, seed: int = 5) -> list[HeldOutFrame]:
    """Frames whose given positions are off by `truth` meters along each axis."""
    rng = np.random.default_rng(seed)
    return [
        HeldOutFrame(
            seen(ROOM, pose, noise=noise, seed=index),
            CAMERA,
            Pose(pose.rotation, pose.translation + rng.normal(0, truth, 3)),
        )
        for index, pose in enumerate(poses(count, seed))
    ]


def test_too_few_frames_calibrate_nothing() -> None:
    assert calibrate([Fold(map_of(ROOM), held_out(LEAST_FRAMES - 1, noise=1.0, truth=0.0))]) == Calibration()


def test_intervals_cover_what_they_say() -> None:
    """Errors of the given poses are found as a floor, errors of pixels as a factor."""
    scene_map = map_of(ROOM)
    calibration = calibrate([Fold(scene_map, held_out(40, noise=1.0, truth=0.03))], settings=STAGED)
    assert calibration.frames == 40
    assert 0.015 < calibration.position_floor < 0.05
    localizer = MapLocalizer(scene_map.with_calibration(calibration), STAGED)
    squares = []
    for frame in held_out(60, noise=1.0, truth=0.03, seed=6):
        answer = localizer.locate_features(frame.features, CAMERA, size=SIZE)
        assert isinstance(answer, VerifiedPose)
        off = frame.world_from_cam.translation - answer.world_from_cam.translation
        squares.append(off @ np.linalg.solve(answer.covariance[3:, 3:], off))
    assert 0.5 < np.mean(np.array(squares) < 3.506) < 0.86
    assert np.mean(np.array(squares) < 7.815) > 0.85


def test_deviations_follow_the_share_of_inliers_and_each_part_has_its_factor() -> None:
    rng = np.random.default_rng(0)
    scene_map = map_of(ROOM)
    frame = held_out(1, noise=1.0, truth=0.0)[0]
    answer = MapLocalizer(scene_map, STAGED).locate_features(frame.features, CAMERA, size=SIZE)
    assert isinstance(answer, VerifiedPose)
    deviations = np.repeat((0.001, 0.01), 3)
    trials = [
        Trial(
            replace(
                answer,
                covariance=np.diag(deviations**2),
                verification=replace(answer.verification, ratio=ratio),
            ),
            rng.normal(size=6) * deviations * np.repeat((3.0, 1.0), 3) / ratio**2,
            away=3.0,
        )
        for ratio in rng.uniform(0.3, 1.0, 300)
    ]
    calibration = with_covariance(Calibration(), trials)
    assert 1.6 < calibration.ratio_power < 2.4
    assert 2.5 < calibration.rotation_scale < 3.5
    assert 0.8 < calibration.position_scale < 1.2


def test_frames_with_wrong_poses_do_not_close_the_map() -> None:
    scene_map = map_of(ROOM)
    frames = held_out(30, noise=1.0, truth=0.0)
    wrong = [HeldOutFrame(frame.features, CAMERA, looking(np.zeros(3), 0.0)) for frame in frames[:2]]
    calibration = calibrate([Fold(scene_map, wrong + frames[2:])], settings=STAGED)
    localizer = MapLocalizer(scene_map.with_calibration(calibration), STAGED)
    answers = [
        localizer.locate_features(frame.features, CAMERA, size=SIZE)
        for frame in held_out(20, noise=1.0, truth=0.0, seed=8)
    ]
    assert sum(isinstance(answer, VerifiedPose) for answer in answers) >= 13


def test_a_calibrated_map_rejects_what_is_foreign() -> None:
    scene_map = map_of(ROOM)
    calibration = calibrate([Fold(scene_map, held_out(20, noise=1.0, truth=0.0))], settings=STAGED)
    localizer = MapLocalizer(scene_map.with_calibration(calibration), STAGED)
    for seed in range(10):
        for features in (foreign(seed=seed), foreign(seed=seed, of=ROOM)):
            assert isinstance(localizer.locate_features(features, CAMERA, size=SIZE), Rejected)


def test_foreign_images_raise_the_evidence_that_is_required() -> None:
    """An image that is called foreign although it shows the room: no less evidence is verified."""
    scene_map = map_of(ROOM)
    frames = held_out(12, noise=1.0, truth=0.0)
    without = calibrate([Fold(scene_map, frames)], settings=STAGED)
    own = calibrate([Fold(scene_map, frames)], [(frames[0].features, CAMERA)], settings=STAGED)
    assert without.least_evidence is not None
    assert own == Calibration() or (own.least_evidence or 0.0) > without.least_evidence


def test_it_is_deterministic() -> None:
    scene_map = map_of(ROOM)
    frames = held_out(12, noise=1.0, truth=0.0)
    assert calibrate([Fold(scene_map, frames)], settings=STAGED) == calibrate(
        [Fold(scene_map, frames)], settings=STAGED
    )
