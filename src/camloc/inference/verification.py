"""A pose that the map of a scene confirms, or the reason why it confirms none.

The steps of `MapLocalizer.locate`, in this order:

    features     keypoints and descriptors of the query
    candidates   points that the frames near the prior see; then those of the frames that look alike; then
                 those of the frames that a coarse comparison with the whole map votes for; then all of them:
                 each only where the ones before did not lead to a verified pose
    matching     nearest descriptors, ratio, mutual
    estimation   P3P in LO-RANSAC
    guided pass  the visible points projected by that pose and compared in windows
    refinement   least robust reprojection error; covariance of the normal equations, calibrated
    acceptance   evidence against chance, no second pose that fits as well, small deviations, the focal length

Where no pose is confirmed with the focal length that was given, or none was given, the focal length is found.
Nothing here imports torch. Answers are the same alone, in a batch and in several threads.
"""

import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8
from scipy.spatial import cKDTree
from scipy.special import bdtrc

from camloc.core.stages import stage
from camloc.data.types import FoundBy, Verification
from camloc.geometry.absolute_pose import (
    PoseEstimate,
    RefinedPose,
    estimate_absolute_pose,
    pinhole_pixels,
    project_points,
    refine_absolute_pose,
)
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose
from camloc.inference.candidates import Candidates, Portion, PosePrior
from camloc.inference.point_matching import NearestPoints, distance_of_different_points, guided_matches
from camloc.mapping.features import FeatureExtractor, Features, extraction_scale, feature_extractor
from camloc.mapping.scene_map import Calibration, SceneMap

# Where a map is not calibrated.
UNCALIBRATED_INLIERS = 25
UNCALIBRATED_EVIDENCE = 15.0
UNCALIBRATED_SIGMA_DEGREES = 1.5
UNCALIBRATED_SIGMA = 0.03

# The deviation of a query's matches is read from the smallest quarter of its residuals, which false matches
# hardly reach, and is at least so many pixels of the image that features were extracted from.
_DEVIATION_QUANTILE = 0.25
_LEAST_DEVIATION = 0.1

# Smaller shares of inliers do not make intervals wider.
_LEAST_RATIO = 0.1

# Evidence is cut here: beyond, probabilities are too small for a double.
MOST_EVIDENCE = 300.0

# Evidence that a calibrated map requires where images that show something else do not need a higher bound.
USUAL_EVIDENCE = 16.0

# The required evidence is that of images that show something else, and of chance, times this factor.
EVIDENCE_MARGIN = 1.3

# First inliers, matched by descriptors alone, that need no further evidence in such a map: so many, or fewer
# in so large a share of the image. Images from elsewhere have a third of them at most, things that a scene
# has twice cover little of an image, and in a small map or far from its views few points are left for the
# guided pass to confirm.
_FIRST_INLIERS = 30
_FIRST_INLIERS_APART, _APART = 15, 10 / 64

# A focal length that was found is one more unknown that chance may choose: more agreement is required.
_FOUND_FOCAL_FACTOR = 1.5

# Two poses that differ by less are one.
_SAME_DEGREES = 3.0

# The other pose that a plane allows is followed where at least this share of the inliers agree with it.
_RIVAL_SHARE = 0.6

# Before it is refined, their residuals may be this share of the larger side of the image.
_REVERSED_ERROR = 0.05

# The loss of its refinement levels off from so many pixels.
_REVERSED_LOSS = 7.5

# The focal length of a training camera, up to a factor, is doubted where another one has so many times its
# first inliers: of matches in one plane, which any focal length fits, as many agree with another one by
# chance.
_SHARE_OF_DOUBT = 1.05
_SAME_FOCAL = 1.05

# A doubted focal length is confirmed by one that is found within this difference of the logarithms, with at
# most this deviation. On 325 held-out frames with right ones the difference was 0.11 at most and the
# deviation 0.04; of matches in one plane alone, which keep any focal length that the search starts from, it
# is 0.07 or more.
_CONFIRMED_FOCAL, _CONFIRMED_FOCAL_SIGMA = 0.12, 0.05

# Without intrinsics a camera is taken to be a pinhole; this focal length over the larger side is only where
# the search starts.
_USUAL_FOCAL = 1.2


@dataclass(frozen=True)
class VerificationSettings:
    """How a query is compared with a map. Chosen on held-out training frames.

    Attributes:
        sources: where candidates come from.
        frame_counts: frames that are candidates in the first and in the following portions of a source.
        coarse_keypoints: keypoints, largest first, that are compared with the whole map to vote for frames.
        small_map: a map of at most so many points is compared as a whole at once.
        first_keypoints: keypoints, largest first, that are compared by descriptors alone.
        ratio: of the descriptor distances to the nearest and to the second nearest point.
        max_error: of an inlier of the first estimate, as a share of the larger side of the image.
        least_first_inliers: a first estimate with fewer is not followed.
        windows: in which projected points are matched, pass by pass: their radius as a share of the larger
            side of the image; none for no guided pass.
        many_first_inliers: a first estimate with so many needs the last, narrowest pass alone.
        guided_ratio: of the descriptor distances to the nearest and to the second nearest in a window.
        visible_frames: frames nearest to the first pose whose points are projected.
        most_visible: points that are projected, at most.
        loss_scale: of the robust loss of the refinement, in deviations of the query's own matches.
        nearness_power: the refinement multiplies the deviation of a match by `(1 + r)` to this power, where r
            frames are nearer to the pose than the nearest one that sees the point.
        inlier_error: of an inlier of the final pose, as a share of the larger side of the image.
        most_rival: share of the inliers that the other pose of a plane may have.
        find_focal_length: whether a given focal length is checked and, where no pose fits it, found.
        most_focal_error: logarithm of the factor by which the focal length that fits all matches may differ.
    """

    sources: tuple[FoundBy, ...] = ("prior", "retrieval", "votes", "whole map")
    frame_counts: tuple[int, ...] = (10, 25)
    coarse_keypoints: int = 400
    small_map: int = 500
    first_keypoints: int = 1000
    ratio: float = 0.85
    max_error: float = 0.010
    least_first_inliers: int = 5
    windows: tuple[float, ...] = (0.030, 0.015)
    many_first_inliers: int = 60
    guided_ratio: float = 0.9
    visible_frames: int = 40
    most_visible: int = 6000
    loss_scale: float = 1.0
    nearness_power: float = 0.75
    inlier_error: float = 0.006
    most_rival: float = 0.6
    find_focal_length: bool = True
    most_focal_error: float = 0.2


@dataclass(frozen=True, eq=False)
class VerifiedPose:
    """A pose that the map confirms.

    Attributes:
        world_from_cam: the pose, double precision, in the world and the unit of the map.
        covariance: (6, 6) of the rotation vector in radians (first three) and the centre in the unit of the
            map (last three), both along the axes of the world: the true rotation is `exp([w]) @ rotation` and
            the true centre `translation + c`, with (w, c) of mean zero and this covariance.
        camera: the pinhole camera that the pose was found with.
        verification: how it was found, and how well the map agrees.
        keypoints: (n, 2) pixels of the inliers in the image as given.
        points: (n,) the points of the map that they show.
        focal_sigma: deviation of the logarithm of a focal length that was found, by the normal equations; 0
            with a given one.
    """

    world_from_cam: Pose
    covariance: Float[np.ndarray, "6 6"]
    camera: Camera
    verification: Verification
    keypoints: Float[np.ndarray, "n 2"]
    points: Int[np.ndarray, "n"]
    focal_sigma: float


@dataclass(frozen=True, eq=False)
class Rejected:
    """The map confirms no pose of this image.

    Attributes:
        reason: why.
        best: the rejected pose with the most evidence, or None. It is not verified.
        seconds: of each step.
    """

    reason: str
    best: VerifiedPose | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


class MapLocalizer:
    """Locates images in the map of one scene; one for all threads."""

    def __init__(self, scene_map: SceneMap, settings: VerificationSettings | None = None) -> None:
        self.scene_map = scene_map
        self.settings = settings or VerificationSettings()
        self._extractors = threading.local()
        self._candidates = Candidates(scene_map)
        self._points = self._candidates.points
        self._most_distance = distance_of_different_points(scene_map)

    def locate(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        camera: Camera | None,
        prior: PosePrior | None = None,
        *,
        mask: Bool[np.ndarray, "h w"] | None = None,
    ) -> VerifiedPose | Rejected:
        """The pose of an RGB image, or why there is none.

        Args:
            image: as stored, its distortion not undone.
            camera: its intrinsics, or None where they are unknown: the focal length is then found too, with
                the principal point in the middle and no distortion.
            prior: where the camera is expected, or None.
            mask: True where the image counts, or None for everywhere.

        Raises:
            ValueError: the image is not (h, w, 3) of 8 bits, or the camera is of another size.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"an image is (h, w, 3) of 8 bits, not {image.shape} of {image.dtype}")
        started = time.perf_counter()
        if not hasattr(self._extractors, "own"):
            self._extractors.own = feature_extractor(self.scene_map.features)
        extractor: FeatureExtractor = self._extractors.own
        features = extractor.extract(image, mask)
        seconds = {"features": time.perf_counter() - started}
        size = (image.shape[1], image.shape[0])
        return self.locate_features(features, camera, prior, size=size, seconds=seconds)

    def locate_all(
        self,
        images: Sequence[UInt8[np.ndarray, "h w 3"]],
        cameras: Sequence[Camera | None],
        priors: Sequence[PosePrior | None] | None = None,
        *,
        threads: int = 1,
    ) -> list[VerifiedPose | Rejected]:
        """The poses of several images, each as if it were alone.

        Raises:
            ValueError: images, cameras and priors are not of one number, or as for `locate`.
        """
        queries = list(zip(images, cameras, priors or [None] * len(images), strict=True))
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(lambda query: self.locate(*query), queries))

    def locate_features(
        self,
        features: Features,
        camera: Camera | None,
        prior: PosePrior | None = None,
        *,
        size: tuple[int, int],
        seconds: Mapping[str, float] | None = None,
    ) -> VerifiedPose | Rejected:
        """As `locate`, of an image whose local features were extracted with the map's settings.

        Args:
            features: of the image.
            camera: as for `locate`.
            prior: as for `locate`.
            size: width and height of the image.
            seconds: of the steps before, to be added to the answer's.

        Raises:
            ValueError: the camera is of another size.
        """
        if camera is not None and (camera.width, camera.height) != size:
            raise ValueError(
                f"the camera is of {camera.width} x {camera.height} pixels, "
                f"the image of {size[0]} x {size[1]}"
            )
        clock = _Clock(dict(seconds or {}))
        query = _Query.of(features, camera, size, self.scene_map, self.settings.first_keypoints)
        best: VerifiedPose | None = None
        portion, is_free_untried = None, False
        for portion in self._portions(query, prior, clock):
            is_free_untried = camera is not None
            answer = self._attempt(query, portion, clock, is_focal_free=camera is None)
            if answer is not None and self._shortfall(answer) is None:
                if camera is None or not self._is_focal_length_doubted(query, answer, clock):
                    return answer
                given, answer = answer, self._attempt(query, portion, clock, is_focal_free=True)
                is_free_untried = False
                if answer is not None and _confirms_focal_length(answer, given.camera):
                    return given
                if answer is not None and self._shortfall(answer) is None:
                    return answer
                best = _more_evident(best, given)
            best = _more_evident(best, answer)
        if portion is not None and is_free_untried and self.settings.find_focal_length:
            answer = self._attempt(query, portion, clock, is_focal_free=True)
            if answer is not None and self._shortfall(answer) is None:
                return answer
            best = _more_evident(best, answer)
        return Rejected(self._reason(query, best), best, clock.seconds)

    # --- a pose from the points of a portion --------------------------------------------------------------

    def _portions(self, query: "_Query", prior: PosePrior | None, clock: "_Clock") -> Iterator[Portion]:
        portions = self._candidates.portions(
            query.projected,
            query.features.scales,
            prior,
            sources=self.settings.sources,
            frame_counts=self.settings.frame_counts,
            coarse_keypoints=self.settings.coarse_keypoints,
            small_map=self.settings.small_map,
        )
        while True:
            with clock.step("candidates"):
                portion = next(portions, None)
            if portion is None:
                return
            yield portion

    def _attempt(
        self, query: "_Query", portion: Portion, clock: "_Clock", *, is_focal_free: bool
    ) -> VerifiedPose | None:
        """The best pose from the points of a portion and of those before it, confirmed or not."""
        with clock.step("matching"):
            if portion.is_fresh:
                query.nearest = query.compared_with_nothing(len(self.scene_map))
            query.nearest.add(self.scene_map, portion.points)
            chosen, points = query.nearest.matches(self.settings.ratio)
            keypoints = query.first[chosen]
        with clock.step("estimation"):
            estimate = estimate_absolute_pose(
                query.pixels[keypoints],
                self._points[points],
                query.camera,
                max_error=self.settings.max_error * query.side,
                focal_length_known=not is_focal_free,
            )
        if estimate is None or estimate.inliers.sum() < self.settings.least_first_inliers:
            return None
        keypoints, points = keypoints[estimate.inliers], points[estimate.inliers]
        with clock.step("refinement"):
            first = self._refined(query, keypoints, points, estimate, free=is_focal_free, rounds=1)
        if first is None:
            return None
        found = self._confirmed(query, keypoints, points, first, clock, free=is_focal_free)
        if found.count < self.settings.least_first_inliers:
            return None
        with clock.step("refinement"):
            mirrored = self._mirrored(query, found)
        rival = 0.0
        if mirrored is not None:
            other = self._confirmed(query, found.keypoints, found.points, mirrored, clock, free=is_focal_free)
            if _angle(other.pose.world_from_cam, found.pose.world_from_cam) > _SAME_DEGREES:
                found, other = (other, found) if other.count > found.count else (found, other)
                rival = other.count / found.count
        return self._answer(query, portion, found, keypoints, rival, clock, free=is_focal_free)

    def _confirmed(
        self,
        query: "_Query",
        keypoints: Int[np.ndarray, "k"],
        points: Int[np.ndarray, "k"],
        pose: RefinedPose,
        clock: "_Clock",
        *,
        free: bool,
    ) -> "_Confirmed":
        """The guided pass and the refinement from a first pose."""
        visible = 0
        windows = self.settings.windows
        for window in windows[-1:] if len(points) >= self.settings.many_first_inliers else windows:
            with clock.step("guided pass"):
                keypoints, points, visible = self._guided(query, pose, window)
            with clock.step("refinement"):
                again = self._refined(query, keypoints, points, pose, free=free)
            if again is None:
                nothing = np.zeros(0, dtype=np.int64)
                return _Confirmed(pose, nothing, nothing, np.zeros(0, dtype=bool), visible)
            pose = again
        if not windows:
            with clock.step("refinement"):
                pose = self._refined(query, keypoints, points, pose, free=free) or pose
        inliers = pose.residuals <= self.settings.inlier_error * query.side
        return _Confirmed(pose, keypoints, points, inliers, visible)

    def _guided(
        self, query: "_Query", pose: RefinedPose, window: float
    ) -> tuple[Int[np.ndarray, "k"], Int[np.ndarray, "k"], int]:
        """Matches in windows around the points that a pose should see, and the number of these points."""
        rows, pixels, depth = self._candidates.visible(
            pose.world_from_cam,
            pose.camera,
            query.nearest.compared,
            frames=self.settings.visible_frames,
            most=self.settings.most_visible,
        )
        keypoints, chosen = guided_matches(
            query.tree,
            query.projected,
            query.features.scales,
            pixels,
            self.scene_map.point_scales[rows].astype(np.float64) * pose.camera.fx / depth,
            self.scene_map.codec.decode(self.scene_map.descriptors[rows]),
            radius=window * query.side,
            most_distance=self._most_distance,
            ratio=self.settings.guided_ratio,
        )
        return keypoints, rows[chosen], len(rows)

    def _mirrored(self, query: "_Query", found: "_Confirmed") -> RefinedPose | None:
        """The other pose that sees a small plane alike, its tilt to the line of sight reversed; or None.

        A plane that is far for its size has two poses with nearly the same projections (Oberkampf, DeMenthon
        and Davis, CVIU 1996); which one is right only further points can say. The other one is found from the
        reflection at the plane of the points followed by that across the line of sight, which together move
        the points of the plane in depth alone.
        """
        pose = found.pose.world_from_cam
        keypoints, points = found.keypoints[found.inliers], found.points[found.inliers]
        inside = (self._points[points] - pose.translation) @ pose.rotation
        middle = inside.mean(axis=0)
        _, _, axes = np.linalg.svd(inside - middle, full_matrices=False)
        normal, sight = axes[2], middle / np.linalg.norm(middle)
        reversal = (np.eye(3) - 2 * np.outer(sight, sight)) @ (np.eye(3) - 2 * np.outer(normal, normal))
        # x' = reversal (x - middle) + middle, and x' = rotation' (X - translation).
        rotation = pose.rotation @ reversal.T
        start = Pose(rotation, pose.translation + pose.rotation @ middle - rotation @ middle)
        if _angle(start, pose) < _SAME_DEGREES:
            return None
        # The reversal is exact for a plane at infinity only: residuals are large before the first step.
        pixels, _ = project_points(self._points[points], start, found.pose.camera)
        errors = np.linalg.norm(pixels - query.pixels[keypoints], axis=1)
        if (errors < _REVERSED_ERROR * query.side).mean() < _RIVAL_SHARE:
            return None
        other = refine_absolute_pose(
            query.pixels[keypoints],
            self._points[points],
            RefinedPose(start, found.pose.camera, found.pose.covariance, found.pose.residuals),
            np.full(len(points), _REVERSED_LOSS * query.pixel),
            loss_scale=1.0,
            most_steps=10,
        )
        if other is None or _angle(other.world_from_cam, pose) < _SAME_DEGREES:
            return None
        agreeing = int((other.residuals <= self.settings.max_error * query.side).sum())
        return other if agreeing >= _RIVAL_SHARE * len(points) else None

    def _refined(
        self,
        query: "_Query",
        keypoints: Int[np.ndarray, "k"],
        points: Int[np.ndarray, "k"],
        start: PoseEstimate | RefinedPose,
        *,
        free: bool,
        rounds: int = 2,
    ) -> RefinedPose | None:
        """The pose with the least robust error, whose loss follows the residuals of the matches themselves.

        Poses of training frames are off by what changes slowly from view to view, and so are their points:
        the deviation of a match grows with the number of frames that are nearer to the pose than the nearest
        one that sees its point. Otherwise one deviation serves all matches: on held-out frames weights by the
        points' own deviations made errors larger by a sixth.

        Args:
            query: what the matches are of.
            keypoints, points: the matches.
            start: a pose near the minimum.
            free: whether the focal length is refined too.
            rounds: how often the deviation is measured and the pose refined.

        Returns:
            None if the matches do not determine the pose.
        """
        pixels, seen = query.pixels[keypoints], self._points[points]
        nearer = self._candidates.frames_nearer(start.world_from_cam, points)
        spread = (1.0 + nearer) ** self.settings.nearness_power
        projected, _ = project_points(seen, start.world_from_cam, start.camera)
        residuals = np.linalg.norm(projected - pixels, axis=1)
        pose: RefinedPose | None = None
        for _ in range(rounds):
            near = (residuals / spread)[residuals < self.settings.inlier_error * query.side]
            # The length of an error with two normal coordinates is Rayleigh distributed.
            quantile = float(np.quantile(near, _DEVIATION_QUANTILE)) if len(near) else 0.0
            deviation = quantile / math.sqrt(-2.0 * math.log(1.0 - _DEVIATION_QUANTILE))
            pose = refine_absolute_pose(
                pixels,
                seen,
                start,
                max(deviation, _LEAST_DEVIATION * query.pixel) * spread,
                refine_focal_length=free,
                loss_scale=self.settings.loss_scale,
            )
            if pose is None:
                return None
            start, residuals = pose, pose.residuals
        return pose

    def _answer(
        self,
        query: "_Query",
        portion: Portion,
        found: "_Confirmed",
        first_inliers: Int[np.ndarray, "k"],
        rival: float,
        clock: "_Clock",
        *,
        free: bool,
    ) -> VerifiedPose:
        inliers = found.inliers
        pixels = query.features.keypoints.astype(np.float64)
        seen = pixels[found.keypoints[inliers]]
        share = (self.settings.inlier_error / (self.settings.windows or (math.inf,))[-1]) ** 2
        verification = Verification(
            inliers=found.count,
            ratio=float(inliers.mean()),
            evidence=_evidence(found.count, len(inliers), share),
            visible_ratio=found.count / max(found.visible, 1),
            coverage=_coverage(seen, query.camera),
            rival=rival,
            first_inliers=len(first_inliers),
            first_coverage=_coverage(pixels[first_inliers], query.camera),
            candidates=portion.frames,
            points=int(query.nearest.compared.sum()),
            found_by=portion.found_by,
            focal_length="found" if free else "given",
            seconds=clock.seconds,
        )
        covariance = calibrated_covariance(
            found.pose.covariance, verification.ratio, self.scene_map.calibration
        )
        return VerifiedPose(
            found.pose.world_from_cam,
            covariance,
            found.pose.camera,
            verification,
            seen,
            found.points[inliers],
            found.pose.focal_sigma,
        )

    # --- acceptance ---------------------------------------------------------------------------------------

    def _shortfall(self, answer: VerifiedPose) -> str | None:
        """Why a pose is not called verified, or None."""
        calibration, found = self.scene_map.calibration, answer.verification
        factor = 1.0 if found.focal_length == "given" else _FOUND_FOCAL_FACTOR
        inliers = int(np.ceil((calibration.least_inliers or UNCALIBRATED_INLIERS) * factor))
        evidence = calibration.least_evidence or UNCALIBRATED_EVIDENCE
        if found.inliers < inliers:
            return f"it has {found.inliers} inliers and needs {inliers}"
        if not is_evident(found, evidence, factor):
            return (
                f"chance explains its inliers: evidence {found.evidence:.1f}, "
                f"{evidence * factor:.1f} is needed"
            )
        if found.rival > self.settings.most_rival:
            return "its inliers lie in one plane and two poses see them alike"
        if found.coverage < calibration.least_coverage:
            return (
                f"its inliers lie in {found.coverage:.0%} of the image, not {calibration.least_coverage:.0%}"
            )
        variances = np.diag(answer.covariance)
        away = np.linalg.norm(self._points[answer.points] - answer.world_from_cam.translation, axis=1)
        degrees = float(np.degrees(np.sqrt(variances[:3].sum())))
        share = float(np.sqrt(variances[3:].sum())) / max(float(np.median(away)), 1e-12)
        if degrees > (calibration.most_sigma_degrees or UNCALIBRATED_SIGMA_DEGREES) or share > (
            calibration.most_sigma or UNCALIBRATED_SIGMA
        ):
            return f"it is off by {degrees:.1f} degrees and {share:.1%} of the distance to the points or more"
        return None

    def _is_focal_length_doubted(self, query: "_Query", answer: VerifiedPose, clock: "_Clock") -> bool:
        """Whether a pose is looked for with another focal length than the given one.

        With half or twice the focal length a pose may still have hundreds of inliers, those near one plane,
        and be wrong by meters. Its inliers agree with the wrong focal length, so that only all
        matches together can refute it. The focal length of a training camera is doubted where another one
        agrees with clearly more matches by descriptors alone. Any other one has to be found again.
        """
        if not self.settings.find_focal_length:
            return False
        if not self._is_as_trained(answer.camera):
            return True
        with clock.step("focal length"):
            chosen, points = query.nearest.matches(self.settings.ratio)
            free = estimate_absolute_pose(
                query.pixels[query.first[chosen]],
                self._points[points],
                query.camera,
                max_error=self.settings.max_error * query.side,
                focal_length_known=False,
            )
        if free is None or _focal_difference(free, answer.camera) < self.settings.most_focal_error:
            return False
        return int(free.inliers.sum()) >= _SHARE_OF_DOUBT * answer.verification.first_inliers

    def _is_as_trained(self, camera: Camera) -> bool:
        """Whether a training camera has the same focal length for its size."""
        known = [each.fx / max(each.width, each.height) for each in self.scene_map.cameras]
        own = camera.fx / max(camera.width, camera.height)
        return any(1 / _SAME_FOCAL < own / each < _SAME_FOCAL for each in known)

    def _reason(self, query: "_Query", best: VerifiedPose | None) -> str:
        if len(query.features) < self.settings.least_first_inliers:
            return (
                f"the image has {len(query.features)} local features and needs "
                f"{self.settings.least_first_inliers}"
            )
        if best is None:
            return "no pose agrees with the matches between the image and the map"
        shortfall = self._shortfall(best) or "its matches fit another focal length than the given one"
        return f"the map does not confirm the best pose: {shortfall}"


def _focal_difference(found: VerifiedPose | PoseEstimate, given: Camera) -> float:
    """Absolute difference of the logarithms of two focal lengths."""
    return abs(math.log(found.camera.fx / given.fx))


def _confirms_focal_length(found: VerifiedPose, given: Camera) -> bool:
    """Whether the focal length that was found is certain, and that of the given camera."""
    is_certain = found.focal_sigma < _CONFIRMED_FOCAL_SIGMA
    return is_certain and _focal_difference(found, given) < _CONFIRMED_FOCAL


def is_evident(found: Verification, least_evidence: float, factor: float = 1.0) -> bool:
    """Whether chance does not explain the inliers of an answer.

    Args:
        found: how the map agrees with it.
        least_evidence: that the calibration requires.
        factor: of the evidence and the first inliers that are required.
    """
    are_apart = found.first_coverage >= _APART * factor
    enough = _FIRST_INLIERS_APART if are_apart else _FIRST_INLIERS
    has_usual_bound = least_evidence <= USUAL_EVIDENCE * EVIDENCE_MARGIN
    has_many_first_inliers = found.first_inliers >= enough * factor
    return found.evidence >= least_evidence * factor or (has_usual_bound and has_many_first_inliers)


def calibrated_covariance(
    covariance: Float[np.ndarray, "*n 6 6"], ratio: float | Float[np.ndarray, "*n"], calibration: Calibration
) -> Float[np.ndarray, "*n 6 6"]:
    """Covariances of the normal equations with the factors and the floors of a calibration.

    Args:
        covariance: of the rotation vector and the centre, as the normal equations give it.
        ratio: share of the guided matches that are inliers.
        calibration: of the map.
    """
    floor = np.repeat((np.radians(calibration.rotation_floor_degrees), calibration.position_floor), 3)
    scale = np.repeat((calibration.rotation_scale, calibration.position_scale), 3)
    agreement = np.maximum(np.asarray(ratio), _LEAST_RATIO) ** calibration.ratio_power
    factors = scale / agreement[..., None]
    calibrated: Float[np.ndarray, "*n 6 6"] = covariance * factors[..., :, None] * factors[
        ..., None, :
    ] + np.diag(floor**2)
    return calibrated


@dataclass(frozen=True, eq=False)
class _Confirmed:
    """A pose after the guided pass, with its matches."""

    pose: RefinedPose
    keypoints: Int[np.ndarray, "k"]
    points: Int[np.ndarray, "k"]
    inliers: Bool[np.ndarray, "k"]
    visible: int

    @property
    def count(self) -> int:
        """Number of inliers."""
        return int(self.inliers.sum())


@dataclass(eq=False)
class _Query:
    """What of a query all portions need.

    Attributes:
        features: within the part of the image that the lens covers.
        camera: the pinhole camera with the focal length of the lens.
        pixels: (m, 2) of the keypoints in the pinhole camera.
        projected: (m, d) their descriptors.
        first: (k,) the keypoints that are compared by descriptors alone.
        tree: of `pixels`.
        nearest: what they were compared with so far.
        pixel: pixels of the image for one pixel of the scaled image that features were extracted from.
    """

    features: Features
    camera: Camera
    pixels: Float[np.ndarray, "m 2"]
    projected: Float32[np.ndarray, "m d"]
    first: Int[np.ndarray, "k"]
    tree: cKDTree
    nearest: NearestPoints
    pixel: float

    @classmethod
    def of(
        cls, features: Features, camera: Camera | None, size: tuple[int, int], scene_map: SceneMap, first: int
    ) -> "_Query":
        width, height = size
        focal = _USUAL_FOCAL * max(size)
        lens = camera or Camera(width, height, focal, focal, width / 2, height / 2)
        pixels = pinhole_pixels(features.keypoints, lens)
        usable = np.flatnonzero(np.isfinite(pixels).all(axis=1))
        features, pixels = features.rows(usable), pixels[usable]
        projected = scene_map.codec.project(features.descriptors.astype(np.float32))
        largest = np.sort(np.argsort(-features.scales, kind="stable")[:first])
        nearest = NearestPoints.start(projected[largest], len(scene_map))
        pixel = 1.0 / extraction_scale(width, height, scene_map.features)
        return cls(features, lens.undistorted(), pixels, projected, largest, cKDTree(pixels), nearest, pixel)

    def compared_with_nothing(self, points: int) -> NearestPoints:
        """As before the first portion."""
        return NearestPoints.start(self.projected[self.first], points)

    @property
    def side(self) -> int:
        """The larger side of the image in pixels."""
        return max(self.camera.width, self.camera.height)


class _Clock:
    """Seconds of each step, summed."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Adds the time that passes inside to the step's."""
        started = time.perf_counter()
        with stage(name):
            yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


def _more_evident(best: VerifiedPose | None, answer: VerifiedPose | None) -> VerifiedPose | None:
    if best is None or answer is None:
        return answer or best
    return answer if answer.verification.evidence > best.verification.evidence else best


def _evidence(inliers: int, matches: int, share: float) -> float:
    """Minus log10 of the probability of so many inliers among matches of which `share` are, by chance."""
    if inliers == 0:
        return 0.0
    chance = float(bdtrc(inliers - 1, matches, min(share, 1.0)))
    return min(-math.log10(chance), MOST_EVIDENCE) if chance > 0.0 else MOST_EVIDENCE


def _angle(first: Pose, second: Pose) -> float:
    """Degrees between two orientations."""
    relative = first.rotation.T @ second.rotation
    twist = np.array(
        [relative[2, 1] - relative[1, 2], relative[0, 2] - relative[2, 0], relative[1, 0] - relative[0, 1]]
    )
    return float(np.degrees(np.arctan2(np.linalg.norm(twist), np.trace(relative) - 1.0)))


def _coverage(keypoints: Float[np.ndarray, "n 2"], camera: Camera) -> float:
    """Share of the cells of a grid of 8 x 8 that have a keypoint."""
    cells = np.floor(keypoints / (camera.width, camera.height) * 8).clip(0, 7).astype(np.int64)
    return len(np.unique(cells[:, 1] * 8 + cells[:, 0])) / 64
