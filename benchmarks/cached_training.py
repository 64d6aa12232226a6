"""How many pictures a second a regressor learns from that starts from cached features, or from pictures.

    uv run python -m benchmarks.cached_training --data FOLDER --backbone-weights FILE

prints a table. Counted is processor time of one thread, so that whatever else the machine does counts little.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import tyro

from camloc.recipes.base import Recipe, find_recipe
from camloc.recipes.preparation import Training, prepare
from camloc.recipes.settings import DataSource
from camloc.training.features import FeatureVariants
from camloc.training.fit import fit
from camloc.training.plan import Step

# Of MobileNetV2, beside its stem, which the recipes hold: cut behind a tap it has a name of timm's before it.
_UP_TO = "backbone.network.*blocks.[0-{}].*"

_WARM_UP_STEPS = 5


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        data: folder of the frames.
        backbone_weights: ImageNet weights of MobileNetV2, in timm's names.
        recipe: of a regressor on MobileNetV2.
        blocks: the last block that stands still, one row each.
        variants: of every picture in the cache.
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
    """Measure and print."""
    torch.set_num_threads(1)
    print("| stands still up to | whole, pictures/s | cached, pictures/s | bytes |")
    print("| --- | --: | --: | --: |")
    for block in settings.blocks:
        recipe = find_recipe(settings.recipe).cached(settings.variants, holds=(_UP_TO.format(block),))
        with TemporaryDirectory() as folder:
            cached = prepared(recipe, settings, Path(folder) / "cached")
            whole = prepared(replace(recipe, cached_variants=0), settings, Path(folder) / "whole")
            sides = [
                (pictures_per_second(whole, settings.steps), pictures_per_second(cached, settings.steps))
                for _ in range(settings.rounds)
            ]
        features = cached.train
        assert isinstance(features, FeatureVariants)
        _, _, *shape = features.images.shape
        size = features.images[0, 0].nbytes
        fastest = [max(side) for side in zip(*sides, strict=True)]
        print(
            f"| blocks.{block} ({' x '.join(map(str, shape))}) | {fastest[0]:.0f} | {fastest[1]:.0f} "
            f"| {size:,} |",
            flush=True,
        )


def prepared(recipe: Recipe, settings: Settings, folder: Path) -> Training:
    """The recipe on the frames, ready to train."""
    data = DataSource(str(settings.data.resolve()))
    return prepare(recipe, name="speed", data=data, folder=folder, weights=settings.backbone_weights)


def pictures_per_second(training: Training, steps: int) -> float:
    """How many pictures a second of processor time the training learns from."""
    plan = training.recipe.plan(seed=0)
    events = (event for event in fit(training.model, training.train, plan) if isinstance(event, Step))
    for _ in range(_WARM_UP_STEPS):
        next(events)
    started = time.process_time()
    for _ in range(steps):
        next(events)
    return steps * plan.batch_size / (time.process_time() - started)


if __name__ == "__main__":
    main(tyro.cli(Settings))
