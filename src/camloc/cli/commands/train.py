"""`camloc train`: learn a scene from images with known poses."""

import logging
from functools import partial
from typing import TYPE_CHECKING, Annotated

import tyro

from camloc.cli.options import (
    Device,
    Folders,
    Layout,
    OptionalFile,
    OptionalFolder,
    Precision,
    ReaderOptions,
    Scenes,
    Seed,
    checked_seed,
    data_sources,
    seconds,
)
from camloc.errors import RecipeError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from camloc.runs.manifest import DataSource
    from camloc.runs.prepare import Compute
    from camloc.training.pretrained import Weights
    from camloc.training.recipe import Recipe


def train(
    recipe: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="RECIPE")]],
    *,
    data: Folders,
    out: OptionalFolder = None,
    scene: Scenes = (),
    layout: Layout = "auto",
    option: ReaderOptions = (),
    train_list: OptionalFile = None,
    test_list: OptionalFile = None,
    backbone_weights: Annotated[str, tyro.conf.arg(metavar="none|hub|FILE")] = "none",
    budget: Annotated[str, tyro.conf.arg(metavar="20m|1.5h", help_behavior_hint="")] = "",
    cached_variants: Annotated[int | None, tyro.conf.arg(metavar="NUMBER", help_behavior_hint="")] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    devices: Annotated[int, tyro.conf.arg(metavar="NUMBER")] = 1,
    precision: Precision = "32-true",
    map: bool = False,
    map_supervision: bool = False,
) -> None:
    """Learn a scene, or several scenes with one model, from images with known poses.

    Name several scenes by several folders (--data A --data B) or as scenes of one data set (--scene chess
    --scene fire). Each scene keeps its own world frame, and an answer names its scene. The recipe must be of
    a multi-scene model.

    To continue an interrupted run, give the same command again; the result is the same.

    Args:
        recipe: Model and training settings; `camloc recipes` lists them.
        data: Folder of the data set; repeat the option for several scenes.
        out: Folder of the run; runs/RECIPE/SCENE by default.
        scene: Scene of the data set if it has several, or all; with several folders, the names of their
            scenes in the same order.
        layout: Layout of the data set; `camloc datasets` lists them.
        option: Option of the layout's reader, such as split=blocks, or SCENE:split=blocks for one of several
            scenes.
        train_list: Text file that names the training images, one a line.
        test_list: Text file that names the test images, one a line.
        backbone_weights: Initial weights of the backbone: none (random), hub (download), or a file with
            timm's parameter names.
        budget: Scale the recipe's schedule to this wall-clock time. It includes computing cached features,
            not reading images. Without it the recipe's schedule is used.
        cached_variants: Compute the features of the frozen layers once for this many augmented variants of
            every image, and train from them, which is faster; 0 for none. The recipe's number by default.
        seed: Seed of all random numbers.
        device: Device to train on.
        devices: Number of processes that share every batch.
        precision: Of the arithmetic; bf16-mixed multiplies in bfloat16 and keeps weights in single precision:
            steps are up to twice as fast on processors and GPUs with instructions for it, and some networks
            end less exact. auto is bf16-mixed on a CPU that has them.
        map: Also build maps of the scenes, which verify the network's poses; see `camloc map`.
        map_supervision: Build a map of the training images first, and supervise scene geometry by its points
            where they project. Of the budget.
    """
    from camloc.cli.options import backbone_weights as weights_of
    from camloc.core.device import torch_device
    from camloc.recipes import find_recipe
    from camloc.runs.prepare import Compute

    if devices < 1:
        raise UsageError(f"training needs 1 device or more, not {devices}")
    if cached_variants is not None and cached_variants < 0:
        raise UsageError(f"an image has 0 cached variants or more, not {cached_variants}")
    torch_device(device)
    found = find_recipe(recipe)
    sources = data_sources(
        data, layout=layout, scenes=scene, options=option, train_list=train_list, test_list=test_list
    )
    train_and_report(
        found if cached_variants is None else found.cached(cached_variants),
        name=recipe,
        sources=sources,
        out=out,
        seed=checked_seed(seed),
        weights=weights_of(backbone_weights),
        budget_seconds=seconds(budget) if budget else 0.0,
        compute=Compute(device, devices, precision),
        map_sources=sources if map else (),
        has_map_supervision=map_supervision,
    )


def train_and_report(
    recipe: "Recipe",
    *,
    name: str,
    sources: "tuple[DataSource, ...]",
    out: "Path | None" = None,
    seed: int = 0,
    weights: "Weights" = "none",
    budget_seconds: float = 0.0,
    compute: "Compute | None" = None,
    map_sources: "tuple[DataSource, ...]" = (),
    has_map_supervision: bool = False,
) -> None:
    """Train a recipe, evaluate the run if there are test frames, and print the next commands.

    Maps are built from `map_sources`, if there are any, and the run is then evaluated on their test frames.
    """
    from camloc.cli.commands.evaluate import evaluate_and_report
    from camloc.cli.progress import console, counted, train_and_show
    from camloc.runs.evaluate import test_sets
    from camloc.runs.prepare import prepare

    if recipe.cached_variants and weights == "none":
        raise RecipeError(
            f"{name} starts from the features of a pretrained backbone; name one: --backbone-weights FILE, "
            f"or hub to download it"
        )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    with counted("reading images") as progress:
        training = prepare(
            recipe,
            name=name,
            data=sources,
            folder=out,
            seed=seed,
            weights=weights,
            budget_seconds=budget_seconds,
            compute=compute,
            has_map_supervision=has_map_supervision,
            progress=progress,
            feature_progress=partial(progress, label="computing features"),
        )
    held = 0 if training.validation is None else len(training.validation)
    count = sum(len(frames) for frames in training.train_frames)
    introduction = (
        f"{name} on {', '.join(scene.name for scene in training.scenes)}: "
        f"{training.model.parameter_count():,} weights, {count} training images, {held} held out "
        f"to choose the best epoch"
    )
    if training.manifest.precision == "bf16-mixed":
        introduction += "; products are in bfloat16"
    if not train_and_show(training, introduction):
        return
    if map_sources:
        from camloc.cli.commands.map import build_and_print

        build_and_print(map_sources, training.folder)
        evaluate_and_report(training.folder, sources=map_sources)
    elif any(test_sets(scene) for scene in training.scenes):
        evaluate_and_report(training.folder)
    console.print(
        f"\nnext   camloc locate {training.folder} IMAGE.jpg\n       camloc export {training.folder}"
    )
