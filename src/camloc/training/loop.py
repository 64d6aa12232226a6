"""The training loop, as a generator: it trains, it tells, and the caller decides what to do with it."""

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from jaxtyping import Int
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from camloc.core.config import to_json
from camloc.data.augment import Draws
from camloc.data.image_cache import ImageCache
from camloc.errors import RecipeError
from camloc.models.base import GeometryModel, PoseModel, Regressor
from camloc.training.cpu.batch_norm import synchronise_batch_norm
from camloc.training.cpu.strided_depthwise import keep_single
from camloc.training.feature_cache import FeatureVariants, FromFeatures
from camloc.training.recipe import (
    Epoch,
    Plan,
    Stage,
    Step,
    freeze_known_scenes,
    learned_rows,
    set_learning_rate,
    set_modes,
    start,
    windows_around,
)
from camloc.training.state import Position, Saving, load_modules, load_state, read_position
from camloc.training.validation import Medians, mean_pose_errors, validate


class WarmedUpAverage(AveragedModel):
    """A copy of a model that follows its weights and buffers when `update_parameters` is called.

    The decay rises from nearly 0 to `decay` as updates come in, so that the random first weights do
    not linger in the average of a short training.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average towards the model's weights; counts, which have no average, become the model's.

        torch's own would have an accelerator tell how many updates there were, and wait for it.
        """
        updates = int(self.n_averaged)  # a count that stays on the CPU
        decay = min(self.decay, (1 + updates) / (10 + updates)) if updates else 0.0
        # One kernel to a number format does for all tensors of it.
        groups: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        for average, current in zip(_tensors(self.module), _tensors(model), strict=True):
            averages, currents = groups.setdefault(average.dtype, ([], []))
            averages.append(average)
            currents.append(current)
        for kind, (averages, currents) in groups.items():
            if updates and kind.is_floating_point:
                get_ema_multi_avg_fn(decay)(averages, currents, updates)
            else:
                torch._foreach_copy_(averages, currents)
        self.n_averaged += 1


def _tensors(module: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in chain(module.parameters(), module.buffers())]


def balanced_order(scene: Int[Tensor, "n"], generator: torch.Generator) -> Int[Tensor, "n"]:
    """n rows in which every scene comes up equally often, but for a remainder, in random order.

    Rows of a scene that has more than its part are left for another epoch, those of one that has fewer come
    up several times: each once before any a second time.

    Args:
        scene: (n,) numbers of the scenes of all rows.
        generator: of the order.
    """
    scenes = scene.unique()
    parts = [len(scene) // len(scenes) + (number < len(scene) % len(scenes)) for number in range(len(scenes))]
    chosen = [
        _drawn((scene == number).nonzero().squeeze(1), part, generator)
        for number, part in zip(scenes, parts, strict=True)
    ]
    together = torch.cat(chosen)
    return together[torch.randperm(len(together), generator=generator)]


def _drawn(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """So many of the rows, in passes over all of them."""
    passes = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(-(-count // len(rows)))]
    return torch.cat(passes)[:count]


class StageRun:
    """One stage while it trains: the model with its optimiser, its average and its best weights."""

    def __init__(
        self,
        model: PoseModel[Any],
        train: ImageCache | FeatureVariants,
        validation: ImageCache | None,
        plan: Plan,
        stage: Stage,
        number: int,
        fabric: Fabric,
    ) -> None:
        self.model, self.train, self.validation = model, train, validation
        self.plan, self.stage, self.number, self.fabric = plan, stage, number, fabric
        self.raw_optimizer = start(stage, model)
        part: nn.Module = model
        if isinstance(train, FeatureVariants):  # what follows them is all that runs
            assert isinstance(model, GeometryModel | Regressor), "only of these are there features"
            part = FromFeatures(model, train.cut, width=plan.width, height=plan.height)
        self.network, self.optimizer = fabric.setup(part, self.raw_optimizer)
        self.average = WarmedUpAverage(model, stage.average) if stage.average else None
        self.best: dict[str, Tensor] = {}
        rows = learned_rows(stage, train.world_from_cam)
        self.windows = windows_around(rows, train.sequence, plan.window)
        self.windows_per_batch = min(plan.windows_per_batch, len(rows))
        self.steps = steps_per_epoch(plan, stage, train)
        self.earlier_epochs = sum(stage.epochs for stage in plan.stages[:number])

    @property
    def kept_model(self) -> PoseModel[Any]:
        """The network that is validated and kept."""
        if self.average is None:
            return self.model
        return cast(PoseModel[Any], self.average.module)

    def modules(self) -> dict[str, nn.Module]:
        """What has weights that the next epoch depends on."""
        return {"model": self.model} | ({} if self.average is None else {"average": self.average})

    def train_epoch(self, epoch: int) -> Generator[Step, None, dict[str, float]]:
        """Train on every window of the stage once; the last incomplete batch is left for another epoch."""
        seed = int(np.random.SeedSequence((self.plan.seed, self.number, epoch)).generate_state(1)[0])
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        set_modes(self.stage, self.model)
        order = self.windows[self._order(generator)]
        sums: dict[str, Tensor] = {}
        looks = steps_between_looks(self.fabric.device)
        for step in range(self.steps):
            rate = self.stage.rate_factor(
                epoch * self.steps + step, steps=self.stage.epochs * self.steps, epoch=epoch
            )
            set_learning_rate(self.raw_optimizer, self.stage.learning_rate * rate)
            chosen = order[step * self.windows_per_batch : (step + 1) * self.windows_per_batch]
            for name, value in self._step(chosen.flatten(), generator).items():
                sums[name] = sums[name] + value if name in sums else value
            is_time_to_look = (step + 1) % looks == 0 or step + 1 == self.steps
            if is_time_to_look and not torch.stack(list(sums.values())).isfinite().all():
                raise _diverged()
            yield Step(self.earlier_epochs + epoch + 1, step + 1, self.steps)
        means = {name: value / self.steps for name, value in sums.items()}
        return {name: self._over_processes(value) for name, value in means.items()}

    def _order(self, generator: torch.Generator) -> Tensor:
        """In which order the windows are learned."""
        if not self.plan.balanced:
            return torch.randperm(len(self.windows), generator=generator)
        return balanced_order(self.train.scene[self.windows[:, 0]], generator)

    def _over_processes(self, value: Tensor) -> float:
        reduced = self.fabric.all_reduce(value, reduce_op="mean")
        assert isinstance(reduced, Tensor)
        return float(reduced)

    def _step(self, rows: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """One step of the optimiser on this process's share of a batch: of rows, window after window."""
        share = len(rows) // self.fabric.world_size
        mine = slice(self.fabric.global_rank * share, (self.fabric.global_rank + 1) * share)
        draws = Draws(generator, len(rows), mine)
        batch = self.train.drawn(
            rows[mine],
            draws,
            augment=self.plan.augment,
            width=self.plan.width,
            height=self.plan.height,
            device=self.fabric.device,
        )
        batch = batch.replace(window=self.plan.window.frames)
        try:
            losses = self.model.losses(self.network(batch.images), batch)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # of what is not finite
            raise _diverged() from None
        weights = self.stage.loss_weights or {}
        total = torch.stack([weights.get(name, 1.0) * value for name, value in losses.items()]).sum()
        self.raw_optimizer.zero_grad()
        self.fabric.backward(total)
        freeze_known_scenes(self.stage, self.model)
        if self.stage.gradient_clip:
            self.fabric.clip_gradients(
                self.network,
                self.optimizer,
                max_norm=self.stage.gradient_clip,
                error_if_nonfinite=False,  # it would wait for the device; the loss tells as well
            )
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return {name: value.detach() for name, value in losses.items()}

    def report(
        self, epoch: int, losses: dict[str, float], position: Position, seconds: float
    ) -> tuple[Position, Epoch]:
        """Validate if it is time to, note whether these are the best weights, and tell."""
        number = self.earlier_epochs + epoch + 1
        is_last = epoch + 1 == self.stage.epochs
        is_due = is_last or (epoch + 1) % self.plan.validate_every == 0
        found, score = None, position.best_score
        if self.validation is not None and is_due:
            found = validate(self.kept_model, self.validation, self.plan, self.fabric.device)
            score = found.score(self._scale)
        # Where no validation ever gave a finite score, the last weights are kept.
        is_best = score < position.best_score or (is_last and not self.best)
        if is_best:
            state = self.kept_model.state_dict()
            self.best = {name: value.detach().cpu().clone() for name, value in state.items()}
        position = replace(
            position,
            stage=self.number,
            epoch=epoch + 1,
            best_score=score if is_best else position.best_score,
            best_epoch=number if is_best else position.best_epoch,
            seconds=position.seconds + seconds,
        )
        report = Epoch(
            epoch=number,
            stage=self.number,
            losses=losses,
            learning_rate=self.raw_optimizer.param_groups[0]["lr"],
            validation=None if found is None else found.mean,
            is_best=is_best,
            images_per_second=self.steps * self.windows_per_batch * self.plan.window.frames / seconds,
            seconds=position.seconds,
            model=self.kept_model,
            scenes={} if found is None else found.scenes,
            right_scene=None if found is None else found.right_scene,
        )
        return position, report

    @cached_property
    def _scale(self) -> dict[int, Medians]:
        """Errors of always answering the mean training pose: what one unit of the score is worth."""
        assert self.validation is not None
        return mean_pose_errors(self.train.world_from_cam, self.train.scene, self.validation)


def steps_per_epoch(plan: Plan, stage: Stage, train: ImageCache | FeatureVariants) -> int:
    """Steps to an epoch of a stage.

    Raises:
        RecipeError: it learns from no image.
    """
    return max(1, len(learned_rows(stage, train.world_from_cam)) // plan.windows_per_batch)


def steps_between_looks(device: torch.device) -> int:
    """After how many steps to look whether the loss is finite.

    To look at it on an accelerator is to wait for all steps that were asked of it before.
    """
    return 1 if device.type == "cpu" else 50


def _diverged() -> RecipeError:
    return RecipeError("training diverged: the loss is no longer finite; lower the learning rate")


def fit(
    model: PoseModel[Any],
    train: ImageCache | FeatureVariants,
    plan: Plan,
    *,
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
        model: a network; `observe` has been called.
        train: images to learn from.
        plan: how.
        validation: images that choose the weights.
        fabric: devices and processes, launched; None for one CPU process.
        state: file to write after each epoch and to go on from if it is there; it is written less often where
            writing it takes long (`camloc.training.state.Saving`).

    Raises:
        RecipeError: the batch cannot be shared out evenly, a stage's pattern matches nothing, or there is
            no frame that it could learn from.
        CheckpointError: the state file is damaged.
    """
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    for stage in plan.stages:  # told before the first of them has trained for hours
        windows = min(plan.windows_per_batch, len(learned_rows(stage, train.world_from_cam)))
        if windows % fabric.world_size:
            what = f"{windows} windows" if plan.window.frames > 1 else f"{windows}"
            raise RecipeError(f"a batch of {what} cannot be shared evenly by {fabric.world_size} processes")
    if fabric.world_size > 1:
        synchronise_batch_norm(model)
    model.to(memory_format=torch.channels_last)
    if fabric.device.type == "cpu":
        keep_single(model)
    position = _position(state, Position(_fingerprint(model, plan, train, validation)))
    if state is not None and position.stage > 0 and position.epoch == 0:
        load_modules(state, {"model": model})
    saving = Saving()
    for number, stage in enumerate(plan.stages):
        if number < position.stage:
            continue
        run = StageRun(model, train, validation, plan, stage, number, fabric)
        if state is not None and position.epoch > 0:
            run.best = load_state(state, run.modules(), run.optimizer)
        for epoch in range(position.epoch, stage.epochs):
            started = time.monotonic()
            losses = yield from run.train_epoch(epoch)
            position, report = run.report(epoch, losses, position, time.monotonic() - started)
            yield report
            # What the last epoch leaves is written with what the stage leaves.
            is_due = epoch + 1 < stage.epochs and saving.is_due()
            if is_due and state is not None and fabric.is_global_zero:
                saving.save(state, position, {**run.modules(), "best": run.best}, run.raw_optimizer)
            fabric.barrier()
        model.load_state_dict(run.best)
        position = replace(position, stage=number + 1, epoch=0, best_score=float("inf"))
        if state is not None and fabric.is_global_zero:
            saving.save(state, position, {"model": model, "best": run.best}, run.raw_optimizer)
        fabric.barrier()


def _fingerprint(
    model: PoseModel[Any], plan: Plan, train: ImageCache | FeatureVariants, validation: ImageCache | None
) -> str:
    """Digest of what decides the outcome of a training, so that a state is not taken up by another."""
    metadata = hashlib.sha256(to_json(plan))
    for name, tensor in model.state_dict().items():
        metadata.update(repr((name, tuple(tensor.shape))).encode())
    for images in (train, validation):
        if images is not None:
            metadata.update(repr(images.images.shape).encode())
            metadata.update(images.world_from_cam.translation.numpy().tobytes())
            metadata.update(images.world_from_cam.has_orientation().numpy().tobytes())
            metadata.update(images.sequence.numpy().tobytes())
            metadata.update(images.scene.numpy().tobytes())
    return metadata.hexdigest()


def _position(state: Path | None, fresh: Position) -> Position:
    if state is None or not state.exists():
        return fresh
    found = read_position(state)
    return found if found.fingerprint == fresh.fingerprint else fresh


class AuxiliaryTask(ABC):
    """What a network learns, and how well it has learned it.

    Attributes:
        network: what trains. Parameters under `pose_loss.` are the loss's own.
        better: the measure that chooses the weights; less is better.
    """

    network: nn.Module
    better: ClassVar[str] = "score"

    @abstractmethod
    def __len__(self) -> int:
        """How many rows there are to learn from."""

    @abstractmethod
    def losses(self, network: Any, rows: Int[Tensor, "b"], generator: torch.Generator) -> dict[str, Tensor]:
        """Named scalars of some rows, whose sum is minimised; `generator` is for what is random in them."""

    @abstractmethod
    def measures(self, network: Any) -> dict[str, float]:
        """How good a network is on what is held out; without `better` where nothing is."""


@dataclass(frozen=True)
class Round:
    """All rows of a lesson were learned from once more.

    Attributes:
        epoch, epochs: this one, from 1, and how many there will be.
        losses: mean of every loss term.
        measures: on what is held out; empty where it was not measured now.
        is_best: whether these are the best weights so far.
        seconds: since the lesson began.
    """

    epoch: int
    epochs: int
    losses: dict[str, float]
    measures: dict[str, float]
    is_best: bool
    seconds: float


def learn(
    task: AuxiliaryTask, stage: Stage, *, batch_size: int, seed: int = 0, measure_every: int = 1
) -> Iterator[Round]:
    """Train a lesson's network in place. At the end it holds the best weights, or the last where none is.

    Args:
        lesson: what to learn.
        stage: for how long and how fast.
        batch_size: rows to a step.
        seed: of their order and of all that is random in the lesson.
        measure_every: epochs between two measurements; the last is always measured.

    Raises:
        RecipeError: a pattern of the stage matches nothing, or training diverged.
    """
    network, optimizer = task.network, start(stage, task.network)
    average = WarmedUpAverage(network, stage.average) if stage.average else None
    kept = network if average is None else average.module
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    batch_size = min(batch_size, len(task))
    steps = max(1, len(task) // batch_size)
    began, least, best = time.monotonic(), float("inf"), dict[str, Tensor]()
    for epoch in range(stage.epochs):
        set_modes(stage, network)
        order = torch.randperm(len(task), generator=generator)
        sums: dict[str, Tensor] = {}
        for step in range(steps):
            rate = stage.rate_factor(epoch * steps + step, steps=stage.epochs * steps, epoch=epoch)
            set_learning_rate(optimizer, stage.learning_rate * rate)
            rows = order[step * batch_size : (step + 1) * batch_size]
            losses = task.losses(network, rows, generator)
            _step(stage, network, optimizer, losses)
            if average is not None:
                average.update_parameters(network)
            for name, value in losses.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach()
        means = {name: float(value) / steps for name, value in sums.items()}
        if not torch.tensor(list(means.values())).isfinite().all():
            raise RecipeError("training diverged: the loss is no longer finite; lower the learning rate")
        is_last = epoch + 1 == stage.epochs
        is_due = is_last or (epoch + 1) % measure_every == 0
        measures = _measured(task, kept) if is_due else {}
        score = measures.get(task.better, float("inf"))
        is_best = score < least or (is_last and not best)
        if is_best:
            least = score
            best = {name: value.detach().clone() for name, value in kept.state_dict().items()}
        yield Round(epoch + 1, stage.epochs, means, measures, is_best, time.monotonic() - began)
    network.load_state_dict(best)
    network.eval()


def _step(
    stage: Stage, network: nn.Module, optimizer: torch.optim.Optimizer, losses: dict[str, Tensor]
) -> None:
    weights = stage.loss_weights or {}
    total = torch.stack([weights.get(name, 1.0) * value for name, value in losses.items()]).sum()
    optimizer.zero_grad()
    total.backward()
    if stage.gradient_clip:
        nn.utils.clip_grad_norm_(network.parameters(), stage.gradient_clip)
    optimizer.step()


@torch.no_grad()
def _measured(task: AuxiliaryTask, network: nn.Module) -> dict[str, float]:
    network.eval()
    return task.measures(network)
