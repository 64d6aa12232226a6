"""Predict the pose of the camera that took an image with a trained network.

An image passes `predict -> decode -> accept`: the network's output, the poses that it stands for, and the
decision whether to return the pose or the reason why the image is lost. A refiner, if there is one, then
replaces the accepted pose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from camloc.core.device import torch_device
from camloc.data.masks import read_mask
from camloc.data.types import Estimate, Frame, Lost, View
from camloc.errors import ImageError, RecipeError
from camloc.evaluation.predicted_points import MappedView, mapped_view
from camloc.geometry.pose import Pose
from camloc.inference.onnx.runtime import is_exported, load_onnx
from camloc.inference.prediction import decode, model_of, predict
from camloc.inference.rejection import accept
from camloc.models.base import GeometryModel, PoseModel
from camloc.models.checkpoint import Checkpoint, load_checkpoint
from camloc.models.outlier_filters import OutlierFilter
from camloc.refinement.choice import load_refiners
from camloc.refinement.refiner import Query, Refiner, in_one_scene

# The estimates of one image by the name of the refinement method; "none" is the unrefined estimate.
EstimatesByMethod = Mapping[str, Estimate]


class _Input(NamedTuple):
    """An image, ready for the network.

    Attributes:
        view: the image and its camera.
        mask: (height, width) False for pixels to ignore, or None to use all pixels.
    """

    view: View
    mask: Tensor | None = None


@dataclass(frozen=True, eq=False)
class NetworkLocalizer:
    """Locates images in the scenes of a trained model.

    Attributes:
        checkpoint: the model, its preprocessing and its scenes.
        device: where the network runs.
        outlier_filter: how a model that aligns points leaves out wrong ones; None for the filter that was
            best on the held-out frames.
        masks: for a model that aligns points, a folder with one mask `NAME.png` for each image NAME, black
            where the pixel does not belong to the scene (COLMAP's masks); None for no masks.
        refiners: what can refine accepted poses, by the name of the refinement method.
        refine: the method that `locate` and `locate_all` use, or "none".
    """

    checkpoint: Checkpoint
    device: torch.device
    outlier_filter: OutlierFilter | None = None
    masks: Path | None = None
    refiners: Mapping[str, Refiner] = field(default_factory=dict)
    refine: str = "none"

    def __post_init__(self) -> None:
        if not isinstance(self._model, GeometryModel) and (self.outlier_filter or self.masks):
            raise RecipeError(
                f"{self.checkpoint.metadata.model} regresses poses; filters and masks are for models that "
                f"align points, such as scene_geometry"
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
    ) -> "NetworkLocalizer":
        """Load a run folder, a checkpoint folder, or an exported `.onnx` file.

        Args:
            run: the folder or file.
            device: where the network runs.
            outlier_filter, masks: see the class.
            refine: "none"; a method of `camloc.refinement`; or "auto" for the method that was best on the
                held-out frames. All methods but "neighbours" need the run's pose auto-encoder.
            every_method: also load the refiners of all other methods, for `locate_every_method`.

        Raises:
            CheckpointError: the folder or file is missing or damaged.
            RecipeError: this machine has no such device, the model aligns no points to filter, or the run
                has no refiner of that method.
        """
        path, target = Path(run), torch_device(device)
        checkpoint = load_onnx(path) if is_exported(path) else load_checkpoint(path)
        refine, refiners = load_refiners(path, checkpoint, refine, every_method=every_method, device=target)
        checkpoint.model.to(target)
        if checkpoint.novelty_detector is not None:
            checkpoint.novelty_detector.to(target)
        return cls(checkpoint, target, outlier_filter, masks, refiners, refine)

    @property
    def used_filter(self) -> OutlierFilter | None:
        """The outlier filter in use, or None for a model that aligns no points."""
        if not isinstance(self._model, GeometryModel):
            return None
        return self.outlier_filter or self.checkpoint.metadata.outlier_filter

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

    @torch.inference_mode()
    def mapped(self, frame: Frame) -> MappedView | None:
        """The scene points that the model predicts for an image.

        None if the model regresses poses, if the image or its mask cannot be decoded, or if the camera's
        focal length is unknown.
        """
        model = self._model
        if not isinstance(model, GeometryModel):
            return None
        read = self._input_or_lost(frame)
        if isinstance(read, Lost) or read.view.camera is None:
            return None
        output = self.checkpoint.model(read.view.image[None].to(self.device).float() / 255.0)
        intrinsics = torch.from_numpy(read.view.camera.matrix())[None].float().to(self.device)
        return mapped_view(model, output, read.view.image, intrinsics=intrinsics, mask=read.mask)

    @property
    def _model(self) -> PoseModel[Any]:
        return model_of(self.checkpoint)

    @property
    def _chosen(self) -> Mapping[str, Refiner]:
        """The refiner of the method in use; empty for "none"."""
        return {name: refiner for name, refiner in self.refiners.items() if name == self.refine}

    def _input(self, frame: Frame) -> _Input:
        metadata = self.checkpoint.metadata
        focal = metadata.focal if self._model.NEEDS_INTRINSICS else None
        view = metadata.preprocess.view(frame, assumed_focal=focal)
        if self.masks is None:
            return _Input(view)
        return _Input(view, torch.from_numpy(read_mask(self.masks, frame, metadata.preprocess)))

    def _input_or_lost(self, frame: Frame) -> _Input | Lost:
        try:
            return self._input(frame)
        except ImageError as problem:
            return Lost(str(problem))

    def _locate(
        self, inputs: Sequence[_Input | Lost], refiners: Mapping[str, Refiner]
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
                if isinstance(each, _Input) and (each.view.camera is not None) == has_camera
            }
            if batch:
                estimates |= zip(batch, self._locate_batch(list(batch.values()), refiners), strict=True)
        return [estimates[row] for row in range(len(inputs))]

    @torch.inference_mode()
    def _locate_batch(
        self, inputs: Sequence[_Input], refiners: Mapping[str, Refiner]
    ) -> list[EstimatesByMethod]:
        """The estimates of images that all have intrinsics, or that all have none."""
        images = torch.stack([each.view.image for each in inputs]).to(self.device).float() / 255.0
        cameras = [
            torch.from_numpy(each.view.camera.matrix()) for each in inputs if each.view.camera is not None
        ]
        if self._model.NEEDS_INTRINSICS and not cameras:
            unknown = Lost("the camera's focal length is unknown; give it")
            return [dict.fromkeys(("none", *refiners), unknown) for _ in inputs]
        masks = [each.mask for each in inputs if each.mask is not None]
        prediction = predict(self.checkpoint, images)
        decoded = decode(
            self.checkpoint,
            prediction.output,
            self.used_filter,
            intrinsics=torch.stack(cameras).float().to(self.device) if cameras else None,
            masks=torch.stack(masks) if masks else None,
        )
        estimates = [
            accept(self.checkpoint, decoded, row, each.view.image, novelty=prediction.novelty_of(row))
            for row, each in enumerate(inputs)
        ]
        latents = None if prediction.latents is None else in_one_scene(prediction.latents, decoded.scene)
        query = Query(decoded.world_from_cam.to("cpu"), decoded.scene.cpu(), latents, images)
        poses = {name: refiner.refined(query) for name, refiner in refiners.items()}
        return [
            {"none": estimate} | {name: _refined(estimate, refined[row]) for name, refined in poses.items()}
            for row, estimate in enumerate(estimates)
        ]


def _refined(estimate: Estimate, world_from_cam: Pose) -> Estimate:
    """An accepted estimate with the refined pose; a lost image stays lost."""
    if isinstance(estimate, Lost):
        return estimate
    pose = world_from_cam.to("cpu").to(torch.float64)
    return replace(estimate, world_from_cam=pose, unrefined=estimate.world_from_cam)
