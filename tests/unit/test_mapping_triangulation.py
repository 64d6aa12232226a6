"""Points of the world from matches with known poses: exact where nothing is noisy, robust where it is."""

import numpy as np
import pytest
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from camloc.mapping.matching import epipolar_errors
from camloc.mapping.pairs import Views
from camloc.mapping.triangulation import (
    Observations,
    TriangulationSettings,
    ray_angles,
    reprojection,
    tracks,
    triangulate,
)

FOCAL = 500.0


def views_around(count: int, seed: int = 0) -> Views:
    """Cameras on an arc of 4 m radius that look at the origin, somewhat turned."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(-0.6, 0.6, count)
    centers = np.stack((4.0 * np.sin(angle), rng.normal(0.0, 0.1, count), -4.0 * np.cos(angle)), axis=1)
    # The forward axis of a camera at angle a points from there to the origin.
    rotations = Rotation.from_rotvec(-angle[:, None] * (0.0, 1.0, 0.0)) * Rotation.from_rotvec(
        rng.normal(0.0, 0.05, (count, 3))
    )
    return Views(
        rotations.as_matrix(), centers, np.full(count, FOCAL), np.tile(np.array((0.64, 0.48)), (count, 1))
    )


def seen_at(points: Float[np.ndarray, "n 3"], views: Views, frame: int) -> Float[np.ndarray, "n 2"]:
    camera = (points - views.centers[frame]) @ views.rotations[frame]
    assert (camera[:, 2] > 0).all()
    plane: Float[np.ndarray, "n 2"] = camera[:, :2] / camera[:, 2:]
    return plane


def scene(count: int = 40, frames: int = 6) -> tuple[Float[np.ndarray, "n 3"], Views, np.ndarray, np.ndarray]:
    """Points, views, and the keypoints of all points in all frames: their rays and their frames."""
    points = np.random.default_rng(1).uniform(-1.0, 1.0, (count, 3))
    views = views_around(frames)
    plane = np.concatenate([seen_at(points, views, frame) for frame in range(frames)])
    return points, views, plane, np.repeat(np.arange(frames), count)


def chain(count: int, frames: int) -> np.ndarray:
    """Matches of each point from each frame to the next one."""
    first = np.arange(count * (frames - 1))
    return np.stack((first, first + count), axis=1)


def test_noiseless_matches_give_exact_points() -> None:
    points, views, plane, frame_of = scene()
    found = triangulate(tracks(chain(40, 6), frame_of, plane), views, TriangulationSettings())
    assert len(found) == 40
    np.testing.assert_allclose(found.points, points, atol=1e-9)
    assert np.bincount(found.observations.track).tolist() == [6] * 40


def test_a_wrong_observation_is_taken_out_and_the_point_stays_exact() -> None:
    points, views, plane, frame_of = scene()
    plane = plane.copy()
    plane[2 * 40 + 7] += 60.0 / FOCAL  # the third frame shows point 7 elsewhere
    found = triangulate(tracks(chain(40, 6), frame_of, plane), views, TriangulationSettings())
    np.testing.assert_allclose(found.points[7], points[7], atol=1e-9)
    assert np.bincount(found.observations.track)[7] == 5
    assert 2 * 40 + 7 not in found.observations.keypoint


def test_points_behind_a_camera_or_without_a_baseline_are_left_out() -> None:
    points, views, plane, frame_of = scene(frames=2)
    still = Views(views.rotations, np.repeat(views.centers[:1], 2, axis=0), views.focals, views.half_sizes)
    assert len(triangulate(tracks(chain(40, 2), frame_of, plane), still, TriangulationSettings())) == 0
    backwards = Views(-views.rotations @ np.diag([1.0, -1.0, 1.0]), *views_parts(views))
    assert len(triangulate(tracks(chain(40, 2), frame_of, plane), backwards, TriangulationSettings())) == 0
    assert len(points) == 40


def views_parts(views: Views) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return views.centers, views.focals, views.half_sizes


def test_covariances_say_how_far_noisy_points_are_off() -> None:
    points, views, plane, frame_of = scene(count=600)
    noise = np.random.default_rng(2).normal(0.0, 0.7 / FOCAL, plane.shape)
    found = triangulate(tracks(chain(600, 6), frame_of, plane + noise), views, TriangulationSettings())
    assert len(found) > 590
    # Tracks are numbered by their first keypoint, which is the number of the point.
    first = np.searchsorted(found.observations.track, np.arange(len(found)))
    offset = found.points - points[found.observations.keypoint[first] % 600]
    distance = np.einsum("ni,nij,nj->n", offset, np.linalg.inv(found.covariances), offset)
    assert 2.0 < np.median(distance) < 2.8  # the median of chi squared with three degrees is 2.37
    assert found.pixel_sigma == pytest.approx(0.7, rel=0.1)


def test_a_track_has_a_frame_once() -> None:
    matches = np.array([[0, 2], [1, 2], [0, 4], [2, 4], [3, 5]])
    observations = tracks(matches, np.array([0, 0, 1, 1, 2, 2]), np.zeros((6, 2)))
    assert observations.keypoint.tolist() == [0, 2, 4, 3, 5]  # 1 has one match, 0 of the same frame two
    assert observations.track.tolist() == [0, 0, 0, 1, 1]
    assert observations.frame.tolist() == [0, 1, 2, 1, 2]


def test_no_matches_give_no_points() -> None:
    _, views, plane, frame_of = scene()
    none = np.empty((0, 2), dtype=np.int64)
    assert len(triangulate(tracks(none, frame_of, plane), views, TriangulationSettings())) == 0


def test_angles_between_rays() -> None:
    views = Views(
        np.tile(np.eye(3), (3, 1, 1)),
        np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.1, 0.0, 0.0]]),
        np.full(3, FOCAL),
        np.ones((3, 2)),
    )
    three = np.arange(3)
    observations = Observations(np.zeros(3, dtype=np.int64), three, three, np.zeros((3, 2)))
    angle = ray_angles(np.array([[0.5, 0.0, 2.0]]), observations, views)
    np.testing.assert_allclose(angle, 2 * np.arctan(0.25))


def test_reprojection_is_in_pixels_and_infinite_behind_the_camera() -> None:
    views = Views(np.eye(3)[None], np.zeros((1, 3)), np.array([FOCAL]), np.ones((1, 2)))
    one = np.zeros(2, dtype=np.int64)
    observations = Observations(np.arange(2), np.arange(2), one, np.array([[0.01, 0.0], [0.0, 0.0]]))
    error, depth = reprojection(np.array([[0.0, 0.0, 2.0], [0.0, 0.0, -2.0]]), observations, views)
    np.testing.assert_allclose(error, [5.0, np.inf])
    np.testing.assert_allclose(depth, [2.0, -2.0])


def test_epipolar_errors_are_pixels() -> None:
    """For cameras side by side the error is the difference in height, shared by both images."""
    views = Views(
        np.tile(np.eye(3), (2, 1, 1)),
        np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]),
        np.full(2, FOCAL),
        np.ones((2, 2)),
    )
    first = np.array([[0.1, 0.0], [0.3, 0.2]])
    second = np.array([[0.0, 0.0], [0.1, 0.2 + 3.0 / FOCAL]])
    errors = epipolar_errors(first, second, views, 0, 1)
    np.testing.assert_allclose(errors, [0.0, 3.0 / np.sqrt(2.0)], atol=1e-9)
    np.testing.assert_array_equal(epipolar_errors(first, second, views, 0, 0), 0.0)
