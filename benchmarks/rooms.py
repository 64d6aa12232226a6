"""A regressor, HyperPose and scene geometry in a room, at the same budget, beside what needs no learning.

    uv run python -m benchmarks.rooms redkitchen --data FOLDER --backbone-weights FILE
    uv run python -m benchmarks.rooms hololens --data FOLDER --backbone-weights FILE --device cuda --budget 2m
    uv run python -m benchmarks.rooms corner --backbone-weights FILE --jobs 2

trains what is not trained yet, evaluates it, and writes `docs/results/<scene>.json`, `.md` and a figure; for
Red Kitchen also the table in the README. What was measured on another kind of device stays on the page.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal, get_args

import tyro

from benchmarks.room_page import (
    ORDER,
    ROOMS,
    Learned,
    MachineRuns,
    Measured,
    curve_figure,
    curve_name,
    page,
    summary,
)
from benchmarks.tables import replace_block
from benchmarks.trainings import Trained, train_all
from camloc.cli.commands.demo import settings_of
from camloc.cli.options import Precision
from camloc.cli.progress import counted
from camloc.core.config import to_json
from camloc.data.formats.demo import rendered
from camloc.evaluation.errors import ErrorStatistics
from camloc.evaluation.results import Results
from camloc.models.layers.backbone import MOBILENETV2_TENSORFLOW
from camloc.models.outlier_filters import OUTLIER_FILTERS
from camloc.recipes import find_recipe
from camloc.runs.evaluate import evaluate_run
from camloc.runs.manifest import LOG, RunManifest
from camloc.training.log import read_log

Model = Literal["baseline", "hyperpose", "scene-geometry"]
MODELS: tuple[Model, ...] = get_args(Model)
_LABELS = dict(zip(MODELS, ORDER, strict=True))
RESULTS = Path("docs/results")


@dataclass(frozen=True)
class Settings:
    """Where the data are and how long to train.

    Attributes:
        scene: which page to write.
        data: folder of the frames; the corner of the embedded square is rendered.
        backbone_weights: ImageNet weights of MobileNetV2, in timm's names.
        budget: wall-clock time of each training; that of the scene's page if not given.
        device: where to train.
        precision: of the arithmetic; "bf16-mixed" makes steps of scene geometry cheaper where the processor
            multiplies bfloat16, and those of the regressors, whose convolutions are small, dearer.
        jobs: trainings at a time, each on its share of the processors.
        models: which of them to train; those that are left out keep the numbers that the page has.
        seeds: how many trainings of each; the tables show the first, and what the medians of all are.
        out: folder of the runs, one below it for each scene and device.
    """

    scene: Annotated[Literal["redkitchen", "hololens", "corner"], tyro.conf.Positional]
    data: Path | None = None
    backbone_weights: str = "none"
    budget: str = ""
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Precision = "32-true"
    jobs: int = 1
    models: tuple[Model, ...] = MODELS
    seeds: int = 1
    out: Path = Path("runs/rooms")


def main(settings: Settings) -> None:
    """Train what is not trained yet, and write the page."""
    room = ROOMS[settings.scene]
    data = settings.data or _rendered(settings.scene)
    recipes = dict(zip(MODELS, room.recipes, strict=True))
    trainings = {_LABELS[model]: _trainings(recipes[model], data, settings) for model in settings.models}
    train_all(chain(*trainings.values()), device=settings.device, jobs=settings.jobs)
    models = tuple(_learned(label, training) for label, training in trainings.items())
    runs = MachineRuns(settings.device, models)
    path = RESULTS / f"{settings.scene}.json"
    measured = Measured.load(path) if path.exists() else Measured(settings.scene, ())
    measured = measured.with_runs(runs)
    path.write_bytes(to_json(measured))
    write_pages(measured)


def write_pages(measured: Measured) -> None:
    """The page, its figures and, for Red Kitchen, the table in the README."""
    room = ROOMS[measured.scene]
    (RESULTS / f"{measured.scene}.md").write_text(page(measured, room))
    for runs in measured.runs:
        figure = curve_figure(runs)
        if figure is not None:
            (RESULTS / curve_name(measured.scene, runs)).write_bytes(figure)
    if measured.scene == "redkitchen":
        replace_block(Path("README.md"), "redkitchen table", summary(measured.runs[0], room))


def _rendered(scene: str) -> Path:
    if not ROOMS[scene].is_rendered:
        sys.exit(f"where are the images of {scene}? Say --data FOLDER")
    with counted("rendering") as progress:
        return rendered(settings_of("corner", seed=0), progress=progress)


def _trainings(recipe: str, data: Path, settings: Settings) -> list[Trained]:
    """One for each seed; the folder of the first has the recipe's name, and the others are beside it."""
    folder = settings.out / settings.scene / settings.device / recipe
    how = ["--budget", settings.budget or ROOMS[settings.scene].budget, "--precision", settings.precision]
    if find_recipe(recipe).config.backbone == MOBILENETV2_TENSORFLOW:
        how += ["--backbone-weights", settings.backbone_weights]
    for option in ROOMS[settings.scene].options:
        how += ["--option", option]
    folders = [folder, *(folder.with_name(f"{folder.name}-seed-{seed}") for seed in range(1, settings.seeds))]
    return [Trained(recipe, data, each, seed, tuple(how)) for seed, each in enumerate(folders)]


def _learned(label: str, trainings: Sequence[Trained]) -> Learned:
    first, *others = trainings
    return Learned(
        label,
        first.recipe,
        first.results(),
        first.machine(),
        curve_of(first.folder),
        _filters(first.folder) if label == _LABELS["scene-geometry"] else None,
        tuple(each.results() for each in others),
    )


def curve_of(folder: Path) -> tuple[tuple[float, float, float], ...]:
    """The held-out errors of a run over the seconds of features and training steps."""
    before = RunManifest.load(folder).feature_seconds
    return tuple(
        (round(before + row["seconds"], 1), row["validation_meters"], row["validation_degrees"])
        for row in read_log(folder / LOG)
        if "validation_meters" in row and "validation_degrees" in row
    )


def _filters(folder: Path) -> dict[str, ErrorStatistics]:
    """The same weights with each way of leaving wrong points out, as in the paper's Table III."""
    found: dict[str, ErrorStatistics] = {}
    for name in OUTLIER_FILTERS:
        out = folder / "filters" / name
        if not (out / "results.json").exists():
            evaluate_run(folder, out=out, outlier_filter=name)
        found[name] = Results.load(out / "results.json").headline.estimates
    return found


if __name__ == "__main__":
    main(tyro.cli(Settings))
