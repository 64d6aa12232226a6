"""The frames that the ablations learn from and are tested on, and what needs no learning there."""

import os
from pathlib import Path

from benchmarks.ablation_page import Baselines
from benchmarks.ablation_rows import PosedScene
from camloc.cli.progress import counted
from camloc.data.formats.demo import rendered
from camloc.data.masks import mask_path, write_mask
from camloc.data.types import Scene, poses_of
from camloc.evaluation.baselines import baseline_errors
from camloc.evaluation.errors import error_statistics
from camloc.runs.evaluate import test_sets
from camloc.runs.manifest import DataSource
from market_square import OCCLUDED, Renderer, SquareSettings
from market_square.free_space import free_space_of
from market_square.rendering import image
from market_square.scene import shots


def source_of(
    scene: PosedScene, *, data: Path | None, demo_frames: tuple[int, int], masks: Path
) -> tuple[DataSource, Path | None]:
    """The frames of a scene, and the folder of its masks if it has some.

    Args:
        scene: which.
        data: the folder of Red Kitchen.
        demo_frames: training frames of the embedded scene, and test frames of each kind; it is rendered if
            it is not there.
        masks: folder for the masks of rendered scenes.
    """
    if scene == "redkitchen":
        return DataSource(os.path.realpath(data or "")), None
    learned, tested = demo_frames
    demo = SquareSettings(train_frames=learned, test_frames=tested, variants=("day", OCCLUDED), depth_every=0)
    with counted("rendering") as progress:
        root = rendered(demo, progress=progress)
    _write_masks(demo, DataSource(str(root), "demo").load(), masks / root.name)
    return DataSource(str(root), "demo"), masks / root.name


def _write_masks(demo: SquareSettings, scene: Scene, folder: Path) -> None:
    """Masks that are black where the renderer has drawn a person or a van."""
    frames = {frame.name: frame for frame in scene.conditions[OCCLUDED]}
    if all(mask_path(folder, frame).exists() for frame in frames.values()):
        return
    renderer, free_space = Renderer(seed=demo.seed), free_space_of(demo.seed)
    for shot in shots(demo, free_space):
        if shot.image in frames:
            view = image(renderer, free_space, demo, shot)
            write_mask(folder, frames[shot.image], ~view.is_occluder)


def baselines_of(scene_name: PosedScene, scene: Scene) -> Baselines:
    """What copying a training pose and the mean pose reach on the test sets."""
    training = poses_of(scene.train).tensor()
    found = {
        name: baseline_errors(poses_of(frames).tensor(), training)
        for name, frames in test_sets(scene).items()
    }
    return Baselines(
        scene_name,
        nearest_pose={name: error_statistics(each.nearest_pose) for name, each in found.items()},
        mean_pose={name: error_statistics(each.mean_pose) for name, each in found.items()},
    )
