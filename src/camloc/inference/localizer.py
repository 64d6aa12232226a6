"""Find the pose of the camera that took an image.

A run holds a network, maps of local features, or both. The network predicts a pose in milliseconds; the map
of the scene verifies it to the centimetre, with an inlier count and a covariance:

    locate -> network prediction (the prior) -> map verification -> Located (verified or not) or Lost

torch is imported only for the network of a run that was not exported.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from jaxtyping import Bool, UInt8

from camloc.core.stages import stage
from camloc.data.image_io import assign_camera, decoded, fitted_camera, fitting_cameras, read_with_camera
from camloc.data.masks import read_mask_as_stored
from camloc.data.query import ImageLike, Query, is_image_like
from camloc.data.types import Estimate, ExpectedError, FoundBy, Frame, ImageInMemory, Located, Lost
from camloc.errors import ImageError, RecipeError
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose
from camloc.inference.onnx.bundle import has_network, is_exported, unpacked
from camloc.mapping.features import Features, FeatureSettings, feature_extractor
from camloc.mapping.scene_map import SceneMap, load_maps
from camloc.models.metadata import has_checkpoint

if TYPE_CHECKING:
    from camloc.evaluation.predicted_points import MappedView
    from camloc.inference.candidates import PosePrior
    from camloc.inference.network import EstimatesByMethod, NetworkLocalizer
    from camloc.inference.verification import MapLocalizer, Rejected, VerifiedPose
    from camloc.models.outlier_filters import OutlierFilter

Verify = Literal["auto", "always", "never"]
"""Whether the map verifies: "auto" returns the network's pose as unverified if the map does not confirm a
pose, "always" loses such images, "never" leaves the map out."""

Prior = Literal["network", "retrieval", "none"]
"""The points that are tried first: near the network's pose, of the most similar frames, or all."""

# Sources of candidates in the map.
_SOURCES: Mapping[Prior, tuple[FoundBy, ...]] = {
    "network": ("prior", "retrieval", "votes", "whole map"),
    "retrieval": ("retrieval", "votes", "whole map"),
    "none": ("votes", "whole map"),
}

# The name of the verified estimates beside those of the refinement methods.
MAP = "map"

# Different training cameras of one image size that are tried, at most.
_MOST_CAMERAS = 4

# Images of a list that pass through the network together.
_BATCH_SIZE = 32


@dataclass(frozen=True, eq=False)
class Localizer:
    """Locates images in the scenes of a run.

    Attributes:
        network: predicts poses, or None for a run of maps alone.
        maps: verify poses, by the name of their scene; empty for a network alone.
        verify: whether the maps are used.
        prior: where a map looks for the query first.
        masks: a folder with one mask `NAME.png` for each image NAME, black where pixels do not count, or
            None.
    """

    network: "NetworkLocalizer | None" = None
    maps: "Mapping[str, MapLocalizer]" = field(default_factory=dict)
    verify: Verify = "auto"
    prior: Prior = "network"
    masks: Path | None = None
    _extractors: threading.local = field(default_factory=threading.local, repr=False)

    def __post_init__(self) -> None:
        if self.network is None and not self._uses_maps:
            raise RecipeError("there is neither a network nor a map to locate with; leave out --verify never")
        if self.verify == "always" and not self.maps:
            raise RecipeError("this run has no map to verify with; build one with `camloc map RUN`")

    @classmethod
    def load(
        cls,
        run: Path | str,
        *,
        device: str = "cpu",
        verify: Verify = "auto",
        prior: Prior = "network",
        outlier_filter: "OutlierFilter | None" = None,
        masks: Path | None = None,
        refine: str = "none",
        every_method: bool = False,
        inlier_threshold: float | None = None,
    ) -> "Localizer":
        """Load a run folder, a checkpoint folder, or an export (a folder or a file).

        Args:
            run: the folder or file.
            device: where the network runs.
            verify, prior, masks: see the class.
            outlier_filter, refine, every_method, inlier_threshold: of the network; see
                `NetworkLocalizer.load`.

        Raises:
            CheckpointError: there is neither a network nor a map, or one of them is damaged.
            RecipeError: an option does not fit the run, or this machine has no such device.
            MissingExtraError: the network was not exported, and torch is not installed.
        """
        with unpacked(Path(run)) as path:
            maps = {} if verify == "never" else load_maps(path)
            network = None
            if not maps or (has_network(path) if is_exported(path) else has_checkpoint(path)):
                from camloc.inference.network import NetworkLocalizer

                network = NetworkLocalizer.load(
                    path,
                    device=device,
                    outlier_filter=outlier_filter,
                    masks=masks,
                    refine=refine,
                    every_method=every_method,
                    inlier_threshold=inlier_threshold,
                )
            elif outlier_filter or refine != "none":
                raise RecipeError(f"{path} has no network; filters and refinement are for networks")
        if not maps:
            return cls(network, {}, verify, prior, masks)
        from camloc.inference.verification import MapLocalizer, VerificationSettings

        settings = VerificationSettings(sources=_SOURCES[prior])
        localizers = {name: MapLocalizer(each, settings) for name, each in maps.items()}
        return cls(network, localizers, verify, prior, masks)

    @classmethod
    def from_pretrained(
        cls, source: Path | str, *, revision: str | None = None, **options: Any
    ) -> "Localizer":
        """Load a bundle from a folder, or download it from a repository `owner/name` of the Hugging Face hub.

        Args:
            source: the folder, or the name of the repository.
            revision: branch, tag or commit of the repository.
            options: of `load`.

        Raises:
            MissingExtraError: a repository is named and huggingface-hub is not installed.
            CheckpointError: it cannot be downloaded, or is no bundle.
        """
        from camloc.inference.hub import bundle_of

        return cls.load(bundle_of(source, revision=revision), **options)

    @property
    def scenes(self) -> tuple[str, ...]:
        """Names of the scenes: those of the network by their numbers, then those of further maps."""
        known = () if self.network is None else self.network.metadata.scenes
        return (*known, *(name for name in self.maps if name not in known))

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """The different cameras of the training images, as these are stored."""
        known = [] if self.network is None else [*self.network.metadata.cameras]
        for each in self.maps.values():
            known += each.scene_map.cameras
        return tuple(dict.fromkeys(known))

    @overload
    def locate(  # type: ignore[overload-overlap]  # a binary file is an iterator of its lines
        self,
        image: ImageLike | Query,
        *,
        camera: Camera | None = None,
        previous: Pose | Located | None = None,
        time: float | None = None,
        features: "dict[FeatureSettings, Features] | None" = None,
    ) -> Estimate: ...

    @overload
    def locate(
        self,
        image: "list[ImageLike | Query] | tuple[ImageLike | Query, ...]",
        *,
        camera: Camera | None = None,
    ) -> list[Estimate]: ...

    @overload
    def locate(
        self, image: "Iterator[ImageLike | Query]", *, camera: Camera | None = None
    ) -> Iterator[Estimate]: ...

    def locate(
        self,
        image: Any,
        *,
        camera: Camera | None = None,
        previous: Any = None,
        time: float | None = None,
        features: "dict[FeatureSettings, Features] | None" = None,
    ) -> Any:
        """The pose of the camera that took an image, or the poses of several.

        Args:
            image: an image of any size: a path, the bytes of a file, a binary file object, a PIL image, an
                array or a tensor in 8-bit RGB; see `Query`, which also holds what is known of one image. A
                list or a tuple of these gives a list of answers, an iterator (such as a generator) an
                iterator that locates as it is read.
            camera: the intrinsics. By default the image is assigned to the training camera whose images have
                its size or shape; if there is none, the map finds the focal length.
            previous: where the camera was shortly before (`Located`, or `Pose` as `world_from_cam`), or
                None. The map looks there first; the answer does not depend on it otherwise.
            time: of the image in seconds, or None; the answer has it too.
            features: local features of the image that were extracted already, by the settings of maps. They
                are not extracted again, and those that are extracted are added.

        Raises:
            ImageError: the image, or its mask, cannot be decoded, or is not of these kinds. Among several
                images one that cannot be decoded is lost, and does not stop the others.
        """
        given = {"camera": camera, "previous": previous, "time": time}
        if isinstance(image, Query) or is_image_like(image):
            request = replace(_request(image, **given), features={} if features is None else features)
            frame = self._with_camera(decoded(request.frame))
            prediction = None if self.network is None else self.network.locate(frame)
            return _finished(self._combined(replace(request, frame=frame), prediction), frame)
        if not isinstance(image, list | tuple | Iterator):
            _request(image)  # raises an error that lists the accepted kinds
        if previous is not None or time is not None:
            raise ImageError("give the previous pose and the time of each of several images as camloc.Query")
        if features:
            raise ImageError("features can be given for one image; call locate for each")
        if isinstance(image, Iterator):
            return (each for single in image for each in self._several([single], camera))
        return list(self._several(image, camera))

    def locate_all(self, frames: Iterable[Frame], *, batch_size: int = 32) -> Iterator[Estimate]:
        """The estimates of frames, in order; an image that cannot be decoded is lost."""
        chosen = self.method
        return (each[chosen] for each in self.locate_every_method(frames, batch_size=batch_size, only=chosen))

    def locate_every_method(
        self, frames: Iterable[Frame], *, batch_size: int = 32, only: str = ""
    ) -> "Iterator[EstimatesByMethod]":
        """The estimates of frames by method: "none" (the network alone), its refinement methods, "map".

        Args:
            frames: images with or without cameras.
            batch_size: images that pass through the network together.
            only: the method that is needed, or "" for all.
        """
        for batch in _batches((_Request(frame) for frame in frames), batch_size):
            yield from self._batch(batch, only)

    def predicted_view(self, frame: Frame) -> "MappedView | None":
        """The scene points that the network predicts for an image; see `NetworkLocalizer`."""
        return None if self.network is None else self.network.mapped(frame)

    def map_of(self, scene: str) -> SceneMap | None:
        """The map that verifies poses in a scene, or None."""
        return self.maps[scene].scene_map if self._uses_maps and scene in self.maps else None

    @property
    def _uses_maps(self) -> bool:
        return bool(self.maps) and self.verify != "never"

    @property
    def method(self) -> str:
        """The method whose estimates `locate_all` returns."""
        if self._uses_maps:
            return MAP
        return "none" if self.network is None else self.network.refine

    def _with_camera(self, frame: Frame) -> Frame:
        """The frame with the training camera that it is assigned to, if its own is unknown."""
        if frame.camera is not None:
            return frame
        return replace(frame, camera=assign_camera(frame.source, self.cameras))

    def _several(self, images: Iterable[Any], camera: Camera | None) -> Iterator[Estimate]:
        """The estimates of images of any kinds, in order."""
        for batch in _batches(images, _BATCH_SIZE):
            requests: list[_Request] = []
            lost: dict[int, Lost] = {}
            for row, image in enumerate(batch):
                if not (isinstance(image, Query) or is_image_like(image)):
                    _request(image)
                try:
                    requests.append(_request(image, camera=camera))
                except ImageError as problem:
                    lost[row] = Lost(str(problem))
            found = (each[self.method] for each in self._batch(requests, self.method))
            yield from (lost[row] if row in lost else next(found) for row in range(len(batch)))

    def _batch(self, requests: "Sequence[_Request]", only: str) -> "Iterator[EstimatesByMethod]":
        requests = [
            replace(request, frame=self._with_camera_if_readable(request.frame)) for request in requests
        ]
        frames = [request.frame for request in requests]
        predictions: Iterable[Mapping[str, Estimate]] = [{} for _ in frames]
        if self.network is not None and only in ("", MAP, self.network.refine):
            predictions = self.network.locate_batch(frames, every_method=not only)
        for request, by_method in zip(requests, predictions, strict=True):
            estimates = dict(by_method)
            if self._uses_maps and only in ("", MAP):
                own = None if self.network is None else estimates[self.network.refine]
                try:
                    estimates[MAP] = self._combined(request, own)
                except ImageError as problem:
                    estimates[MAP] = Lost(str(problem))
            yield {method: _finished(each, request.frame) for method, each in estimates.items()}

    def _with_camera_if_readable(self, frame: Frame) -> Frame:
        try:
            return self._with_camera(frame)
        except ImageError:
            return frame  # reading it again says why

    def _combined(self, request: "_Request", prediction: Estimate | None) -> Estimate:
        """The verified pose if a map confirms one, else the network's prediction as `verify` treats it."""
        if not self._uses_maps:
            assert prediction is not None
            return prediction
        from camloc.inference.verification import VerifiedPose

        query = _read_query(request.frame, self.masks, request.features)
        reason, best = "no map knows this image", None
        for scene in self._order(request, prediction):
            answer, camera = self._in_map(scene, query, request, prediction)
            scene_map = self.maps[scene].scene_map
            if isinstance(answer, VerifiedPose):
                return _located(scene_map, answer, prediction, camera)
            reason = answer.reason
            if best is None and answer.best is not None:
                best = _located(scene_map, answer.best, prediction, camera)
        if prediction is None or self.verify == "always":
            return Lost(reason, rejected=best)
        return prediction

    def _order(self, request: "_Request", prediction: Estimate | None) -> tuple[str, ...]:
        """The scenes in the order in which their maps are tried: the previous one, then the predicted one."""
        known = [each.scene for each in (request.previous, prediction) if isinstance(each, Located)]
        return tuple(dict.fromkeys((*(scene for scene in known if scene in self.maps), *self.maps)))

    def _in_map(
        self, scene: str, query: "_Query", request: "_Request", prediction: Estimate | None
    ) -> "tuple[VerifiedPose | Rejected, Camera | None]":
        """The answer of a map, and the camera that was given for it or assumed."""
        localizer = self.maps[scene]
        prior = _previous(request.previous, scene)
        if (
            prior is None
            and self.prior == "network"
            and isinstance(prediction, Located)
            and prediction.scene == scene
        ):
            prior = _prior(prediction)
        features = query.features(localizer.scene_map.features, self._extractors)
        height, width = query.image.shape[:2]
        cameras: Sequence[Camera | None] = [query.camera]
        if query.camera is None:
            # Of several training cameras of this shape, the one that took the image explains it best.
            fitting = fitting_cameras(ImageInMemory(query.image), localizer.scene_map.cameras)
            cameras = [each.resized(width=width, height=height) for each in fitting[:_MOST_CAMERAS]] or [None]
        answers = [
            (
                localizer.locate_features(
                    features, camera, prior, size=(width, height), seconds=query.seconds
                ),
                camera,
            )
            for camera in cameras
        ]
        return max(answers, key=_agreement)


@dataclass(frozen=True, eq=False)
class _Request:
    """A frame, where the camera was shortly before, and features that were extracted already."""

    frame: Frame
    previous: Pose | Located | None = None
    features: dict[FeatureSettings, Features] = field(default_factory=dict)


def _request(
    image: Any,
    *,
    camera: Camera | None = None,
    previous: Pose | Located | None = None,
    time: float | None = None,
) -> _Request:
    """A request of an image of any kind; the fields of a `Query` come first."""
    query = image if isinstance(image, Query) else Query(image)
    query = replace(
        query,
        camera=camera if query.camera is None else query.camera,
        previous=previous if query.previous is None else query.previous,
        time=time if query.time is None else query.time,
    )
    return _Request(query.frame(), query.previous)


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    pending = []
    for item in items:
        pending.append(item)
        if len(pending) == size:
            yield pending
            pending = []
    if pending:
        yield pending


def _finished(estimate: Estimate, frame: Frame) -> Estimate:
    """The estimate with the time and the camera of its query."""
    if isinstance(estimate, Located) and estimate.camera is None and frame.camera is not None:
        estimate = replace(estimate, camera=fitted_camera(frame))
    return estimate if frame.time is None else replace(estimate, time=frame.time)


class _Query:
    """An image in memory, its camera and its local features, which maps of equal settings share."""

    def __init__(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        camera: Camera | None,
        mask: Bool[np.ndarray, "h w"] | None,
        features: dict[FeatureSettings, Features],
    ) -> None:
        self.image, self.camera, self.mask = image, camera, mask
        self.seconds: dict[str, float] = {}
        self._features = features

    def features(self, settings: FeatureSettings, extractors: threading.local) -> Features:
        """The features with these settings; an extractor belongs to one thread."""
        if settings not in self._features:
            own = extractors.__dict__.setdefault("by_settings", {})
            if settings not in own:
                own[settings] = feature_extractor(settings)
            started = time.perf_counter()
            with stage("features"):
                self._features[settings] = own[settings].extract(self.image, self.mask)
            self.seconds["features"] = time.perf_counter() - started
        return self._features[settings]


def _agreement(found: "tuple[VerifiedPose | Rejected, Camera | None]") -> tuple[bool, bool, int]:
    """How well an answer agrees with the camera that is assumed: one whose focal length fits goes first."""
    from camloc.inference.verification import Rejected

    answer, _ = found
    if isinstance(answer, Rejected):
        return False, False, 0
    return True, answer.verification.focal_length == "given", answer.verification.inliers


def _read_query(frame: Frame, masks: Path | None, features: dict[FeatureSettings, Features]) -> _Query:
    started = time.perf_counter()
    with stage("reading the file"):
        image, camera = read_with_camera(frame)
        mask = None if masks is None else read_mask_as_stored(masks, frame)
    query = _Query(np.asarray(image), camera, mask, features)
    query.seconds["decoding"] = time.perf_counter() - started
    return query


def _previous(previous: Pose | Located | None, scene: str) -> "PosePrior | None":
    """A prior from the previous pose, if it is in the scene; of a pose alone no scene is known."""
    from camloc.inference.candidates import PosePrior

    if isinstance(previous, Pose):
        return PosePrior(previous.numpy(), 0.0, 0.0)
    if previous is None or previous.scene != scene:
        return None
    return _prior(previous) or PosePrior(previous.world_from_cam.numpy(), 0.0, 0.0)


def _prior(prediction: Located) -> "PosePrior | None":
    from camloc.inference.candidates import PosePrior

    if (error := prediction.expected_error) is None:
        return None
    return PosePrior(prediction.world_from_cam, error.meters, error.degrees)


def _located(
    scene_map: SceneMap, answer: "VerifiedPose", prediction: Estimate | None, camera: Camera | None
) -> Located:
    """A verified pose; of the network's prediction the novelty is kept, and its pose as the unrefined one."""
    # Without calibration the normal equations know nothing of errors that all matches share: far too small.
    is_calibrated = scene_map.calibration.frames > 0
    predicted = (
        prediction if isinstance(prediction, Located) and prediction.scene == scene_map.scene else None
    )
    return Located(
        scene=scene_map.scene,
        world_from_cam=answer.world_from_cam,
        unit=scene_map.unit,
        expected_error=ExpectedError.of_covariance(answer.covariance) if is_calibrated else None,
        covariance=answer.covariance if is_calibrated else None,
        verification=answer.verification,
        camera=camera if answer.verification.focal_length == "given" else answer.camera,
        novelty=None if predicted is None else predicted.novelty,
        unrefined=None if predicted is None else predicted.world_from_cam,
    )
