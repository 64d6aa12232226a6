"""Images a second that a regressor learns from, starting from cached features or from images.

    uv run python -m benchmarks.cached_training --data FOLDER --backbone-weights FILE

writes `docs/results/cached_training.json` and `.md`. Measured is processor time of one thread, which other
programs on the machine change little.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import tyro

from benchmarks.page import filled, result_page, write
from benchmarks.passes import machine
from camloc.recipes import find_recipe
from camloc.runs.manifest import DataSource
from camloc.runs.prepare import Training, prepare
from camloc.training.feature_cache import FeatureVariants
from camloc.training.loop import Step, fit
from camloc.training.recipe import Recipe

# Frozen layers of MobileNetV2 up to a block; the recipes freeze the stem as well.
_UP_TO = "backbone.network.*blocks.[0-{}].*"

_WARM_UP_STEPS = 5

COLUMNS = (
    ("frozen up to", "blocks.{block}"),
    ("features", "{features}"),
    ("kB a variant", "{kilobytes:.0f}"),
    ("whole", "{whole:.0f}"),
    ("cached", "{cached:.0f}"),
    ("ratio", "{ratio:.2f}"),
)


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        data: folder of the frames.
        backbone_weights: ImageNet weights of MobileNetV2, in timm's names.
        recipe: of a regressor on MobileNetV2.
        blocks: the last frozen block, one row each.
        variants: of every image in the cache.
        steps: to a measurement.
        rounds: measurements of each side, in turn; the fastest counts.
    """

    data: Path
    backbone_weights: Path
    recipe: str = "room/baseline"
    blocks: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    variants: int = 4
    steps: int = 30
    rounds: int = 3


def main(settings: Settings) -> None:
    """Measure, and write the page."""
    torch.set_num_threads(1)
    recipe = find_recipe(settings.recipe)
    # The recipe's frozen layers before the blocks; each row adds the blocks that it freezes.
    (stage,) = recipe.stages
    before = tuple(pattern for pattern in stage.frozen if ".blocks." not in pattern)
    first = replace(recipe, stages=(replace(stage, frozen=before),))
    measured = {
        "recipe": settings.recipe,
        "batch_size": recipe.batch_size,
        "image": [recipe.preprocess.width, recipe.preprocess.height],
        "machine": machine(),
        "speeds": [speed(first, block, settings) for block in settings.blocks],
    }
    write("cached_training", measured, page(measured))


def speed(first: Recipe, block: int, settings: Settings) -> dict[str, Any]:
    """Both speeds of a recipe that freezes everything up to a block."""
    recipe = first.cached(settings.variants, frozen=(_UP_TO.format(block),))
    with TemporaryDirectory() as folder:
        cached = prepared(recipe, settings, Path(folder) / "cached")
        whole = prepared(replace(recipe, cached_variants=0), settings, Path(folder) / "whole")
        sides = [
            (images_per_second(whole, settings.steps), images_per_second(cached, settings.steps))
            for _ in range(settings.rounds)
        ]
    features = cached.train
    assert isinstance(features, FeatureVariants)
    _, _, *shape = features.images.shape
    whole_side, cached_side = (max(side) for side in zip(*sides, strict=True))
    size = features.images[0, 0].nbytes
    return {"block": block, "shape": shape, "bytes": size, "whole": whole_side, "cached": cached_side}


def prepared(recipe: Recipe, settings: Settings, folder: Path) -> Training:
    """The recipe on the frames, ready to train."""
    data = DataSource(str(settings.data.resolve()))
    return prepare(recipe, name="speed", data=data, folder=folder, weights=settings.backbone_weights)


def images_per_second(training: Training, steps: int) -> float:
    """Images a second of processor time that the training learns from."""
    events = (
        event for event in fit(training.model, training.train, training.recipe) if isinstance(event, Step)
    )
    for _ in range(_WARM_UP_STEPS):
        next(events)
    started = time.process_time()
    for _ in range(steps):
        next(events)
    return steps * training.recipe.batch_size / (time.process_time() - started)


def page(measured: dict[str, Any]) -> str:
    """The page."""
    width, height = measured["image"]
    rows = (
        row
        | {
            "features": " x ".join(map(str, row["shape"])),
            "kilobytes": row["bytes"] / 1000,
            "ratio": row["cached"] / row["whole"],
        }
        for row in measured["speeds"]
    )
    return result_page(
        "Training behind cached features",
        "cached_training",
        f"Images a second of processor time that `{measured['recipe']}` learns from, in batches of "
        f"{measured['batch_size']} and images of {width} x {height}, when MobileNetV2 is frozen up to a "
        "block: passing every image through the whole network, or starting from features that were computed "
        "once. One thread; the fastest of several runs of each, in turn.",
        filled(COLUMNS, rows, text_columns=2),
        f"{measured['machine']}.",
        command="--data FOLDER --backbone-weights FILE",
    )


if __name__ == "__main__":
    main(tyro.cli(Settings))
