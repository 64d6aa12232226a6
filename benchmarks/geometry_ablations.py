"""The ablations of Tables II, III and IV of the geometry paper, on Red Kitchen and on the embedded scene.

    uv run python -m benchmarks.geometry_ablations --data FOLDER --backbone-weights FILE --device cuda

trains every row of `benchmarks.ablation_rows` that `docs/results/geometry_ablations.json` does not have with
the same settings, and writes that file and the page beside it after each. Started again, it goes on. The
folder is 7Scenes' Red Kitchen, sequence 01; without it, the embedded scene alone is measured.
"""

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Literal

import torch
import tyro

from benchmarks.ablation_rows import (
    SCENES,
    Line,
    PoseMethod,
    Row,
    SceneName,
    Table,
    rows_of,
    tables_of,
)
from benchmarks.page import result_page, table
from camloc.cli.options import Precision
from camloc.cli.progress import console, counted
from camloc.core.config import from_json, to_json
from camloc.core.files import write_atomically
from camloc.data.formats.demo import rendered
from camloc.data.masks import mask_path, write_mask
from camloc.data.types import Scene, poses_of
from camloc.errors import CamlocError
from camloc.evaluation.baselines import baseline_errors
from camloc.evaluation.errors import ErrorStatistics, EvaluatedSet, error_statistics
from camloc.inference.localizer import Localizer
from camloc.models.outlier_filters import OutlierFilter
from camloc.runs.evaluate import test_sets
from camloc.runs.manifest import LOG, DataSource
from camloc.runs.prepare import Compute, prepare
from camloc.runs.train import train
from camloc.training.log import read_log
from market_square import OCCLUDED, Renderer, SquareSettings
from market_square.free_space import free_space_of
from market_square.rendering import image
from market_square.scene import shots

TITLES: dict[SceneName, str] = {"redkitchen": "Red Kitchen", "demo": "The embedded scene"}

# Errors by test set.
BySet = dict[str, ErrorStatistics]


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
        seeds: of all randomness; each row is trained with each.
        epochs: of rows that learn from all frames.
        scratch_epochs: of the comparison of backbones.
        variants: of every image of Red Kitchen, which pass through the frozen layers once for all rows with
            the same grid (27 GB for a grid of 1/4); 0 for images that are augmented anew at every step, which
            takes a GPU.
        demo_frames, demo_test_frames: training frames of the embedded scene, and test frames of each kind.
        results: the file of numbers; the page stands beside it.
        out: folder of the runs.
    """

    data: Path | None = None
    backbone_weights: Path | None = None
    scenes: tuple[SceneName, ...] = SCENES
    rows: tuple[str, ...] = ()
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Precision = "32-true"
    seeds: tuple[int, ...] = (0,)
    epochs: int = 30
    scratch_epochs: int = 20
    variants: int = 8
    demo_frames: int = 800
    demo_test_frames: int = 60
    results: Path = Path("docs/results/geometry_ablations.json")
    out: Path = Path("runs/geometry_ablations")


@dataclass(frozen=True)
class Measurement:
    """One training, and the errors of its last weights.

    Attributes:
        scene, key, seed: what was trained.
        settings: a digest of all that decides the outcome; a row with another one is trained again.
        model: name of the model.
        width, height, batch_size, epochs, frames: the network's image, the size of a batch, passes over all
            stages, and the training frames.
        parameters: learned values of the network.
        minutes: of training.
        device: where it was trained.
        errors: by the method that finds poses, and by test set.
    """

    scene: SceneName
    key: str
    seed: int
    settings: str
    model: str
    width: int
    height: int
    batch_size: int
    epochs: int
    frames: int
    parameters: int
    minutes: float
    device: str
    errors: dict[str, BySet]


@dataclass(frozen=True)
class Baselines:
    """Errors of the nearest training pose and of the mean pose, by test set."""

    scene: SceneName
    nearest_pose: BySet
    mean_pose: BySet


@dataclass(frozen=True)
class Ablations:
    """Everything on the page."""

    baselines: tuple[Baselines, ...] = ()
    measurements: tuple[Measurement, ...] = ()

    def has(self, scene: SceneName, key: str, seed: int, settings: str) -> bool:
        """Whether a row was trained with these settings."""
        return any(
            (each.scene, each.key, each.seed, each.settings) == (scene, key, seed, settings)
            for each in self.measurements
        )

    def with_measurement(self, new: Measurement) -> "Ablations":
        """The same with one row exchanged or added."""
        rows = {(each.scene, each.key, each.seed): each for each in (*self.measurements, new)}
        return replace(self, measurements=tuple(rows[name] for name in sorted(rows)))

    def with_baselines(self, new: Baselines) -> "Ablations":
        """The same with the baselines of one scene exchanged or added."""
        by_scene = {each.scene: each for each in (*self.baselines, new)}
        return replace(self, baselines=tuple(by_scene[name] for name in sorted(by_scene)))


def main(settings: Settings) -> None:
    """Train what is missing, and write the page."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    path = settings.results
    ablations = from_json(path.read_bytes(), Ablations) if path.exists() else Ablations()
    for name in settings.scenes:
        if name == "redkitchen" and settings.data is None:
            console.print("Red Kitchen is skipped; name its folder with --data")
            continue
        source, masks = _source(name, settings)
        ablations = ablations.with_baselines(_baselines(name, source.load()))
        rows = rows_of(
            name,
            epochs=settings.epochs,
            scratch_epochs=settings.scratch_epochs,
            variants=settings.variants,
        )
        for row in rows:
            if settings.rows and row.key not in settings.rows:
                continue
            for seed in settings.seeds:
                # The paths of the data are not part of the digest: they differ from machine to machine.
                frames = (settings.demo_frames, settings.demo_test_frames) if name == "demo" else ()
                decisive = to_json((row, name, seed, frames, settings.precision))
                digest = hashlib.sha256(decisive).hexdigest()[:16]
                if ablations.has(name, row.key, seed, digest):
                    continue
                new = _measured(name, row, seed, digest, source, masks, settings)
                ablations = ablations.with_measurement(new)
                console.print(f"{name}: {row.key}, seed {seed}: {new.minutes:.1f} minutes")
                write_atomically(path, to_json(ablations))
    write_atomically(path, to_json(ablations))
    write_atomically(path.with_suffix(".md"), page(ablations))


def _measured(
    scene: SceneName,
    row: Row,
    seed: int,
    digest: str,
    source: DataSource,
    masks: Path | None,
    settings: Settings,
) -> Measurement:
    """Train one row, and locate the test frames with each of its methods."""
    if row.starts_pretrained and settings.backbone_weights is None:
        raise CamlocError("rows of Red Kitchen start from ImageNet weights; give --backbone-weights FILE")
    recipe = row.recipe
    folder = settings.out / scene / row.key.replace(" ", "-") / f"seed-{seed}-{digest}"
    training = prepare(
        recipe,
        name=f"{scene}/{row.key}",
        data=source,
        folder=folder,
        seed=seed,
        weights=settings.backbone_weights or "none" if row.starts_pretrained else "none",
        compute=Compute(settings.device, precision=settings.precision),
    )
    for _ in train(training):
        pass
    machine = torch.cuda.get_device_name() if settings.device == "cuda" else "a CPU"
    return Measurement(
        scene=scene,
        key=row.key,
        seed=seed,
        settings=digest,
        model=recipe.model,
        width=recipe.preprocess.width,
        height=recipe.preprocess.height,
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        frames=len(training.train_frames[0]),
        parameters=training.model.parameter_count(),
        minutes=read_log(folder / LOG)[-1]["seconds"] / 60,
        device=machine if settings.precision == "32-true" else f"{machine} in mixed precision",
        errors={
            method: _errors(folder, training.scenes[0], method, masks, settings.device)
            for method in row.methods
        },
    )


def _errors(run: Path, scene: Scene, method: PoseMethod, masks: Path | None, device: str) -> BySet:
    """The errors on every test set, with one method to find poses."""
    outlier_filter: OutlierFilter | None = None
    if method != "regressed":
        outlier_filter = "none" if method == "none, masked" else method
    localizer = Localizer.load(
        run,
        device=device,
        outlier_filter=outlier_filter,
        masks=masks if method == "none, masked" else None,
    )
    return {
        name: error_statistics(EvaluatedSet(name, frames, tuple(localizer.locate_all(frames))).errors())
        for name, frames in test_sets(scene).items()
    }


def _source(scene: SceneName, settings: Settings) -> tuple[DataSource, Path | None]:
    """The frames of a scene, and the folder of its masks if it has some."""
    if scene == "redkitchen":
        return DataSource(os.path.realpath(settings.data or "")), None
    square = SquareSettings(
        train_frames=settings.demo_frames,
        test_frames=settings.demo_test_frames,
        variants=("day", OCCLUDED),
        depth_every=0,
    )
    with counted("rendering") as progress:
        root = rendered(square, progress=progress)
    source, masks = DataSource(str(root), "demo"), settings.out / "masks" / root.name
    _write_masks(square, source.load(), masks)
    return source, masks


def _write_masks(square: SquareSettings, scene: Scene, folder: Path) -> None:
    """Write masks that are black where the renderer has drawn a person or a van."""
    frames = {frame.name: frame for frame in scene.conditions[OCCLUDED]}
    if all(mask_path(folder, frame).exists() for frame in frames.values()):
        return
    renderer, free_space = Renderer(seed=square.seed), free_space_of(square.seed)
    for shot in shots(square, free_space):
        if shot.image in frames:
            view = image(renderer, free_space, square, shot)
            write_mask(folder, frames[shot.image], ~view.is_occluder)


def _baselines(name: SceneName, scene: Scene) -> Baselines:
    training = poses_of(scene.train).tensor()
    found = {
        set_name: baseline_errors(poses_of(frames).tensor(), training)
        for set_name, frames in test_sets(scene).items()
    }
    return Baselines(
        name,
        nearest_pose={name: error_statistics(each.nearest_pose) for name, each in found.items()},
        mean_pose={name: error_statistics(each.mean_pose) for name, each in found.items()},
    )


def page(ablations: Ablations) -> str:
    """The page."""
    parts = []
    for scene in SCENES:
        measured = [each for each in ablations.measurements if each.scene == scene]
        baselines = [each for each in ablations.baselines if each.scene == scene]
        if measured:
            parts += [f"## {TITLES[scene]}", _setting(scene, measured)]
            parts += [part for each in tables_of(scene) for part in _table(each, measured, baselines)]
    return result_page(
        "Ablations of scene geometry",
        "geometry_ablations",
        "Tables II, III and IV of *Implicit Learning of Scene Geometry* at a budget of minutes: each line is "
        "a recipe of camloc with one setting exchanged. In a table all lines have the same frames, images, "
        "augmentation, batches and steps. The last epoch's weights are tested; no frames are held out, and "
        "nothing is chosen. Poses are found with learned weights, as published, unless a line names another "
        "method. Numbers compare within a table: budgets and splits are not the paper's, whose numbers stand "
        "beside them for the direction of an effect. Another seed changes the numbers by a few percent.",
        *parts,
        command="--data FOLDER --backbone-weights FILE",
    )


def _setting(scene: SceneName, measured: Sequence[Measurement]) -> str:
    base = next((each for each in measured if each.key == "base"), measured[0])
    seeds = sorted({each.seed for each in measured})
    common = (
        f"{base.frames} training images of {base.width} x {base.height} pixels, batches of "
        f"{base.batch_size}, {base.epochs} epochs unless a line says otherwise; seed"
        f"{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}."
    )
    if scene == "redkitchen":
        return (
            f"Sequence 01 of 7Scenes' Red Kitchen, with a split of its own. {common} A MobileNetV2 with "
            f"ImageNet weights is frozen and the heads are trained, as in `room/scene-geometry`; the "
            f"backbones are compared end to end at 320 x 224 from random weights, except for the pretrained "
            f"one. The regressor of Table IV is `room/baseline`, whose images are 160 x 120 and whose "
            f"backbone is trained too."
        )
    return (
        f"The corner of the embedded square, in the light of the training images (`day`) and with people and "
        f"a van in view that are not in the training images (`occluded`). {common} All weights are trained "
        f"from scratch, as in `demo/scene-geometry`; the regressor of Table IV is `demo/baseline`."
    )


def _table(table_of: Table, measured: Sequence[Measurement], baselines: Sequence[Baselines]) -> list[str]:
    """The heading, the devices and the lines of one table; nothing if none of its lines was measured."""
    found = [(line, _of(measured, line)) for line in table_of.lines]
    found = [(line, trained) for line, trained in found if trained]
    if not found:
        return []
    line, trained = found[0]
    sets = list(trained[0].errors[line.method])
    has_paper = any(line.published for line, _ in found)
    headings = ["", *(f"{name}, median" for name in sets), f"{sets[0]}, 90 %", "weights", "epochs", "minutes"]
    headings += [f"paper ({table_of.source})"] if has_paper else []
    rows = []
    for line, trained in found:
        cells = [line.label, *_errors_cells(sets, [each.errors[line.method] for each in trained])]
        minutes = mean(each.minutes for each in trained)
        cells += [f"{trained[0].parameters:,}", str(trained[0].epochs), f"{minutes:.1f}"]
        rows.append([*cells, line.published] if has_paper else cells)
    for each in baselines:
        named = {"nearest training pose": each.nearest_pose, "mean training pose": each.mean_pose}
        for label, by_set in named.items():
            cells = [f"*{label}*", *_errors_cells(sets, [by_set])]
            rows.append([*cells, *[""] * (len(headings) - len(cells))])
    devices = sorted({each.device for _, trained in found for each in trained})
    return [f"### {table_of.title}", f"Trained on {' and '.join(devices)}.", table(headings, rows)]


def _of(measured: Sequence[Measurement], line: Line) -> list[Measurement]:
    return [each for each in measured if each.key == line.key and line.method in each.errors]


def _errors_cells(sets: Sequence[str], errors: Sequence[Mapping[str, ErrorStatistics]]) -> list[str]:
    """The medians of all sets and the 90 % quantile of the first, over the seeds."""
    medians = [_over_seeds([each[name] for each in errors], "median") for name in sets]
    return [*medians, _over_seeds([each[sets[0]] for each in errors], "quantile_90")]


def _over_seeds(errors: Sequence[ErrorStatistics], name: str) -> str:
    meters = _mean_and_half_range([getattr(each.meters, name) for each in errors], 3)
    return f"{meters} m, {_mean_and_half_range([getattr(each.degrees, name) for each in errors], 2)}°"


def _mean_and_half_range(values: Sequence[float | None], digits: int) -> str:
    """The mean over seeds and half their range; infinite as soon as one is."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "∞"
    text = f"{mean(known):.{digits}f}"
    return f"{text} ± {(max(known) - min(known)) / 2:.{digits}f}" if len(known) > 1 else text


if __name__ == "__main__":
    main(tyro.cli(Settings))
