"""Poses from matches: exact without noise, robust with outliers, and as uncertain as they say."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from camloc.geometry.absolute_pose import (
    PoseEstimate,
    RefinedPose,
    estimate_absolute_pose,
    pinhole_pixels,
    project_points,
    refine_absolute_pose,
    with_focal_length,
)
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose, pose_error

CAMERA = Camera(640, 480, 510.0, 500.0, 318.0, 243.0)
TRUTH = Pose(Rotation.from_euler("xyz", (20, -130, 65), degrees=True).as_matrix(), np.array([1.0, -2.0, 3.0]))


def matches(count: int = 120, *, seed: int = 0, camera: Camera = CAMERA) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and the points that they show, between 2 and 7 m away."""
    rng = np.random.default_rng(seed)
    pixels = rng.uniform((0, 0), (camera.width, camera.height), (count, 2))
    depth = rng.uniform(2, 7, count)
    rays = np.c_[(pixels - (camera.cx, camera.cy)) / (camera.fx, camera.fy), np.ones(count)]
    return pixels, (rays * depth[:, None]) @ TRUTH.rotation.T + TRUTH.translation


def at_truth(count: int, camera: Camera = CAMERA) -> PoseEstimate:
    return PoseEstimate(TRUTH, camera, np.ones(count, dtype=bool))


def deviation(pose: RefinedPose) -> np.ndarray:
    """The (6,) true minus estimated pose, in the order and the frame of the covariance."""
    turn = TRUTH.rotation @ pose.world_from_cam.rotation.T
    vector: np.ndarray = np.r_[
        Rotation.from_matrix(turn).as_rotvec(), TRUTH.translation - pose.world_from_cam.translation
    ]
    return vector


def test_projection_is_the_cameras_own() -> None:
    pixels, points = matches()
    seen, depth = project_points(points, TRUTH, CAMERA)
    np.testing.assert_allclose(seen, pixels, atol=1e-9)
    assert (depth > 1.9).all()
    behind, _ = project_points(2 * TRUTH.translation - points, TRUTH, CAMERA)
    assert np.isnan(behind).all()


def test_pixels_of_a_lens_become_those_of_a_pinhole() -> None:
    lens = Camera(640, 480, 500.0, 500.0, 320.0, 240.0, "OPENCV", (0.1, -0.05, 0.001, 0.002))
    points = np.random.default_rng(0).uniform((-1, -1, 2), (1, 1, 4), (50, 3))
    straight = points[:, :2] / points[:, 2:] * 500.0 + (320.0, 240.0)
    np.testing.assert_allclose(pinhole_pixels(lens.project(points), lens), straight, atol=1e-6)
    assert len(pinhole_pixels(np.zeros((0, 2)), lens)) == 0


def test_exact_matches_give_the_exact_pose() -> None:
    pixels, points = matches()
    found = estimate_absolute_pose(pixels, points, CAMERA, max_error=2.0)
    assert found is not None
    assert found.inliers.all()
    refined = refine_absolute_pose(pixels, points, found, np.ones(len(pixels)))
    assert refined is not None
    error = pose_error(refined.world_from_cam, TRUTH)
    assert error.meters < 1e-6
    assert error.degrees < 1e-5


@pytest.mark.parametrize("wrong", [0.3, 0.6, 0.8])
def test_wrong_matches_are_distinguished_from_right_ones(wrong: float) -> None:
    pixels, points = matches(200)
    rng = np.random.default_rng(1)
    bad = rng.permutation(200) < wrong * 200
    pixels = pixels + rng.normal(0, 0.5, pixels.shape)
    pixels[bad] = rng.uniform((0, 0), (640, 480), (int(bad.sum()), 2))
    found = estimate_absolute_pose(pixels, points, CAMERA, max_error=4.0)
    assert found is not None
    assert found.inliers[~bad].mean() > 0.95
    assert found.inliers[bad].mean() < 0.05
    refined = refine_absolute_pose(pixels, points, found, np.full(200, 0.5))
    assert refined is not None
    assert pose_error(refined.world_from_cam, TRUTH).meters < 0.02
    assert pose_error(refined.world_from_cam, TRUTH).degrees < 0.2


@pytest.mark.parametrize("given", [250.0, 500.0, 1000.0])
def test_an_unknown_focal_length_is_found(given: float) -> None:
    camera = Camera(640, 480, 500.0, 500.0, 320.0, 240.0)
    pixels, points = matches(150, camera=camera)
    rng = np.random.default_rng(2)
    pixels = pixels + rng.normal(0, 0.5, pixels.shape)
    pixels[:50] = rng.uniform((0, 0), (640, 480), (50, 2))
    found = estimate_absolute_pose(
        pixels, points, with_focal_length(camera, given), max_error=4.0, focal_length_known=False
    )
    assert found is not None
    kept = found.inliers
    refined = refine_absolute_pose(
        pixels[kept], points[kept], found, np.full(int(kept.sum()), 0.5), refine_focal_length=True
    )
    assert refined is not None
    assert refined.camera.fx == pytest.approx(500.0, rel=0.01)
    assert abs(np.log(refined.camera.fx / 500.0)) < 5 * refined.focal_sigma
    assert pose_error(refined.world_from_cam, TRUTH).meters < 0.05


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_too_few_matches_give_no_pose(count: int) -> None:
    pixels, points = matches(count)
    assert estimate_absolute_pose(pixels, points, CAMERA, max_error=2.0) is None
    assert estimate_absolute_pose(pixels, points, CAMERA, max_error=2.0, focal_length_known=False) is None
    if count < 3:
        assert refine_absolute_pose(pixels, points, at_truth(count), np.ones(count)) is None


def test_points_on_a_line_determine_nothing() -> None:
    along = np.linspace(-1, 1, 40)[:, None]
    points = TRUTH.translation + TRUTH.rotation @ np.array([0.0, 0.0, 4.0]) + along * TRUTH.rotation[:, 0]
    pixels, _ = project_points(points, TRUTH, CAMERA)
    assert refine_absolute_pose(pixels, points, at_truth(40), np.ones(40)) is None


def test_points_in_a_plane_suffice() -> None:
    pixels, points = matches(100)
    inside = (points - TRUTH.translation) @ TRUTH.rotation
    plane = inside / inside[:, 2:] * (3.0 + inside[:, :1] / inside[:, 2:])
    points = plane @ TRUTH.rotation.T + TRUTH.translation
    found = estimate_absolute_pose(pixels, points, CAMERA, max_error=2.0)
    assert found is not None
    assert pose_error(found.world_from_cam, TRUTH).meters < 1e-3


def test_one_match_many_times_gives_no_certain_pose() -> None:
    pixels, points = matches(1)
    pixels, points = np.repeat(pixels, 50, axis=0), np.repeat(points, 50, axis=0)
    assert refine_absolute_pose(pixels, points, at_truth(50), np.ones(50)) is None


def test_matches_that_are_not_finite_do_not_count() -> None:
    pixels, points = matches(60)
    pixels[:10] = np.nan
    points[10:20] = np.inf
    found = estimate_absolute_pose(pixels, points, CAMERA, max_error=2.0)
    assert found is not None
    assert not found.inliers[:20].any()
    assert found.inliers[20:].all()
    assert refine_absolute_pose(pixels, points, found, np.ones(60)) is None


def test_the_same_seed_gives_the_same_bits() -> None:
    pixels, points = matches(80)
    pixels += np.random.default_rng(3).normal(0, 1, pixels.shape)
    first, second = (estimate_absolute_pose(pixels, points, CAMERA, max_error=3.0) for _ in range(2))
    assert first is not None
    assert second is not None
    assert np.array_equal(first.world_from_cam.matrix(), second.world_from_cam.matrix())
    assert np.array_equal(first.inliers, second.inliers)


def test_the_covariance_is_that_of_many_trials() -> None:
    """In the order and the frame that the docstring says: a wrong one fails by orders of magnitude."""
    pixels, points = matches(60)
    points = TRUTH.translation + (points - TRUTH.translation) @ np.diag((1.0, 0.4, 1.0))
    pixels, depth = project_points(points, TRUTH, CAMERA)
    points, pixels = points[depth > 0], pixels[depth > 0]
    rng = np.random.default_rng(4)
    sigma = rng.uniform(0.5, 2.0, len(points))
    deviations, predicted = [], np.eye(6)
    for _ in range(400):
        noisy = pixels + rng.normal(size=pixels.shape) * sigma[:, None]
        refined = refine_absolute_pose(noisy, points, at_truth(len(points)), sigma, loss_scale=1e3)
        assert refined is not None
        deviations.append(deviation(refined))
        predicted = refined.covariance
    sampled = np.cov(np.array(deviations).T)
    # In coordinates in which the predicted covariance is the identity the sampled one must be it too.
    root = np.linalg.inv(np.linalg.cholesky(predicted))
    values = np.linalg.eigvalsh(root @ sampled @ root.T)
    assert values.min() > 0.7
    assert values.max() < 1.4
    assert np.abs(np.mean(deviations, axis=0) / np.sqrt(np.diag(sampled))).max() < 0.3


def test_the_uncertainty_of_the_focal_length_is_part_of_the_poses() -> None:
    pixels, points = matches(100)
    fixed = refine_absolute_pose(pixels, points, at_truth(100), np.ones(100))
    free = refine_absolute_pose(pixels, points, at_truth(100), np.ones(100), refine_focal_length=True)
    assert fixed is not None
    assert free is not None
    assert np.linalg.eigvalsh(free.covariance - fixed.covariance).min() > -1e-12
    assert np.trace(free.covariance) > 1.05 * np.trace(fixed.covariance)


def test_matches_behind_the_camera_do_not_pull() -> None:
    pixels, points = matches(60)
    points[:5] = 2 * TRUTH.translation - points[:5]
    refined = refine_absolute_pose(pixels, points, at_truth(60), np.ones(60))
    assert refined is not None
    assert np.isinf(refined.residuals[:5]).all()
    assert pose_error(refined.world_from_cam, TRUTH).meters < 1e-6
