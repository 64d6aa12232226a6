"""Settings of a training: a `Recipe`, which has everything that makes one row of a table, and its parts."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from camloc.data.augment import Augment
from camloc.data.image_io import Preprocess
from camloc.data.splits import HoldOut
from camloc.errors import RecipeError

Schedule = Literal["constant", "step", "cosine", "one_cycle"]
LearnsFrom = Literal["all", "full", "positions"]


@dataclass(frozen=True)
class Stage:
    """One phase of a training: the parameters that train, for how long, and how fast.

    Attributes:
        epochs: passes over the training frames of the stage.
        learning_rate: the highest of the stage.
        trains: shell patterns of parameter names, such as "orientation_*". Parameters that match none are
            frozen; modules without a training parameter are in evaluation mode.
        frozen: patterns of parameters that stay frozen although `trains` matches them.
        optimizer: "adam" adds the weight decay to the gradient, "adamw" applies it separately.
        betas, epsilon: of either optimiser.
        weight_decay: on all training parameters but the loss's own weights.
        backbone_rate: learning rate of the backbone relative to the rest.
        loss_rate: learning rate of the loss's own weights relative to the rest.
        schedule: course of the learning rate. "step" multiplies it by `step_factor` every `step_epochs`,
            "cosine" lowers it to zero, "one_cycle" first raises it over the first `warm_up` of the steps.
        batch_norm: "train" updates running statistics, "frozen" keeps them as they were loaded.
        average: decay of an exponential moving average of the weights, which is then the network that is
            validated and kept; 0 for none.
        gradient_clip: largest norm of the gradient; 0 for no limit.
        loss_weights: factors of the loss terms by name; a term that is not named has factor 1.
        known_scenes: number of first scenes whose rows stay frozen in parameters that have a row for every
            scene (their names end in "_of_scene").
        learns_from: "all" training frames, those whose "full" pose is known, or those with "positions" only.
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
        """The learning rate at a step of the stage, as a share of its highest.

        A function of the step alone, so that an interrupted training needs no state of a scheduler. torch's
        schedulers derive each rate from the one before: their rounding differs, and so would the weights.
        """
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


@dataclass(frozen=True)
class Window:
    """Frames of one recording that are learned together. MapNet and AtLoc+: 3 frames, 10 apart.

    Attributes:
        frames: frames of a window; 1 trains on single frames.
        apart: distance from one frame of a window to the next, counted in frames of the recording.

    Raises:
        RecipeError: a number is below 1.
    """

    frames: int = 1
    apart: int = 1

    def __post_init__(self) -> None:
        if self.frames < 1 or self.apart < 1:
            raise RecipeError(
                f"a window of {self.frames} frames, {self.apart} apart, cannot be; let both be 1 or more"
            )


@dataclass(frozen=True)
class Recipe:
    """Settings of one row of a table. With a seed, they decide the result of a training on given images.

    Attributes:
        model: name of the model.
        config: settings of the model.
        preprocess: how an image becomes the network's input.
        stages: phases of the training, in order.
        augment: random changes of training images.
        cached_variants: variants of every image that pass once, before training, through the frozen prefix
            of the backbone; 0 passes every image through the whole network in every step.
        batch_size: images of a step, over all devices together; a multiple of the frames of a window.
        window: which frames are learned together. An epoch has one window around every frame.
        balanced: whether every scene has an equal part of an epoch, however many images it has.
        hold_out: which training frames of each scene are held out and choose the weights.
        keep_orientation_every: only every n-th training frame keeps its orientation, the others become
            positions alone; 0 leaves all frames as they are.
        validate_every: epochs between validations; the last epoch of a stage is always validated.
        layout: of the data set that the row is about; "auto" for any.

    Raises:
        RecipeError: a batch is not a whole number of windows.
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

    def __post_init__(self) -> None:
        if self.batch_size % self.window.frames:
            raise RecipeError(
                f"a batch of {self.batch_size} images does not hold whole windows of {self.window.frames}; "
                f"make it a multiple of that"
            )

    @property
    def epochs(self) -> int:
        """Epochs over all stages."""
        return sum(stage.epochs for stage in self.stages)

    @property
    def windows_per_batch(self) -> int:
        """Windows of a step, over all devices together."""
        return self.batch_size // self.window.frames

    def of_scenes(self, count: int) -> "Recipe":
        """The same recipe for a number of scenes: multi-scene models have a setting `scenes`.

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
        """The same recipe on cached features of a number of variants of every image.

        `frozen` are patterns of further parameters to freeze in every stage. The longer the frozen prefix of
        the backbone, the shorter is a step; behind the prefix's strides the cache is smaller, too.
        """
        stages = tuple(replace(stage, frozen=(*stage.frozen, *frozen)) for stage in self.stages)
        return replace(self, cached_variants=variants, stages=stages)

    def scaled(self, share: float) -> "Recipe":
        """The same recipe with the epochs of every stage multiplied by `share`, at least one each."""
        stages = tuple(
            replace(
                stage,
                epochs=max(1, round(stage.epochs * share)),
                step_epochs=max(1, round(stage.step_epochs * share)),
            )
            for stage in self.stages
        )
        return replace(self, stages=stages)
