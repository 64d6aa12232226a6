"""Predict the pose of the camera that took an image with a trained network.

An image passes `predict -> decode -> accept`: the network's output, the poses that it stands for, and the
decision whether to return the pose or the reason why the image is lost. A refiner, if there is one, then
replaces the accepted pose.

Only `predict` differs between networks: those of torch (`camloc.inference.torch_network`) and exported ones
(`camloc.inference.onnx.runtime`). Everything here is NumPy; torch is imported for the network of a run that
is not exported, and for refinement.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float32
from numpy.typing import NDArray

from camloc.core.extras import require_extra
from camloc.core.stages import stage
from camloc.data.image_io import ScaledImage
from camloc.data.masks import read_mask
from camloc.data.types import Estimate, Frame, Lost
from camloc.errors import ImageError, RecipeError
from camloc.geometry.pose import Pose
from camloc.inference.rejection import accept
from camloc.models.decoding import Decoded, Decoding, PointDecoding
from camloc.models.metadata import Metadata, checkpoint_folder
from camloc.models.outlier_filters import OutlierFilter, filtered_decoding

if TYPE_CHECKING:
    from camloc.evaluation.predicted_points import MappedView
    from camloc.refinement.refiner import Refiner

# The estimates of one image by the name of the refinement method; "none" is the unrefined estimate.
EstimatesByMethod = Mapping[str, Estimate]


class Output(NamedTuple):
    """The output of a network for b images.

    Attributes:
        values: the named arrays that `decoding` reads.
        novelty: (b,) distance of each image to the nearest training image in feature space, or None for a
            network without a novelty detector.
        latents: of a regressor in torch, tensors; None for other networks.
    """

    values: Any
    novelty: Float[NDArray[np.float32], "b"] | None = None
    latents: Any = None


@runtime_checkable
class Network(Protocol):
    """A trained network, run by torch or by ONNX Runtime.

    Attributes:
        metadata: preprocessing, scenes and thresholds.
        training_poses: of each scene, its (n,) training poses, as NumPy arrays.
        decoding: of its outputs into poses.
        runtime: the library that runs it: "PyTorch", "ONNX Runtime" or "ONNX Runtime, int8".
        device: where it runs.
        parameters: number of learned values.
    """

    @property
    def metadata(self) -> Metadata: ...
    @property
    def training_poses(self) -> tuple[Pose, ...]: ...
    @property
    def decoding(self) -> Decoding: ...
    @property
    def runtime(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def parameters(self) -> int: ...

    def predict(self, images: Float32[NDArray[np.float32], "b 3 h w"]) -> Output:
        """Run the network on RGB images in [0, 1]; the arrays of its output are NumPy's."""
        ...


class _Input(NamedTuple):
    """An image, ready for the network.

    Attributes:
        image: the image and its camera.
        mask: (height, width) False for pixels to ignore, or None to use all pixels.
    """

    image: ScaledImage
    mask: Bool[NDArray[np.bool_], "height width"] | None = None


@dataclass(frozen=True, eq=False)
class NetworkLocalizer:
    """Locates images in the scenes of a trained model.

    Attributes:
        network: the model, its preprocessing and its scenes.
        outlier_filter: how a model that aligns points leaves out wrong ones; None for the filter that was
            best on the held-out frames.
        masks: for a model that aligns points, a folder with one mask `NAME.png` for each image NAME, black
            where the pixel does not belong to the scene (COLMAP's masks); None for no masks.
        refiners: of accepted poses, by the name of the refinement method.
        refine: the method that `locate` and `locate_all` use, or "none".
        inlier_threshold: of a filter with RANSAC, the largest error of an inlier; see `filtered_poses`.
        rejects: whether doubtful poses are rejected; see `accept`.
    """

    network: Network
    outlier_filter: OutlierFilter | None = None
    masks: Path | None = None
    refiners: "Mapping[str, Refiner]" = field(default_factory=dict)
    refine: str = "none"
    inlier_threshold: float | None = None
    rejects: bool = True

    def __post_init__(self) -> None:
        if self.inlier_threshold is not None:
            if self.outlier_filter not in ("rigid-ransac", "pnp-ransac"):
                raise RecipeError("an inlier threshold is for the filters rigid-ransac and pnp-ransac")
            if not 0.0 < self.inlier_threshold < np.inf:
                raise RecipeError(f"an inlier threshold is above 0, not {self.inlier_threshold:g}")
        if not self.aligns_points and (self.outlier_filter or self.masks):
            raise RecipeError(
                f"{self.metadata.model} regresses poses; filters and masks are for models that align points, "
                f"such as scene_geometry"
            )

    @classmethod
    def load(
        cls,
        run: Path | str,
        *,
        device: str = "cpu",
        outlier_filter: OutlierFilter | None = None,
        masks: Path | None = None,
        refine: str = "none",
        every_method: bool = False,
        inlier_threshold: float | None = None,
    ) -> "NetworkLocalizer":
        """Load a run folder, a checkpoint folder, or an exported file or folder.

        Args:
            run: the folder or file.
            device: where the network runs.
            outlier_filter, masks, inlier_threshold: see the class.
            refine: "none"; a method of `camloc.refinement`; or "auto" for the method that was best on the
                held-out frames. All methods but "neighbours" need the run's pose auto-encoder.
            every_method: also load the refiners of all other methods, for `locate_every_method`.

        Raises:
            CheckpointError: the folder or file is missing or damaged.
            RecipeError: this machine has no such device, the model aligns no points to filter, or the run
                has no refiner of that method.
            MissingExtraError: torch is needed and not installed.
        """
        # A runtime is imported if it is needed.
        from camloc.inference.onnx.bundle import exported_network

        path = Path(run)
        exported = exported_network(path)
        if exported is not None:
            from camloc.inference.onnx.runtime import load_onnx

            network: Network = load_onnx(exported, device=device)
            if refine == "none":
                return cls(network, outlier_filter, masks, inlier_threshold=inlier_threshold)
            require_extra("train", "refining poses")
            from camloc.refinement.choice import load_refiners

            poses = tuple(each.tensor() for each in network.training_poses)
            refine, few = load_refiners(path, None, refine, training_poses=poses)
            return cls(network, outlier_filter, masks, few, refine, inlier_threshold)
        checkpoint_folder(path)
        require_extra("train", f"the network in {run} was not exported (camloc export) and")
        from camloc.inference.torch_network import load_with_refiners

        network, refine, refiners = load_with_refiners(
            path, device=device, refine=refine, every_method=every_method
        )
        return cls(network, outlier_filter, masks, refiners, refine, inlier_threshold)

    @property
    def metadata(self) -> Metadata:
        """Preprocessing, scenes and thresholds."""
        return self.network.metadata

    @property
    def aligns_points(self) -> bool:
        """Whether the model predicts points, which are aligned."""
        return isinstance(self.network.decoding, PointDecoding)

    @property
    def used_filter(self) -> OutlierFilter | None:
        """The outlier filter in use, or None for a model that aligns no points."""
        return (self.outlier_filter or self.metadata.outlier_filter) if self.aligns_points else None

    def locate(self, frame: Frame) -> Estimate:
        """The pose of the camera that took a frame's image.

        Without intrinsics the image is rotated according to its EXIF orientation, and a model that needs
        intrinsics assumes the typical focal length of its training images.

        Raises:
            ImageError: the file, or its mask, is not an image that can be decoded.
        """
        return self._locate([self._input(frame)], self._chosen)[0][self.refine]

    def locate_batch(self, frames: Sequence[Frame], *, every_method: bool = False) -> list[EstimatesByMethod]:
        """The estimates of frames by method; an image that cannot be decoded is lost.

        Args:
            frames: images that pass through the network together.
            every_method: give the estimates of all `refiners`, not only of the method in use.
        """
        refiners = self.refiners if every_method else self._chosen
        return self._locate([self._input_or_lost(frame) for frame in frames], refiners)

    def mapped(self, frame: Frame) -> "MappedView | None":
        """The scene points that the model predicts for an image.

        None if the model regresses poses, if the image or its mask cannot be decoded, or if the camera's
        focal length is unknown.
        """
        from camloc.evaluation.predicted_points import mapped_view

        decoding = self.network.decoding
        if not isinstance(decoding, PointDecoding):
            return None
        read = self._input_or_lost(frame)
        if isinstance(read, Lost) or read.image.camera is None:
            return None
        output = self.network.predict(_images([read])).values
        intrinsics = read.image.camera.matrix()[None].astype(np.float32)
        return mapped_view(decoding, output, read.image.pixels, intrinsics=intrinsics, mask=read.mask)

    @property
    def _chosen(self) -> "Mapping[str, Refiner]":
        """The refiner of the method in use; empty for "none"."""
        return {name: refiner for name, refiner in self.refiners.items() if name == self.refine}

    def _input(self, frame: Frame) -> _Input:
        preprocess = self.metadata.preprocess
        image = preprocess.cut(frame, assumed_focal=self.metadata.focal if self.aligns_points else None)
        return _Input(image, None if self.masks is None else read_mask(self.masks, frame, preprocess))

    def _input_or_lost(self, frame: Frame) -> _Input | Lost:
        try:
            return self._input(frame)
        except ImageError as problem:
            return Lost(str(problem))

    def _locate(
        self, inputs: Sequence[_Input | Lost], refiners: "Mapping[str, Refiner]"
    ) -> list[EstimatesByMethod]:
        """The estimates of each image; images that could not be decoded stay lost.

        Images with and without intrinsics form separate batches, so that no estimate depends on the other
        images.
        """
        estimates: dict[int, EstimatesByMethod] = {
            row: dict.fromkeys(("none", *refiners), each)
            for row, each in enumerate(inputs)
            if isinstance(each, Lost)
        }
        for has_camera in (True, False):
            batch = {
                row: each
                for row, each in enumerate(inputs)
                if isinstance(each, _Input) and (each.image.camera is not None) == has_camera
            }
            if batch:
                estimates |= zip(batch, self._locate_batch(list(batch.values()), refiners), strict=True)
        return [estimates[row] for row in range(len(inputs))]

    def _locate_batch(
        self, inputs: Sequence[_Input], refiners: "Mapping[str, Refiner]"
    ) -> list[EstimatesByMethod]:
        """The estimates of images that all have intrinsics, or that all have none."""
        cameras = [each.image.camera.matrix() for each in inputs if each.image.camera is not None]
        if self.aligns_points and not cameras:
            unknown = Lost("the camera's focal length is unknown; give it")
            return [dict.fromkeys(("none", *refiners), unknown) for _ in inputs]
        images = _images(inputs)
        with stage("network"):
            output = self.network.predict(images)
        with stage("decoding"):
            decoded = self._decoded(
                output,
                np.stack(cameras).astype(np.float32) if cameras else None,
                [each.mask for each in inputs if each.mask is not None],
            )
        with stage("acceptance"):
            estimates = [
                accept(
                    self.metadata,
                    self.network.training_poses,
                    decoded,
                    row,
                    each.image.pixels,
                    novelty=None if output.novelty is None else float(output.novelty[row]),
                    rejects=self.rejects,
                )
                for row, each in enumerate(inputs)
            ]
        poses: dict[str, Pose] = {}
        if refiners:
            with stage("refining the network's pose"):
                poses = _refined_poses(refiners, output, decoded, images)
        return [
            {"none": estimate} | {name: _refined(estimate, refined[row]) for name, refined in poses.items()}
            for row, estimate in enumerate(estimates)
        ]

    def _decoded(
        self,
        output: Output,
        intrinsics: Float32[NDArray[np.float32], "b 3 3"] | None,
        masks: Sequence[Bool[NDArray[np.bool_], "height width"]],
    ) -> Decoded:
        decoding, used_filter = self.network.decoding, self.used_filter
        if not isinstance(decoding, PointDecoding) or (used_filter == "weights" and not masks):
            return decoding.decode(output.values, intrinsics=intrinsics)
        assert intrinsics is not None, "such a model does not run without intrinsics"
        return filtered_decoding(
            decoding,
            output.values,
            used_filter or "weights",
            intrinsics=intrinsics,
            image_height=self.metadata.preprocess.height,
            masks=np.stack(masks) if masks else None,
            inlier_threshold=self.inlier_threshold,
        )


def _images(inputs: Sequence[_Input]) -> Float32[NDArray[np.float32], "b 3 h w"]:
    """The images as a network takes them: RGB in [0, 1], colours first."""
    pixels = np.stack([each.image.pixels for each in inputs]).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(pixels).astype(np.float32) / np.float32(255.0)


def _refined_poses(
    refiners: "Mapping[str, Refiner]",
    output: Output,
    decoded: Decoded,
    images: Float32[NDArray[np.float32], "b 3 h w"],
) -> dict[str, Pose]:
    """The refined poses by method, as NumPy arrays; refiners are written for torch."""
    import torch

    from camloc.refinement.refiner import Query, in_one_scene

    scene = torch.from_numpy(np.asarray(decoded.scene))
    latents = None if output.latents is None else in_one_scene(output.latents, scene)
    query = Query(decoded.world_from_cam.tensor(), scene, latents, torch.from_numpy(images))
    with torch.inference_mode():
        return {name: refiner.refined(query).numpy().to(np.float64) for name, refiner in refiners.items()}


def _refined(estimate: Estimate, world_from_cam: Pose) -> Estimate:
    """An accepted estimate with the refined pose; a lost image stays lost."""
    if isinstance(estimate, Lost):
        return estimate
    return replace(estimate, world_from_cam=world_from_cam, unrefined=estimate.world_from_cam)
