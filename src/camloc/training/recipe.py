"""A recipe: everything that makes one row of a table. A function that returns one is its file."""

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor, nn

from camloc.data.augment import Augment
from camloc.data.image_io import Preprocess
from camloc.data.splits import HoldOut
from camloc.errors import RecipeError
from camloc.geometry.pose import Pose
from camloc.models.base import PoseModel

Schedule = Literal["constant", "step", "cosine", "one_cycle"]
LearnsFrom = Literal["all", "full", "positions"]


@dataclass(frozen=True)
class Stage:
    """One phase of a recipe.

    Attributes:
        epochs: passes over the training frames that it learns from.
        learning_rate: at its highest.
        trains: shell patterns of parameter names, such as "orientation_*"; what matches none stands
            still, in evaluation mode.
        holds: patterns of what stands still all the same.
        optimizer: "adam" adds the decay to the gradient, "adamw" applies it apart.
        betas, epsilon: of either.
        weight_decay: on everything that trains but the loss's own weights.
        backbone_rate: learning rate of the backbone relative to the rest.
        loss_rate: learning rate of the loss's own weights relative to the rest.
        schedule: how the learning rate moves; "step" multiplies it by `step_factor` every
            `step_epochs`, "cosine" lowers it to zero, "one_cycle" first raises it over the first
            `warm_up` of the steps.
        batch_norm: "train" updates running statistics, "frozen" keeps them as they were loaded.
        average: decay of an exponential moving average of the weights, which is then what is
            validated and kept; 0 for none.
        gradient_clip: largest norm of the gradient; 0 for no limit.
        loss_weights: factors of the loss terms by name; a term not named counts fully.
        known_scenes: of parameters with a row for every scene (their names end in "_of_scene"), the rows of
            so many first scenes stand still.
        learns_from: all training frames, or those whose full pose is known, or those of which only the
            position is known.
    """

    epochs: int
    learning_rate: float
    trains: tuple[str, ...] = ("*",)
    frozen: tuple[str, ...] = ()
    optimizer: Literal["adam", "adamw"] = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    backbone_rate: float = 1.0
    loss_rate: float = 1.0
    schedule: Schedule = "constant"
    step_epochs: int = 20
    step_factor: float = 0.1
    warm_up: float = 0.1
    batch_norm: Literal["train", "frozen"] = "train"
    average: float = 0.0
    gradient_clip: float = 0.0
    loss_weights: dict[str, float] | None = None
    known_scenes: int = 0
    learns_from: LearnsFrom = "all"

    def rate_factor(self, step: int, *, steps: int, epoch: int) -> float:
        """The learning rate at a step of the stage, as a share of its highest."""
        match self.schedule:
            case "constant":
                return 1.0
            case "step":
                return self.step_factor ** (epoch // self.step_epochs)
            case "cosine":
                return 0.5 * (1.0 + math.cos(math.pi * step / steps))
            case "one_cycle":
                rise = max(1, round(self.warm_up * steps))
                if step < rise:
                    return 0.04 + 0.96 * (step + 1) / rise
                return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def learned_rows(stage: Stage, world_from_cam: Pose) -> Int[Tensor, "m"]:
    """The numbers of the training frames that a stage learns from, of (n,) poses.

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


def start(stage: Stage, model: nn.Module) -> torch.optim.Optimizer:
    """Let what the stage names of a network train and nothing else, and build its optimiser.

    Raises:
        RecipeError: a pattern matches no parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    for pattern in (*stage.trains, *stage.frozen):
        if not fnmatch.filter(names, pattern):
            raise RecipeError(f"the stage names '{pattern}', which matches no parameter of the model")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(_matches(name, stage.trains) and not _matches(name, stage.frozen))
    set_modes(stage, model)
    kind = torch.optim.AdamW if stage.optimizer == "adamw" else torch.optim.Adam
    groups = _parameter_groups(stage, model)
    return kind(groups, lr=stage.learning_rate, betas=stage.betas, eps=stage.epsilon, fused=True)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def set_modes(stage: Stage, model: nn.Module) -> None:
    """Training mode for what trains, evaluation mode for modules that stand still."""
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()
        if stage.batch_norm == "frozen" and isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def freeze_known_scenes(stage: Stage, model: nn.Module) -> None:
    """Take the gradient away from the rows of scenes that stand still."""
    if stage.known_scenes:
        for name, parameter in model.named_parameters():
            if name.endswith("_of_scene") and parameter.grad is not None:
                parameter.grad[: stage.known_scenes].zero_()


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the rate of every parameter group, each with its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["rate"]


def _parameter_groups(stage: Stage, model: nn.Module) -> list[dict[str, Any]]:
    backbone, loss, rest = [], [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith(PoseModel.LOSS_PREFIX):
            loss.append(parameter)
        elif name.startswith("backbone."):
            backbone.append(parameter)
        else:
            rest.append(parameter)
    groups = (
        {"params": rest, "weight_decay": stage.weight_decay, "rate": 1.0},
        {"params": backbone, "weight_decay": stage.weight_decay, "rate": stage.backbone_rate},
        {"params": loss, "weight_decay": 0.0, "rate": stage.loss_rate},
    )
    return [group for group in groups if group["params"]]


@dataclass(frozen=True)
class Window:
    """How many frames are learned together, and how far apart they are. MapNet and AtLoc+: 3, 10 apart.

    Attributes:
        frames: to a window; 1 learns from single frames.
        apart: frames of the recording from one frame of a window to its next.

    Raises:
        RecipeError: a window of no frames, or of one frame over and over.
    """

    frames: int = 1
    apart: int = 1

    def __post_init__(self) -> None:
        if self.frames < 1 or self.apart < 1:
            raise RecipeError(
                f"a window of {self.frames} frames, {self.apart} apart, cannot be; let both be 1 or more"
            )


def windows_around(
    rows: Int[Tensor, "m"], sequence: Int[Tensor, "n"], window: Window
) -> Int[Tensor, "m frames"]:
    """The windows that have each of `rows` in their middle, in the order of `rows`.

    Frames are counted within their recording, among those of `rows`: a window that spans frames which are
    held out is longer in time. Near its ends the first or last frame stands in for those that the recording
    does not have, as in the authors' code; theirs does so at the ends of the whole data set only, and has
    windows that jump from one recording to the next.

    Args:
        rows: numbers of the frames that are learned from, rising.
        sequence: which recording each of all n frames is of.
        window: how many frames, how far apart.
    """
    offsets = window.apart * (torch.arange(window.frames) - window.frames // 2)
    found = torch.empty(len(rows), window.frames, dtype=rows.dtype)
    recording = sequence[rows]
    for number in recording.unique():
        own = rows[recording == number]
        scenes = torch.arange(len(own)).unsqueeze(1) + offsets
        found[recording == number] = own[scenes.clamp(0, len(own) - 1)]
    return found


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a training learns from its images.

    Attributes:
        stages: phases, in order.
        width, height: the network's image.
        augment: random changes of training images.
        batch_size: images to a step, over all devices together, whole windows.
        window: which frames are learned together.
        seed: of weights, order, augmentation and dropout.
        validate_every: epochs between validations; the last of a stage is always validated.
        balanced: whether every scene has an equal part in an epoch, however many images it has.

    Raises:
        RecipeError: a batch is not a number of whole windows.
    """

    stages: tuple[Stage, ...]
    width: int
    height: int
    augment: Augment = field(default_factory=Augment)
    batch_size: int = 32
    window: Window = Window()
    seed: int = 0
    validate_every: int = 1
    balanced: bool = False

    def __post_init__(self) -> None:
        if self.batch_size % self.window.frames:
            raise RecipeError(
                f"a batch of {self.batch_size} images does not hold whole windows of {self.window.frames}; "
                f"make it a multiple of that"
            )

    @property
    def windows_per_batch(self) -> int:
        """Windows to a step, over all devices together."""
        return self.batch_size // self.window.frames

    @property
    def epochs(self) -> int:
        """Epochs over all stages."""
        return sum(stage.epochs for stage in self.stages)


@dataclass(frozen=True)
class Step:
    """One step of an epoch is done.

    Attributes:
        epoch: the epoch it belongs to, from 1, counted over all stages.
        step, steps: steps done in this epoch, and in all.
    """

    epoch: int
    step: int
    steps: int


@dataclass(frozen=True)
class Epoch:
    """One epoch is done.

    Attributes:
        epoch: from 1, counted over all stages.
        stage: number of the stage, from 0.
        losses: mean of every loss term over the epoch.
        learning_rate: at its end.
        validation: median (meters, degrees) on the held-out frames, or None if not validated now; of
            several scenes the means of their medians, infinite while one of them is not told from others.
        scenes: the medians of each scene, by its number, where they were validated.
        right_scene: share of the held-out frames that were put into their own scene.
        is_best: whether these are the best weights so far, which is when they are worth keeping.
        images_per_second: training speed.
        seconds: since training began, earlier runs included.
        model: the network to keep: the average of weights where the stage averages.
    """

    epoch: int
    stage: int
    losses: dict[str, float]
    learning_rate: float
    validation: tuple[float, float] | None
    is_best: bool
    images_per_second: float
    seconds: float
    model: PoseModel[Any]
    scenes: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    right_scene: float | None = None


@dataclass(frozen=True)
class Published:
    """A number that the settings reached in a paper.

    Attributes:
        scene: of the data set, or "mean" of all its scenes.
        meters, degrees: median errors; None for positions of which the paper says nothing.
        source: paper, table and row.
    """

    scene: str
    meters: float | None
    degrees: float
    source: str

    @classmethod
    def of_scenes(
        cls, scenes: Sequence[str], errors: Sequence[tuple[float, float]], source: str
    ) -> "tuple[Published, ...]":
        """A row of a table: the (meters, degrees) of scenes in their order."""
        return tuple(
            cls(scene, meters, degrees, source)
            for scene, (meters, degrees) in zip(scenes, errors, strict=True)
        )


@dataclass(frozen=True)
class Recipe:
    """Settings of one row of a table.

    Attributes:
        model: name of the model.
        config: its settings.
        preprocess: how an image becomes its input.
        stages: phases of training.
        augment: random changes of training images.
        cached_variants: variants of every image that pass once, before training, through what stands still
            at the beginning of the backbone; 0 passes every image through the whole network in every step.
        batch_size: images to a step.
        window: which frames are learned together. An epoch has one window around every frame.
        balanced: whether every scene has an equal part in an epoch, however many images it has.
        hold_out: which training frames of each scene choose the weights.
        keep_orientation_every: of the frames that are learned from, only one of so many keeps its
            orientation, and the others are positions alone; 0 leaves all as they are.
        validate_every: epochs between validations.
        layout: of the data set that the row is about; "auto" for any.
        published: what the same settings reached in the paper.
    """

    model: str
    config: Any
    preprocess: Preprocess
    stages: tuple[Stage, ...]
    augment: Augment = field(default_factory=Augment)
    cached_variants: int = 0
    batch_size: int = 32
    window: Window = Window()
    balanced: bool = False
    hold_out: HoldOut = field(default_factory=HoldOut)
    keep_orientation_every: int = 0
    validate_every: int = 1
    layout: str = "auto"
    published: tuple[Published, ...] = ()

    @property
    def epochs(self) -> int:
        """Epochs over all stages."""
        return sum(stage.epochs for stage in self.stages)

    def plan(self, seed: int) -> Plan:
        """What the training loop is asked to do."""
        return Plan(
            stages=self.stages,
            width=self.preprocess.width,
            height=self.preprocess.height,
            augment=self.augment,
            batch_size=self.batch_size,
            window=self.window,
            seed=seed,
            validate_every=self.validate_every,
            balanced=self.balanced,
        )

    def of_scenes(self, count: int) -> "Recipe":
        """The same recipe for so many scenes: models of several have a setting `scenes`.

        Raises:
            RecipeError: the model learns one scene only.
        """
        if hasattr(self.config, "scenes"):
            return replace(self, config=replace(self.config, scenes=count))
        if count > 1:
            raise RecipeError(
                f"{self.model} learns one scene, not {count}; take a recipe of a model for several scenes, "
                f"such as room/ms-transformer"
            )
        return self

    def cached(self, variants: int, *, frozen: tuple[str, ...] = ()) -> "Recipe":
        """The same recipe from so many cached variants of every image.

        `holds` are patterns of what stands still beside what the stages hold already: the more of the
        backbone's beginning does, the shorter are a step and, behind its strides, the cache.
        """
        stages = tuple(replace(stage, frozen=(*stage.frozen, *frozen)) for stage in self.stages)
        return replace(self, cached_variants=variants, stages=stages)

    def scaled(self, share: float) -> "Recipe":
        """The same recipe with every stage stretched or shrunk by `share`, to one epoch at least."""
        stages = tuple(
            replace(
                stage,
                epochs=max(1, round(stage.epochs * share)),
                step_epochs=max(1, round(stage.step_epochs * share)),
            )
            for stage in self.stages
        )
        return replace(self, stages=stages)
