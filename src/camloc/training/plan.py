"""What a training is asked to do, and what it tells while it does it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from camloc.core.augment import Augment
from camloc.core.model import PoseModel
from camloc.errors import RecipeError
from camloc.training.stages import Stage
from camloc.training.windows import Window


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a training learns from its pictures.

    Attributes:
        stages: phases, in order.
        width, height: the network's picture.
        augment: random changes of training pictures.
        batch_size: pictures to a step, over all devices together, whole windows.
        window: which frames are learned together.
        seed: of weights, order, augmentation and dropout.
        validate_every: epochs between validations; the last of a stage is always validated.
        balanced: whether every place has an equal part in an epoch, however many pictures it has.

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
                f"a batch of {self.batch_size} pictures does not hold whole windows of {self.window.frames}; "
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
            several places the means of their medians, infinite while one of them is not told from others.
        places: the medians of each place, by its number, where they were validated.
        right_place: share of the held-out frames that were put into their own place.
        is_best: whether these are the best weights so far, which is when they are worth keeping.
        pictures_per_second: training speed.
        seconds: since training began, earlier runs included.
        model: the network to keep: the average of weights where the stage averages.
    """

    epoch: int
    stage: int
    losses: dict[str, float]
    learning_rate: float
    validation: tuple[float, float] | None
    is_best: bool
    pictures_per_second: float
    seconds: float
    model: PoseModel[Any]
    places: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    right_place: float | None = None
