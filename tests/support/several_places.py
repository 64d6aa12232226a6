"""Two small places that look different and have worlds of their own, and a run that has learned both."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from camloc.models.layers.transformer import TransformerConfig
from camloc.models.ms_transformer import MSTransformerConfig
from camloc.models.regressor import RegressionConfig
from camloc.runs.manifest import DataSource
from camloc.runs.prepare import Training, prepare
from camloc.runs.train import train
from camloc.training.recipe import Recipe, Stage, Step
from tests.support.layouts import Matrix, Place, write_sevenscenes
from tests.support.models import TINY_BACKBONE
from tests.support.trained import photograph, small_place, tiny_recipe, write_place

# Of the second place's world, in metres: its coordinates are nothing like those of the first.
AWAY = 1000.0

NAMES = ("garden", "cellar")


def write_places(root: Path) -> tuple[DataSource, ...]:
    """A garden, and a cellar in red light far away whose pictures have another shape, as 7Scenes."""
    garden, cellar = (root / name for name in NAMES)
    write_place(garden)
    write_lit_place(cellar, light=(0.8, 0.1, 0.0), away=AWAY)
    return tuple(DataSource(str(path.resolve())) for path in (garden, cellar))


def write_lit_place(root: Path, *, light: tuple[float, float, float], away: float) -> None:
    """The small place in coloured light, elsewhere in the world, with pictures of another size."""
    place = small_place()
    moved = (tuple(_moved(pose, away) for pose in poses) for poses in (place.train, place.test))
    write_sevenscenes(root, Place(*moved))
    for number, pose in enumerate(place.all):
        (path,) = root.glob(f"seq-*/frame-{number:06d}.color.png")
        Image.fromarray(np.asarray(photograph(pose) * light, np.uint8)).resize((96, 72)).save(path)


def _moved(pose: Matrix, away: float) -> Matrix:
    elsewhere = pose.copy()
    elsewhere[:3, 3] += away
    return elsewhere


def places_recipe(*, epochs: int = 30) -> Recipe:
    """MS-Transformer with the smallest backbone there is."""
    return replace(
        tiny_recipe(),
        model="ms_transformer",
        config=MSTransformerConfig(
            backbone=TINY_BACKBONE,
            transformer=TransformerConfig(width=16, layers=1, heads=2, dropout=0.0, attention_dropout=0.0),
            layers=(1, 1),
            hidden=16,
            regression=RegressionConfig(positions="standardised"),
        ),
        stages=(
            Stage(
                epochs=epochs,
                learning_rate=3e-3,
                optimizer="adamw",
                schedule="one_cycle",
                gradient_clip=1.0,
                loss_weights={"scene": 5.0},
            ),
        ),
    )


def prepared(sources: tuple[DataSource, ...], folder: Path, recipe: Recipe | None = None) -> Training:
    """A training of the places, ready to go."""
    return prepare(recipe or places_recipe(), name="tiny/places", data=sources, folder=folder)


def train_places(sources: tuple[DataSource, ...], folder: Path, recipe: Recipe | None = None) -> None:
    """Learn the places into a run folder."""
    for _ in train(prepared(sources, folder, recipe)):
        pass


def stop_in_epoch(sources: tuple[DataSource, ...], folder: Path, epoch: int, recipe: Recipe) -> None:
    """Learn the places until an epoch has begun, and stop there."""
    for event in train(prepared(sources, folder, recipe)):
        if isinstance(event, Step) and event.epoch == epoch:
            return
