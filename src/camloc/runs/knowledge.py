"""What a run that learns one place more takes over from another, and from how many photographs it learns."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from camloc.checkpoint import load_checkpoint
from camloc.core.model import PoseModel
from camloc.core.types import Scene
from camloc.errors import CheckpointError, RecipeError

# In the names of weights that only one group of places has.
_OF_GROUP = ".of_group."


def thinned(scene: Scene, fraction: float) -> Scene:
    """A place of which only a part of the training frames is known, evenly spaced over the recordings.

    Raises:
        RecipeError: the part is not within (0, 1].
    """
    if not 0.0 < fraction <= 1.0:
        raise RecipeError(f"a fraction of {fraction:g} of the frames cannot be; let it be above 0, 1 at most")
    count = max(1, round(fraction * len(scene.train)))
    rows = torch.linspace(0, len(scene.train) - 1, count, dtype=torch.float64).round().long().tolist()
    return replace(scene, train=tuple(scene.train[row] for row in rows))


def take_over(model: PoseModel[Any], run: Path) -> str:
    """Give a model of more places the weights of a run; returns what that run's backbone started from.

    Where the model has a row for every place, the rows of the places that the run does not know stay as they
    are; and so does what only a group of places has that the run does not know.

    Raises:
        CheckpointError: the run is missing, damaged, or of another network.
    """
    checkpoint = load_checkpoint(run)
    state = model.state_dict()
    known = checkpoint.model.state_dict()
    is_later = all(_OF_GROUP in name for name in state.keys() - known.keys())
    fits = known.keys() <= state.keys() and all(
        value.shape[1:] == state[name].shape[1:] for name, value in known.items()
    )
    if not (is_later and fits):
        raise CheckpointError(f"{run} holds another network than the one that should go on from it")
    for name, value in known.items():
        if value.shape == state[name].shape:
            state[name] = value
        else:
            state[name] = torch.cat((value, state[name][len(value) :]))
    model.load_state_dict(state)
    return checkpoint.facts.backbone_weights
