"""The front door: load what was learned, ask where an image was taken."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from camloc.core.device import torch_device
from camloc.data.masks import read_mask
from camloc.data.types import Estimate, Frame, Lost, View
from camloc.errors import ImageError, RecipeError
from camloc.evaluation.predicted_points import MappedView, mapped_view
from camloc.geometry.camera import Camera
from camloc.inference.onnx.runtime import is_exported, load_onnx
from camloc.inference.prediction import accept, decoded_output, model_of, moved, predict
from camloc.models.base import GeometryModel, PoseModel
from camloc.models.checkpoint import Checkpoint, load_checkpoint
from camloc.models.outlier_filters import OutlierFilter
from camloc.refinement.choice import chosen_refiner
from camloc.refinement.query import Query, Refiner, in_one_scene

# Estimates of one image by the name of what refined them; "none" for the network's own.
EstimatesByMethod = Mapping[str, Estimate]


class _Seen(NamedTuple):
    """An image as the network sees it.

    Attributes:
        view: the image.
        mask: (height, width) False where it does not count, or None where all of it does.
    """

    view: View
    mask: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Localizer:
    """Answers images of the scenes that a model has learned.

    Attributes:
        checkpoint: the model, its preprocessing and its scenes.
        device: where the network runs.
        outlier_filter: for models that align points, how wrong points are left out; None for the way
            that was best on the frames held out of training.
        masks: for such models, a folder with an image `NAME.png` for images NAME, black where
            something is seen that does not belong to the scene (COLMAP's masks); None for none.
        refiners: what may improve answers after the network, by name.
        refine: which of them does, or "none".
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
    ) -> "Localizer":
        """From a run folder, a checkpoint folder, or an exported `.onnx` file.

        Args:
            run: the folder or file.
            device: where the network runs.
            outlier_filter, masks: see the class.
            refine: "none"; a way of `camloc.refinement.position`; or "auto" for what was best on the frames
                held out of training. All but "neighbours" need the run's pose auto-encoder.

        Raises:
            CheckpointError: there is none, or it is damaged.
            RecipeError: this machine has no such device, or the model has no points to filter, or there is
                nothing to refine with.
        """
        path, scene = Path(run), torch_device(device)
        checkpoint = load_onnx(path) if is_exported(path) else load_checkpoint(path)
        refine, refiners = chosen_refiner(path, checkpoint, refine, device=scene)
        checkpoint.model.to(scene)
        if checkpoint.recognition is not None:
            checkpoint.recognition.to(scene)
        return cls(checkpoint, scene, outlier_filter, masks, refiners, refine)

    @property
    def used_filter(self) -> OutlierFilter | None:
        """How wrong points are left out, or None for a model that aligns none."""
        if not isinstance(self._model, GeometryModel):
            return None
        return self.outlier_filter or self.checkpoint.metadata.outlier_filter

    @property
    def _model(self) -> PoseModel[Any]:
        return model_of(self.checkpoint)

    def locate(self, image: Path | str, *, camera: Camera | None = None) -> Estimate:
        """Where an image was taken.

        Args:
            image: an image file of any size; it is turned as its EXIF orientation says.
            camera: its intrinsics, for models that use them. An image is then taken as it is
                stored, if that is what they fit. Without it such a model takes the image to be
                from the camera that it learned from.

        Raises:
            ImageError: the file, or its mask, is not an image that can be decoded.
        """
        path = Path(image)
        return self._answer([self._seen(Frame(path.name, path, camera))])[0][self.refine]

    def locate_all(self, frames: Iterable[Frame], *, batch_size: int = 32) -> Iterator[Estimate]:
        """Where many frames were taken, in order; an image that cannot be decoded is lost."""
        return (methods[self.refine] for methods in self.locate_every_method(frames, batch_size=batch_size))

    def locate_every_method(
        self, frames: Iterable[Frame], *, batch_size: int = 32
    ) -> Iterator[EstimatesByMethod]:
        """The same with each of the refiners: estimates by their name, and by "none" the network's own."""
        pending: list[_Seen | Lost] = []
        for frame in frames:
            pending.append(self._view(frame))
            if len(pending) == batch_size:
                yield from self._answer(pending)
                pending = []
        yield from self._answer(pending)

    @torch.inference_mode()
    def mapped(self, frame: Frame) -> MappedView | None:
        """What the model has learned of the part of the scene that an image shows.

        None where there is nothing to show: the model regresses poses, the image or its mask cannot be
        decoded, or the camera's focal length is unknown.
        """
        geometry = self._model
        seen = self._view(frame) if isinstance(geometry, GeometryModel) else None
        if not isinstance(geometry, GeometryModel) or not isinstance(seen, _Seen) or seen.view.camera is None:
            return None
        output = self.checkpoint.model(seen.view.image[None].to(self.device).float() / 255.0)
        intrinsics = torch.from_numpy(seen.view.camera.matrix())[None].float().to(self.device)
        return mapped_view(geometry, output, seen.view.image, intrinsics=intrinsics, mask=seen.mask)

    def _view(self, frame: Frame) -> "_Seen | Lost":
        try:
            return self._seen(frame)
        except ImageError as problem:
            return Lost(str(problem))

    def _seen(self, frame: Frame) -> "_Seen":
        metadata = self.checkpoint.metadata
        focal = metadata.focal if self._model.NEEDS_INTRINSICS else None
        view = metadata.preprocess.view(frame, assumed_focal=focal)
        if self.masks is None:
            return _Seen(view)
        return _Seen(view, torch.from_numpy(read_mask(self.masks, frame, metadata.preprocess)))

    def _answer(self, seen: "Sequence[_Seen | Lost]") -> list[EstimatesByMethod]:
        """Estimates of each view, those that are lost already included.

        Views with and without intrinsics go separately, so that no answer depends on its neighbours.
        """
        answers: dict[int, EstimatesByMethod] = {
            row: self._every_method(each) for row, each in enumerate(seen) if isinstance(each, Lost)
        }
        for is_known in (True, False):
            rows = {
                row: each
                for row, each in enumerate(seen)
                if isinstance(each, _Seen) and (each.view.camera is not None) == is_known
            }
            if rows:
                answers |= zip(rows, self._estimate(list(rows.values())), strict=True)
        return [answers[row] for row in range(len(seen))]

    def _every_method(self, estimate: Estimate) -> EstimatesByMethod:
        """One estimate that no refiner changes."""
        return dict.fromkeys(("none", *self.refiners), estimate)

    @torch.inference_mode()
    def _estimate(self, seen: "Sequence[_Seen]") -> list[EstimatesByMethod]:
        images = torch.stack([each.view.image for each in seen]).to(self.device).float() / 255.0
        cameras = [
            torch.from_numpy(each.view.camera.matrix()) for each in seen if each.view.camera is not None
        ]
        if self._model.NEEDS_INTRINSICS and not cameras:
            unknown = Lost("the camera's focal length is unknown; give it")
            return [self._every_method(unknown) for _ in seen]
        intrinsics = torch.stack(cameras).float().to(self.device) if cameras else None
        masks = [each.mask for each in seen if each.mask is not None]
        said = predict(self.checkpoint, images, with_latents=bool(self.refiners))
        decoded = decoded_output(
            self.checkpoint,
            said.output,
            self.used_filter,
            intrinsics=intrinsics,
            masks=torch.stack(masks) if masks else None,
        )
        own = [
            accept(self.checkpoint, decoded, row, each.view, novelty=said.novelty_of(row))
            for row, each in enumerate(seen)
        ]
        told = None if said.latents is None else in_one_scene(said.latents, decoded.scene)
        query = Query(decoded.world_from_cam.to("cpu"), decoded.scene.cpu(), told, images)
        refined = {name: refiner.refined(query) for name, refiner in self.refiners.items()}
        return [
            {"none": answer} | {name: moved(answer, poses[row]) for name, poses in refined.items()}
            for row, answer in enumerate(own)
        ]
