"""One row of the ablations: trained, and tested in each of its ways. Runs in a process of its own."""

from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.ablation_page import Measurement
from benchmarks.ablation_rows import PosedScene, RefinementMethod, Row
from camloc.data.types import Scene
from camloc.evaluation.errors import ErrorStatistics, EvaluatedSet, error_statistics
from camloc.inference.localizer import Localizer
from camloc.models.outlier_filters import OutlierFilter
from camloc.runs.evaluate import test_sets
from camloc.runs.manifest import LOG, DataSource
from camloc.runs.prepare import Compute, prepare
from camloc.runs.train import train
from camloc.training.log import read_log


@dataclass(frozen=True)
class Task:
    """One row with one seed, and where it finds what it needs."""

    scene: PosedScene
    row: Row
    seed: int
    source: DataSource
    weights: Path | None
    masks: Path | None
    compute: Compute
    folder: Path
    settings: str


def measured(task: Task) -> Measurement:
    """Train one row, and locate the test frames in each of its ways."""
    recipe = task.row.recipe
    training = prepare(
        recipe,
        name=f"{task.scene}/{task.row.key}",
        data=task.source,
        folder=task.folder,
        seed=task.seed,
        weights=task.weights or "none",
        compute=task.compute,
    )
    for _ in train(training):
        pass
    return Measurement(
        scene=task.scene,
        key=task.row.key,
        seed=task.seed,
        settings=task.settings,
        model=recipe.model,
        width=recipe.preprocess.width,
        height=recipe.preprocess.height,
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        frames=len(training.train_frames[0]),
        parameters=training.model.parameter_count(),
        minutes=read_log(task.folder / LOG)[-1]["seconds"] / 60,
        device=_where(task.compute),
        errors={way: _errors(task, training.scenes[0], way) for way in task.row.methods},
    )


def _where(compute: Compute) -> str:
    machine = torch.cuda.get_device_name() if compute.device == "cuda" else "a CPU"
    return machine if compute.precision == "32-true" else f"{machine} in mixed precision"


def _errors(task: Task, scene: Scene, way: RefinementMethod) -> dict[str, ErrorStatistics]:
    """The errors on every test set, with one way to find poses."""
    outlier_filter: OutlierFilter | None = None
    if way != "regressed":
        outlier_filter = "none" if way == "none, masked" else way
    masks = task.masks if way == "none, masked" else None
    localizer = Localizer.load(
        task.folder, device=task.compute.device, outlier_filter=outlier_filter, masks=masks
    )
    return {
        name: error_statistics(EvaluatedSet(name, frames, tuple(localizer.locate_all(frames))).errors())
        for name, frames in test_sets(scene).items()
    }
