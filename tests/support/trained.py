"""A small scene with images that differ, and a run that has trained on it for a few seconds."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from camloc.data.augment import Augment
from camloc.data.image_io import Preprocess
from camloc.data.splits import HoldOut
from camloc.models.hyperpose import HyperPoseConfig
from camloc.models.layers.hypernetwork import HypernetworkConfig
from camloc.models.regressor import RegressionConfig
from camloc.runs.manifest import DataSource
from camloc.runs.prepare import prepare
from camloc.runs.train import train
from camloc.training.recipe import Recipe, Stage
from tests.support.layouts import Matrix, PosedScene, looking_at_target, write_sevenscenes
from tests.support.models import TINY_BACKBONE

WIDTH, HEIGHT = 64, 48
TRAIN_FRAMES, TEST_FRAMES = 18, 6

_FOCAL = 60.0
_WAVES = np.random.default_rng(3).normal(0.0, 5.0, (3, 3))


class Made(NamedTuple):
    """A file or folder that a command has made, and its output."""

    path: Path
    out: str
    err: str


def small_scene(frames: int = TRAIN_FRAMES + TEST_FRAMES) -> PosedScene:
    """Cameras on a walk around the target, one in four of them for testing."""
    angles = np.linspace(0.0, 1.6, frames)
    walk = [looking_at_target(np.array([3 * np.sin(a), -2 * np.cos(a), 0.3 * np.sin(7 * a)])) for a in angles]
    test = tuple(pose for number, pose in enumerate(walk) if number % 4 == 2)
    return PosedScene(tuple(pose for number, pose in enumerate(walk) if number % 4 != 2), test)


def image(world_from_cam: Matrix) -> NDArray[np.uint8]:
    """(height, width, 3) image of coloured waves: a colour for each direction of the world."""
    columns, rows = np.meshgrid(np.arange(WIDTH) + 0.5 - WIDTH / 2, np.arange(HEIGHT) + 0.5 - HEIGHT / 2)
    rays = np.stack([columns / _FOCAL, rows / _FOCAL, np.ones_like(columns)], axis=-1)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    waves = np.sin(rays @ world_from_cam[:3, :3].T @ _WAVES.T + world_from_cam[:3, 3].sum())
    return np.asarray(127.5 + 120 * waves, np.uint8)


def write_scene(root: Path, *, frames: int = TRAIN_FRAMES + TEST_FRAMES) -> None:
    """The small scene as 7Scenes: by default 18 training and 6 test frames of 64 x 48 pixels."""
    scene = small_scene(frames)
    write_sevenscenes(root, scene)
    for number, pose in enumerate(scene.all):
        (path,) = root.glob(f"seq-*/frame-{number:06d}.color.png")
        Image.fromarray(image(pose)).save(path)


def tiny_recipe(*, epochs: int = 6) -> Recipe:
    """HyperPose with the smallest backbone there is."""
    return Recipe(
        model="hyperpose",
        config=HyperPoseConfig(
            backbone=TINY_BACKBONE,
            hidden=16,
            dropout=0.0,
            hypernetwork=HypernetworkConfig(position=8, orientation=8),
            regression=RegressionConfig(positions="standardised"),
        ),
        preprocess=Preprocess(WIDTH, HEIGHT),
        stages=(Stage(epochs=epochs, learning_rate=2e-3),),
        augment=Augment(),
        batch_size=6,
        hold_out=HoldOut(every=6, block=2),
    )


@contextmanager
def scene_with_cache(folder: Path) -> Iterator[Path]:
    """The small scene in `folder / "scene"`, with camloc's cache beside it as long as the block lasts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAMLOC_CACHE", str(folder / "cache"))
        write_scene(folder / "scene")
        yield folder


def train_run(root: Path, folder: Path, *, epochs: int = 6) -> None:
    """Learn the scene in `root` into a run folder, as `camloc train` does."""
    recipe, data = tiny_recipe(epochs=epochs), DataSource(str(root.resolve()))
    for _ in train(prepare(recipe, name="tiny/hyperpose", data=data, folder=folder)):
        pass
