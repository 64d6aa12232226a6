"""Preparing a run: frames, images or their features, the initial network, and the schedule for a budget."""

import copy
import logging
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from numpy.typing import NDArray

from camloc.core.config import to_builtins, to_json
from camloc.core.device import cpu_multiplies_bfloat16, torch_device, wait_for
from camloc.core.progress import CountProgress
from camloc.core.sampling import even_rows
from camloc.data.image_cache import ImageCache
from camloc.data.image_io import frame_size
from camloc.data.splits import hold_out, keep_orientations
from camloc.data.types import Frame, Scene, poses_of
from camloc.errors import CheckpointError, DatasetError, RecipeError
from camloc.models import build_model, model_class
from camloc.models.base import GeometryModel, PoseModel, Regressor
from camloc.models.layers.transformer import PositionCodesConfig
from camloc.models.scene_geometry import SceneGeometryConfig
from camloc.runs.extend import load_partial_weights, subsampled
from camloc.runs.manifest import MANIFEST_FILE, DataSource, Extension, RunManifest, load_scenes
from camloc.training.cpu.memory import keep_freed_memory
from camloc.training.feature_cache import FeatureVariants, Variants, cached_features, frozen_prefix
from camloc.training.loop import Step, fit, steps_per_epoch
from camloc.training.pretrained import Weights, load_pretrained
from camloc.training.recipe import Recipe
from camloc.training.scenes import load_scene_images
from camloc.training.tasks import training_rows

# Of Lightning Fabric, and "auto". Half precision would need scaled gradients; double precision is for tests.
Precision = Literal["auto", "32-true", "bf16-mixed", "64-true"]

# Longest name of a run folder that lists the names of its scenes.
_LONGEST_NAME = 60

_LOG = logging.getLogger(__name__)

# Share of the budget for training steps; validation, writing and start-up take the rest.
TRAINING_SHARE = 0.9

# Trial steps take this share of the remaining time, since a moment says little about a machine that other
# programs use too, and have at least these numbers; those of a slow network end at the longest share.
_TRIAL_SHARE = 0.01
_LONGEST_TRIAL = 0.25
_WARM_UP_STEPS = 5
_TIMED_STEPS = 25

# With fewer epochs in a budget, or where features take more than this share of it, the budget is too short.
FEWEST_EPOCHS = 2
FEATURE_SHARE = 0.5

# Of the loss of a map's points, chosen on held-out frames, and points of an image that count, at most.
MAP_WEIGHT = 1.0
MAP_POINTS = 400

# More epochs than any trial finishes.
_ENDLESS = 1_000_000


@dataclass(frozen=True)
class Compute:
    """The devices that a run trains on, and their arithmetic.

    Attributes:
        device: "cpu", "cuda", or "auto" for the best present device.
        devices: number of processes that share a batch.
        precision: of Lightning Fabric. "bf16-mixed" multiplies in bfloat16, which is faster on processors and
            GPUs that have it, and keeps weights and sums in single precision. "auto" is that of the run that
            is resumed, or else "bf16-mixed" on a CPU that multiplies bfloat16, where steps are faster by it
            (docs/results/training_curves.md), and "32-true" elsewhere.
    """

    device: str = "cpu"
    devices: int = 1
    precision: Precision = "32-true"

    def for_run(self, folder: Path) -> "Compute":
        """The same with the precision that "auto" stands for in a run's folder."""
        if self.precision != "auto":
            return self
        if (folder / MANIFEST_FILE).exists():
            return replace(self, precision=RunManifest.load(folder).precision)  # type: ignore[arg-type]
        is_faster = torch_device(self.device).type == "cpu" and cpu_multiplies_bfloat16()
        return replace(self, precision="bf16-mixed" if is_faster else "32-true")

    def launch(self) -> Fabric:
        """Start the processes; each of them returns from here."""
        assert self.precision != "auto", "`for_run` decides"
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
        recipe: settings, with the schedule that the run has.
        manifest: content of `run.json`.
        scenes: in the order of their numbers.
        images: training images of all scenes.
        train: input of a training step: these images, or their features.
        validation: held-out images, or None.
        train_frames: frames of `images`, scene by scene.
        model: the network with its initial weights.
        backbone: source of the backbone's initial weights.
        fabric: devices and processes.
    """

    folder: Path
    recipe: Recipe
    manifest: RunManifest
    scenes: tuple[Scene, ...]
    images: ImageCache
    train: ImageCache | FeatureVariants
    validation: ImageCache | None
    train_frames: tuple[tuple[Frame, ...], ...]
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
    has_map_supervision: bool = False,
    progress: CountProgress | None = None,
    feature_progress: CountProgress | None = None,
) -> Training:
    """Read the frames, build the model, and find out whether the folder holds an interrupted run to resume.

    Several scenes are numbered in the order of their data; each keeps its own world frame.

    Args:
        recipe: settings.
        name: of the recipe.
        data: frames of each scene. The last scene of an extension is the new one.
        folder: of the run; `runs/<name>/<scene>` if None.
        seed: of all randomness.
        weights: initial weights of the backbone.
        budget_seconds: time that the schedule is scaled to; 0 keeps the recipe's schedule.
        compute: devices and precision; one CPU process if None.
        extension: the run whose weights a run with one scene more starts from.
        has_map_supervision: whether the points of a map of the training images, held-out ones left out, are
            in the loss of scene geometry where they project.
        progress: called with the number of images read and of all.
        feature_progress: called with the number of images whose features are computed, and of all.

    Raises:
        RecipeError: the recipe's model learns fewer scenes, or cannot learn from a map.
        DatasetError: the frames cannot be used, or give no map.
        CheckpointError: the folder holds a run with other settings.
        MissingExtraError: the backbone's weights are missing.
    """
    sources = data if isinstance(data, tuple) else (data,)
    scenes = load_scenes(sources)
    if extension is not None:
        scenes = (*scenes[:-1], subsampled(scenes[-1], extension.fraction))
    recipe = _without_turns(recipe.of_scenes(len(scenes)), scenes)
    if has_map_supervision:
        recipe = with_map_supervision(recipe)
    folder = folder or Path("runs") / name / scene_folder(scenes)
    compute = (compute or Compute()).for_run(folder)
    fabric = compute.launch()
    split = [hold_out(scene.train, recipe.hold_out) for scene in scenes]
    train_frames = tuple(keep_orientations(kept, recipe.keep_orientation_every) for kept, _ in split)
    held_out = [frames for _, frames in split]
    if extension is None:  # an extension has the size of the run that it continues
        recipe = _with_shape_of(recipe, train_frames)
    if not fabric.is_global_zero:
        fabric.barrier()  # the first process decodes the images, the others find them in the cache
    images = load_scene_images(
        train_frames, recipe.preprocess, margin=recipe.augment.random_crop, progress=progress
    )
    validation = load_scene_images(held_out, recipe.preprocess) if any(held_out) else None
    if fabric.is_global_zero:
        fabric.barrier()
    model, backbone = first_model(recipe, train_frames, seed=seed, weights=weights)
    if extension is not None:
        backbone = load_partial_weights(model, Path(extension.run))
    if model.NEEDS_INTRINSICS and any(frame.camera is None for scene in scenes for frame in scene.train):
        raise DatasetError(
            f"{recipe.model} needs the camera's intrinsics, which some frames of "
            f"{', '.join(source.root for source in sources)} lack; give them, or train a regressor such as "
            f"hyperpose"
        )
    train: ImageCache | FeatureVariants = images
    if recipe.cached_variants:
        watched = _warned_if_slow(feature_progress, budget_seconds)
        train = _features(recipe, model, images, seed=seed, fabric=fabric, progress=watched)
    before = train.seconds if isinstance(train, FeatureVariants) else 0.0
    if has_map_supervision:
        started = time.monotonic()
        train = replace(train, map_points=seen_map_points(scenes, train_frames))
        before += time.monotonic() - started
    kind = fabric.device.type
    manifest = RunManifest(
        recipe=name,
        settings=to_builtins(recipe),
        data=sources,
        scenes=tuple(scene.name for scene in scenes),
        seed=seed,
        backbone_weights=str(weights),
        budget_seconds=budget_seconds,
        device=kind if fabric.world_size == 1 else f"{fabric.world_size} x {kind}",
        precision=compute.precision,
        extension=extension,
        feature_seconds=before,
    )
    recipe, manifest = _with_schedule(recipe, manifest, folder, model=model, train=train, fabric=fabric)
    return Training(
        folder, recipe, manifest, scenes, images, train, validation, train_frames, model, backbone, fabric
    )


def with_map_supervision(recipe: Recipe) -> Recipe:
    """The recipe with the loss of a map's points.

    Raises:
        RecipeError: the recipe is not of scene geometry.
    """
    if not isinstance(recipe.config, SceneGeometryConfig):
        raise RecipeError(
            f"{recipe.model} predicts no scene points, which a map could supervise; take a recipe of scene "
            f"geometry, such as room/scene-geometry, or leave --map-supervision out"
        )
    losses = replace(recipe.config.losses, map=MAP_WEIGHT)
    return replace(recipe, config=replace(recipe.config, losses=losses))


def seen_map_points(
    scenes: tuple[Scene, ...], train_frames: tuple[tuple[Frame, ...], ...]
) -> Float[torch.Tensor, "n p 3"]:
    """The points of maps of the training frames, at most `MAP_POINTS` for each frame that sees them.

    Raises:
        DatasetError: the frames of a scene give no map.
    """
    # Imported here because it loads pycolmap, which other trainings do not need.
    from camloc.mapping.build import build_scene_map

    seen: list[NDArray[np.float64]] = []
    for scene, frames in zip(scenes, train_frames, strict=True):
        scene_map, _ = build_scene_map(frames, scene=scene.name, unit=scene.unit)
        points = scene_map.points_in_world()
        rows = {name: scene_map.points_seen_by(row) for row, name in enumerate(scene_map.frame_names)}
        for frame in frames:
            own = rows.get(frame.name, np.zeros(0, np.int32))
            seen.append(points[own[even_rows(len(own), MAP_POINTS)]])
    padded = np.full((len(seen), max(map(len, seen)), 3), np.nan)
    for row, own_points in zip(padded, seen, strict=True):
        row[: len(own_points)] = own_points
    return torch.from_numpy(padded)


def _without_turns(recipe: Recipe, scenes: tuple[Scene, ...]) -> Recipe:
    """The recipe without turning and zooming images if intrinsics are unknown, which both need."""
    unknown = sum(frame.camera is None for scene in scenes for frame in scene.train)
    if not unknown or not recipe.augment.moves or model_class(recipe.model).NEEDS_INTRINSICS:
        return recipe
    _LOG.warning(
        "camloc: %d of the training images have no intrinsics, so that images are not turned and zoomed for "
        "training; errors are smaller with intrinsics",
        unknown,
    )
    return replace(recipe, augment=recipe.augment.without_moves())


def _with_shape_of(recipe: Recipe, train_frames: tuple[tuple[Frame, ...], ...]) -> Recipe:
    """The recipe with a portrait network image of the same area, if most training images are portraits."""
    sizes = (frame_size(frame) for frames in train_frames for frame in frames)
    ratio = median(width / height for width, height in sizes)
    size = recipe.preprocess.for_portrait(ratio) if ratio < 1.0 else recipe.preprocess
    if size == recipe.preprocess:
        return recipe
    config, codes = recipe.config, getattr(recipe.config, "codes", None)
    if isinstance(codes, PositionCodesConfig):
        codes = replace(codes, image_width=size.width, image_height=size.height)
        config = replace(config, codes=codes)
    return replace(recipe, preprocess=size, config=config)


def cut_off_share(training: Training) -> float:
    """The mean share of a training image that the network does not see, since its image has another shape.

    Raises:
        ImageError: an image without intrinsics cannot be opened.
    """
    shares = [
        training.recipe.preprocess.cut_off_share(*frame_size(frame))
        for frames in training.train_frames
        for frame in frames
    ]
    return fmean(shares)


def scene_folder(scenes: tuple[Scene, ...]) -> str:
    """Name of the folder of a run on some scenes."""
    names = "+".join(scene.name for scene in scenes)
    return names if len(scenes) == 1 or len(names) <= _LONGEST_NAME else f"{len(scenes)}-scenes"


def first_model(
    recipe: Recipe, train_frames: tuple[tuple[Frame, ...], ...], *, seed: int, weights: Weights
) -> tuple[PoseModel[Any], str]:
    """The recipe's network before training, and the source of its backbone's weights."""
    torch.manual_seed(seed)
    model = build_model(recipe.model, recipe.config)
    backbone = load_pretrained(model, weights)
    model.observe_scenes([poses_of(frames).tensor() for frames in train_frames])
    return model, backbone


def _features(
    recipe: Recipe,
    model: PoseModel[Any],
    images: ImageCache,
    *,
    seed: int,
    fabric: Fabric,
    progress: CountProgress | None,
) -> FeatureVariants:
    """Cached features of the training images; the first process computes them for all."""
    cut = frozen_prefix(model, recipe.stages)
    assert isinstance(model, GeometryModel | Regressor), "other models have no frozen prefix"
    if not fabric.is_global_zero:
        fabric.barrier()
    size = recipe.preprocess
    variants = Variants(recipe.augment, recipe.cached_variants, size.width, size.height, seed)
    features = cached_features(model, images, variants, cut=cut, device=fabric.device, progress=progress)
    if fabric.is_global_zero:
        fabric.barrier()
    return features


def _with_schedule(
    recipe: Recipe,
    manifest: RunManifest,
    folder: Path,
    *,
    model: PoseModel[Any],
    train: ImageCache | FeatureVariants,
    fabric: Fabric,
) -> tuple[Recipe, RunManifest]:
    """The schedule of the run in the folder if it is the same run, else one that fits the budget."""
    # The first process looks for all: a slower process would take the file that is written below for an
    # earlier run.
    if fabric.broadcast((folder / MANIFEST_FILE).exists()):
        earlier = RunManifest.load(folder)
        if _identity(earlier) != _identity(manifest):
            raise CheckpointError(
                f"{folder} holds a run with other settings; choose another --out, or delete it to start again"
            )
        return recipe.scaled(earlier.schedule_share), earlier
    if manifest.budget_seconds:
        # The time for features counts even if they were cached, so that a budget always gives the same run.
        left = max(0.0, manifest.budget_seconds - manifest.feature_seconds)
        share = schedule_share(recipe, left, model=model, train=train, fabric=fabric)
        if fabric.is_global_zero and share * recipe.epochs < FEWEST_EPOCHS:
            _say_too_short(recipe, manifest, share)
        manifest = replace(manifest, schedule_share=fabric.broadcast(share), budget_covers_features=True)
    if fabric.is_global_zero:
        manifest.save(folder)
    fabric.barrier()
    return recipe.scaled(manifest.schedule_share), manifest


def _warned_if_slow(progress: CountProgress | None, budget_seconds: float) -> CountProgress | None:
    """Progress of computing features, with a warning once they are expected to take most of the budget."""
    if not budget_seconds:
        return progress
    started, is_warned = time.monotonic(), False

    def update(done: int, total: int) -> None:
        nonlocal is_warned
        expected = (time.monotonic() - started) * total / max(done, 1)
        if not is_warned and expected > FEATURE_SHARE * budget_seconds:
            _LOG.warning(
                "camloc: computing features takes about %s of the budget of %s; give a larger --budget, or "
                "fewer --cached-variants",
                minutes(expected),
                minutes(budget_seconds),
            )
            is_warned = True
        if progress:
            progress(done, total)

    return update


def _say_too_short(recipe: Recipe, manifest: RunManifest, share: float) -> None:
    """Say that a budget holds fewer than `FEWEST_EPOCHS` epochs, and how much the recipe needs."""
    left = manifest.budget_seconds - manifest.feature_seconds
    features = (
        f", {minutes(manifest.feature_seconds)} of which features take," if manifest.feature_seconds else ""
    )
    needs = "the features alone take more than the budget"
    if left > 0:
        two, whole = (
            minutes(manifest.feature_seconds + left * factor / share)
            for factor in (FEWEST_EPOCHS / recipe.epochs, 1.0)
        )
        needs = f"{FEWEST_EPOCHS} epochs need {two}, the recipe's {recipe.epochs} epochs {whole}"
    _LOG.warning(
        "camloc: the budget of %s%s is too short for more than one epoch: %s; give a larger --budget",
        minutes(manifest.budget_seconds),
        features,
        needs,
    )


def minutes(seconds: float) -> str:
    """A duration as text: seconds below one and a half minutes, else minutes."""
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.1f} minutes"


def _identity(manifest: RunManifest) -> bytes:
    """The settings that two manifests must share for one run to resume the other, as JSON."""
    return to_json(
        replace(manifest, device="", schedule_share=1.0, feature_seconds=0.0, budget_covers_features=False)
    )


def schedule_share(
    recipe: Recipe,
    seconds_left: float,
    *,
    model: PoseModel[Any],
    train: ImageCache | FeatureVariants,
    fabric: Fabric,
) -> float:
    """The factor of the recipe's epochs that fills the remaining time, at the speed of some trial steps.

    The trial trains a copy of the model. `run.json` notes the factor, so that an interrupted run resumes with
    the same schedule.
    """
    # Several processes have to stop after the same step.
    least, most = (
        (_TRIAL_SHARE * seconds_left, _LONGEST_TRIAL * seconds_left)
        if fabric.world_size == 1
        else (0.0, math.inf)
    )
    copied = copy.deepcopy(model)
    seconds = seconds_per_step(
        recipe, model=copied, train=train, fabric=fabric, trial_seconds=least, most_seconds=most
    )
    steps = sum(
        stage.epochs
        * steps_per_epoch(len(training_rows(stage, train.world_from_cam)), recipe.windows_per_batch)
        for stage in recipe.stages
    )
    return seconds_left * TRAINING_SHARE / (seconds * steps)


def seconds_per_step(
    recipe: Recipe,
    *,
    model: PoseModel[Any],
    train: ImageCache | FeatureVariants,
    fabric: Fabric,
    trial_seconds: float = 0.0,
    most_seconds: float = math.inf,
) -> float:
    """Median seconds of a training step, over the steps of `trial_seconds` and 25 steps at least.

    The trial ends after `most_seconds`, with one step or more. The mean would include the first reading of a
    feature cache and the load of other programs.
    """
    endless = replace(recipe, stages=(replace(recipe.stages[0], epochs=_ENDLESS),))
    seconds: list[float] = []
    started = before = time.monotonic()
    for event in fit(model, train, endless, fabric=fabric):
        if isinstance(event, Step):
            wait_for(fabric.device)  # the event comes when the step is queued, not when it is done
            seconds.append(time.monotonic() - before)
        is_enough = len(seconds) >= _WARM_UP_STEPS + _TIMED_STEPS
        taken = time.monotonic() - started
        if seconds and (taken >= most_seconds or (is_enough and taken >= trial_seconds)):
            break
        before = time.monotonic()  # the time between two epochs is not part of a step
    return median(seconds[_WARM_UP_STEPS:] or seconds[-1:])
