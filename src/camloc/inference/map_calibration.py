"""When an answer of a map counts as verified, and how sure it is: learned from held-out training frames.

A map must not have been built from the frames that it is calibrated on; the map of all training frames takes
over the calibration of maps that each lack some of them. Test frames are never used.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from camloc.core.sampling import even_items
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose
from camloc.geometry.rotation import rotation_vector
from camloc.inference.verification import (
    EVIDENCE_MARGIN,
    UNCALIBRATED_SIGMA,
    UNCALIBRATED_SIGMA_DEGREES,
    USUAL_EVIDENCE,
    MapLocalizer,
    VerificationSettings,
    VerifiedPose,
    calibrated_covariance,
    is_evident,
)
from camloc.mapping.features import Features
from camloc.mapping.scene_map import Calibration, SceneMap

# Fewer held-out frames than these say nothing of the tails.
LEAST_FRAMES = 8

# Frames whose keypoints are exchanged, at most: each takes long, with all points of the map.
_EXCHANGED = 12

# Inliers that an answer needs at least, whatever errors the held-out frames have.
_LEAST_INLIERS = 12

# Answers that are further off are gross errors: degrees, and share of the distance to the points.
_GROSS_DEGREES = 5.0
_GROSS_SHARE = 0.15

# Right answers that a limit may reject to keep gross errors out.
_MOST_RIGHT_REJECTED = 0.1

# Quantiles of chi-square with three degrees of freedom, at 68 % and 95 %.
_CHI_68, _CHI_95 = 3.506, 7.815

# Parts of an error and of a covariance.
_ROTATION, _POSITION = slice(0, 3), slice(3, 6)

# Logarithm of the usual power of the share of inliers that divides deviations.
_USUAL_POWER = 0.0

# Logarithms of the scale and of the floors from which the likelihood is maximized.
_STARTS = ((0.0, -2.0), (0.5, -1.0), (0.0, -6.0))


@dataclass(frozen=True, eq=False)
class HeldOutFrame:
    """A training frame that the map was not built from.

    Attributes:
        features: extracted with the map's settings.
        camera: its intrinsics.
        world_from_cam: its true pose.
    """

    features: Features
    camera: Camera
    world_from_cam: Pose


@dataclass(frozen=True, eq=False)
class Fold:
    """Held-out frames, and the map that was built without them."""

    scene_map: SceneMap
    frames: Sequence[HeldOutFrame]


@dataclass(frozen=True, eq=False)
class Trial:
    """The best answer of a held-out frame and its error.

    Attributes:
        answer: with the covariance of the normal equations.
        error: rotation vector in radians and position in the unit of the map, along the axes of the world.
        away: median distance of the camera to the points of the answer.
    """

    answer: VerifiedPose
    error: Float[np.ndarray, "6"]
    away: float

    @property
    def is_gross(self) -> bool:
        degrees = float(np.degrees(np.linalg.norm(self.error[:3])))
        return degrees > _GROSS_DEGREES or float(np.linalg.norm(self.error[3:])) > _GROSS_SHARE * self.away


def calibrate(
    folds: Sequence[Fold],
    foreign: Sequence[tuple[Features, Camera]] = (),
    *,
    settings: VerificationSettings | None = None,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Calibration:
    """Thresholds, covariance factors and floors.

    Three measurements: foreign images, and the same frames with their keypoints exchanged at random (whatever
    is found is wrong: they set the least evidence); the errors of the accepted answers (they set the factors
    and the floors of the covariance); gross errors among them (they set the largest deviations).

    Args:
        folds: one or several; the frames of all of them count alike.
        foreign: features and cameras of images that the map must not verify, such as the held-out frames
            mirrored: they have the scene's own descriptors in an arrangement that it does not have.
        settings: of the localizer that will use the calibration.
        seed: of the exchange.
        progress: called with the share that is done.

    Returns:
        One with `frames` 0, which means uncalibrated, where there are fewer than `LEAST_FRAMES`.
    """
    count = sum(len(fold.frames) for fold in folds)
    if count < LEAST_FRAMES:
        return Calibration()
    open_settings = replace(settings or VerificationSettings(), find_focal_length=False)
    open_calibration = Calibration(
        frames=count, least_inliers=20, least_evidence=12.0, most_sigma_degrees=90.0, most_sigma=1.0
    )
    localizers = [
        MapLocalizer(fold.scene_map.with_calibration(open_calibration), open_settings) for fold in folds
    ]
    trials: list[Trial] = []
    done = 0
    for fold, localizer in zip(folds, localizers, strict=True):
        for frame in fold.frames:
            if (trial := _trial(localizer, frame)) is not None:
                trials.append(trial)
            done += 1
            if progress is not None:
                progress(done / count)
    exchanged = _exchanged(even_items(folds[0].frames, _EXCHANGED), np.random.default_rng(seed))
    chance = _most_evidence(localizers[0], exchanged)
    elsewhere = _most_evidence(localizers[0], foreign)
    least_evidence = max(USUAL_EVIDENCE, EVIDENCE_MARGIN * chance, EVIDENCE_MARGIN * elsewhere)
    trusted = [
        trial
        for trial in trials
        if is_evident(trial.answer.verification, least_evidence)
        and trial.answer.verification.inliers >= _LEAST_INLIERS
        and trial.answer.verification.rival <= open_settings.most_rival
    ]
    right = [trial for trial in trusted if not trial.is_gross]
    if len(right) < LEAST_FRAMES:
        return Calibration()
    start = Calibration(
        frames=count,
        least_inliers=_LEAST_INLIERS,
        least_evidence=float(least_evidence),
    )
    calibrated = with_covariance(start, right)
    return _with_limits(calibrated, trusted)


def _trial(localizer: MapLocalizer, frame: HeldOutFrame) -> Trial | None:
    size = (frame.camera.width, frame.camera.height)
    found = localizer.locate_features(frame.features, frame.camera, size=size)
    answer = found if isinstance(found, VerifiedPose) else found.best
    if answer is None:
        return None
    truth, found_pose = frame.world_from_cam, answer.world_from_cam
    turn = truth.rotation @ found_pose.rotation.T
    error = np.concatenate((rotation_vector(turn), truth.translation - found_pose.translation))
    world = localizer.scene_map.points_in_world(answer.points)
    away = float(np.median(np.linalg.norm(world - found_pose.translation, axis=1)))
    return Trial(answer, error, away)


def _exchanged(frames: Sequence[HeldOutFrame], rng: np.random.Generator) -> list[tuple[Features, Camera]]:
    """The frames with each descriptor at the place of another one."""
    exchanged = []
    for frame in frames:
        order = rng.permutation(len(frame.features))
        features = Features(
            frame.features.keypoints[order], frame.features.scales[order], frame.features.descriptors
        )
        exchanged.append((features, frame.camera))
    return exchanged


def _most_evidence(localizer: MapLocalizer, images: Sequence[tuple[Features, Camera]]) -> float:
    """The largest evidence that is found for images that show something else."""
    most = 0.0
    for features, camera in images:
        answer = localizer.locate_features(features, camera, size=(camera.width, camera.height))
        best = answer if isinstance(answer, VerifiedPose) else answer.best
        most = max(most, 0.0 if best is None else best.verification.evidence)
    return most


def with_covariance(calibration: Calibration, trials: Sequence[Trial]) -> Calibration:
    """Factors and floors of the largest likelihood, then a factor each for the intervals of 68 and 95 %.

    Errors count as Student's t with five degrees of freedom: a few frames with wrong poses do not decide.
    """
    shapes = np.stack([trial.answer.covariance for trial in trials])
    errors = np.stack([trial.error for trial in trials])
    ratios = np.array([trial.answer.verification.ratio for trial in trials])
    position = float(np.median(np.linalg.norm(errors[:, 3:], axis=1)))
    degrees = float(np.degrees(np.median(np.linalg.norm(errors[:, :3], axis=1))))

    def candidate(x: Float[np.ndarray, "5"]) -> Calibration:
        rotation_scale, position_scale, power, position_floor, rotation_floor = np.exp(
            np.clip(x, -25.0, 15.0)
        )
        return replace(
            calibration,
            rotation_scale=float(rotation_scale),
            position_scale=float(position_scale),
            ratio_power=float(power),
            position_floor=float(position_floor) * position,
            rotation_floor_degrees=float(rotation_floor) * degrees,
        )

    def squares(of: Calibration, part: slice) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
        """Squared Mahalanobis distances of the errors, and logarithms of the determinants."""
        blocks = calibrated_covariance(shapes, ratios, of)[:, part, part]
        part_errors = errors[:, part]
        distances = (part_errors * np.linalg.solve(blocks, part_errors[..., None])[..., 0]).sum(axis=1)
        return distances, np.linalg.slogdet(blocks)[1]

    def cost(x: Float[np.ndarray, "5"]) -> float:
        total = 0.0
        for part in (_ROTATION, _POSITION):
            distances, logarithms = squares(candidate(x), part)
            total += float((0.5 * logarithms + 4.0 * np.log1p(distances / 5.0)).sum())
        # Weak pulls to no floors, where the errors do not need them, and to the usual power, where all frames
        # have nearly the same share of inliers.
        floors = float(np.exp(np.clip(x[3:], -25.0, 5.0)).sum())
        return total + 0.05 * floors + 2.0 * (float(x[2]) - _USUAL_POWER) ** 2

    starts = [np.array([scale, scale, _USUAL_POWER, floor, floor]) for scale, floor in _STARTS]
    fits = [minimize(cost, start, method="Nelder-Mead", options={"maxiter": 1600}) for start in starts]
    best = candidate(min(fits, key=lambda fit: float(fit.fun)).x)

    def widening(part: slice) -> float:
        distances, _ = squares(best, part)
        both = float(np.quantile(distances, 0.68) / _CHI_68 * np.quantile(distances, 0.95) / _CHI_95)
        # Few frames know little of the tails.
        return math.sqrt(math.sqrt(both) * (len(trials) + 2) / (len(trials) - 2))

    rotation, position = widening(_ROTATION), widening(_POSITION)
    return replace(
        best,
        rotation_scale=best.rotation_scale * rotation,
        position_scale=best.position_scale * position,
        rotation_floor_degrees=best.rotation_floor_degrees * rotation,
        position_floor=best.position_floor * position,
    )


def _with_limits(calibration: Calibration, trials: Sequence[Trial]) -> Calibration:
    """The largest deviations and the least coverage that keep gross errors out.

    Without gross errors the limits are those of any map. A limit never rejects more than a tenth of the
    right answers: one frame with a wrong pose must not close the map.
    """
    degrees, share, coverage, gross = [], [], [], []
    for trial in trials:
        verification = trial.answer.verification
        covariance = calibrated_covariance(trial.answer.covariance, verification.ratio, calibration)
        variances = np.diag(covariance)
        degrees.append(float(np.degrees(np.sqrt(variances[:3].sum()))))
        share.append(float(np.sqrt(variances[3:].sum())) / trial.away)
        coverage.append(verification.coverage)
        gross.append(trial.is_gross)
    wrong = np.array(gross, dtype=bool)

    def limit(values: Sequence[float], usual: float) -> float:
        numbers = np.array(values)
        right = numbers[~wrong]
        most = max(usual, 1.5 * float(right.max()))
        if wrong.any():
            most = min(most, float(numbers[wrong].min()) * (1 - 1e-6))
        return max(most, float(np.quantile(right, 1.0 - _MOST_RIGHT_REJECTED)))

    return replace(
        calibration,
        most_sigma_degrees=limit(degrees, UNCALIBRATED_SIGMA_DEGREES),
        most_sigma=limit(share, UNCALIBRATED_SIGMA),
        least_coverage=max(0.0, -limit([-value for value in coverage], 0.0)),
    )
