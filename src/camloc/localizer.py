"""The front door: load what was learned, ask where a photograph was taken."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from camloc.checkpoint import Checkpoint, load_checkpoint
from camloc.core.device import torch_device
from camloc.core.mapped import MappedView
from camloc.core.masks import mask_at, read_mask
from camloc.core.model import Decoded, GeometryModel, PoseModel, single_scene
from camloc.core.types import Estimate, Frame, Located, Lost, View
from camloc.errors import ImageError, RecipeError
from camloc.export import OnnxModel, load_onnx
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose
from camloc.refiners.outlier_filters import OutlierFilter, filtered_poses

# A picture whose brightness varies less than this (8-bit levels) shows nothing to go by.
BLANK_DEVIATION = 1.5

# An answer farther from every training camera than each of these was not learned: this many spreads of the
# training cameras; where they stand in one spot, this many times the error to expect; and, in units of the
# world, what is little in any place.
FARTHEST_SPREADS = 3.0
FARTHEST_ERRORS = 10.0
FARTHEST_FLOOR = 0.5


class _Seen(NamedTuple):
    """A photograph as the network sees it.

    Attributes:
        view: the picture.
        mask: (height, width) False where it does not count, or None where all of it does.
    """

    view: View
    mask: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Localizer:
    """Answers photographs of the places that a model has learned.

    Attributes:
        checkpoint: the model, its preprocessing and its places.
        device: where the network runs.
        outlier_filter: for models that align points, how wrong points are left out; None for the way
            that was best on the frames held out of training.
        masks: for such models, a folder with a picture `NAME.png` for photographs NAME, black where
            something is seen that does not belong to the place (COLMAP's masks); None for none.
    """

    checkpoint: Checkpoint
    device: torch.device
    outlier_filter: OutlierFilter | None = None
    masks: Path | None = None

    def __post_init__(self) -> None:
        if not isinstance(self._model, GeometryModel) and (self.outlier_filter or self.masks):
            raise RecipeError(
                f"{self.checkpoint.facts.model} regresses poses; filters and masks are for models that align "
                f"points, such as scene_geometry"
            )

    @classmethod
    def load(
        cls,
        run: Path | str,
        *,
        device: str = "cpu",
        outlier_filter: OutlierFilter | None = None,
        masks: Path | None = None,
    ) -> "Localizer":
        """From a run folder, a checkpoint folder, or an exported `.onnx` file.

        Raises:
            CheckpointError: there is none, or it is damaged.
            RecipeError: this machine has no such device, or the model has no points to filter.
        """
        path, place = Path(run), torch_device(device)
        checkpoint = load_onnx(path) if path.suffix == ".onnx" else load_checkpoint(path)
        checkpoint.model.to(place)
        return cls(checkpoint, place, outlier_filter, masks)

    @property
    def used_filter(self) -> OutlierFilter | None:
        """How wrong points are left out, or None for a model that aligns none."""
        if not isinstance(self._model, GeometryModel):
            return None
        return self.outlier_filter or self.checkpoint.facts.outlier_filter

    @property
    def _model(self) -> PoseModel[Any]:
        """The model, also where an exported network does its work."""
        model = self.checkpoint.model
        return model.original if isinstance(model, OnnxModel) else model

    def locate(self, photo: Path | str, *, camera: Camera | None = None) -> Estimate:
        """Where a photograph was taken.

        Args:
            photo: a picture file of any size; it is turned as its EXIF orientation says.
            camera: its intrinsics, for models that use them. A photograph is then taken as it is
                stored, if that is what they fit. Without it such a model takes the photograph to be
                from the camera that it learned from.

        Raises:
            ImageError: the file, or its mask, is not a picture that can be decoded.
        """
        path = Path(photo)
        return self._answer([self._seen(Frame(path.name, path, camera))])[0]

    def locate_all(self, frames: Iterable[Frame], *, batch_size: int = 32) -> Iterator[Estimate]:
        """Where many frames were taken, in order; a picture that cannot be decoded is lost."""
        pending: list[_Seen | Lost] = []
        for frame in frames:
            pending.append(self._view(frame))
            if len(pending) == batch_size:
                yield from self._answer(pending)
                pending = []
        yield from self._answer(pending)

    @torch.inference_mode()
    def mapped(self, frame: Frame) -> MappedView | None:
        """What the model has learned of the part of the place that a photograph shows.

        None where there is nothing to show: the model regresses poses, the picture or its mask cannot be
        decoded, or the camera's focal length is unknown.
        """
        geometry = self._model
        seen = self._view(frame) if isinstance(geometry, GeometryModel) else None
        if not isinstance(geometry, GeometryModel) or not isinstance(seen, _Seen) or seen.view.camera is None:
            return None
        model: Any = self.checkpoint.model
        output = model(seen.view.image[None].to(self.device).float() / 255.0)
        output = type(output)(*(value.to(self.device) for value in output))
        intrinsics = seen.view.camera.matrix()[None].float().to(self.device)
        cells = geometry.correspondences(output, intrinsics=intrinsics)
        if seen.mask is not None:
            counted = mask_at(seen.mask[None].to(cells.pixels.device), cells.pixels)
            cells = cells._replace(weight=cells.weight * counted)
        world_from_centered = geometry.placed(Pose.identity(1))[0]
        return MappedView.of_cells(seen.view.image, cells, world_from_centered=world_from_centered)

    def _view(self, frame: Frame) -> "_Seen | Lost":
        try:
            return self._seen(frame)
        except ImageError as problem:
            return Lost(str(problem))

    def _seen(self, frame: Frame) -> "_Seen":
        facts = self.checkpoint.facts
        focal = facts.focal if self._model.NEEDS_INTRINSICS else None
        view = facts.preprocess.view(frame, assumed_focal=focal)
        return _Seen(view, None if self.masks is None else read_mask(self.masks, frame, facts.preprocess))

    def _answer(self, seen: "Sequence[_Seen | Lost]") -> list[Estimate]:
        """One estimate to each view, those that are lost already included.

        Views with and without intrinsics go separately, so that no answer depends on its neighbours.
        """
        answers: dict[int, Estimate] = {row: each for row, each in enumerate(seen) if isinstance(each, Lost)}
        for is_known in (True, False):
            rows = {
                row: each
                for row, each in enumerate(seen)
                if isinstance(each, _Seen) and (each.view.camera is not None) == is_known
            }
            if rows:
                answers |= zip(rows, self._estimate(list(rows.values())), strict=True)
        return [answers[row] for row in range(len(seen))]

    @torch.inference_mode()
    def _estimate(self, seen: "Sequence[_Seen]") -> list[Estimate]:
        images = torch.stack([each.view.image for each in seen]).to(self.device).float() / 255.0
        cameras = [each.view.camera.matrix() for each in seen if each.view.camera is not None]
        if self._model.NEEDS_INTRINSICS and not cameras:
            return [Lost("the camera's focal length is unknown; give it") for _ in seen]
        intrinsics = torch.stack(cameras).float().to(self.device) if cameras else None
        model: Any = self.checkpoint.model
        masks = [each.mask for each in seen if each.mask is not None]
        decoded = self._decoded(model(images), intrinsics, torch.stack(masks) if masks else None)
        return [self._judge(decoded, row, each.view) for row, each in enumerate(seen)]

    def _decoded(self, output: Any, intrinsics: Tensor | None, masks: Tensor | None) -> Decoded:
        model: Any = self.checkpoint.model
        geometry = self._model
        if not isinstance(geometry, GeometryModel) or (self.used_filter == "weights" and masks is None):
            decoded: Decoded = model.decode(output, intrinsics=intrinsics)
            return decoded
        assert intrinsics is not None
        output = type(output)(*(value.to(intrinsics.device) for value in output))
        cells = geometry.correspondences(output, intrinsics=intrinsics).double()
        found = filtered_poses(
            cells,
            self.used_filter or "weights",
            intrinsics=intrinsics.double(),
            picture_height=self.checkpoint.facts.preprocess.height,
            seen=None if masks is None else mask_at(masks.to(cells.pixels.device), cells.pixels),
        )
        return single_scene(geometry.placed(found.centered_from_cam), residual=found.residual)

    def _judge(self, decoded: Decoded, row: int, view: View) -> Estimate:
        """An answer that can be believed, or the reason why there is none."""
        if float(view.image.float().mean(0).std()) < BLANK_DEVIATION:
            return Lost("the picture is blank")
        pose = decoded.world_from_cam[row].to("cpu").to(torch.float64)
        if not bool(pose.is_finite()):
            if isinstance(self._model, GeometryModel):
                return Lost("too few points of the picture agree on a pose")
            return Lost("the network's answer is not a number")
        scene = int(decoded.scene[row])
        training = self.checkpoint.training_poses[scene]
        away, farthest = _distance_to_nearest(pose, training), self._farthest(scene)
        if away > farthest:
            times = f"{away / farthest:.1f} times"
            return Lost(
                f"the answer lies far from every training camera: {times} the distance that is believed"
            )
        return Located(
            scene=self.checkpoint.facts.scenes[scene],
            world_from_cam=pose,
            spread=self.checkpoint.spread_in(scene),
            probability=float(decoded.probability[row]),
            residual=None if decoded.residual is None else float(decoded.residual[row]),
        )

    def _farthest(self, scene: int) -> float:
        """How far from every training camera of a place an answer may lie."""
        expected = self.checkpoint.spread_in(scene)
        error = 0.0 if expected is None else expected.meters
        return max(
            FARTHEST_SPREADS * _spread(self.checkpoint.training_poses[scene]),
            FARTHEST_ERRORS * error,
            FARTHEST_FLOOR,
        )


def _spread(poses: Pose) -> float:
    """Root mean square distance of the camera centres to their mean."""
    centres = poses.translation
    return float((centres - centres.mean(0)).square().sum(-1).mean().sqrt())


def _distance_to_nearest(pose: Pose, training: Pose) -> float:
    """Distance to the nearest training camera."""
    return float(torch.linalg.vector_norm(training.translation - pose.translation, dim=-1).min())
