"""The pose of a camera, with its covariance, from matches between pixels and world points.

`estimate_absolute_pose` estimates a pose from matches with many outliers (P3P inside LO-RANSAC, of COLMAP; a
minimal solver for an unknown focal length). `refine_absolute_pose` minimizes the weighted
robust reprojection error of all matches and derives the covariance from the normal equations.

Pixels are those of a pinhole camera: `pinhole_pixels` removes the distortion beforehand. All arrays are NumPy
in double precision.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from camloc.geometry.camera import Camera
from camloc.geometry.colmap import pycolmap
from camloc.geometry.pose import Pose

# P3P needs three matches, and a fourth to select one of its solutions; P4Pf needs four, and a fifth to check.
LEAST_MATCHES = 4
LEAST_MATCHES_WITHOUT_FOCAL = 5

# Points nearer to the plane of the camera than this share of the mean depth are not projected.
_NEAREST_SHARE = 1e-3

# Normal equations with a larger condition number do not determine one direction: there is no covariance.
_WORST_CONDITION = 1e13


@dataclass(frozen=True, eq=False)
class PoseEstimate:
    """A pose and its inliers.

    Attributes:
        world_from_cam: the pose, double precision.
        camera: the pinhole camera, with the estimated focal length if it was unknown.
        inliers: (n,) whether each match agrees with the pose.
    """

    world_from_cam: Pose
    camera: Camera
    inliers: Bool[np.ndarray, "n"]


@dataclass(frozen=True, eq=False)
class RefinedPose:
    """The pose with the least robust reprojection error.

    Attributes:
        world_from_cam: the pose, double precision.
        camera: the pinhole camera, with the refined focal length if it was refined.
        covariance: (6, 6) of the rotation vector in radians (first three) and of the camera's centre in the
            units of the world (last three), both along the axes of the world. The true rotation is
            `exp([w]) @ rotation` and the true centre `translation + c` with (w, c) of mean zero and this
            covariance, if the residuals have the given standard deviations.
        residuals: (n,) distances in pixels between matches and projections; infinite behind the camera.
        focal_sigma: standard deviation of the logarithm of the focal length; 0 if it was not refined.
    """

    world_from_cam: Pose
    camera: Camera
    covariance: Float[np.ndarray, "6 6"]
    residuals: Float[np.ndarray, "n"]
    focal_sigma: float = 0.0


def pinhole_pixels(pixels: Float[np.ndarray, "n 2"], camera: Camera) -> Float[np.ndarray, "n 2"]:
    """Pixels without distortion, for the pinhole camera with the same focal lengths and principal point.

    NaN for pixels that no ray reaches through the distortion model.
    """
    pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
    if camera.is_pinhole or len(pixels) == 0:
        return pixels
    flat = np.asarray(camera.to_colmap().cam_from_img(pixels), dtype=np.float64)
    return flat * (camera.fx, camera.fy) + (camera.cx, camera.cy)


def project_points(
    points: Float[np.ndarray, "n 3"], world_from_cam: Pose, camera: Camera
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n"]]:
    """Pixels (pinhole) and depths of world points; pixels are NaN for points behind the camera."""
    inside = (points - world_from_cam.translation) @ world_from_cam.rotation
    depth = inside[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = inside[:, :2] / depth[:, None] * (camera.fx, camera.fy) + (camera.cx, camera.cy)
    return np.where(depth[:, None] > 0, pixels, np.nan), depth


def estimate_absolute_pose(
    pixels: Float[np.ndarray, "n 2"],
    points: Float[np.ndarray, "n 3"],
    camera: Camera,
    *,
    max_error: float,
    focal_length_known: bool = True,
    seed: int = 0,
    most_trials: int = 3000,
) -> PoseEstimate | None:
    """The pose with the most inliers, or None if there is none.

    P3P (Persson and Nordberg, ECCV 2018, in COLMAP) inside LO-RANSAC (Chum, Matas and Kittler, DAGM
    2003). The same matches and seed give the same pose, in every thread.

    Args:
        pixels: (n, 2) without distortion; see `pinhole_pixels`.
        points: (n, 3) in world coordinates.
        camera: intrinsics; its distortion is not used.
        max_error: largest reprojection error of an inlier in pixels.
        focal_length_known: False to estimate the focal length too; then only the size and the principal
            point of `camera` are used, and pixels are square.
        seed: of the random samples.
        most_trials: largest number of samples.
    """
    least = LEAST_MATCHES if focal_length_known else LEAST_MATCHES_WITHOUT_FOCAL
    usable = np.isfinite(pixels).all(axis=1) & np.isfinite(points).all(axis=1)
    if usable.sum() < least:
        return None
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.estimate_focal_length = not focal_length_known
    options.ransac.max_error = max_error
    options.ransac.random_seed = seed
    options.ransac.min_num_trials = min(100, most_trials)
    options.ransac.max_num_trials = most_trials
    options.ransac.min_inlier_ratio = 0.02
    options.ransac.confidence = 0.9999
    lens = camera.undistorted() if focal_length_known else _square_pixels(camera)
    colmap_camera = lens.to_colmap()
    estimate = pycolmap.estimate_absolute_pose(pixels[usable], points[usable], colmap_camera, options)
    if estimate is None:
        return None
    inliers = np.zeros(len(pixels), dtype=bool)
    inliers[np.flatnonzero(usable)[np.asarray(estimate["inlier_mask"], dtype=bool)]] = True
    world_from_cam = estimate["cam_from_world"].inverse()
    rotation = np.asarray(world_from_cam.rotation.matrix(), dtype=np.float64)
    translation = np.asarray(world_from_cam.translation, dtype=np.float64)
    if inliers.sum() < least or not (np.isfinite(rotation).all() and np.isfinite(translation).all()):
        return None
    if not focal_length_known:
        # COLMAP writes the estimated focal length into its argument.
        focal = float(colmap_camera.focal_length)
        if not (np.isfinite(focal) and focal > 0):
            return None
        lens = with_focal_length(lens, focal)
    return PoseEstimate(Pose(rotation, translation), lens, inliers)


def refine_absolute_pose(
    pixels: Float[np.ndarray, "n 2"],
    points: Float[np.ndarray, "n 3"],
    start: PoseEstimate | RefinedPose,
    sigmas: Float[np.ndarray, "n"],
    *,
    refine_focal_length: bool = False,
    loss_scale: float = 2.0,
    most_steps: int = 20,
) -> RefinedPose | None:
    """The pose that minimizes the sum of Cauchy losses of residuals divided by `sigmas`.

    Levenberg-Marquardt on the reweighted normal equations. The covariance is their inverse at
    the minimum; with a refined focal length it is the marginal covariance of the pose.

    Args:
        pixels: (n, 2) without distortion.
        points: (n, 3) in world coordinates.
        start: a pose near the minimum, with its camera.
        sigmas: (n,) expected standard deviation of each residual along x and along y, in pixels.
        refine_focal_length: whether the focal length (one factor for both axes) is refined too.
        loss_scale: scale of the Cauchy loss, in standard deviations.
        most_steps: largest number of steps.

    Returns:
        None if the matches do not determine the pose: too few, or all of them on one line.
    """
    unknowns = 7 if refine_focal_length else 6
    if 2 * len(pixels) < unknowns or not (np.isfinite(pixels).all() and np.isfinite(points).all()):
        return None
    rotation, translation = start.world_from_cam.rotation, start.world_from_cam.translation
    camera = start.camera
    damping = 1e-4
    system = _normal_equations(pixels, points, rotation, translation, camera, sigmas, loss_scale, unknowns)
    for _ in range(most_steps):
        scale = np.sqrt(np.maximum(np.diag(system.hessian), 1e-300))
        damped = system.hessian + damping * np.diag(scale * scale)
        try:
            step = -np.linalg.solve(damped, system.gradient)
        except np.linalg.LinAlgError:
            return None
        next_rotation = _rotation_from_vector(step[:3]) @ rotation
        next_translation = translation + step[3:6]
        next_camera = camera
        if refine_focal_length:
            next_camera = with_focal_length(camera, camera.fx * float(np.exp(np.clip(step[6], -1.0, 1.0))))
        trial = _normal_equations(
            pixels, points, next_rotation, next_translation, next_camera, sigmas, loss_scale, unknowns
        )
        if trial.cost <= system.cost:
            rotation, translation, camera, damping = (
                next_rotation,
                next_translation,
                next_camera,
                damping / 10,
            )
            small = system.cost - trial.cost <= 1e-6 * (system.cost + 1e-12)
            system = trial
            if small:
                break
        elif damping > 1e8:
            break
        else:
            damping *= 10
    covariance = _inverse_of(system.hessian)
    if covariance is None:
        return None
    focal_sigma = float(np.sqrt(covariance[6, 6])) if refine_focal_length else 0.0
    return RefinedPose(Pose(rotation, translation), camera, covariance[:6, :6], system.residuals, focal_sigma)


def with_focal_length(camera: Camera, fx: float) -> Camera:
    """The camera with another focal length; the ratio fy / fx does not change."""
    return Camera(
        camera.width,
        camera.height,
        fx,
        fx * camera.fy / camera.fx,
        camera.cx,
        camera.cy,
        camera.model,
        camera.distortion,
    )


def _square_pixels(camera: Camera) -> Camera:
    return Camera(
        camera.width, camera.height, camera.fx, camera.fx, camera.cx, camera.cy, "SIMPLE_PINHOLE", ()
    )


@dataclass(frozen=True, eq=False)
class _System:
    """Reweighted normal equations at a pose."""

    hessian: Float[np.ndarray, "u u"]
    gradient: Float[np.ndarray, "u"]
    cost: float
    residuals: Float[np.ndarray, "n"]


def _normal_equations(
    pixels: Float[np.ndarray, "n 2"],
    points: Float[np.ndarray, "n 3"],
    rotation: Float[np.ndarray, "3 3"],
    translation: Float[np.ndarray, "3"],
    camera: Camera,
    sigmas: Float[np.ndarray, "n"],
    loss_scale: float,
    unknowns: int,
) -> _System:
    """Normal equations of a small rotation w and shift c of the centre.

    With the rotation exp([w]) R and the centre t + c, the point x = R'(X - t) changes by R'[X - t]w - R'c.
    """
    arms = points - translation
    inside = arms @ rotation
    depth = inside[:, 2]
    visible = depth > _NEAREST_SHARE * abs(float(depth.mean())) + 1e-300
    safe = np.where(visible, depth, 1.0)
    flat = inside[:, :2] / safe[:, None]
    focal = np.array([camera.fx, camera.fy])
    errors = flat * focal + (camera.cx, camera.cy) - pixels
    squares = np.where(visible, (errors * errors).sum(axis=1), np.inf)
    ratio = squares / (sigmas * loss_scale) ** 2
    # A match behind the camera has the cost of an error of a million sigmas, and no weight.
    cost = float(np.log1p(np.minimum(ratio, 1e12)).sum()) * loss_scale**2
    weights = np.where(visible, 1.0 / (1.0 + np.minimum(ratio, 1e12)), 0.0) / sigmas**2

    by_depth = 1.0 / safe
    # Rows of d(pixel) / d(x) times R' give d(pixel) / d(X) and, with the opposite sign, d(pixel) / d(c).
    along_x = (rotation[:, 0] - flat[:, :1] * rotation[:, 2]) * (focal[0] * by_depth)[:, None]
    along_y = (rotation[:, 1] - flat[:, 1:] * rotation[:, 2]) * (focal[1] * by_depth)[:, None]
    jacobian = np.empty((2, len(points), unknowns))
    for row, along in enumerate((along_x, along_y)):
        # -along . (w x arms) = w . (along x arms), written out: np.cross is five times slower.
        jacobian[row, :, 0] = along[:, 1] * arms[:, 2] - along[:, 2] * arms[:, 1]
        jacobian[row, :, 1] = along[:, 2] * arms[:, 0] - along[:, 0] * arms[:, 2]
        jacobian[row, :, 2] = along[:, 0] * arms[:, 1] - along[:, 1] * arms[:, 0]
        jacobian[row, :, 3:6] = -along
    if unknowns == 7:
        jacobian[:, :, 6] = (flat * focal).T
    weighted = jacobian * weights[None, :, None]
    flat_jacobian = jacobian.reshape(-1, unknowns)
    flat_weighted = weighted.reshape(-1, unknowns)
    hessian = flat_weighted.T @ flat_jacobian
    gradient = flat_weighted.T @ errors.T.reshape(-1)
    return _System(hessian, gradient, cost, np.sqrt(squares))


def _inverse_of(hessian: Float[np.ndarray, "u u"]) -> Float[np.ndarray, "u u"] | None:
    """The inverse of the normal equations, or None if one direction is not determined."""
    if not np.isfinite(hessian).all() or np.diag(hessian).min() <= 0:
        return None
    scale = 1.0 / np.sqrt(np.diag(hessian))
    values, vectors = np.linalg.eigh(hessian * scale[:, None] * scale)
    if values[0] <= values[-1] / _WORST_CONDITION:
        return None
    inverse = (vectors / values) @ vectors.T
    symmetric: Float[np.ndarray, "u u"] = (inverse + inverse.T) / 2 * scale[:, None] * scale
    return symmetric


def _rotation_from_vector(vector: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Rodrigues' formula."""
    x, y, z = vector.tolist()
    angle = math.sqrt(x * x + y * y + z * z)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    small = angle < 1e-9
    first = 1.0 if small else math.sin(angle) / angle
    second = 0.5 if small else 0.5 * (math.sin(angle / 2) / (angle / 2)) ** 2
    rotation: Float[np.ndarray, "3 3"] = np.eye(3) + first * cross + second * (cross @ cross)
    return rotation
