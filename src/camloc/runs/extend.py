"""Extending a multi-scene run by a scene: the recipe, the initial weights, and the comparison afterwards.

Source: HyperPose (2025) supplement, section 7, where a model of six scenes learns a seventh from 5 to 75 % of
its frames in 2 to 5 epochs. The paper does not say how the known scenes are treated. Here their frames
are trained on too, in equal parts, so that the model keeps them apart from the new scene.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from camloc.core.config import from_builtins, from_json, to_json
from camloc.core.files import read_regular, write_atomically
from camloc.core.sampling import even_items
from camloc.data.types import Scene, Unit
from camloc.errors import CheckpointError, RecipeError
from camloc.evaluation.errors import SceneDecision
from camloc.evaluation.multi_scene import OneScene, ScenesResults
from camloc.models import config_class
from camloc.models.base import PoseModel
from camloc.models.checkpoint import load_checkpoint
from camloc.runs.manifest import RunManifest
from camloc.training.recipe import Recipe, Stage

# Parameters that an extension trains. "all": the whole network. "heads": parameters of single scenes, and the
# heads. "scene": parameters of the new scene alone. These become heads of their own
# (`camloc.models.multi_scene.LaterHeads`): for the known scenes the same operations run as before, and their
# poses stay the same to the last bit. Only the scene that an image is put into can still change.
Moves = Literal["all", "heads", "scene"]

# Learning rate relative to the highest of the original training. Parameters of the new scene alone start from
# random values and affect no other scene.
RATE: dict[Moves, float] = {"all": 0.3, "heads": 0.3, "scene": 1.0}

COMPARISON = "extension.json"


@dataclass(frozen=True)
class Comparison:
    """Errors in a known scene before and after another scene was added.

    Attributes:
        scene: name of the known scene.
        before, after: median (meters, degrees) of its first test set; None for infinity, where half of the
            images or more are lost or put into another scene.
        decided_before, decided_after: scenes that its images were put into; None for a model of one scene.
        unit: of positions.
    """

    scene: str
    before: tuple[float | None, float | None]
    after: tuple[float | None, float | None]
    decided_before: SceneDecision | None = None
    decided_after: SceneDecision | None = None
    unit: Unit = "m"

    @property
    def change(self) -> tuple[float, float]:
        """Relative change of both medians; infinite where a median was 0 before or is infinite after."""
        meters, degrees = (_change(*each) for each in zip(self.before, self.after, strict=True))
        return meters, degrees

    def taken_for(self, scene: str) -> int:
        """Number of its images that are put into another scene after the extension."""
        return 0 if self.decided_after is None else self.decided_after.taken_for.get(scene, 0)


def _change(then: float | None, now: float | None) -> float:
    if then == now:
        return 0.0
    if now is None or then == 0:
        return math.inf
    return now / then - 1.0 if then is not None else -1.0


@dataclass(frozen=True)
class ExtensionResults:
    """`extension.json`: errors before and after an extension.

    Attributes:
        run: the run that was extended.
        fraction, epochs, moves: settings of the extension.
        new: results on the new scene's first test set.
        known: errors in each of the other scenes before and after.
        right_before, right_after: share of the known scenes' images that were put into their scene.
    """

    run: str
    fraction: float
    epochs: int
    moves: Moves
    new: OneScene
    known: tuple[Comparison, ...]
    right_before: float
    right_after: float

    @property
    def taken_for_new(self) -> int:
        """Number of images of the known scenes that are put into the new one."""
        return sum(each.taken_for(self.new.name) for each in self.known)

    @classmethod
    def load(cls, folder: Path) -> "ExtensionResults":
        """Read the file of a run that extended another.

        Raises:
            CheckpointError: the file is missing or of another version.
        """
        try:
            return from_json(read_regular(folder / COMPARISON), cls)
        except (OSError, RecipeError) as problem:
            raise CheckpointError(f"{folder} has no {COMPARISON} of this version: {problem}") from None


def recipe_of(manifest: RunManifest) -> Recipe:
    """The recipe that a run was trained with."""
    recipe = from_builtins(manifest.settings, Recipe)
    return replace(recipe, config=from_builtins(recipe.config, config_class(recipe.model)))


def extension_recipe(recipe: Recipe, *, known: int, epochs: int, moves: Moves = "all") -> Recipe:
    """The recipe of an extension: one stage over all scenes, in equal parts.

    Args:
        recipe: of the run that is extended.
        known: number of scenes of that run.
        epochs: passes over as many frames as all scenes have.
        moves: the parameters that train.

    Raises:
        RecipeError: the recipe's model learns one scene only, or there are no epochs.
    """
    if not hasattr(recipe.config, "scenes"):
        raise RecipeError(
            f"{recipe.model} learns one scene and cannot be extended; train one of several scenes"
        )
    if epochs < 1:
        raise RecipeError(f"an extension needs 1 epoch or more, not {epochs}")
    first: Stage = recipe.stages[0]
    groups = _groups(recipe.config.groups, known=known, moves=moves)
    stage = replace(
        first,
        epochs=epochs,
        learning_rate=RATE[moves] * first.learning_rate,
        schedule="cosine",
        trains=_trains(moves, later_groups=len(groups) - 1),
        frozen=first.frozen if moves == "all" else (),
    )
    if moves == "scene":
        stage = replace(stage, known_scenes=known, weight_decay=0.0)
    return replace(
        recipe,
        config=replace(recipe.config, groups=groups),
        stages=(stage,),
        balanced=True,
        validate_every=1,
    )


def _groups(groups: tuple[int, ...], *, known: int, moves: Moves) -> tuple[int, ...]:
    """The groups of scenes with one scene more: in a group of its own, or in the last group."""
    if moves == "scene":
        return (*(groups or (known,)), 1)
    return (*groups[:-1], groups[-1] + 1) if groups else ()


def _trains(moves: Moves, *, later_groups: int) -> tuple[str, ...]:
    match moves:
        case "all":
            return ("*",)
        case "heads":
            return ("*_of_scene", "scene*", "position_h*", "orientation_h*", "pose_loss.*")
        case "scene":
            return ("*_of_scene", f"*_later.of_group.{later_groups - 1}.*")


def write_comparison(
    folder: Path,
    before: ScenesResults,
    after: ScenesResults,
    *,
    fraction: float,
    epochs: int,
    moves: Moves,
    run: Path,
) -> ExtensionResults:
    """Compare the known scenes before and after, and write `extension.json` into the run's folder."""
    now = {scene.name: scene for scene in after.scenes}
    known = tuple(_compared(each, now[each.name]) for each in before.scenes)
    names = {each.name for each in before.scenes}
    decided = [scene.headline.decision for scene in after.scenes if scene.name in names]
    frames = sum(each.frames for each in decided if each is not None)
    right = sum(each.right for each in decided if each is not None)
    (new,) = (scene for scene in after.scenes if scene.name not in names)
    results = ExtensionResults(
        run=str(run),
        fraction=fraction,
        epochs=epochs,
        moves=moves,
        new=new,
        known=known,
        right_before=before.decision.share,
        right_after=right / frames if frames else 1.0,
    )
    write_atomically(folder / COMPARISON, to_json(results))
    return results


def _compared(before: OneScene, after: OneScene) -> Comparison:
    return Comparison(
        before.name,
        _medians(before),
        _medians(after),
        before.headline.decision,
        after.headline.decision,
        before.unit,
    )


def _medians(scene: OneScene) -> tuple[float | None, float | None]:
    estimates = scene.headline.estimates
    return estimates.meters.median, estimates.degrees.median


# Part of the names of weights that belong to one group of scenes.
_OF_GROUP = ".of_group."


def subsampled(scene: Scene, fraction: float) -> Scene:
    """A scene with a fraction of its training frames, evenly spaced over the recordings.

    Raises:
        RecipeError: the fraction is not within (0, 1].
    """
    if not 0.0 < fraction <= 1.0:
        raise RecipeError(f"a fraction of {fraction:g} of the frames cannot be; let it be above 0, 1 at most")
    count = max(1, round(fraction * len(scene.train)))
    return replace(scene, train=tuple(even_items(scene.train, count)))


def load_partial_weights(model: PoseModel[Any], run: Path) -> str:
    """Load the weights of a run into a model with more scenes. Returns the run's `backbone_weights`.

    Parameters with a row for every scene keep their initial rows for scenes that the run does not have, and
    parameters of groups of scenes that the run does not have keep their initial values.

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
        raise CheckpointError(f"{run} holds another network than the recipe's; extend it with its own recipe")
    for name, value in known.items():
        if value.shape == state[name].shape:
            state[name] = value
        else:
            state[name] = torch.cat((value, state[name][len(value) :]))
    model.load_state_dict(state)
    return checkpoint.metadata.backbone_weights
