"""Tasks: the network, the training rows, the losses and the validation that a training loop works on."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Int
from lightning_fabric import Fabric
from torch import Tensor, nn

from camloc.data.augment import Draws
from camloc.data.image_cache import ImageCache
from camloc.errors import RecipeError
from camloc.geometry.pose import Pose
from camloc.models.base import GeometryModel, PoseModel, Regressor
from camloc.training.feature_cache import FeatureVariants, FromFeatures
from camloc.training.recipe import Recipe, Stage, Window
from camloc.training.validation import Medians, mean_pose_errors, validate


@dataclass(frozen=True)
class Validation:
    """How good a network is on held-out data.

    Attributes:
        score: chooses the weights; less is better.
        measures: further numbers by name, such as "meters" and "degrees".
        scenes: median (meters, degrees) of each scene, by its number.
    """

    score: float
    measures: Mapping[str, float]
    scenes: Mapping[int, Medians] = field(default_factory=dict)


class Task(ABC):
    """A network and the rows that it learns from.

    A row is one example: a window of images, a view, a pair of frames.

    Attributes:
        network: a `Stage` says which of its parameters train. Those under `pose_loss.` are the loss's own.
    """

    network: nn.Module

    @abstractmethod
    def __len__(self) -> int:
        """Number of training rows."""

    def order(self, generator: torch.Generator) -> Int[Tensor, "n *frames"]:
        """Training rows of an epoch in random order, or the frames of each."""
        return torch.randperm(len(self), generator=generator)

    def set_up(self, optimizer: torch.optim.Optimizer, fabric: Fabric) -> tuple[Any, Any]:
        """The network and the optimiser of a stage, wrapped for the processes that share a batch."""
        del fabric
        return self.network, optimizer

    @abstractmethod
    def losses(self, network: Any, rows: Int[Tensor, "b"], generator: torch.Generator) -> dict[str, Tensor]:
        """Loss terms (scalars) of a batch by name; the loop minimises their sum.

        Args:
            network: as `set_up` has wrapped it.
            rows: the batch, flat.
            generator: of all randomness in the losses.
        """

    @abstractmethod
    def validate(self, network: Any) -> Validation | None:
        """Validate a network or its average, in evaluation mode; None where nothing is held out."""


class AuxiliaryTask(Task):
    """A small network that learns beside a trained regressor, in one process, from rows in memory."""

    @abstractmethod
    def measures(self, network: Any) -> dict[str, float]:
        """Numbers on held-out data, "score" among them; empty where nothing is held out."""

    def validate(self, network: Any) -> Validation | None:
        """See `Task.validate`."""
        measures = self.measures(network)
        return Validation(measures["score"], measures) if measures else None


class PoseTask(Task):
    """A stage of the training of a model that gives poses, from images or from cached features."""

    network: PoseModel[Any]

    def __init__(
        self,
        model: PoseModel[Any],
        train: ImageCache | FeatureVariants,
        validation: ImageCache | None,
        recipe: Recipe,
        stage: Stage,
        fabric: Fabric,
    ) -> None:
        """Collect the windows of the frames that the stage learns from.

        Raises:
            RecipeError: the stage has no training frames.
        """
        self.network, self.train, self.validation = model, train, validation
        self.recipe, self.fabric = recipe, fabric
        rows = training_rows(stage, train.world_from_cam)
        self.windows = windows_around(rows, train.sequence, recipe.window)

    def __len__(self) -> int:
        return len(self.windows)

    def order(self, generator: torch.Generator) -> Int[Tensor, "n frames"]:
        """The windows in random order; where the recipe is balanced, every scene has an equal part."""
        if not self.recipe.balanced:
            return self.windows[torch.randperm(len(self.windows), generator=generator)]
        return self.windows[balanced_order(self.train.scene[self.windows[:, 0]], generator)]

    def set_up(self, optimizer: torch.optim.Optimizer, fabric: Fabric) -> tuple[Any, Any]:
        """Wrap the model, or its layers behind the cached features."""
        part: nn.Module = self.network
        if isinstance(self.train, FeatureVariants):
            assert isinstance(self.network, GeometryModel | Regressor), "other models have no cached features"
            size = self.recipe.preprocess
            part = FromFeatures(self.network, self.train.cut, width=size.width, height=size.height)
        network, wrapped = fabric.setup(part, optimizer)
        return network, wrapped

    def losses(self, network: Any, rows_B: Int[Tensor, "b"], generator: torch.Generator) -> dict[str, Tensor]:
        """Loss terms of this process's share of a batch of images, window after window.

        Augmentation is drawn for the whole batch, so that it does not depend on the number of processes.
        """
        share = len(rows_B) // self.fabric.world_size
        mine = slice(self.fabric.global_rank * share, (self.fabric.global_rank + 1) * share)
        size = self.recipe.preprocess
        batch = self.train.drawn(
            rows_B[mine],
            Draws(generator, len(rows_B), mine),
            augment=self.recipe.augment,
            width=size.width,
            height=size.height,
            device=self.fabric.device,
        ).replace(window=self.recipe.window.frames)
        inputs_BCHW = batch.images  # images, or features of the backbone's frozen prefix
        return self.network.losses(network(inputs_BCHW), batch)

    def validate(self, network: PoseModel[Any]) -> Validation | None:
        """Median errors on held-out frames; the score takes them relative to those of the mean pose."""
        if self.validation is None:
            return None
        found = validate(network, self.validation, self.recipe.preprocess, self.fabric.device)
        meters, degrees = found.mean
        measures = {"meters": meters, "degrees": degrees, "right_scene": found.right_scene}
        return Validation(found.score(self._scale), measures, found.scenes)

    @cached_property
    def _scale(self) -> dict[int, Medians]:
        assert self.validation is not None
        return mean_pose_errors(self.train.world_from_cam, self.train.scene, self.validation)


def training_rows(stage: Stage, world_from_cam: Pose) -> Int[Tensor, "m"]:
    """Indices of the training frames that a stage learns from, of (n,) poses.

    Raises:
        RecipeError: there are none.
    """
    has_orientation = world_from_cam.has_orientation()
    match stage.learns_from:
        case "all":
            rows = torch.arange(len(world_from_cam))
        case "full":
            rows = has_orientation.nonzero().squeeze(1)
        case "positions":
            rows = (~has_orientation).nonzero().squeeze(1)
    if not len(rows):
        wanted = {"all": "", "full": " with an orientation", "positions": " with a position alone"}
        raise RecipeError(
            f"a stage learns from training frames{wanted[stage.learns_from]}, and there are none; give some"
        )
    return rows


def windows_around(
    rows: Int[Tensor, "m"], sequence: Int[Tensor, "n"], window: Window
) -> Int[Tensor, "m frames"]:
    """The windows that have each of `rows` in their middle, in the order of `rows`.

    Frames are counted within their recording, among those of `rows`: a window that spans held-out frames is
    longer in time. Near the ends of a recording its first or last frame repeats, as in the authors' code;
    that code does so at the ends of the whole data set only, and has windows across two recordings.

    Args:
        rows: indices of the training frames, rising.
        sequence: number of the recording of each of all n frames.
        window: how many frames, how far apart.
    """
    offsets = window.apart * (torch.arange(window.frames) - window.frames // 2)
    found = torch.empty(len(rows), window.frames, dtype=rows.dtype)
    recording = sequence[rows]
    for number in recording.unique():
        own = rows[recording == number]
        positions = torch.arange(len(own)).unsqueeze(1) + offsets
        found[recording == number] = own[positions.clamp(0, len(own) - 1)]
    return found


def balanced_order(scene: Int[Tensor, "n"], generator: torch.Generator) -> Int[Tensor, "n"]:
    """n row indices in random order, the same number of every scene except for a remainder.

    Rows of a scene that has more than its part wait for another epoch. Rows of a scene that has fewer appear
    several times: each once before any a second time.

    Args:
        scene: number of the scene of each row.
        generator: of the order.
    """
    scenes = scene.unique()
    parts = [len(scene) // len(scenes) + (number < len(scene) % len(scenes)) for number in range(len(scenes))]
    chosen = [
        _draw((scene == number).nonzero().squeeze(1), part, generator)
        for number, part in zip(scenes, parts, strict=True)
    ]
    together = torch.cat(chosen)
    return together[torch.randperm(len(together), generator=generator)]


def _draw(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` of the rows, from as many random passes over all of them as that needs."""
    passes = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(-(-count // len(rows)))]
    return torch.cat(passes)[:count]
