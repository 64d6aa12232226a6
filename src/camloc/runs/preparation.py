"""Preparing a run: its frames, its pictures or their features, its first weights, its schedule."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric

from camloc.core.config import to_json
from camloc.core.model import GeometryModel, PoseModel, Regressor
from camloc.core.types import Frame, Scene, poses_of
from camloc.errors import CheckpointError, DatasetError
from camloc.models import build_model
from camloc.recipes.base import Recipe
from camloc.runs.budget import schedule_share
from camloc.runs.facts import RUN_FACTS, DataSource, Extension, RunFacts, load_scenes, run_facts
from camloc.runs.knowledge import take_over, thinned
from camloc.training.feature_cache import Variants, cached_features
from camloc.training.features import FeatureVariants, still_part
from camloc.training.held_out import hold_out, keep_orientations
from camloc.training.memory import keep_freed_memory
from camloc.training.pictures import Pictures
from camloc.training.places import load_places
from camloc.training.pretrained import Weights, load_pretrained

# Of Lightning Fabric. Half precision would need its gradients scaled; double is for tests.
Precision = Literal["32-true", "bf16-mixed", "64-true"]

# Characters of the names of several places that a folder is called after.
_LONGEST_NAME = 60

PictureProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Compute:
    """Where a run trains.

    Attributes:
        device: "cpu", "cuda" or "auto" for the best there is.
        devices: how many processes share a batch.
        precision: of Lightning Fabric. "bf16-mixed" multiplies in bfloat16, which is faster where the
            processor or GPU has it, and keeps weights and sums in single precision.
    """

    device: str = "cpu"
    devices: int = 1
    precision: Precision = "32-true"

    def launch(self) -> Fabric:
        """Start the processes; each of them returns from here."""
        if self.device == "cpu":
            keep_freed_memory()
        strategy = "ddp" if self.devices > 1 else "auto"
        fabric = Fabric(
            accelerator=self.device, devices=self.devices, strategy=strategy, precision=self.precision
        )
        fabric.launch()
        return fabric


@dataclass(frozen=True, eq=False)
class Training:
    """A run that is ready to train.

    Attributes:
        folder: of the run.
        recipe: with its schedule as it will be run.
        facts: what is written to `run.json`.
        scenes: the places, in the order of their numbers.
        pictures: that are learned from, of all of them.
        train: what a step sees of these: themselves, or features of theirs.
        validation: the pictures that are held out.
        learned: the frames behind `train`, place by place.
        model: the network, with its first weights.
        backbone: what the backbone starts from, for the record.
        fabric: where it runs.
    """

    folder: Path
    recipe: Recipe
    facts: RunFacts
    scenes: tuple[Scene, ...]
    pictures: Pictures
    train: Pictures | FeatureVariants
    validation: Pictures | None
    learned: tuple[tuple[Frame, ...], ...]
    model: PoseModel[Any]
    backbone: str
    fabric: Fabric


def prepare(
    recipe: Recipe,
    *,
    name: str,
    data: DataSource | tuple[DataSource, ...],
    folder: Path | None = None,
    seed: int = 0,
    weights: Weights = "none",
    budget_seconds: float = 0.0,
    compute: Compute | None = None,
    extension: Extension | None = None,
    progress: PictureProgress | None = None,
) -> Training:
    """Read the frames, build the model, and find out whether an earlier run goes on.

    The run's folder is `runs/<name>/<scene>` unless one is given. Several places are numbered in the order of
    their data; each keeps its own world. The last place of an `extension` is new, and what is known of the
    others is taken over from the run that it extends.

    Raises:
        RecipeError: the recipe's model does not learn so many places.
        DatasetError: the frames cannot be used.
        CheckpointError: the folder holds a run with other settings.
        MissingExtraError: the backbone's weights are not there.
    """
    sources = data if isinstance(data, tuple) else (data,)
    scenes = load_scenes(sources)
    if extension is not None:
        scenes = (*scenes[:-1], thinned(scenes[-1], extension.fraction))
    recipe = recipe.of_places(len(scenes))
    folder = folder or Path("runs") / name / place_folder(scenes)
    compute = compute or Compute()
    fabric = compute.launch()
    split = [hold_out(scene.train, recipe.hold_out) for scene in scenes]
    learned = tuple(keep_orientations(kept, recipe.keep_orientation_every) for kept, _ in split)
    held = [frames for _, frames in split]
    if not fabric.is_global_zero:
        fabric.barrier()  # the first process decodes the pictures, the others find them done
    pictures = load_places(learned, recipe.preprocess, margin=recipe.augment.random_crop, progress=progress)
    validation = load_places(held, recipe.preprocess) if any(held) else None
    if fabric.is_global_zero:
        fabric.barrier()
    model, backbone = first_model(recipe, learned, seed=seed, weights=weights)
    if extension is not None:
        backbone = take_over(model, Path(extension.run))
    if model.NEEDS_INTRINSICS and any(frame.camera is None for scene in scenes for frame in scene.train):
        raise DatasetError(
            f"{recipe.model} needs the camera's intrinsics, which some frames of "
            f"{', '.join(source.root for source in sources)} lack; give them, or train a regressor such as "
            f"hyperpose"
        )
    train: Pictures | FeatureVariants = pictures
    if recipe.cached_variants:
        train = _features(recipe, model, pictures, seed=seed, fabric=fabric, progress=progress)
    facts = run_facts(
        recipe,
        name=name,
        data=sources,
        scenes=scenes,
        seed=seed,
        weights=str(weights),
        budget=budget_seconds,
        device=_where(fabric),
    )
    facts = replace(facts, extension=extension, precision=compute.precision)
    if isinstance(train, FeatureVariants):
        facts = replace(facts, feature_seconds=train.seconds)
    recipe, facts = _with_schedule(recipe, facts, folder, model=model, train=train, fabric=fabric)
    return Training(
        folder, recipe, facts, scenes, pictures, train, validation, learned, model, backbone, fabric
    )


def _features(
    recipe: Recipe,
    model: PoseModel[Any],
    pictures: Pictures,
    *,
    seed: int,
    fabric: Fabric,
    progress: PictureProgress | None,
) -> FeatureVariants:
    """What training starts from; the first process computes it for all."""
    cut = still_part(model, recipe.stages)
    assert isinstance(model, GeometryModel | Regressor), "only these have a part that can stand still"
    if not fabric.is_global_zero:
        fabric.barrier()
    size = recipe.preprocess
    variants = Variants(recipe.augment, recipe.cached_variants, size.width, size.height, seed)
    features = cached_features(model, pictures, variants, cut=cut, device=fabric.device, progress=progress)
    if fabric.is_global_zero:
        fabric.barrier()
    return features


def first_model(
    recipe: Recipe, learned: tuple[tuple[Frame, ...], ...], *, seed: int, weights: Weights
) -> tuple[PoseModel[Any], str]:
    """The recipe's network before training, and what its backbone starts from."""
    torch.manual_seed(seed)
    model = build_model(recipe.model, recipe.config)
    backbone = load_pretrained(model, weights)
    model.observe_places([poses_of(frames) for frames in learned])
    return model, backbone


def _with_schedule(
    recipe: Recipe,
    facts: RunFacts,
    folder: Path,
    *,
    model: PoseModel[Any],
    train: Pictures | FeatureVariants,
    fabric: Fabric,
) -> tuple[Recipe, RunFacts]:
    """The schedule of the run in the folder if it is the same run, else one that fits the budget."""
    # The first process looks for all: what it writes now would be an earlier run to a process that lags.
    if fabric.broadcast((folder / RUN_FACTS).exists()):
        earlier = RunFacts.load(folder)
        if _identity(earlier) != _identity(facts):
            raise CheckpointError(
                f"{folder} holds a run with other settings; choose another --out, or delete it to start anew"
            )
        return recipe.scaled(earlier.schedule_share), earlier
    if facts.budget_seconds:
        # Features count as if they were computed now, so that a budget gives the same run whatever is cached.
        left = max(0.0, facts.budget_seconds - facts.feature_seconds)
        share = schedule_share(recipe, left, model=model, train=train, fabric=fabric)
        facts = replace(facts, schedule_share=fabric.broadcast(share), budget_covers_features=True)
    if fabric.is_global_zero:
        facts.save(folder)
    fabric.barrier()
    return recipe.scaled(facts.schedule_share), facts


def place_folder(scenes: tuple[Scene, ...]) -> str:
    """What the folder of a run is called after its places."""
    names = "+".join(scene.name for scene in scenes)
    return names if len(scenes) == 1 or len(names) <= _LONGEST_NAME else f"{len(scenes)}-places"


def _where(fabric: Fabric) -> str:
    kind = fabric.device.type
    return kind if fabric.world_size == 1 else f"{fabric.world_size} x {kind}"


def _identity(facts: RunFacts) -> bytes:
    """What must be equal for one run to be the continuation of another, as it stands in a file."""
    decided = replace(facts, device="", schedule_share=1.0, feature_seconds=0.0, budget_covers_features=False)
    return to_json(decided)
