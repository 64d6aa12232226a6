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

_WARM_UP_STEPS = 5
_TIMED_STEPS = 25


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
    seconds = seconds_per_step(recipe, model=copy.deepcopy(model), train=train, fabric=fabric)
    plan = recipe.plan(seed=0)
    steps = sum(stage.epochs * steps_per_epoch(plan, stage, train) for stage in plan.stages)
    return seconds_left * TRAINING_SHARE / (seconds * steps)


def seconds_per_step(
    recipe: Recipe, *, model: PoseModel[Any], train: Pictures | FeatureVariants, fabric: Fabric
) -> float:
    """Seconds that a training step takes: the middle one of some steps.

    The mean would count the first look into a cache of features, and what else the machine did just then.
    """
    first = replace(recipe.stages[0], epochs=1 + _WARM_UP_STEPS + _TIMED_STEPS)
    plan = replace(recipe, stages=(first,)).plan(seed=0)
    seconds: list[float] = []
    before = 0.0
    for event in fit(model, train, plan, fabric=fabric):
        if isinstance(event, Step):
            wait_for(fabric.device)  # a step is told when it was asked for, not when it is done
            seconds.append(time.monotonic() - before)
        if len(seconds) == _WARM_UP_STEPS + _TIMED_STEPS:
            break
        before = time.monotonic()  # what lies between two epochs is not part of a step
    return median(seconds[_WARM_UP_STEPS:])
