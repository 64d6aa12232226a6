"""One stage of a training while it runs: steps, validation, the best weights so far."""

from collections.abc import Generator
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from camloc.core.augment import Draws
from camloc.core.model import GeometryModel, PoseModel, Regressor
from camloc.errors import RecipeError
from camloc.training.average import WarmedUpAverage
from camloc.training.features import FeatureVariants, FromFeatures
from camloc.training.pictures import Pictures
from camloc.training.plan import Epoch, Plan, Step
from camloc.training.sampling import balanced_order
from camloc.training.stages import Stage, hold_known_places, learned_rows, set_learning_rate, set_modes, start
from camloc.training.state import Position
from camloc.training.validation import Medians, mean_pose_errors, validate
from camloc.training.windows import windows_around


class StageRun:
    """One stage while it trains: the model with its optimiser, its average and its best weights."""

    def __init__(
        self,
        model: PoseModel[Any],
        train: Pictures | FeatureVariants,
        validation: Pictures | None,
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
        batch = self.train.drawn(rows[mine], self.plan, draws, device=self.fabric.device)
        batch = batch.replace(window=self.plan.window.frames)
        try:
            losses = self.model.losses(self.network(batch.images), batch)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # of what is not finite
            raise _diverged() from None
        weights = self.stage.loss_weights or {}
        total = torch.stack([weights.get(name, 1.0) * value for name, value in losses.items()]).sum()
        self.raw_optimizer.zero_grad()
        self.fabric.backward(total)
        hold_known_places(self.stage, self.model)
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
            pictures_per_second=self.steps * self.windows_per_batch * self.plan.window.frames / seconds,
            seconds=position.seconds,
            model=self.kept_model,
            places={} if found is None else found.places,
            right_place=None if found is None else found.right_place,
        )
        return position, report

    @cached_property
    def _scale(self) -> dict[int, Medians]:
        """Errors of always answering the mean training pose: what one unit of the score is worth."""
        assert self.validation is not None
        return mean_pose_errors(self.train.world_from_cam, self.train.scene, self.validation)


def steps_per_epoch(plan: Plan, stage: Stage, train: Pictures | FeatureVariants) -> int:
    """Steps to an epoch of a stage.

    Raises:
        RecipeError: it learns from no picture.
    """
    return max(1, len(learned_rows(stage, train.world_from_cam)) // plan.windows_per_batch)


def steps_between_looks(device: torch.device) -> int:
    """After how many steps to look whether the loss is finite.

    To look at it on an accelerator is to wait for all steps that were asked of it before.
    """
    return 1 if device.type == "cpu" else 50


def _diverged() -> RecipeError:
    return RecipeError("training diverged: the loss is no longer finite; lower the learning rate")
