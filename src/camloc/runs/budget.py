"""Scaling a recipe's schedule to the time there is."""

import copy
import time
from dataclasses import replace
from statistics import median
from typing import Any

from lightning_fabric import Fabric

from camloc.core.device import wait_for
from camloc.core.model import PoseModel
from camloc.recipes.base import Recipe
from camloc.training.features import FeatureVariants
from camloc.training.fit import fit
from camloc.training.pictures import Pictures
from camloc.training.plan import Step
from camloc.training.stage_run import steps_per_epoch

# Part of the budget that training steps may use; validation, writing and start-up take the rest.
TRAINING_SHARE = 0.9

# How long steps are tried: so much of the time that is left, since on a machine that others use too a moment
# says little, and some steps at least.
_TRIAL_SHARE = 0.01
_WARM_UP_STEPS = 5
_TIMED_STEPS = 25

# Epochs that no trial sees the end of.
_ENDLESS = 1_000_000


def schedule_share(
    recipe: Recipe,
    seconds_left: float,
    *,
    model: PoseModel[Any],
    train: Pictures | FeatureVariants,
    fabric: Fabric,
) -> float:
    """What to multiply the recipe's epochs by for the time that is left, at the speed of a few trial steps.

    The trial trains a copy, so it leaves no trace; the answer is noted in `run.json`, so an
    interrupted run goes on with the same schedule.
    """
    # Several processes have to stop after the same step.
    trial = _TRIAL_SHARE * seconds_left if fabric.world_size == 1 else 0.0
    copied = copy.deepcopy(model)
    seconds = seconds_per_step(recipe, model=copied, train=train, fabric=fabric, trial_seconds=trial)
    plan = recipe.plan(seed=0)
    steps = sum(stage.epochs * steps_per_epoch(plan, stage, train) for stage in plan.stages)
    return seconds_left * TRAINING_SHARE / (seconds * steps)


def seconds_per_step(
    recipe: Recipe,
    *,
    model: PoseModel[Any],
    train: Pictures | FeatureVariants,
    fabric: Fabric,
    trial_seconds: float = 0.0,
) -> float:
    """Seconds that a training step takes: the middle one of the steps in so many seconds, and of 25 at least.

    The mean would count the first look into a cache of features, and what else the machine did just then.
    """
    first = replace(recipe.stages[0], epochs=_ENDLESS)
    plan = replace(recipe, stages=(first,)).plan(seed=0)
    seconds: list[float] = []
    started = before = time.monotonic()
    for event in fit(model, train, plan, fabric=fabric):
        if isinstance(event, Step):
            wait_for(fabric.device)  # a step is told when it was asked for, not when it is done
            seconds.append(time.monotonic() - before)
        is_enough = len(seconds) >= _WARM_UP_STEPS + _TIMED_STEPS
        if is_enough and time.monotonic() - started >= trial_seconds:
            break
        before = time.monotonic()  # what lies between two epochs is not part of a step
    return median(seconds[_WARM_UP_STEPS:])
