"""Adding a place to a run of several: what moves, and what became of the scenes that it knew.

Source: HyperPose (2025) supplement, section 7, where a model of six scenes learns a seventh from 5 to 75 % of
its frames in 2 to 5 epochs. What the paper does with the scenes that are known is not said. Here their frames
are shown again, in equal parts, so that they are not forgotten and stay apart from the new one.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from camloc.core.config import from_builtins, from_json, to_json
from camloc.core.files import write_atomically
from camloc.data.types import Scene
from camloc.errors import CheckpointError, RecipeError
from camloc.evaluation.errors import SceneDecision
from camloc.evaluation.multi_scene import OneScene, ScenesResults
from camloc.models import config_class
from camloc.models.base import PoseModel
from camloc.models.checkpoint import load_checkpoint
from camloc.runs.manifest import RunManifest
from camloc.training.recipe import Recipe, Stage

# What moves. "all": the whole network. "heads": what belongs to scenes, and the heads. "scene": what belongs
# to the new scene alone. It becomes a group of its own (`models.parts.scene_groups`): the known scenes are
# answered by the same calls as before, and their poses stay the same to the last bit. Only which scene a
# image is put into can still change.
Moves = Literal["all", "heads", "scene"]

# Of the highest learning rate that the scenes were learned with. What belongs to the new scene alone is new,
# and can harm no other.
RATE: dict[Moves, float] = {"all": 0.3, "heads": 0.3, "scene": 1.0}

COMPARISON = "extension.json"


@dataclass(frozen=True)
class Comparison:
    """A scene that was known, before and after another was added.

    Attributes:
        scene: its name.
        before, after: median (meters, degrees) of its first test set; None for infinity, where half of the
            images or more are lost or put into another scene.
        decided_before, decided_after: into which scenes its images were put; None of a model of one.
    """

    scene: str
    before: tuple[float | None, float | None]
    after: tuple[float | None, float | None]
    decided_before: SceneDecision | None = None
    decided_after: SceneDecision | None = None

    @property
    def change(self) -> tuple[float, float]:
        """Both medians after over before, less 1; infinite where it was 0 or is infinite now."""
        meters, degrees = (_change(*each) for each in zip(self.before, self.after, strict=True))
        return meters, degrees

    def taken_for(self, scene: str) -> int:
        """How many of its images are now put into another scene."""
        return 0 if self.decided_after is None else self.decided_after.taken_for.get(scene, 0)


def _change(then: float | None, now: float | None) -> float:
    if then == now:
        return 0.0
    if now is None or then == 0:
        return math.inf
    return now / then - 1.0 if then is not None else -1.0


@dataclass(frozen=True)
class ExtensionResults:
    """`extension.json`: what an extension did.

    Attributes:
        run: that was extended.
        fraction, epochs, moves: how.
        new: the new scene's first test set.
        known: the other scenes, each before and after.
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
        """How many images of the known scenes are now put into the new one."""
        return sum(each.taken_for(self.new.name) for each in self.known)

    @classmethod
    def load(cls, folder: Path) -> "ExtensionResults":
        """Of a run that extended another.

        Raises:
            CheckpointError: it has none.
        """
        try:
            return from_json((folder / COMPARISON).read_bytes(), cls)
        except (OSError, RecipeError) as problem:
            raise CheckpointError(f"{folder} has no {COMPARISON} of this version: {problem}") from None


def recipe_of(metadata: RunManifest) -> Recipe:
    """The settings that a run was trained with."""
    recipe = from_builtins(metadata.settings, Recipe)
    return replace(recipe, config=from_builtins(recipe.config, config_class(recipe.model)))


def extension_recipe(recipe: Recipe, *, known: int, epochs: int, moves: Moves = "all") -> Recipe:
    """The recipe of an extension: one stage over all scenes, in equal parts.

    Args:
        recipe: that the known scenes were learned with.
        known: how many scenes are known.
        epochs: passes over as many frames as all scenes have.
        moves: what moves.

    Raises:
        RecipeError: the recipe is of a model of one scene, or there are no epochs.
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
        published=(),
    )


def _groups(groups: tuple[int, ...], *, known: int, moves: Moves) -> tuple[int, ...]:
    """The groups with one scene more: in one of its own, or in the last there is."""
    if moves == "scene":
        return (*(groups or (known,)), 1)
    return (*groups[:-1], groups[-1] + 1) if groups else ()


def _trains(moves: Moves, *, later_groups: int) -> tuple[str, ...]:
    match moves:
        case "all":
            return ("*",)
        case "heads":
            return ("*_of_scene", "scene*", "position_h*", "orientation_h*", "balance.*")
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
    )


def _medians(scene: OneScene) -> tuple[float | None, float | None]:
    estimates = scene.headline.estimates
    return estimates.meters.median, estimates.degrees.median


# In the names of weights that only one group of scenes has.
_OF_GROUP = ".of_group."


def subsampled(scene: Scene, fraction: float) -> Scene:
    """A scene of which only a part of the training frames is known, evenly spaced over the recordings.

    Raises:
        RecipeError: the part is not within (0, 1].
    """
    if not 0.0 < fraction <= 1.0:
        raise RecipeError(f"a fraction of {fraction:g} of the frames cannot be; let it be above 0, 1 at most")
    count = max(1, round(fraction * len(scene.train)))
    rows = torch.linspace(0, len(scene.train) - 1, count, dtype=torch.float64).round().long().tolist()
    return replace(scene, train=tuple(scene.train[row] for row in rows))


def load_partial_weights(model: PoseModel[Any], run: Path) -> str:
    """Give a model of more scenes the weights of a run; returns what that run's backbone started from.

    Where the model has a row for every scene, the rows of the scenes that the run does not know stay as they
    are; and so does what only a group of scenes has that the run does not know.

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
    return checkpoint.metadata.backbone_weights
