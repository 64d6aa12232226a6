"""How many images a second a regressor learns from that starts from cached features, or from images.

    uv run python -m benchmarks.cached_training --data FOLDER --backbone-weights FILE

writes `docs/results/cached_training.json` and `.md`. Counted is processor time of one thread, so that
whatever else the machine does counts little.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import tyro

from benchmarks.passes import machine
from camloc.core.config import to_json
from camloc.recipes import find_recipe
from camloc.runs.manifest import DataSource
from camloc.runs.prepare import Training, prepare
from camloc.training.feature_cache import FeatureVariants
from camloc.training.loop import Step, fit
from camloc.training.recipe import Recipe

# Of MobileNetV2, beside its stem, which the recipes hold: cut behind a tap it has a name of timm's before it.
_UP_TO = "backbone.network.*blocks.[0-{}].*"

_WARM_UP_STEPS = 5
PAGE = Path("docs/results/cached_training.md")


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        data: folder of the frames.
        backbone_weights: ImageNet weights of MobileNetV2, in timm's names.
        recipe: of a regressor on MobileNetV2.
        blocks: the last block that stands still, one row each.
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


@dataclass(frozen=True)
class Speed:
    """Of one part that stands still.

    Attributes:
        block: its last.
        shape: channels, rows and columns of an image's features.
        bytes: of them.
        whole, cached: images a second of processor time.
    """

    block: int
    shape: tuple[int, ...]
    bytes: int
    whole: float
    cached: float


@dataclass(frozen=True)
class Measured:
    """Everything that the page shows."""

    recipe: str
    batch_size: int
    image: tuple[int, int]
    machine: str
    speeds: tuple[Speed, ...]


def main(settings: Settings) -> None:
    """Measure, and write the page."""
    torch.set_num_threads(1)
    speeds = []
    recipe = find_recipe(settings.recipe)
    # Of what the recipe itself holds, only what comes before the blocks: each row says how far it goes.
    (stage,) = recipe.stages
    before = tuple(pattern for pattern in stage.frozen if ".blocks." not in pattern)
    first = replace(recipe, stages=(replace(stage, frozen=before),))
    for block in settings.blocks:
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
        size = features.images[0, 0].nbytes
        whole_side, cached_side = (max(side) for side in zip(*sides, strict=True))
        speeds.append(Speed(block, tuple(shape), size, whole_side, cached_side))
    image = (first.preprocess.width, first.preprocess.height)
    measured = Measured(settings.recipe, first.batch_size, image, machine(), tuple(speeds))
    PAGE.with_suffix(".json").write_bytes(to_json(measured))
    PAGE.write_text(page(measured))


def page(measured: Measured) -> str:
    """The whole page."""
    width, height = measured.image
    lines = [
        "# Training behind cached features",
        "",
        "<!-- Written by benchmarks/cached_training.py; do not edit. -->",
        "",
        f"How many images a second of processor time `{measured.recipe}` learns from, in batches of "
        f"{measured.batch_size} and images of {width} x {height}, when MobileNetV2 stands still up to a "
        "block: passing every image through the whole network, or starting from features that were "
        "computed once. One thread; the fastest of some runs of each, in turn.",
        "",
        "| stands still up to | features | kB a variant | whole | cached | ratio |",
        "| --- | --- | --: | --: | --: | --: |",
    ]
    for each in measured.speeds:
        shape = " x ".join(map(str, each.shape))
        lines.append(
            f"| blocks.{each.block} | {shape} | {each.bytes / 1000:.0f} | {each.whole:.0f} | "
            f"{each.cached:.0f} | {each.cached / each.whole:.2f} |"
        )
    lines += [
        "",
        f"{measured.machine}.",
        "",
        "    uv run python -m benchmarks.cached_training --data FOLDER --backbone-weights FILE",
        "",
    ]
    return "\n".join(lines)


def prepared(recipe: Recipe, settings: Settings, folder: Path) -> Training:
    """The recipe on the frames, ready to train."""
    data = DataSource(str(settings.data.resolve()))
    return prepare(recipe, name="speed", data=data, folder=folder, weights=settings.backbone_weights)


def images_per_second(training: Training, steps: int) -> float:
    """How many images a second of processor time the training learns from."""
    events = (
        event for event in fit(training.model, training.train, training.recipe) if isinstance(event, Step)
    )
    for _ in range(_WARM_UP_STEPS):
        next(events)
    started = time.process_time()
    for _ in range(steps):
        next(events)
    return steps * training.recipe.batch_size / (time.process_time() - started)


if __name__ == "__main__":
    main(tyro.cli(Settings))
