"""Preparing a run: its frames, its images or their features, its first weights, its schedule."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
from lightning_fabric import Fabric

from camloc.core.config import to_json
from camloc.core.device import wait_for
from camloc.data.image_cache import ImageCache
from camloc.data.splits import hold_out, keep_orientations
from camloc.data.types import Frame, Scene, poses_of
from camloc.errors import CheckpointError, DatasetError
from camloc.models import build_model
from camloc.models.base import GeometryModel, PoseModel, Regressor
from camloc.runs.extend import subsampled, take_over
from camloc.runs.manifest import (
    MANIFEST_FILE,
    DataSource,
    Extension,
    RunManifest,
    load_scenes,
    training_record,
)
from camloc.training.cpu.memory import keep_freed_memory
from camloc.training.feature_cache import FeatureVariants, Variants, cached_features, frozen_prefix
from camloc.training.loop import fit, steps_per_epoch
from camloc.training.pretrained import Weights, load_pretrained
from camloc.training.recipe import Recipe, Step
from camloc.training.scenes import load_scene_images

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
    train: ImageCache | FeatureVariants,
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
    train: ImageCache | FeatureVariants,
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


# Of Lightning Fabric. Half precision would need its gradients scaled; double is for tests.
Precision = Literal["32-true", "bf16-mixed", "64-true"]

# Characters of the names of several scenes that a folder is called after.
_LONGEST_NAME = 60

ImageProgress = Callable[[int, int], None]


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
        metadata: what is written to `run.json`.
        scenes: the scenes, in the order of their numbers.
        images: that are learned from, of all of them.
        train: what a step sees of these: themselves, or features of theirs.
        validation: the images that are held out.
        learned: the frames behind `train`, scene by scene.
        model: the network, with its first weights.
        backbone: what the backbone starts from, for the record.
        fabric: where it runs.
    """

    folder: Path
    recipe: Recipe
    metadata: RunManifest
    scenes: tuple[Scene, ...]
    images: ImageCache
    train: ImageCache | FeatureVariants
    validation: ImageCache | None
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
    progress: ImageProgress | None = None,
) -> Training:
    """Read the frames, build the model, and find out whether an earlier run goes on.

    The run's folder is `runs/<name>/<scene>` unless one is given. Several scenes are numbered in the order of
    their data; each keeps its own world. The last place of an `extension` is new, and what is known of the
    others is taken over from the run that it extends.

    Raises:
        RecipeError: the recipe's model does not learn so many scenes.
        DatasetError: the frames cannot be used.
        CheckpointError: the folder holds a run with other settings.
        MissingExtraError: the backbone's weights are not there.
    """
    sources = data if isinstance(data, tuple) else (data,)
    scenes = load_scenes(sources)
    if extension is not None:
        scenes = (*scenes[:-1], subsampled(scenes[-1], extension.fraction))
    recipe = recipe.of_scenes(len(scenes))
    folder = folder or Path("runs") / name / scene_folder(scenes)
    compute = compute or Compute()
    fabric = compute.launch()
    split = [hold_out(scene.train, recipe.hold_out) for scene in scenes]
    learned = tuple(keep_orientations(kept, recipe.keep_orientation_every) for kept, _ in split)
    held = [frames for _, frames in split]
    if not fabric.is_global_zero:
        fabric.barrier()  # the first process decodes the images, the others find them done
    images = load_scene_images(
        learned, recipe.preprocess, margin=recipe.augment.random_crop, progress=progress
    )
    validation = load_scene_images(held, recipe.preprocess) if any(held) else None
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
    train: ImageCache | FeatureVariants = images
    if recipe.cached_variants:
        train = _features(recipe, model, images, seed=seed, fabric=fabric, progress=progress)
    metadata = training_record(
        recipe,
        name=name,
        data=sources,
        scenes=scenes,
        seed=seed,
        weights=str(weights),
        budget=budget_seconds,
        device=_where(fabric),
    )
    metadata = replace(metadata, extension=extension, precision=compute.precision)
    if isinstance(train, FeatureVariants):
        metadata = replace(metadata, feature_seconds=train.seconds)
    recipe, metadata = _with_schedule(recipe, metadata, folder, model=model, train=train, fabric=fabric)
    return Training(
        folder, recipe, metadata, scenes, images, train, validation, learned, model, backbone, fabric
    )


def _features(
    recipe: Recipe,
    model: PoseModel[Any],
    images: ImageCache,
    *,
    seed: int,
    fabric: Fabric,
    progress: ImageProgress | None,
) -> FeatureVariants:
    """What training starts from; the first process computes it for all."""
    cut = frozen_prefix(model, recipe.stages)
    assert isinstance(model, GeometryModel | Regressor), "only these have a part that can stand still"
    if not fabric.is_global_zero:
        fabric.barrier()
    size = recipe.preprocess
    variants = Variants(recipe.augment, recipe.cached_variants, size.width, size.height, seed)
    features = cached_features(model, images, variants, cut=cut, device=fabric.device, progress=progress)
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
    model.observe_scenes([poses_of(frames).tensor() for frames in learned])
    return model, backbone


def _with_schedule(
    recipe: Recipe,
    metadata: RunManifest,
    folder: Path,
    *,
    model: PoseModel[Any],
    train: ImageCache | FeatureVariants,
    fabric: Fabric,
) -> tuple[Recipe, RunManifest]:
    """The schedule of the run in the folder if it is the same run, else one that fits the budget."""
    # The first process looks for all: what it writes now would be an earlier run to a process that lags.
    if fabric.broadcast((folder / MANIFEST_FILE).exists()):
        earlier = RunManifest.load(folder)
        if _identity(earlier) != _identity(metadata):
            raise CheckpointError(
                f"{folder} holds a run with other settings; choose another --out, or delete it to start anew"
            )
        return recipe.scaled(earlier.schedule_share), earlier
    if metadata.budget_seconds:
        # Features count as if they were computed now, so that a budget gives the same run whatever is cached.
        left = max(0.0, metadata.budget_seconds - metadata.feature_seconds)
        share = schedule_share(recipe, left, model=model, train=train, fabric=fabric)
        metadata = replace(metadata, schedule_share=fabric.broadcast(share), budget_covers_features=True)
    if fabric.is_global_zero:
        metadata.save(folder)
    fabric.barrier()
    return recipe.scaled(metadata.schedule_share), metadata


def scene_folder(scenes: tuple[Scene, ...]) -> str:
    """What the folder of a run is called after its scenes."""
    names = "+".join(scene.name for scene in scenes)
    return names if len(scenes) == 1 or len(names) <= _LONGEST_NAME else f"{len(scenes)}-scenes"


def _where(fabric: Fabric) -> str:
    kind = fabric.device.type
    return kind if fabric.world_size == 1 else f"{fabric.world_size} x {kind}"


def _identity(metadata: RunManifest) -> bytes:
    """What must be equal for one run to be the continuation of another, as it stands in a file."""
    decided = replace(
        metadata, device="", schedule_share=1.0, feature_seconds=0.0, budget_covers_features=False
    )
    return to_json(decided)
