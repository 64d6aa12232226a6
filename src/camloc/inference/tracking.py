"""Locate the images of a sequence, each with the help of those before and, in the end, of those after.

    locate (near the predicted pose) -> measurement -> filter -> ... -> smoother -> Located or Lost

Verified poses are measurements with their covariance; poses that no map confirmed (the network's, or the best
one that the map rejected) count only where they are well within the region that the motion predicts. Images
without a measurement are bridged as long as the motion is certain enough.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation, Slerp

from camloc.data.formats.tum import Trajectory
from camloc.data.query import NamedQuery, Query
from camloc.data.types import MEDIAN_OF_NORM, Estimate, ExpectedError, Located, Lost, Unit
from camloc.errors import DatasetError, ImageError, RecipeError
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose
from camloc.inference.localizer import Localizer
from camloc.inference.pose_filter import (
    Measurement,
    MotionModel,
    PoseFilter,
    State,
    Step,
    likeliest_model,
    run_filter,
    smoothed,
)
from camloc.inference.shared_points import SharedView, keypoints_of, refined_together
from camloc.inference.verification import MapLocalizer
from camloc.mapping.features import Features, FeatureSettings, extraction_scale
from camloc.mapping.matching import FrameKeypoints
from camloc.mapping.scene_map import SceneMap

# Frames whose points a query is compared with first, near a predicted pose.
_NEAR_FRAMES = (4, 10)

# Pixels that are enough near a predicted pose: half of the usual ones. Chosen on stretches of training frames
# that were held out, as all that is here.
_NEAR_PIXELS = 640 * 480 // 2

# Features of an image that are refined together with its neighbours, the largest ones.
_SHARED_FEATURES = 300

# Standard deviations of a verified pose of a map that is not calibrated: a share of the usual distance to the
# points, and degrees.
_UNCALIBRATED_SIGMA, _UNCALIBRATED_DEGREES = 0.01, 0.5

# The standard deviations of a rejected pose of the map are this many times its covariance's.
_REJECTED_SCALE = 2.0


@dataclass(frozen=True)
class TrackSettings:
    """Settings of tracking.

    Attributes:
        acceleration: of the camera at first, as a share of the usual distance to the scene's points, per
            second^1.5; it is estimated for each sequence.
        angular_acceleration: the same in radians per second^1.5.
        most_sigma: an image is bridged while the standard deviation of its position is less than this share
            of the usual distance to the scene's points.
        most_sigma_degrees: the same of its orientation.
    """

    acceleration: float = 0.15
    angular_acceleration: float = 0.5
    most_sigma: float = 0.1
    most_sigma_degrees: float = 10.0


@dataclass(frozen=True, eq=False)
class TrackedImage:
    """An image of a sequence.

    Attributes:
        name: of the image in the output.
        time: in seconds.
        single: the estimate of the image itself.
        pose: the estimate with the help of the images before (and after, by `Track.smooth`).
        is_outlier: whether the image has a pose that the motion contradicts, and which was left out.
    """

    name: str
    time: float
    single: Estimate
    pose: Estimate
    is_outlier: bool = False


@dataclass(eq=False)
class Track:
    """Tracks one sequence in one scene.

    Attributes:
        localizer: of a run with a map.
        settings: how.
        odometry: the path of the same camera in any world, such as that of visual odometry or wheels; None
            for a constant velocity.
        rate: images in a second, for images without times.
        together: whether `smooth` refines neighbouring images together; it needs their features, which are
            kept, some 30 kB an image.
        scene: name of the scene, which the first verified image decides.
    """

    localizer: Localizer
    settings: TrackSettings = field(default_factory=TrackSettings)
    odometry: Trajectory | None = None
    rate: float = 30.0
    together: bool = True
    scene: str = ""

    def __post_init__(self) -> None:
        if not self.localizer.maps:
            raise RecipeError("only a run with a map tracks sequences; build one with `camloc map RUN`")
        # Near a predicted pose a smaller image and few frames are enough, and the network does not predict.
        quick, careful = (
            {name: of(each) for name, each in self.localizer.maps.items()} for of in (_quick, _careful)
        )
        self._near = tuple(
            Localizer(maps=maps, verify="always", masks=self.localizer.masks) for maps in (quick, careful)
        )
        self._filter: PoseFilter | None = None
        self._distance = 1.0
        self._unit: Unit = "m"
        self._images: list[TrackedImage] = []
        self._measurements: list[Measurement | None] = []
        self._motions: list[Pose | None] = []
        self._kept: list[_Kept | None] = []
        self._shared: Float[np.ndarray, "6 6"] = np.zeros((6, 6))

    def images(self, queries: Iterable[NamedQuery | ImageError]) -> Iterator[TrackedImage]:
        """Locate images in their order, each as soon as it comes, with the help of those before.

        Raises:
            DatasetError: the time of an image is not after that of the one before.
        """
        for item in queries:
            if isinstance(item, ImageError):
                raise item
            yield self._advance(item)

    def smooth(self) -> list[TrackedImage]:
        """The poses of all images so far, each with the help of those before and after it.

        How fast the camera accelerates is estimated from the images themselves.
        """
        if self._filter is None:
            return list(self._images)
        times = [each.time for each in self._images]
        motions = self._motions if self.odometry is not None else None
        model = likeliest_model(times, self._measurements, self._filter.model, motions)
        steps, cost = run_filter(times, self._measurements, model, motions)
        states = smoothed(steps)
        if self.together:
            motions = self._shared_motion(steps, states)
            model = likeliest_model(times, self._measurements, model, motions)
            again, cost_again = run_filter(times, self._measurements, model, motions)
            if cost_again < cost:
                steps, states = again, smoothed(again)
        self._shared = _usual_covariance(steps, self._measurements)
        return [
            replace(
                image, pose=self._pose(image.single, image.time, step, state), is_outlier=_is_outlier(step)
            )
            for image, step, state in zip(self._images, steps, states, strict=True)
        ]

    def _shared_motion(
        self, steps: Sequence[Step | None], states: Sequence[State | None]
    ) -> list[Pose | None]:
        """The motion from each image to the next by the features that they share, or by the filter.

        It serves as odometry: how exact it is, and so how much it counts beside the measured poses, their
        likelihood decides.
        """
        views = []
        for step, state, kept, measurement in zip(steps, states, self._kept, self._measurements, strict=True):
            if step is not None and state is not None and kept is not None and self._is_certain(state):
                pose = state.world_from_cam
                views.append(SharedView(pose, kept.keypoints, kept.camera, kept.scale, measurement))
            else:
                views.append(SharedView(Pose.identity(), None, None, 1.0, None))
        found = refined_together(views, depth=self._distance)
        path = [
            found.get(row, None if state is None else state.world_from_cam)
            for row, state in enumerate(states)
        ]
        return [
            None,
            *(None if a is None or b is None else a.inverse() @ b for a, b in pairwise(path)),
        ]

    def _advance(self, item: NamedQuery) -> TrackedImage:
        time = item.query.time
        if time is None:
            time = len(self._images) / self.rate
        last = self._images[-1].time if self._images else None
        if last is not None and time <= last:
            raise DatasetError(
                f"{item.label} is at {time:.6f} s, not after the image before it at {last:.6f} s; "
                f"sort the images"
            )
        motion = None if last is None else self._motion(last, time)
        query = replace(item.query, time=time)
        predicted = None if self._filter is None else self._filter.predicted(time, motion)
        features: dict[FeatureSettings, Features] = {}
        try:
            single = self._near_prediction(query, predicted, features)
            single = single or self.localizer.locate(query, features=features)
        except ImageError as problem:
            single = Lost(str(problem), time)
        if self._filter is None and isinstance(single, Located) and single.is_verified:
            self._start(single)
        measurement = self._measurement(single)
        step = None if self._filter is None else self._filter.advance(time, measurement, motion)
        if step is not None and step.is_used and measurement is not None:
            self._shared = measurement.covariance
        self._motions.append(motion)
        self._measurements.append(measurement)
        state = None if step is None else step.updated
        image = TrackedImage(
            item.label, time, single, self._pose(single, time, step, state), _is_outlier(step)
        )
        self._images.append(image)
        self._kept.append(self._keep(single, features) if self.together else None)
        return image

    def _keep(self, single: Estimate, features: "dict[FeatureSettings, Features]") -> "_Kept | None":
        """The inputs of the joint refinement from an image whose camera is known."""
        if not features or not isinstance(single, Located) or single.camera is None:
            return None
        (settings, found), camera = next(iter(features.items())), single.camera
        if single.scene not in self.localizer.maps:
            return None
        codec = self.localizer.maps[single.scene].scene_map.codec
        scale = extraction_scale(camera.width, camera.height, settings)
        largest = np.sort(np.argsort(-found.scales, kind="stable")[:_SHARED_FEATURES])
        return _Kept(keypoints_of(found.rows(largest), camera, codec), camera, scale)

    def _near_prediction(
        self, query: Query, predicted: State | None, features: "dict[FeatureSettings, Features]"
    ) -> Estimate | None:
        """The estimate by the map near the predicted pose, or None where nothing is predicted well."""
        if predicted is None or not self._is_certain(predicted):
            return None
        previous = Located(
            self.scene, predicted.world_from_cam, ExpectedError.of_covariance(predicted.covariance[:6, :6])
        )
        found: Estimate | None = None
        for near in self._near:
            found = near.locate(replace(query, previous=previous), features=features)
            if isinstance(found, Located):
                return found
        if self.localizer.network is not None:
            network = replace(self.localizer, maps={}, verify="never").locate(query)
            return network if isinstance(network, Located) else found
        return found

    def _start(self, first: Located) -> None:
        self.scene, self._unit = first.scene, first.unit
        scene_map = self.localizer.maps[first.scene].scene_map
        self._distance = usual_distance(scene_map)
        model = MotionModel(self.settings.acceleration * self._distance, self.settings.angular_acceleration)
        self._filter = PoseFilter(model)

    def _measurement(self, single: Estimate) -> Measurement | None:
        pose = single.rejected if isinstance(single, Lost) else single
        if self._filter is None or pose is None or pose.scene != self.scene:
            return None
        is_verified = isinstance(single, Located) and single.is_verified
        covariance = pose.covariance
        if covariance is None:
            if pose.expected_error is not None:
                meters, degrees = (each / MEDIAN_OF_NORM for each in pose.expected_error)
            elif is_verified:
                meters, degrees = _UNCALIBRATED_SIGMA * self._distance, _UNCALIBRATED_DEGREES
            else:
                return None
            covariance = np.diag(np.repeat((np.radians(degrees) ** 2, meters**2), 3))
        if isinstance(single, Lost):
            covariance = covariance * _REJECTED_SCALE**2
        return Measurement(pose.world_from_cam.numpy(), covariance, is_verified)

    def _motion(self, start: float, end: float) -> Pose | None:
        if self.odometry is None:
            return None
        first, second = (interpolated(self.odometry, time) for time in (start, end))
        return None if first is None or second is None else first.inverse() @ second

    def _is_certain(self, state: State) -> bool:
        variances = np.diag(state.covariance)[:6]
        degrees, meters = np.degrees(np.sqrt(variances[:3].sum())), np.sqrt(variances[3:].sum())
        return bool(
            meters < self.settings.most_sigma * self._distance and degrees < self.settings.most_sigma_degrees
        )

    def _pose(self, single: Estimate, time: float, step: Step | None, state: State | None) -> Estimate:
        if step is None or state is None:
            return single if isinstance(single, Lost) else Lost("the sequence has no verified pose yet", time)
        if not self._is_certain(state):
            reason = single.reason if isinstance(single, Lost) else "its pose does not fit the motion"
            return Lost(f"{reason}; the motion is too uncertain to bridge it", time)
        used = single if isinstance(single, Located) and step.is_used else None
        # Errors that neighbouring images share, as the map's own, do not average out: the covariance of a
        # usual measurement is added to that of the filter, which knows nothing of them.
        covariance = state.covariance[:6, :6] + self._shared
        return Located(
            scene=self.scene,
            world_from_cam=state.world_from_cam,
            expected_error=ExpectedError.of_covariance(covariance),
            covariance=covariance,
            verification=None if used is None else used.verification,
            novelty=None if used is None else used.novelty,
            unit=self._unit,
            time=time,
            camera=single.camera if isinstance(single, Located) else None,
            is_bridged=not step.is_used,
        )


@dataclass(frozen=True, eq=False)
class _Kept:
    """The features of an image of the sequence, the camera, and the scale that they were extracted at."""

    keypoints: FrameKeypoints
    camera: Camera
    scale: float


def _quick(usual: MapLocalizer) -> MapLocalizer:
    """Looks near a predicted pose alone, in an image with fewer pixels: most of the time goes to features.

    Their keypoints are less exact in the pixels of the image, which the covariance allows for. The focal
    length was checked by the images before.
    """
    scene_map = usual.scene_map
    features = replace(
        scene_map.features,
        least_pixels=min(scene_map.features.least_pixels, _NEAR_PIXELS),
        most_pixels=min(scene_map.features.most_pixels, _NEAR_PIXELS),
    )
    settings = replace(usual.settings, sources=("prior",), frame_counts=_NEAR_FRAMES, find_focal_length=False)
    return MapLocalizer(replace(scene_map, features=features), settings)


def _careful(usual: MapLocalizer) -> MapLocalizer:
    """Looks near a predicted pose first, in all of the image."""
    others = tuple(source for source in usual.settings.sources if source != "prior")
    settings = replace(
        usual.settings,
        sources=("prior", *others),
        frame_counts=(_NEAR_FRAMES[0], *usual.settings.frame_counts),
    )
    return MapLocalizer(usual.scene_map, settings)


def usual_distance(scene_map: SceneMap) -> float:
    """The median distance between frames and the points that they see, in the unit of the map."""
    frame = np.repeat(np.arange(len(scene_map.frame_positions)), np.diff(scene_map.seen_offsets))
    away = scene_map.points[scene_map.seen_points] - scene_map.frame_positions[frame]
    return max(float(np.median(np.linalg.norm(away, axis=1))), 1e-9)


def interpolated(path: Trajectory, time: float) -> Pose | None:
    """The pose of a path at a time, or None outside its times; linear, and along the shortest turn."""
    times = np.array(path.times)
    if not times[0] <= time <= times[-1]:
        return None
    after = int(np.clip(np.searchsorted(times, time), 1, len(times) - 1))
    pair = path.world_from_cam[after - 1 : after + 1]
    share = (time - times[after - 1]) / (times[after] - times[after - 1])
    rotation = Slerp([0.0, 1.0], Rotation.from_matrix(pair.rotation))(share).as_matrix()
    start, end = pair.translation
    return Pose(rotation, (1.0 - share) * start + share * end)


def _usual_covariance(
    steps: Sequence[Step | None], measurements: Sequence[Measurement | None]
) -> Float[np.ndarray, "6 6"]:
    """Of the measurements that were used the covariance with the median deviation of positions."""
    used = [
        each.covariance
        for step, each in zip(steps, measurements, strict=True)
        if step is not None and step.is_used and each is not None
    ]
    if not used:
        return np.zeros((6, 6))
    ordered = sorted(used, key=lambda covariance: float(np.trace(covariance[3:, 3:])))
    return ordered[len(ordered) // 2]


def _is_outlier(step: Step | None) -> bool:
    return step is not None and step.distance is not None and not step.is_used


def checked_odometry(path: Trajectory, name: str) -> Trajectory:
    """Odometry in the order of its times.

    Raises:
        DatasetError: there are fewer than two poses, or a time is there twice.
    """
    if len(path.times) < 2:
        raise DatasetError(f"{name} has fewer than two poses; odometry needs a path")
    order: Sequence[int] = np.argsort(path.times, kind="stable").tolist()
    times = tuple(path.times[row] for row in order)
    if len(set(times)) != len(times):
        raise DatasetError(f"{name} has two poses of one time")
    return Trajectory(times, path.world_from_cam[np.array(order)])
