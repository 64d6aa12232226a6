"""What the map of a synthetic room confirms, and what it does not."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from tests.support.synthetic_map import CAMERA, Room, foreign, looking, map_of, room, seen

from camloc.data.image_io import assign_camera, fitting_cameras
from camloc.data.types import FoundBy, ImageInMemory, Located
from camloc.geometry.absolute_pose import with_focal_length
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose, pose_error
from camloc.inference.candidates import PosePrior
from camloc.inference.localizer import Localizer
from camloc.inference.verification import (
    MapLocalizer,
    Rejected,
    VerificationSettings,
    VerifiedPose,
    is_evident,
)
from camloc.mapping.features import Features
from camloc.mapping.scene_map import Calibration

SIZE = (CAMERA.width, CAMERA.height)
ROOM = room()
QUERY = looking(np.array([0.2, -0.3, 0.1]), 23.0)

# The synthetic map is larger than what is compared as a whole at once.
STAGED = VerificationSettings(small_map=100, frame_counts=(3, 8), coarse_keypoints=100)


@pytest.fixture(scope="module")
def localizer() -> MapLocalizer:
    return MapLocalizer(map_of(ROOM), STAGED)


def verified(answer: VerifiedPose | Rejected) -> VerifiedPose:
    assert isinstance(answer, VerifiedPose), answer.reason
    return answer


def assert_near(answer: VerifiedPose | Rejected, truth: Pose, *, meters: float = 0.03) -> VerifiedPose:
    found = verified(answer)
    error = pose_error(found.world_from_cam, truth)
    assert error.meters < meters
    assert error.degrees < 0.5
    return found


def test_a_query_is_located_and_says_how(localizer: MapLocalizer) -> None:
    found = assert_near(localizer.locate_features(seen(ROOM, QUERY), CAMERA, size=SIZE), QUERY)
    verification = found.verification
    assert verification.found_by == "retrieval"
    assert verification.focal_length == "given"
    assert verification.inliers == len(found.points) == len(found.keypoints) > 100
    assert verification.inliers >= verification.first_inliers
    assert 0.5 < verification.ratio <= 1.0
    assert verification.evidence > 50
    assert verification.candidates == 3
    assert verification.points < len(localizer.scene_map) / 2
    assert {"candidates", "matching", "estimation", "guided pass", "refinement"} <= set(verification.seconds)
    assert len(set(found.points.tolist())) == len(found.points)


def test_the_covariance_is_of_the_size_of_the_errors(localizer: MapLocalizer) -> None:
    squares = []
    for seed in range(30):
        answer = localizer.locate_features(seen(ROOM, QUERY, noise=0.5, seed=seed), CAMERA, size=SIZE)
        found = verified(answer)
        off = QUERY.translation - found.world_from_cam.translation
        squares.append(off @ np.linalg.solve(found.covariance[3:, 3:], off))
    assert 1.0 < np.mean(squares) < 6.0
    assert np.linalg.eigvalsh(found.covariance).min() > 0


def test_a_prior_is_used_and_a_useless_one_does_no_harm(localizer: MapLocalizer) -> None:
    features = seen(ROOM, QUERY)
    near = PosePrior(looking(np.array([0.0, 0.0, 0.0]), 30.0), 0.3, 8.0)
    far = PosePrior(looking(np.array([0.0, 0.0, 0.0]), 200.0), 0.3, 8.0)
    without = assert_near(localizer.locate_features(features, CAMERA, size=SIZE), QUERY)
    with_near = assert_near(localizer.locate_features(features, CAMERA, near, size=SIZE), QUERY)
    with_far = assert_near(localizer.locate_features(features, CAMERA, far, size=SIZE), QUERY)
    assert with_near.verification.found_by == "prior"
    assert with_near.verification.points <= 1.5 * without.verification.points
    assert with_far.verification.found_by == "retrieval"


@pytest.mark.parametrize("source", ["votes", "whole map"])
def test_every_source_of_candidates_leads_to_the_pose(source: FoundBy) -> None:
    settings = replace(STAGED, sources=(source,))
    localizer = MapLocalizer(map_of(ROOM), settings)
    found = assert_near(localizer.locate_features(seen(ROOM, QUERY), CAMERA, size=SIZE), QUERY)
    assert found.verification.found_by == source


def test_a_map_without_retrieval_vectors_serves_too() -> None:
    localizer = MapLocalizer(map_of(ROOM, retrieval=False), STAGED)
    found = assert_near(localizer.locate_features(seen(ROOM, QUERY), CAMERA, size=SIZE), QUERY)
    assert found.verification.found_by == "votes"


def test_a_small_map_is_compared_as_a_whole() -> None:
    localizer = MapLocalizer(map_of(ROOM), VerificationSettings(small_map=len(ROOM.points)))
    found = assert_near(localizer.locate_features(seen(ROOM, QUERY), CAMERA, size=SIZE), QUERY)
    assert found.verification.found_by == "whole map"


def test_the_guided_pass_finds_what_descriptors_alone_exclude() -> None:
    """Half of the points have a twin elsewhere with the same descriptor: the ratio rejects both."""
    twins = replace_descriptors(ROOM, share=0.5)
    scene_map = map_of(twins)
    features = seen(twins, QUERY)
    counts = []
    for windows in ((), (0.015,)):
        localizer = MapLocalizer(scene_map, replace(STAGED, windows=windows, sources=("whole map",)))
        counts.append(assert_near(localizer.locate_features(features, CAMERA, size=SIZE), QUERY))
    assert counts[1].verification.inliers > 1.5 * counts[0].verification.inliers


def replace_descriptors(of: Room, *, share: float) -> Room:
    half = int(len(of.points) * share) // 2
    descriptors = of.descriptors.copy()
    descriptors[half : 2 * half] = descriptors[:half]
    return replace(of, descriptors=descriptors)


@pytest.mark.parametrize("seed", range(20))
def test_foreign_features_are_rejected(localizer: MapLocalizer, seed: int) -> None:
    for features in (foreign(seed=seed), foreign(seed=seed, of=ROOM)):
        for camera in (CAMERA, None):
            answer = localizer.locate_features(features, camera, size=SIZE)
            assert isinstance(answer, Rejected)
            assert answer.reason


def test_an_image_without_features_is_rejected_with_the_reason(localizer: MapLocalizer) -> None:
    for count in range(4):
        answer = localizer.locate_features(foreign(count=count), CAMERA, size=SIZE)
        assert isinstance(answer, Rejected)
        assert f"{count} local features" in answer.reason


def test_features_that_are_all_alike_are_rejected(localizer: MapLocalizer) -> None:
    one = seen(ROOM, QUERY).rows(np.zeros(200, dtype=np.int64))
    assert isinstance(localizer.locate_features(one, CAMERA, size=SIZE), Rejected)


def test_points_that_the_lens_does_not_see_do_not_count(localizer: MapLocalizer) -> None:
    features = seen(ROOM, QUERY)
    broken = Features(features.keypoints.copy(), features.scales, features.descriptors)
    broken.keypoints[:20] = np.nan
    assert_near(localizer.locate_features(broken, CAMERA, size=SIZE), QUERY)


@pytest.mark.parametrize("factor", [0.5, 0.7, 1.4, 2.0])
def test_a_wrong_focal_length_is_found_or_the_image_rejected(localizer: MapLocalizer, factor: float) -> None:
    wrong = with_focal_length(CAMERA, CAMERA.fx * factor)
    for seed in range(5):
        answer = localizer.locate_features(seen(ROOM, QUERY, seed=seed), wrong, size=SIZE)
        found = assert_near(answer, QUERY, meters=0.1)
        assert found.verification.focal_length == "found"
        assert found.camera.fx == pytest.approx(CAMERA.fx, rel=0.03)


def test_a_right_focal_length_is_not_doubted_where_all_points_lie_in_one_plane(
    localizer: MapLocalizer,
) -> None:
    """Of a wall that the camera faces any focal length has about as many inliers."""
    facing = looking(np.array([0.4, 0.1, 0.0]), 0.0)
    wall = ROOM.points[:, 0] > 2.9
    flat = replace(ROOM, points=ROOM.points[wall], descriptors=ROOM.descriptors[wall])
    for seed in range(10):
        found = verified(localizer.locate_features(seen(flat, facing, seed=seed), CAMERA, size=SIZE))
        assert found.verification.focal_length == "given"


@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_a_focal_length_that_matches_of_a_plane_do_not_confirm_is_not_trusted(
    localizer: MapLocalizer, factor: float
) -> None:
    wall = ROOM.points[:, 0] > 2.9
    flat = replace(ROOM, points=ROOM.points[wall], descriptors=ROOM.descriptors[wall])
    wrong = with_focal_length(CAMERA, CAMERA.fx * factor)
    for seed in range(10):
        features = seen(flat, looking(np.array([0.4, 0.1, 0.0]), 0.0), noise=1.0, seed=seed)
        answer = localizer.locate_features(features, wrong, size=SIZE)
        assert isinstance(answer, Rejected) or answer.verification.focal_length == "found"


def test_without_intrinsics_the_focal_length_is_found(localizer: MapLocalizer) -> None:
    found = assert_near(localizer.locate_features(seen(ROOM, QUERY), None, size=SIZE), QUERY, meters=0.1)
    assert found.verification.focal_length == "found"
    assert found.camera.fx == pytest.approx(CAMERA.fx, rel=0.03)


def test_a_plane_that_two_poses_see_alike_is_not_verified() -> None:
    """A small plane far away, and nothing else: the wrong one of its two poses must not be verified."""
    far = looking(np.array([-2.5, 0.3, 0.0]), 0.0)
    on_plane = ROOM.points.copy()
    small = np.flatnonzero((ROOM.points[:, 0] > 2.5) & (np.abs(ROOM.points[:, 1:]) < 0.5).all(axis=1))
    on_plane[small, 0] = 2.8 + 0.25 * on_plane[small, 1]
    plane = replace(ROOM, points=on_plane)
    calibration = Calibration(frames=50, least_inliers=8, least_evidence=4.0)
    localizer = MapLocalizer(map_of(plane).with_calibration(calibration), STAGED)
    only = replace(plane, points=plane.points[small], descriptors=plane.descriptors[small])
    for seed in range(10):
        answer = localizer.locate_features(
            seen(only, far, noise=1.5, wrong=0.0, seed=seed), CAMERA, size=SIZE
        )
        if isinstance(answer, Rejected):
            continue
        assert pose_error(answer.world_from_cam, far).degrees < 15.0
    assert len(small) > 15


def test_calibration_is_obeyed() -> None:
    features = seen(ROOM, QUERY)
    base = Calibration(
        frames=50, least_inliers=10, least_evidence=5.0, most_sigma_degrees=5.0, most_sigma=0.1
    )
    scene_map = map_of(ROOM)
    plain = verified(
        MapLocalizer(scene_map.with_calibration(base), STAGED).locate_features(features, CAMERA, size=SIZE)
    )
    for change, word in (
        ({"least_inliers": 5000}, "inliers"),
        ({"least_evidence": 1e6}, "chance"),
        ({"most_sigma_degrees": 1e-9}, "degrees"),
        ({"most_sigma": 1e-9}, "degrees"),
        ({"least_coverage": 1.1}, "of the image"),
    ):
        strict = scene_map.with_calibration(replace(base, **change))
        answer = MapLocalizer(strict, STAGED).locate_features(features, CAMERA, size=SIZE)
        assert isinstance(answer, Rejected)
        assert word in answer.reason
        assert answer.best is not None
    wide = replace(
        base,
        rotation_scale=2.0,
        position_scale=3.0,
        ratio_power=1.5,
        position_floor=0.02,
        rotation_floor_degrees=0.3,
    )
    scaled = verified(
        MapLocalizer(scene_map.with_calibration(wide), STAGED).locate_features(features, CAMERA, size=SIZE)
    )
    floor = np.diag(np.repeat((np.radians(0.3), 0.02), 3) ** 2)
    factors = np.repeat((2.0, 3.0), 3) / plain.verification.ratio**1.5
    np.testing.assert_allclose(
        scaled.covariance, plain.covariance * np.outer(factors, factors) + floor, rtol=1e-9
    )


def test_a_camera_of_another_size_is_an_error(localizer: MapLocalizer) -> None:
    with pytest.raises(ValueError, match="320 x 240"):
        localizer.locate_features(seen(ROOM, QUERY), CAMERA, size=(240, 320))


def test_answers_do_not_depend_on_other_queries_or_threads(localizer: MapLocalizer) -> None:
    queries = [seen(ROOM, looking(np.array([0.1, 0.1, 0.0]), 37.0 * k), seed=k) for k in range(6)]
    queries += [foreign(seed=k) for k in range(2)]

    def locate(features: Features) -> VerifiedPose | Rejected:
        return localizer.locate_features(features, CAMERA, size=SIZE)

    alone = [locate(features) for features in queries]
    again = [locate(features) for features in reversed(queries)][::-1]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(locate, queries))
    for one, two, three in zip(alone, again, threaded, strict=True):
        assert type(one) is type(two) is type(three)
        if isinstance(one, VerifiedPose):
            assert isinstance(two, VerifiedPose)
            assert isinstance(three, VerifiedPose)
            assert np.array_equal(one.world_from_cam.matrix(), two.world_from_cam.matrix())
            assert np.array_equal(one.world_from_cam.matrix(), three.world_from_cam.matrix())
            assert np.array_equal(one.covariance, three.covariance)
    assert sum(isinstance(answer, VerifiedPose) for answer in alone) == 6


# Cameras of one image size: another principal point, another distortion, another focal length.
OTHERS = (
    replace(CAMERA, cx=CAMERA.cx - 60),
    replace(CAMERA, model="SIMPLE_RADIAL", distortion=(-0.25,)),
    replace(CAMERA, fx=390.0, fy=390.0),
)


@pytest.mark.parametrize("other", OTHERS[::2])  # the synthetic room is seen without distortion
@pytest.mark.parametrize("is_other", [False, True])
def test_of_training_cameras_of_one_size_the_one_that_took_the_image_is_found(
    other: Camera, is_other: bool
) -> None:
    scene_map = replace(map_of(ROOM), cameras=(CAMERA, other))
    taken_by = other if is_other else CAMERA
    features = seen(ROOM, QUERY, camera=taken_by)
    image = np.zeros((CAMERA.height, CAMERA.width, 3), dtype=np.uint8)
    found = Localizer(maps={"room": MapLocalizer(scene_map)}).locate(
        image, features={scene_map.features: features}
    )
    assert isinstance(found, Located)
    assert found.camera == taken_by
    assert np.linalg.norm(found.world_from_cam.translation - QUERY.translation) < 0.03


def test_cameras_that_nearly_agree_count_as_one() -> None:
    image = ImageInMemory(np.zeros((CAMERA.height, CAMERA.width, 3), dtype=np.uint8))
    near = tuple(replace(CAMERA, fx=CAMERA.fx * factor) for factor in (0.99, 1.0, 1.01))
    assert fitting_cameras(image, near) == (CAMERA,)
    assert assign_camera(image, near) == CAMERA
    assert set(fitting_cameras(image, (*near, *OTHERS))) == {CAMERA, *OTHERS}
    assert fitting_cameras(image, (*near, *OTHERS))[0] == CAMERA, "that of the largest group goes first"
    assert assign_camera(image, (CAMERA, OTHERS[0])) is None


def test_points_of_near_frames_count_for_more_where_poses_drift() -> None:
    """The given poses drift along a walk past a wall, and points with the few frames that they are from."""

    def drift(along: np.ndarray) -> np.ndarray:
        return 0.03 * np.stack([np.zeros_like(along), np.sin(3 * along), np.cos(3 * along)], axis=-1)

    rng = np.random.default_rng(3)
    places = np.linspace(-1.5, 1.5, 24)
    walked = replace(room(points=9000), frames=tuple(looking(np.array([0.0, x, 0.0]), 0.0) for x in places))
    whole = map_of(walked)
    frames = np.repeat(np.arange(len(places)), np.diff(whole.seen_offsets))
    # Two frames in a row detect a point.
    first = np.array([rng.choice(frames[whole.seen_points == point]) for point in range(len(whole))])
    detected = np.isin(frames - first[whole.seen_points], (0, 1))
    scene_map = replace(
        whole,
        points=(whole.points + drift(places[first])).astype(np.float32),
        frame_positions=(whole.frame_positions + drift(places)).astype(np.float32),
        seen_offsets=np.searchsorted(frames[detected], np.arange(len(places) + 1)).astype(np.int32),
        seen_points=whole.seen_points[detected],
    )

    def median_error(power: float) -> float:
        localizer = MapLocalizer(scene_map, replace(STAGED, nearness_power=power))
        errors = []
        for seed, x in enumerate(np.linspace(-1.0, 1.0, 9)):
            pose = looking(np.array([0.0, x, 0.0]), 0.0)
            features = seen(walked, pose, noise=0.2, wrong=0.0, most=1500, seed=seed)
            answer = localizer.locate_features(features, CAMERA, size=SIZE)
            truth = pose.translation + drift(np.array(x))
            errors.append(np.linalg.norm(verified(answer).world_from_cam.translation - truth))
        return float(np.median(errors))

    assert median_error(STAGED.nearness_power) < 0.8 * median_error(0.0)


@pytest.mark.parametrize(
    ("first_inliers", "first_coverage", "least_evidence", "factor", "expected"),
    [
        (30, 0.05, 16.0, 1.0, True),
        (29, 0.05, 16.0, 1.0, False),
        (15, 0.16, 16.0, 1.0, True),
        (14, 0.16, 16.0, 1.0, False),
        (15, 0.15, 16.0, 1.0, False),
        (15, 0.16, 16.0, 1.5, False),
        (30, 0.30, 20.0, 1.0, True),
        (30, 0.30, 21.0, 1.0, False),
    ],
)
def test_many_or_scattered_first_inliers_are_evidence_enough(
    localizer: MapLocalizer,
    first_inliers: int,
    first_coverage: float,
    least_evidence: float,
    factor: float,
    expected: bool,
) -> None:
    found = verified(localizer.locate_features(seen(ROOM, QUERY), CAMERA, size=SIZE)).verification
    assert found.first_coverage > 0.2
    weak = replace(found, evidence=8.0, first_inliers=first_inliers, first_coverage=first_coverage)
    assert is_evident(weak, least_evidence, factor) is expected
