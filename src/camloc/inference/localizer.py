"""Find the pose of the camera that took an image.

A run holds a network, maps of local features, or both. The network predicts a pose in milliseconds; the map
of the scene verifies it to the centimetre, with an inlier count and a covariance:

    locate -> network prediction (the prior) -> map verification -> Located (verified or not) or Lost

torch is imported only for the network of a run that was not exported.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool, UInt8

from camloc.data.image_io import assign_camera, read_with_camera
from camloc.data.masks import read_mask_as_stored
from camloc.data.types import Estimate, ExpectedError, FoundBy, Frame, Located, Lost
from camloc.errors import ImageError, RecipeError
from camloc.geometry.camera import Camera
from camloc.inference.onnx.bundle import has_network, is_exported
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
"""Where the map looks first: near the network's pose, at the frames most like the query, or everywhere."""

# Sources of candidates in the map.
_SOURCES: Mapping[Prior, tuple[FoundBy, ...]] = {
    "network": ("prior", "retrieval", "votes", "whole map"),
    "retrieval": ("retrieval", "votes", "whole map"),
    "none": ("votes", "whole map"),
}

# The name of the verified estimates beside those of the refinement methods.
MAP = "map"

# The median length of a normally distributed 3-vector, in standard deviations of one coordinate.
_MEDIAN_OF_NORM = 1.538


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
    ) -> "Localizer":
        """Load a run folder, a checkpoint folder, or what `camloc export` wrote: a folder or a `.onnx` file.

        Args:
            run: the folder or file.
            device: where the network runs.
            verify, prior, masks: see the class.
            outlier_filter, refine, every_method: of the network; see `NetworkLocalizer.load`.

        Raises:
            CheckpointError: there is neither a network nor a map, or one of them is damaged.
            RecipeError: an option does not fit the run, or this machine has no such device.
            MissingExtraError: the network was not exported, and torch is not installed.
        """
        path = Path(run)
        maps = {} if verify == "never" else load_maps(path)
        network = None
        if not maps or _has_network(path):
            from camloc.inference.network import NetworkLocalizer

            network = NetworkLocalizer.load(
                path,
                device=device,
                outlier_filter=outlier_filter,
                masks=masks,
                refine=refine,
                every_method=every_method,
            )
        elif outlier_filter or refine != "none":
            raise RecipeError(f"{run} has no network; filters and refinement are for networks")
        if not maps:
            return cls(network, {}, verify, prior, masks)
        from camloc.inference.verification import MapLocalizer, VerificationSettings

        settings = VerificationSettings(sources=_SOURCES[prior])
        localizers = {name: MapLocalizer(each, settings) for name, each in maps.items()}
        return cls(network, localizers, verify, prior, masks)

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

    def locate(self, image: Path | str, *, camera: Camera | None = None) -> Estimate:
        """The pose of the camera that took an image.

        Args:
            image: an image file of any size.
            camera: its intrinsics. By default the image is assigned to the training camera whose images have
                its size or shape; if there is none, the map finds the focal length.

        Raises:
            ImageError: the file, or its mask, is not an image that can be decoded.
        """
        path = Path(image)
        frame = self._with_camera(Frame(path.name, path, camera))
        prediction = None if self.network is None else self.network.locate(frame)
        return self._combined(frame, prediction)

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
        pending: list[Frame] = []
        for frame in frames:
            pending.append(frame)
            if len(pending) == batch_size:
                yield from self._batch(pending, only)
                pending = []
        yield from self._batch(pending, only)

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
        return replace(frame, camera=assign_camera(frame.image, self.cameras))

    def _batch(self, frames: Sequence[Frame], only: str) -> "Iterator[EstimatesByMethod]":
        frames = [self._with_camera_if_readable(frame) for frame in frames]
        predictions: Iterable[Mapping[str, Estimate]] = [{} for _ in frames]
        if self.network is not None and only in ("", MAP, self.network.refine):
            predictions = self.network.locate_batch(frames, every_method=not only)
        for frame, by_method in zip(frames, predictions, strict=True):
            estimates = dict(by_method)
            if self._uses_maps and only in ("", MAP):
                own = None if self.network is None else estimates[self.network.refine]
                try:
                    estimates[MAP] = self._combined(frame, own)
                except ImageError as problem:
                    estimates[MAP] = Lost(str(problem))
            yield estimates

    def _with_camera_if_readable(self, frame: Frame) -> Frame:
        try:
            return self._with_camera(frame)
        except ImageError:
            return frame  # reading it again says why

    def _combined(self, frame: Frame, prediction: Estimate | None) -> Estimate:
        """The verified pose if a map confirms one, else what the network's prediction is worth."""
        if not self._uses_maps:
            assert prediction is not None
            return prediction
        from camloc.inference.verification import VerifiedPose

        query = _read_query(frame, self.masks)
        rejected = "no map knows this image"
        for scene in self._order(prediction):
            answer = self._in_map(scene, query, prediction)
            if isinstance(answer, VerifiedPose):
                return _located(self.maps[scene].scene_map, answer, prediction)
            rejected = answer.reason
        if prediction is None or self.verify == "always":
            return Lost(rejected)
        return prediction

    def _order(self, prediction: Estimate | None) -> tuple[str, ...]:
        """The scenes in the order in which their maps are tried: the predicted one first."""
        if not isinstance(prediction, Located) or prediction.scene not in self.maps:
            return tuple(self.maps)
        return (prediction.scene, *(scene for scene in self.maps if scene != prediction.scene))

    def _in_map(self, scene: str, query: "_Query", prediction: Estimate | None) -> "VerifiedPose | Rejected":
        localizer = self.maps[scene]
        prior = None
        if self.prior == "network" and isinstance(prediction, Located) and prediction.scene == scene:
            prior = _prior(prediction)
        features = query.features(localizer.scene_map.features, self._extractors)
        height, width = query.image.shape[:2]
        return localizer.locate_features(features, query.camera, prior, size=(width, height))


class _Query:
    """An image in memory, its camera and its local features, which maps of equal settings share."""

    def __init__(
        self, image: UInt8[np.ndarray, "h w 3"], camera: Camera | None, mask: Bool[np.ndarray, "h w"] | None
    ) -> None:
        self.image, self.camera, self.mask = image, camera, mask
        self._features: dict[FeatureSettings, Features] = {}

    def features(self, settings: FeatureSettings, extractors: threading.local) -> Features:
        """The features with these settings; an extractor belongs to one thread."""
        if settings not in self._features:
            own = extractors.__dict__.setdefault("by_settings", {})
            if settings not in own:
                own[settings] = feature_extractor(settings)
            self._features[settings] = own[settings].extract(self.image, self.mask)
        return self._features[settings]


def _read_query(frame: Frame, masks: Path | None) -> _Query:
    image, camera = read_with_camera(frame)
    return _Query(np.asarray(image), camera, None if masks is None else read_mask_as_stored(masks, frame))


def _prior(prediction: Located) -> "PosePrior | None":
    from camloc.inference.candidates import PosePrior

    if (error := prediction.expected_error) is None:
        return None
    return PosePrior(prediction.world_from_cam, error.meters, error.degrees)


def _located(scene_map: SceneMap, answer: "VerifiedPose", prediction: Estimate | None) -> Located:
    """A verified pose; of the network's prediction the novelty is kept, and its pose as the unrefined one."""
    variances = np.diag(answer.covariance)
    # Without calibration the normal equations know nothing of errors that all matches share: far too small.
    is_calibrated = scene_map.calibration.frames > 0
    error = ExpectedError(
        meters=_MEDIAN_OF_NORM * float(np.sqrt(variances[3:].mean())),
        degrees=_MEDIAN_OF_NORM * float(np.degrees(np.sqrt(variances[:3].mean()))),
    )
    predicted = (
        prediction if isinstance(prediction, Located) and prediction.scene == scene_map.scene else None
    )
    return Located(
        scene=scene_map.scene,
        world_from_cam=answer.world_from_cam,
        unit=scene_map.unit,
        expected_error=error if is_calibrated else None,
        covariance=answer.covariance if is_calibrated else None,
        verification=answer.verification,
        novelty=None if predicted is None else predicted.novelty,
        unrefined=None if predicted is None else predicted.world_from_cam,
    )


def _has_network(run: Path) -> bool:
    if is_exported(run):
        return has_network(run)
    return has_checkpoint(run)
