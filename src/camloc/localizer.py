"""The front door: load what was learned, ask where a photograph was taken."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from camloc.checkpoint import Checkpoint, load_checkpoint
from camloc.core.device import torch_device
from camloc.core.model import Decoded
from camloc.core.types import Estimate, Frame, Located, Lost, View
from camloc.errors import ImageError
from camloc.export import load_onnx
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose

# A picture whose brightness varies less than this (8-bit levels) shows nothing to go by.
BLANK_DEVIATION = 1.5

# An answer farther from every training camera than each of these was not learned: this many spreads of the
# training cameras; where they stand in one spot, this many times the error to expect; and, in units of the
# world, what is little in any place.
FARTHEST_SPREADS = 3.0
FARTHEST_ERRORS = 10.0
FARTHEST_FLOOR = 0.5


@dataclass(frozen=True, eq=False)
class Localizer:
    """Answers photographs of the places that a model has learned.

    Attributes:
        checkpoint: the model, its preprocessing and its places.
        device: where the network runs.
    """

    checkpoint: Checkpoint
    device: torch.device

    @classmethod
    def load(cls, run: Path | str, *, device: str = "cpu") -> "Localizer":
        """From a run folder, a checkpoint folder, or an exported `.onnx` file.

        Raises:
            CheckpointError: there is none, or it is damaged.
            RecipeError: this machine has no such device.
        """
        path, place = Path(run), torch_device(device)
        checkpoint = load_onnx(path) if path.suffix == ".onnx" else load_checkpoint(path)
        checkpoint.model.to(place)
        return cls(checkpoint, place)

    def locate(self, photo: Path | str, *, camera: Camera | None = None) -> Estimate:
        """Where a photograph was taken.

        Args:
            photo: a picture file of any size; it is turned as its EXIF orientation says.
            camera: its intrinsics, for models that use them. A photograph is then taken as it is
                stored, if that is what they fit.

        Raises:
            ImageError: the file is not a picture that can be decoded.
        """
        path = Path(photo)
        return self._answer([self.checkpoint.facts.preprocess.view(Frame(path.name, path, camera))])[0]

    def locate_all(self, frames: Iterable[Frame], *, batch_size: int = 32) -> Iterator[Estimate]:
        """Where many frames were taken, in order; a picture that cannot be decoded is lost."""
        pending: list[View | Lost] = []
        for frame in frames:
            pending.append(self._view(frame))
            if len(pending) == batch_size:
                yield from self._answer(pending)
                pending = []
        yield from self._answer(pending)

    def _view(self, frame: Frame) -> View | Lost:
        try:
            return self.checkpoint.facts.preprocess.view(frame)
        except ImageError as problem:
            return Lost(str(problem))

    def _answer(self, views: Sequence[View | Lost]) -> list[Estimate]:
        """One estimate to each view, those that are lost already included.

        Views with and without intrinsics go separately, so that no answer depends on its neighbours.
        """
        answers: dict[int, Estimate] = {row: view for row, view in enumerate(views) if isinstance(view, Lost)}
        for is_known in (True, False):
            rows = {
                row: view
                for row, view in enumerate(views)
                if isinstance(view, View) and (view.camera is not None) == is_known
            }
            if rows:
                answers |= zip(rows, self._estimate(list(rows.values())), strict=True)
        return [answers[row] for row in range(len(views))]

    @torch.inference_mode()
    def _estimate(self, views: Sequence[View]) -> list[Estimate]:
        images = torch.stack([view.image for view in views]).to(self.device).float() / 255.0
        model: Any = self.checkpoint.model
        cameras = [view.camera.matrix() for view in views if view.camera is not None]
        intrinsics = torch.stack(cameras).float().to(self.device) if cameras else None
        decoded = model.decode(model(images), intrinsics=intrinsics)
        return [self._judge(decoded, row, view) for row, view in enumerate(views)]

    def _judge(self, decoded: Decoded, row: int, view: View) -> Estimate:
        """An answer that can be believed, or the reason why there is none."""
        if float(view.image.float().mean(0).std()) < BLANK_DEVIATION:
            return Lost("the picture is blank")
        pose = decoded.world_from_cam[row].to("cpu").to(torch.float64)
        if not bool(pose.is_finite()):
            return Lost("the network's answer is not a number")
        scene = int(decoded.scene[row])
        training = self.checkpoint.training_poses[scene]
        away, farthest = _distance_to_nearest(pose, training), self._farthest(training)
        if away > farthest:
            times = f"{away / farthest:.1f} times"
            return Lost(
                f"the answer lies far from every training camera: {times} the distance that is believed"
            )
        return Located(
            scene=self.checkpoint.facts.scenes[scene],
            world_from_cam=pose,
            spread=self.checkpoint.spread,
            probability=float(decoded.probability[row]),
        )

    def _farthest(self, training: Pose) -> float:
        """How far from every training camera an answer may lie."""
        expected = self.checkpoint.spread
        error = 0.0 if expected is None else expected.meters
        return max(FARTHEST_SPREADS * _spread(training), FARTHEST_ERRORS * error, FARTHEST_FLOOR)


def _spread(poses: Pose) -> float:
    """Root mean square distance of the camera centres to their mean."""
    centres = poses.translation
    return float((centres - centres.mean(0)).square().sum(-1).mean().sqrt())


def _distance_to_nearest(pose: Pose, training: Pose) -> float:
    """Distance to the nearest training camera."""
    return float(torch.linalg.vector_norm(training.translation - pose.translation, dim=-1).min())
