"""From matches of keypoints to points of the world, with the poses of the frames known.

Matches are joined to tracks, a point is intersected from the rays of each track, observations that do not
fit are taken out in rounds, and the position is refined until the reprojection error is least. Given the
poses, points do not depend on each other, so the bundle adjustment of points is one 3 x 3 system a point,
solved for all of them at once.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from camloc.mapping.pairs import Views

# Nothing is seen nearer than this share of the median depth.
_NEAREST = 0.02


@dataclass(frozen=True)
class TriangulationSettings:
    """The conditions under which points are kept.

    Attributes:
        pixels: largest reprojection error of an observation, in pixels of the extraction.
        least_views: frames that must see a point.
        least_angle: degrees between two of the rays to a point, at least.
    """

    pixels: float = 4.0
    least_views: int = 2
    least_angle: float = 0.6


@dataclass(frozen=True, eq=False)
class Observations:
    """Which keypoint shows which track, sorted by track and then by keypoint.

    Attributes:
        track: (o,) number of the track, rising, each number from 0 on at least once.
        keypoint: (o,) number of the keypoint, counted through all frames.
        frame: (o,) number of its frame.
        plane: (o, 2) where its ray meets the plane at depth 1.
    """

    track: Int64[np.ndarray, "o"]
    keypoint: Int64[np.ndarray, "o"]
    frame: Int64[np.ndarray, "o"]
    plane: Float[np.ndarray, "o 2"]

    def __len__(self) -> int:
        return len(self.track)

    def kept(self, rows: Bool[np.ndarray, "o"]) -> "tuple[Observations, Int64[np.ndarray, 't']]":
        """The observations of `rows`, tracks counted anew, and the old numbers of the tracks."""
        old, track = np.unique(self.track[rows], return_inverse=True)
        kept = Observations(track.astype(np.int64), self.keypoint[rows], self.frame[rows], self.plane[rows])
        return kept, old.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Triangulated:
    """Points of the world and the observations that they were computed from.

    Attributes:
        points: (n, 3) in the world.
        covariances: (n, 3, 3) for keypoints that are `pixel_sigma` pixels off.
        observations: whose `track` is the row of the point.
        pixel_sigma: standard deviation of one coordinate of a keypoint in pixels, robust.
    """

    points: Float[np.ndarray, "n 3"]
    covariances: Float[np.ndarray, "n 3 3"]
    observations: Observations
    pixel_sigma: float

    def __len__(self) -> int:
        return len(self.points)


def tracks(
    matches: Int64[np.ndarray, "m 2"],
    frame_of: Int64[np.ndarray, "k"],
    plane: Float[np.ndarray, "k 2"],
) -> Observations:
    """Keypoints that matches connect, at most one of each frame.

    Where two keypoints of a frame are connected with each other, the one with more matches stays (of equal
    ones the first): most often the other one was matched by mistake, or is the same point at another scale.

    Args:
        matches: pairs of keypoints, counted through all frames.
        frame_of: the frame of each keypoint, rising.
        plane: where the ray of each keypoint meets the plane at depth 1.
    """
    keypoints, ends = np.unique(matches, return_inverse=True)
    ends = ends.reshape(matches.shape)
    size = len(keypoints)
    graph = coo_array((np.ones(len(ends), dtype=np.int8), (ends[:, 0], ends[:, 1])), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    degree = np.bincount(ends.ravel(), minlength=size)
    frame = frame_of[keypoints]
    order = np.lexsort((keypoints, -degree, frame, component))
    repeated = (np.diff(component[order]) == 0) & (np.diff(frame[order]) == 0)
    single = np.sort(order[np.concatenate(([True], ~repeated))] if size else order)
    single = single[np.lexsort((keypoints[single], component[single]))]
    every = Observations(
        component[single].astype(np.int64), keypoints[single], frame[single], plane[keypoints[single]]
    )
    return _with_views(every, 2)


def triangulate(observations: Observations, views: Views, settings: TriangulationSettings) -> Triangulated:
    """Points of the world from tracks, with observations and points that do not fit left out.

    Args:
        observations: of the tracks.
        views: where the frames were taken.
        settings: which points are kept.
    """
    points = _intersect(observations, views)
    for factor in (8.0, 3.0, 1.5, 1.0, 1.0):
        points = _refine(points, observations, views, robust_pixels=factor * settings.pixels / 2, steps=6)
        error, depth = reprojection(points, observations, views)
        fits = (error <= factor * settings.pixels) & _ahead(depth)
        observations, points = _reduced(observations, points, fits, settings.least_views)
    points = _refine(points, observations, views, robust_pixels=settings.pixels / 2, steps=12)
    error, depth = reprojection(points, observations, views)
    fits = (error <= settings.pixels) & _ahead(depth)
    wide = ray_angles(points, observations, views) >= np.deg2rad(settings.least_angle)
    fits &= wide[observations.track]
    observations, points = _reduced(observations, points, fits, settings.least_views)
    error, _ = reprojection(points, observations, views)
    # The median length of two independent normal coordinates is 1.177 standard deviations. Points follow
    # their observations, three numbers each, so that residuals are smaller than the noise.
    freedom = 1.0 - 3.0 * len(points) / (2.0 * max(len(error), 1))
    sigma = float(np.median(error) / 1.177 / np.sqrt(max(freedom, 0.1))) if len(error) else 0.0
    normal, _ = _normal_equations(points, observations, views, robust_pixels=np.inf)
    covariances = np.linalg.inv(_regular(normal)) * max(sigma, 1e-12) ** 2
    return Triangulated(points, covariances, observations, sigma)


def reprojection(
    points: Float[np.ndarray, "n 3"], observations: Observations, views: Views
) -> tuple[Float[np.ndarray, "o"], Float[np.ndarray, "o"]]:
    """The error in pixels and the depth of each observation; infinite behind the camera."""
    camera = _in_camera(points, observations, views)
    depth = camera[:, 2]
    ahead = depth > 0.0
    flat = camera[:, :2] / np.where(ahead, depth, 1.0)[:, None]
    error = np.linalg.norm(flat - observations.plane, axis=1) * views.focals[observations.frame]
    errors: Float[np.ndarray, o] = np.where(ahead, error, np.inf)
    return errors, depth


def ray_angles(
    points: Float[np.ndarray, "n 3"], observations: Observations, views: Views
) -> Float[np.ndarray, "n"]:
    """For each point a large angle in radians between two of its rays: at least half of the largest.

    It is the largest from the ray that is farthest from the first one.
    """
    rays = views.centers[observations.frame] - points[observations.track]
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    starts = np.searchsorted(observations.track, np.arange(len(points)))
    if not len(points):
        return np.empty(0)
    reference = starts
    for _ in range(2):
        difference = np.linalg.norm(rays - rays[reference][observations.track], axis=1)
        largest = np.maximum.reduceat(difference, starts)
        # The first observation of each track that has the largest difference.
        rows = np.flatnonzero(difference == largest[observations.track])
        reference = rows[np.searchsorted(observations.track[rows], np.arange(len(points)))]
    angles: Float[np.ndarray, n] = 2.0 * np.arcsin(np.clip(largest / 2.0, 0.0, 1.0))
    return angles


def _ahead(depth: Float[np.ndarray, "o"]) -> NDArray[np.bool_]:
    """Which depths are those of a visible point: not behind the camera, and not within it.

    The rays of a wrong match near the epipole meet at the centre of one of the cameras.
    """
    positive = depth[depth > 0.0]
    return depth > (_NEAREST * float(np.median(positive)) if len(positive) else 0.0)


def _with_views(observations: Observations, least: int) -> Observations:
    """The tracks that `least` frames or more see."""
    counts = np.bincount(observations.track)
    return observations.kept(counts[observations.track] >= least)[0]


def _reduced(
    observations: Observations, points: Float[np.ndarray, "n 3"], fits: NDArray[np.bool_], least: int
) -> tuple[Observations, Float[np.ndarray, "m 3"]]:
    """The observations that fit, of points that enough of them are left of."""
    counts = np.bincount(observations.track[fits], minlength=len(points))
    observations, old = observations.kept(fits & (counts >= least)[observations.track])
    return observations, points[old]


def _in_camera(
    points: Float[np.ndarray, "n 3"], observations: Observations, views: Views
) -> Float[np.ndarray, "o 3"]:
    """Each observation's point in the axes of its camera."""
    offset = points[observations.track] - views.centers[observations.frame]
    camera: Float[np.ndarray, "o 3"] = np.einsum("oji,oj->oi", views.rotations[observations.frame], offset)
    return camera


def _intersect(observations: Observations, views: Views) -> Float[np.ndarray, "t 3"]:
    """Linear triangulation: the point whose algebraic error is least, of each track."""
    rotations = views.rotations[observations.frame]
    # Rows of cam_from_world: a point on the ray fulfils (row_x - u row_z) . (point - center) = 0.
    rows = rotations[:, :, :2] - rotations[:, :, 2:] * observations.plane[:, None, :]
    middle = views.centers.mean(axis=0)
    right = np.einsum("oik,oi->ok", rows, views.centers[observations.frame] - middle)
    normal = _summed(np.einsum("oik,ojk->oij", rows, rows), observations.track)
    vector = _summed(np.einsum("oik,ok->oi", rows, right), observations.track)
    points: Float[np.ndarray, "t 3"] = _solved(normal, vector) + middle
    return points


def _refine(
    points: Float[np.ndarray, "n 3"],
    observations: Observations,
    views: Views,
    *,
    robust_pixels: float,
    steps: int,
) -> Float[np.ndarray, "n 3"]:
    """Levenberg and Marquardt's method on the reprojection error of each point by itself (Cauchy's loss)."""
    if not len(points):
        return points
    damping = np.full(len(points), 1e-6)
    cost = _cost(points, observations, views, robust_pixels)
    for _ in range(steps):
        normal, vector = _normal_equations(points, observations, views, robust_pixels=robust_pixels)
        trace = np.trace(normal, axis1=1, axis2=2)
        damped = normal + (damping * trace)[:, None, None] * np.eye(3)
        moved = points - _solved(damped, vector)
        moved_cost = _cost(moved, observations, views, robust_pixels)
        better = moved_cost <= cost
        points = np.where(better[:, None], moved, points)
        cost = np.where(better, moved_cost, cost)
        damping = np.clip(np.where(better, damping * 0.1, damping * 20.0), 1e-12, 1e3)
    return points


def _cost(
    points: Float[np.ndarray, "n 3"], observations: Observations, views: Views, robust_pixels: float
) -> Float[np.ndarray, "n"]:
    error, _ = reprojection(points, observations, views)
    return _summed(np.log1p(np.minimum(error / robust_pixels, 1e6) ** 2), observations.track)


def _normal_equations(
    points: Float[np.ndarray, "n 3"], observations: Observations, views: Views, *, robust_pixels: float
) -> tuple[Float[np.ndarray, "n 3 3"], Float[np.ndarray, "n 3"]]:
    """J^T W J and J^T W r of the reprojection error in pixels, for each point."""
    camera = _in_camera(points, observations, views)
    depth = np.where(camera[:, 2] > 1e-12, camera[:, 2], np.inf)
    flat = camera[:, :2] / depth[:, None]
    scale = views.focals[observations.frame]
    residual = (flat - observations.plane) * scale[:, None]
    rotations = views.rotations[observations.frame]
    jacobian = rotations[:, :, :2] - rotations[:, :, 2:] * flat[:, None, :]
    jacobian *= (scale / depth)[:, None, None]
    weight = 1.0 / (1.0 + (residual**2).sum(axis=1) / robust_pixels**2)
    weighted = jacobian * weight[:, None, None]
    normal = _summed(np.einsum("oik,ojk->oij", weighted, jacobian), observations.track)
    vector = _summed(np.einsum("oik,ok->oi", weighted, residual), observations.track)
    return normal, vector


def _summed(values: NDArray[np.float64], track: Int64[np.ndarray, "o"]) -> NDArray[np.float64]:
    """The sum over the observations of each track, which are sorted by track."""
    if not len(track):
        return np.zeros((0, *values.shape[1:]))
    starts = np.flatnonzero(np.concatenate(([True], np.diff(track) > 0)))
    total: NDArray[np.float64] = np.add.reduceat(values, starts, axis=0)
    return total


def _solved(normal: Float[np.ndarray, "n 3 3"], vector: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Solutions of symmetric 3 x 3 systems; those without one get the least-norm solution."""
    return np.linalg.solve(_regular(normal), vector[..., None])[..., 0]


def _regular(normal: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "n 3 3"]:
    """Normal equations that have a solution, different from the given ones in their last digits."""
    trace = np.trace(normal, axis1=1, axis2=2)
    regular: Float[np.ndarray, "n 3 3"] = normal + (1e-14 * trace + 1e-300)[:, None, None] * np.eye(3)
    return regular
