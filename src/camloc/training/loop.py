"""The training loop of all networks: a generator of events, whose caller decides how to go on."""

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from lightning_fabric import Fabric
from torch import Tensor, nn

from camloc.core.config import to_json
from camloc.data.image_cache import ImageCache
from camloc.errors import RecipeError
from camloc.models.base import PoseModel
from camloc.training.cpu.batch_norm import synchronise_batch_norm
from camloc.training.cpu.depthwise import keep_single
from camloc.training.feature_cache import FeatureVariants
from camloc.training.optim import (
    WarmedUpAverage,
    freeze_known_scenes,
    set_learning_rate,
    set_modes,
    start_stage,
)
from camloc.training.recipe import Recipe, Stage
from camloc.training.state import Position, Saving, load_modules, load_state, read_position
from camloc.training.tasks import AuxiliaryTask, PoseTask, Task, training_rows
from camloc.training.validation import Medians


@dataclass(frozen=True)
class Step:
    """Event: one step of the optimiser is done.

    Attributes:
        epoch: the epoch of the step, from 1, counted over all stages.
        step, steps: steps done in this epoch, and steps of an epoch.
    """

    epoch: int
    step: int
    steps: int


@dataclass(frozen=True)
class Epoch:
    """Event: one epoch is done.

    Attributes:
        epoch, epochs: this epoch, from 1, and the number of epochs; both counted over all stages.
        stage: number of the stage, from 0.
        losses: mean of every loss term over the epoch.
        learning_rate: at the end of the epoch.
        measures: numbers of the validation by name, such as "meters"; empty where none took place.
        scenes: median (meters, degrees) of each validated scene, by its number.
        is_best: whether the network has the best weights so far, which are worth keeping.
        images_per_second: speed of the training steps, in rows of an auxiliary task.
        seconds: time of all training steps, those before an interruption included.
        model: the network to keep: the average of the weights where the stage averages.
    """

    epoch: int
    epochs: int
    stage: int
    losses: dict[str, float]
    learning_rate: float
    measures: Mapping[str, float]
    is_best: bool
    images_per_second: float
    seconds: float
    model: Any
    scenes: Mapping[int, Medians] = field(default_factory=dict)

    @property
    def validation(self) -> Medians | None:
        """Mean over the scenes of the median (meters, degrees), or None where none was measured.

        Infinite where half of the images of a scene are put into another one.
        """
        if "meters" not in self.measures or "degrees" not in self.measures:
            return None
        return self.measures["meters"], self.measures["degrees"]

    @property
    def right_scene(self) -> float | None:
        """Share of the held-out frames that were put into their own scene."""
        return self.measures.get("right_scene")


class StageTraining:
    """One stage of a training while it runs: a task with its optimiser, its average and its best weights.

    Attributes:
        losses, images: mean of every loss term over the last epoch, and number of its images.
        best: the best weights so far, on the CPU; empty before the first validation.
        position: how far the training has come.
    """

    def __init__(
        self,
        task: Task,
        stage: Stage,
        fabric: Fabric,
        *,
        batch_size: int,
        validate_every: int,
        position: Position,
        earlier_epochs: int = 0,
        epochs: int = 0,
    ) -> None:
        """Prepare the stage.

        Args:
            task: the network, and the rows that it learns from.
            stage: the parameters that train, for how long, and how fast.
            fabric: devices and processes.
            batch_size: rows of a step, over all processes together.
            validate_every: epochs between validations.
            position: how far earlier stages, or an interrupted run of this one, have come.
            earlier_epochs: epochs of the stages before this one.
            epochs: of all stages; 0 for those of this one.
        """
        self.task, self.stage, self.fabric, self.position = task, stage, fabric, position
        self.raw_optimizer = start_stage(stage, task.network)
        self.network, self.optimizer = task.set_up(self.raw_optimizer, fabric)
        self.average = WarmedUpAverage(task.network, stage.average) if stage.average else None
        self.batch_size, self.validate_every = min(batch_size, len(task)), validate_every
        self.steps = steps_per_epoch(len(task), batch_size)
        self.earlier_epochs, self.epochs = earlier_epochs, epochs or stage.epochs
        self.best: dict[str, Tensor] = {}
        self.losses: dict[str, float] = {}
        self.images = 0

    @property
    def kept_network(self) -> nn.Module:
        """The network that is validated and kept."""
        return self.task.network if self.average is None else self.average.module

    def modules(self) -> dict[str, nn.Module]:
        """Modules with weights that the next epoch depends on."""
        return {"model": self.task.network} | ({} if self.average is None else {"average": self.average})

    def train_epoch(self, epoch: int, generator: torch.Generator) -> Iterator[Step]:
        """Train on every row once, except for the last incomplete batch, and set `losses`.

        Raises:
            RecipeError: the loss is no longer finite.
        """
        set_modes(self.stage, self.task.network)
        order = self.task.order(generator)
        sums: dict[str, Tensor] = {}
        interval, self.images = steps_between_checks(self.fabric.device), 0
        for step in range(self.steps):
            share = self.stage.rate_factor(
                epoch * self.steps + step, steps=self.stage.epochs * self.steps, epoch=epoch
            )
            set_learning_rate(self.raw_optimizer, self.stage.learning_rate * share)
            rows_B = order[step * self.batch_size : (step + 1) * self.batch_size].flatten()
            self.images += len(rows_B)
            for name, value in self.training_step(rows_B, generator).items():
                sums[name] = sums[name] + value if name in sums else value
            is_checked = (step + 1) % interval == 0 or step + 1 == self.steps
            if is_checked and not torch.stack(list(sums.values())).isfinite().all():
                raise _diverged()
            yield Step(self.earlier_epochs + epoch + 1, step + 1, self.steps)
        means = {name: value / self.steps for name, value in sums.items()}
        self.losses = {name: self._over_processes(value) for name, value in means.items()}

    def training_step(self, rows_B: Int[Tensor, "b"], generator: torch.Generator) -> dict[str, Tensor]:
        """Change the weights once, for the rows of a batch. Returns the loss terms, detached."""
        try:
            losses = self.task.losses(self.network, rows_B, generator)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # of matrices that are not finite
            raise _diverged() from None
        factors = self.stage.loss_weights or {}
        loss = torch.stack([factors.get(name, 1.0) * value for name, value in losses.items()]).sum()
        self.raw_optimizer.zero_grad()
        self.fabric.backward(loss)
        freeze_known_scenes(self.stage, self.task.network)
        if self.stage.gradient_clip:
            self.fabric.clip_gradients(
                self.network,
                self.optimizer,
                max_norm=self.stage.gradient_clip,
                error_if_nonfinite=False,  # the check would wait for the device; the loss shows it as well
            )
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.task.network)
        return {name: value.detach() for name, value in losses.items()}

    def _over_processes(self, value: Tensor) -> float:
        reduced = self.fabric.all_reduce(value, reduce_op="mean")
        assert isinstance(reduced, Tensor)
        return float(reduced)

    def finish_epoch(self, epoch: int, seconds: float) -> Epoch:
        """Validate if that is due, keep the weights if they are the best so far, and report the epoch."""
        number, is_last = self.earlier_epochs + epoch + 1, epoch + 1 == self.stage.epochs
        found = None
        if is_last or (epoch + 1) % self.validate_every == 0:
            self.kept_network.eval()
            with torch.no_grad():
                found = self.task.validate(self.kept_network)
        score = float("inf") if found is None else found.score
        # Where no validation ever gave a finite score, the last weights are kept.
        is_best = score < self.position.best_score or (is_last and not self.best)
        if is_best:
            state = self.kept_network.state_dict()
            self.best = {name: value.detach().cpu().clone() for name, value in state.items()}
        self.position = replace(
            self.position,
            epoch=epoch + 1,
            best_score=score if is_best else self.position.best_score,
            best_epoch=number if is_best else self.position.best_epoch,
            seconds=self.position.seconds + seconds,
        )
        return Epoch(
            epoch=number,
            epochs=self.epochs,
            stage=self.position.stage,
            losses=self.losses,
            learning_rate=self.raw_optimizer.param_groups[0]["lr"],
            measures={} if found is None else found.measures,
            is_best=is_best,
            images_per_second=self.images / seconds,
            seconds=self.position.seconds,
            model=self.kept_network,
            scenes={} if found is None else found.scenes,
        )


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Steps of an epoch: the number of whole batches, but at least 1."""
    return max(1, rows // batch_size)


def steps_between_checks(device: torch.device) -> int:
    """Number of steps after which the loss is checked to be finite.

    Reading the loss from an accelerator waits for all steps that are queued there.
    """
    return 1 if device.type == "cpu" else 50


def _diverged() -> RecipeError:
    return RecipeError("training diverged: the loss is no longer finite; lower the learning rate")


def fit(
    model: PoseModel[Any],
    train: ImageCache | FeatureVariants,
    recipe: Recipe,
    *,
    seed: int = 0,
    validation: ImageCache | None = None,
    fabric: Fabric | None = None,
    state: Path | None = None,
) -> Iterator[Step | Epoch]:
    """Train a model in place, stage after stage.

    At the end of each stage the model holds the weights that were best on the validation frames (the
    last ones, where nothing was held out), and the next stage starts from them. The random numbers of
    an epoch depend on seed, stage and epoch alone; together with the state file this makes a training
    that is stopped at any moment, and started again, end with the same weights.

    Args:
        model: a network; `observe_scenes` has been called.
        train: training images or their features.
        recipe: settings; its model and its preprocessing are those of `model` and `train`.
        seed: of order, augmentation and dropout.
        validation: held-out images that choose the weights.
        fabric: devices and processes, launched; None for one CPU process.
        state: file to write after each epoch, and to resume from if it exists; it is written less often where
            writing it takes long (`camloc.training.state.Saving`).

    Raises:
        RecipeError: the batch cannot be shared evenly by the processes, a stage's pattern matches nothing, a
            stage has no training frames, or the loss is no longer finite.
        CheckpointError: the state file is damaged.
    """
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    for stage in recipe.stages:  # refused now, not after the first stage has trained for hours
        windows = min(recipe.windows_per_batch, len(training_rows(stage, train.world_from_cam)))
        if windows % fabric.world_size:
            what = f"{windows} windows" if recipe.window.frames > 1 else f"{windows}"
            raise RecipeError(f"a batch of {what} cannot be shared evenly by {fabric.world_size} processes")
    if fabric.world_size > 1:
        synchronise_batch_norm(model)
    model.to(memory_format=torch.channels_last)
    if fabric.device.type == "cpu":
        keep_single(model)
    position = _position(state, Position(_fingerprint(model, recipe, seed, train, validation)))
    if state is not None and position.stage > 0 and position.epoch == 0:
        load_modules(state, {"model": model})
    saving, earlier_epochs = Saving(), 0
    for number, stage in enumerate(recipe.stages):
        if number >= position.stage:
            run = StageTraining(
                PoseTask(model, train, validation, recipe, stage, fabric),
                stage,
                fabric,
                batch_size=recipe.windows_per_batch,
                validate_every=recipe.validate_every,
                position=position,
                earlier_epochs=earlier_epochs,
                epochs=recipe.epochs,
            )
            if state is not None and position.epoch > 0:
                run.best = load_state(state, run.modules(), run.optimizer)
            for epoch in range(position.epoch, stage.epochs):
                started = time.monotonic()
                yield from run.train_epoch(epoch, _generator(seed, number, epoch))
                yield run.finish_epoch(epoch, time.monotonic() - started)
                # The state of the last epoch is part of the state of the stage, below.
                is_due = epoch + 1 < stage.epochs and saving.is_due()
                if is_due and state is not None and fabric.is_global_zero:
                    saving.save(state, run.position, {**run.modules(), "best": run.best}, run.raw_optimizer)
                fabric.barrier()
            model.load_state_dict(run.best)
            position = replace(run.position, stage=number + 1, epoch=0, best_score=float("inf"))
            if state is not None and fabric.is_global_zero:
                saving.save(state, position, {"model": model, "best": run.best}, run.raw_optimizer)
            fabric.barrier()
        earlier_epochs += stage.epochs


def fit_auxiliary(
    task: AuxiliaryTask, stage: Stage, *, batch_size: int, seed: int = 0, validate_every: int = 1
) -> Iterator[Epoch]:
    """Train an auxiliary network in place; it ends with the best weights, or the last without validation.

    Nothing is saved on the way: such a training takes a minute, and starts again after an interruption.

    Args:
        task: the network, and the rows that it learns from.
        stage: for how long and how fast.
        batch_size: rows of a step.
        seed: of the order of the rows and of all randomness in the losses.
        validate_every: epochs between validations; the last epoch is always validated.

    Raises:
        RecipeError: a pattern of the stage matches nothing, or the loss is no longer finite.
    """
    device = next(task.network.parameters()).device
    fabric = Fabric(accelerator=device.type, devices=[device.index or 0] if device.type == "cuda" else 1)
    run = StageTraining(
        task, stage, fabric, batch_size=batch_size, validate_every=validate_every, position=Position("")
    )
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    for epoch in range(stage.epochs):
        started = time.monotonic()
        for _ in run.train_epoch(epoch, generator):
            pass
        yield run.finish_epoch(epoch, time.monotonic() - started)
    task.network.load_state_dict(run.best)
    task.network.eval()


def _generator(seed: int, stage: int, epoch: int) -> torch.Generator:
    """The generator of an epoch; torch's global one, of dropout, gets the same seed."""
    number = int(np.random.SeedSequence((seed, stage, epoch)).generate_state(1)[0])
    torch.manual_seed(number)
    return torch.Generator().manual_seed(number)


def _fingerprint(
    model: PoseModel[Any],
    recipe: Recipe,
    seed: int,
    train: ImageCache | FeatureVariants,
    validation: ImageCache | None,
) -> str:
    """Digest of everything that decides the outcome of a training; only the same one resumes a state."""
    digest = hashlib.sha256(to_json((recipe, seed)))
    for name, tensor in model.state_dict().items():
        digest.update(repr((name, tuple(tensor.shape))).encode())
    for images in (train, validation):
        if images is not None:
            digest.update(repr(images.images.shape).encode())
            digest.update(images.world_from_cam.translation.numpy().tobytes())
            digest.update(images.world_from_cam.has_orientation().numpy().tobytes())
            digest.update(images.sequence.numpy().tobytes())
            digest.update(images.scene.numpy().tobytes())
    return digest.hexdigest()


def _position(state: Path | None, fresh: Position) -> Position:
    if state is None or not state.exists():
        return fresh
    found = read_position(state)
    return found if found.fingerprint == fresh.fingerprint else fresh
