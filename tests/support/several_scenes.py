"""Two small scenes that look different and have worlds of their own, and a run of both."""

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
from camloc.training.loop import Step
from camloc.training.recipe import Recipe, Stage
from tests.support.layouts import Matrix, PosedScene, write_sevenscenes
from tests.support.models import TINY_BACKBONE
from tests.support.trained import image, small_scene, tiny_recipe, write_scene

# Of the second scene's world, in metres: its coordinates are nothing like those of the first.
AWAY = 1000.0

NAMES = ("garden", "cellar")


def write_scenes(root: Path) -> tuple[DataSource, ...]:
    """A garden, and a cellar in red light far away whose images have another shape, as 7Scenes."""
    garden, cellar = (root / name for name in NAMES)
    write_scene(garden)
    write_lit_scene(cellar, light=(0.8, 0.1, 0.0), away=AWAY)
    return tuple(DataSource(str(path.resolve())) for path in (garden, cellar))


def write_lit_scene(root: Path, *, light: tuple[float, float, float], away: float) -> None:
    """The small scene in coloured light, elsewhere in the world, with images of another size."""
    scene = small_scene()
    train, test = (tuple(_moved(pose, away) for pose in poses) for poses in (scene.train, scene.test))
    write_sevenscenes(root, PosedScene(train, test))
    for number, pose in enumerate(scene.all):
        (path,) = root.glob(f"seq-*/frame-{number:06d}.color.png")
        Image.fromarray(np.asarray(image(pose) * light, np.uint8)).resize((96, 72)).save(path)


def _moved(pose: Matrix, away: float) -> Matrix:
    elsewhere = pose.copy()
    elsewhere[:3, 3] += away
    return elsewhere


def scenes_recipe(*, epochs: int = 30) -> Recipe:
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
    """A training of the scenes, ready to go."""
    return prepare(recipe or scenes_recipe(), name="tiny/scenes", data=sources, folder=folder)


def train_scenes(sources: tuple[DataSource, ...], folder: Path, recipe: Recipe | None = None) -> None:
    """Learn the scenes into a run folder."""
    for _ in train(prepared(sources, folder, recipe)):
        pass


def stop_in_epoch(sources: tuple[DataSource, ...], folder: Path, epoch: int, recipe: Recipe) -> None:
    """Learn the scenes until an epoch has begun, and stop there."""
    for event in train(prepared(sources, folder, recipe)):
        if isinstance(event, Step) and event.epoch == epoch:
            return
