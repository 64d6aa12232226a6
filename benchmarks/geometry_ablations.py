"""The ablations of Tables II, III and IV of the geometry paper, on Red Kitchen and on the embedded scene.

    uv run python -m benchmarks.geometry_ablations --data FOLDER --backbone-weights FILE --device cuda

trains every row that `docs/results/geometry_ablations.json` does not have with the same settings, `--jobs` of
them at a time, and writes that file and the page beside it after each. Started again, it goes on. The
folder is 7Scenes' Red Kitchen, sequence 01; without it, the embedded scene alone is measured.
"""

import hashlib
import logging
import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from benchmarks.ablation_page import Ablations, Measurement, page
from benchmarks.ablation_rows import SCENES, PosedScene, rows_of
from benchmarks.ablation_runs import Task, measured
from benchmarks.ablation_scenes import baselines_of, source_of
from camloc.cli.options import Precision
from camloc.cli.progress import console, counted
from camloc.core.config import from_json, to_json
from camloc.core.files import write_atomically
from camloc.data.image_cache import load_image_cache
from camloc.data.types import Scene
from camloc.errors import CamlocError
from camloc.runs.manifest import DataSource
from camloc.runs.prepare import Compute


@dataclass(frozen=True)
class Settings:
    """Where the data are, and how much is trained.

    Attributes:
        data: folder of Red Kitchen.
        backbone_weights: ImageNet weights of MobileNetV2, in timm's names.
        scenes: which scenes to measure.
        rows: names of rows to train; all of them if none is given.
        device: where to train.
        precision: "bf16-mixed" halves the time of processors that multiply bfloat16.
        jobs: trainings at a time, each on its share of the processors.
        seeds: of all randomness; each row is trained with each.
        epochs: of rows that learn from all frames.
        scratch_epochs: of the comparison of backbones.
        variants: of every image of Red Kitchen, which pass through the layers that stand still once for
            all rows with the same grid (27 GB for a grid of 1/4); 0 for images that are changed anew at
            every step, which takes a GPU.
        demo_frames, demo_test_frames: training frames of the embedded scene, and test frames of each kind.
        results: the file of numbers; the page stands beside it.
        out: folder of the runs.
    """

    data: Path | None = None
    backbone_weights: Path | None = None
    scenes: tuple[PosedScene, ...] = SCENES
    rows: tuple[str, ...] = ()
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Precision = "32-true"
    jobs: int = 1
    seeds: tuple[int, ...] = (0,)
    epochs: int = 30
    scratch_epochs: int = 20
    variants: int = 8
    demo_frames: int = 800
    demo_test_frames: int = 60
    results: Path = Path("docs/results/geometry_ablations.json")
    out: Path = Path("runs/geometry_ablations")


def main(settings: Settings) -> None:
    """Train what is missing, and write the page."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    path = settings.results
    ablations = from_json(path.read_bytes(), Ablations) if path.exists() else Ablations()
    tasks: list[Task] = []
    for scene_name in settings.scenes:
        if scene_name == "redkitchen" and settings.data is None:
            console.print("Red Kitchen is left out: --data does not say where it is")
            continue
        source, masks = source_of(
            scene_name,
            data=settings.data,
            demo_frames=(settings.demo_frames, settings.demo_test_frames),
            masks=settings.out / "masks",
        )
        scene = source.load()
        ablations = ablations.with_baselines(baselines_of(scene_name, scene))
        wanted = [
            task for task in _tasks(scene_name, source, masks, settings) if not _is_there(task, ablations)
        ]
        _decode(scene, wanted)
        tasks += wanted
    failed = 0
    with counted("rows") as progress:
        for number, (task, outcome) in enumerate(_outcomes(tasks, settings.jobs), start=1):
            progress(number, len(tasks))
            if isinstance(outcome, Exception):
                failed += 1
                console.print(f"{task.scene}: {task.row.key}, seed {task.seed} failed: {outcome!r}")
                continue
            ablations = ablations.with_measurement(outcome)
            _write(path, ablations)
            console.print(_said(outcome))
    _write(path, ablations)
    if failed:
        sys.exit(f"{failed} rows failed; what the others gave is on the page")


def _write(path: Path, ablations: Ablations) -> None:
    write_atomically(path, to_json(ablations))
    write_atomically(path.with_suffix(".md"), page(ablations))


def _outcomes(tasks: list[Task], jobs: int) -> Iterator[tuple[Task, Measurement | Exception]]:
    """Tasks with what came of them, as they end; a single job at a time runs in this process."""
    if jobs == 1:
        for task in tasks:
            try:
                yield task, measured(task)
            except Exception as problem:  # whatever it is, the other rows are worth having
                yield task, problem
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read by a new process when it imports torch
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        running: dict[Future[Measurement], Task] = {pool.submit(measured, task): task for task in tasks}
        for future in as_completed(running):
            try:
                yield running[future], future.result()
            except Exception as problem:
                yield running[future], problem


def _tasks(scene: PosedScene, source: DataSource, masks: Path | None, settings: Settings) -> list[Task]:
    tasks = []
    rows = rows_of(
        scene,
        epochs=settings.epochs,
        scratch_epochs=settings.scratch_epochs,
        variants=settings.variants,
    )
    for row in rows:
        if settings.rows and row.key not in settings.rows:
            continue
        weights = settings.backbone_weights if row.starts_pretrained else None
        if row.starts_pretrained and weights is None:
            raise CamlocError("Red Kitchen's rows start from ImageNet weights: --backbone-weights FILE")
        for seed in settings.seeds:
            # The way to the data is not part of it: another machine has them elsewhere.
            frames = (settings.demo_frames, settings.demo_test_frames) if scene == "demo" else ()
            metadata = to_json((row, scene, seed, frames, settings.precision))
            digest = hashlib.sha256(metadata).hexdigest()[:16]
            folder = settings.out / scene / row.key.replace(" ", "-") / f"seed-{seed}-{digest}"
            compute = Compute(settings.device, precision=settings.precision)
            tasks.append(Task(scene, row, seed, source, weights, masks, compute, folder, digest))
    return tasks


def _is_there(task: Task, ablations: Ablations) -> bool:
    return ablations.has(task.scene, task.row.key, task.seed, task.settings)


def _decode(scene: Scene, tasks: list[Task]) -> None:
    """Decode the images once, before several processes want them."""
    for preprocess in dict.fromkeys(task.row.recipe.preprocess for task in tasks):
        with counted("reading images") as progress:
            load_image_cache(scene.train, preprocess, progress=progress)


def _said(row: Measurement) -> str:
    way, by_set = next(iter(row.errors.items()))
    errors = ", ".join(
        f"{name} {each.meters.median or float('inf'):.3f} m {each.degrees.median or float('inf'):.2f}°"
        for name, each in by_set.items()
    )
    return f"{row.scene}: {row.key}, seed {row.seed}: {errors} ({way}), {row.minutes:.1f} minutes"


if __name__ == "__main__":
    main(tyro.cli(Settings))
