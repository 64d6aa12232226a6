"""The network of a checkpoint, run by torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray

from camloc.core.device import torch_device
from camloc.geometry.arrays import to_numpy
from camloc.geometry.pose import Pose
from camloc.inference.network import Output
from camloc.models.checkpoint import Checkpoint, load_checkpoint
from camloc.models.decoding import Decoding
from camloc.models.metadata import Metadata

if TYPE_CHECKING:
    from camloc.refinement.refiner import Refiner


@dataclass(frozen=True, eq=False)
class TorchNetwork:
    """A checkpoint's network as `camloc.inference.network.Network`.

    Attributes:
        checkpoint: the network, already on its device, and its novelty detector.
        torch_device: where the network runs.
    """

    checkpoint: Checkpoint
    torch_device: torch.device = torch.device("cpu")

    @property
    def metadata(self) -> Metadata:
        """Preprocessing, scenes and thresholds."""
        return self.checkpoint.metadata

    @cached_property
    def training_poses(self) -> tuple[Pose, ...]:
        """Of each scene, its (n,) training poses."""
        return tuple(poses.numpy().to(np.float64) for poses in self.checkpoint.training_poses)

    @property
    def decoding(self) -> Decoding:
        """The decoding of the outputs into poses, with NumPy arrays."""
        return self.checkpoint.model.decoding.numpy()

    @property
    def runtime(self) -> str:
        """The library that runs the network."""
        return "PyTorch"

    @property
    def device(self) -> str:
        """The device of the network."""
        return str(self.torch_device)

    @property
    def parameters(self) -> int:
        """Number of learned values."""
        return self.checkpoint.model.parameter_count()

    @torch.inference_mode()
    def predict(self, images: Float32[NDArray[np.float32], "b 3 h w"]) -> Output:
        """Run the network, and the novelty detector if there is one, on RGB images in [0, 1]."""
        prediction = self.checkpoint.model.predict(
            torch.from_numpy(images).to(self.torch_device),
            novelty_detector=self.checkpoint.novelty_detector,
        )
        values = type(prediction.output)(*map(to_numpy, prediction.output))
        novelty, latents = prediction.novelty, prediction.latents
        return Output(
            values,
            None if novelty is None else to_numpy(novelty),
            None if latents is None else type(latents)(*(half.cpu() for half in latents)),
        )


def load_with_refiners(
    run: Path, *, device: str, refine: str, every_method: bool
) -> "tuple[TorchNetwork, str, Mapping[str, Refiner]]":
    """The network of a run, the refinement method to use, and the refiners by method.

    Arguments and errors are those of `NetworkLocalizer.load`.
    """
    target, checkpoint = torch_device(device), load_checkpoint(run)
    refiners: Mapping[str, Refiner] = {}
    if refine != "none" or every_method:  # otherwise its imports only cost time
        from camloc.refinement.choice import load_refiners

        refine, refiners = load_refiners(
            run,
            checkpoint,
            refine,
            training_poses=checkpoint.training_poses,
            every_method=every_method,
            device=target,
        )
    checkpoint.model.to(target)
    if checkpoint.novelty_detector is not None:
        checkpoint.novelty_detector.to(target)
    return TorchNetwork(checkpoint, target), refine, refiners
