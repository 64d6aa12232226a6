"""The training loop, as a generator: it trains, it tells, and the caller decides what to do with it."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from camloc.core.config import to_json
from camloc.core.model import PoseModel
from camloc.errors import RecipeError
from camloc.training.batch_norm import synchronise_batch_norm
from camloc.training.features import FeatureVariants
from camloc.training.pictures import Pictures
from camloc.training.plan import Epoch, Plan, Step
from camloc.training.stage_run import StageRun
from camloc.training.stages import learned_rows
from camloc.training.state import Position, Saving, load_modules, load_state, read_position
from camloc.training.strided_depthwise import keep_single


def fit(
    model: PoseModel[Any],
    train: Pictures | FeatureVariants,
    plan: Plan,
    *,
    validation: Pictures | None = None,
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
        train: pictures to learn from.
        plan: how.
        validation: pictures that choose the weights.
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
    model: PoseModel[Any], plan: Plan, train: Pictures | FeatureVariants, validation: Pictures | None
) -> str:
    """Digest of what decides the outcome of a training, so that a state is not taken up by another."""
    facts = hashlib.sha256(to_json(plan))
    for name, tensor in model.state_dict().items():
        facts.update(repr((name, tuple(tensor.shape))).encode())
    for pictures in (train, validation):
        if pictures is not None:
            facts.update(repr(pictures.images.shape).encode())
            facts.update(pictures.world_from_cam.translation.numpy().tobytes())
            facts.update(pictures.world_from_cam.has_orientation().numpy().tobytes())
            facts.update(pictures.sequence.numpy().tobytes())
            facts.update(pictures.scene.numpy().tobytes())
    return facts.hexdigest()


def _position(state: Path | None, fresh: Position) -> Position:
    if state is None or not state.exists():
        return fresh
    found = read_position(state)
    return found if found.fingerprint == fresh.fingerprint else fresh
