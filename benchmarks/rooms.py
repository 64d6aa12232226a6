"""A regressor, HyperPose and scene geometry in a room, at the same budget, beside the baselines.

    uv run python -m benchmarks.rooms redkitchen --data FOLDER --backbone-weights FILE
    uv run python -m benchmarks.rooms hololens --data FOLDER --backbone-weights FILE --device cuda --budget 2m
    uv run python -m benchmarks.rooms corner --backbone-weights FILE --jobs 2

trains what is missing, evaluates it, and writes `docs/results/<scene>.json`, `.md` and a figure; for Red
Kitchen also the table in the README. The runs of another kind of device stay on the page.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import mean
from typing import Annotated, Literal, get_args

import tyro
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from benchmarks.page import (
    RESULTS,
    capital,
    known,
    mean_and_range,
    median_ranges,
    replace_block,
    result_page,
    results_table,
    statistics_table,
    table,
    versions,
    write,
)
from benchmarks.trainings import Trained, train_all
from camloc.cli.commands.demo import settings_of
from camloc.cli.options import Precision
from camloc.cli.progress import counted
from camloc.data.formats.demo import rendered
from camloc.evaluation.errors import ErrorStatistics
from camloc.evaluation.report.figures import BLUE, GREY, ORANGE, legend_below, log_scale, styled, svg
from camloc.evaluation.results import Results
from camloc.models.layers.backbone import MOBILENETV2_TENSORFLOW
from camloc.models.outlier_filters import OUTLIER_FILTERS
from camloc.recipes import find_recipe
from camloc.runs.evaluate import evaluate_run
from camloc.runs.manifest import LOG, RunManifest
from camloc.training.log import read_log

Model = Literal["baseline", "hyperpose", "scene-geometry"]
MODELS: tuple[Model, ...] = get_args(Model)

# The rows of the tables; each keeps its colour and its dashes in all figures.
LABELS: dict[Model, str] = {
    "baseline": "baseline APR",
    "hyperpose": "HyperPose",
    "scene-geometry": "scene geometry",
}
_LINES = dict(zip(LABELS.values(), ((GREY, ":"), (ORANGE, "--"), (BLUE, "-")), strict=True))

README, BLOCK = Path("README.md"), "redkitchen table"


@dataclass(frozen=True)
class Room:
    """A scene and its page.

    Attributes:
        title: of its page.
        source: origin of the images.
        split: which of them are for testing.
        recipes: of the regressor, of HyperPose and of scene geometry that suit it, by its held-out frames.
        start: initial weights of the networks.
        budget: of each training.
        is_rendered: whether its frames are made by camloc, and need no folder.
        options: for the reader of its layout.
    """

    title: str
    source: str
    split: str
    recipes: tuple[str, str, str] = ("room/baseline", "room/hyperpose", "room/scene-geometry")
    start: str = "ImageNet features of MobileNetV2"
    budget: str = "20m"
    is_rendered: bool = False
    options: tuple[str, ...] = ()


ROOMS = {
    "redkitchen": Room(
        "Red Kitchen, learned in minutes",
        "7Scenes' Red Kitchen, sequence 01",
        "Every fourth block of 50 frames is for testing. This is not the official split, so the numbers "
        "compare with each other and not with published ones.",
    ),
    "hololens": Room(
        "An office floor, learned in minutes",
        "One walk with a HoloLens through a kitchen, a lounge and a corridor (sequence 000 of the sample "
        "data of DeepVideoMVS, Duzceker et al. 2021)",
        "Every fifth block of 12 frames is for testing.",
        recipes=("room/baseline", "room/hyperpose", "room/scene-geometry-context"),
        options=("rotation=world_from_cam",),
    ),
    "corner": Room(
        "The corner of the embedded square",
        "Rendered day frames of the corner",
        "Test frames are from walks of their own.",
        recipes=("demo/baseline", "demo/hyperpose", "demo/scene-geometry-imagenet"),
        start="random weights for the regressors, whose images are 128 x 96, and ImageNet features of "
        "MobileNetV2 for scene geometry",
        budget="5m",
        is_rendered=True,
    ),
}


@dataclass(frozen=True)
class Settings:
    """Where the data are and how long to train.

    Attributes:
        scene: which page to write.
        data: folder of the frames; the corner of the embedded square is rendered.
        backbone_weights: ImageNet weights of MobileNetV2, in timm's names.
        budget: wall-clock time of each training; that of the scene's page if not given.
        device: where to train.
        precision: of the arithmetic; "bf16-mixed" makes steps cheaper where the processor multiplies
            bfloat16.
        jobs: trainings at a time, each on its share of the processors.
        models: which of them to train; the others keep their numbers.
        seeds: number of trainings of each; the tables show the first, and the range of all medians.
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


@dataclass(frozen=True)
class Learned:
    """One model's run.

    Attributes:
        label: its row in tables.
        recipe: of the training.
        results: its `results.json`.
        machine: of the training.
        curve: seconds since the start, and the median errors (metres, degrees) of the held-out frames then.
            The seconds are those of computing features and of training steps; decoding images, which takes
            all models the same time, and validation do not count.
        filters: for models that align points, the errors of the same weights with each outlier filter.
        other_seeds: results of the same training with other seeds.
    """

    label: str
    recipe: str
    results: Results
    machine: str
    curve: tuple[tuple[float, float, float], ...] = ()
    filters: dict[str, ErrorStatistics] | None = None
    other_seeds: tuple[Results, ...] = ()


@dataclass(frozen=True)
class MachineRuns:
    """All models on one kind of device, "cpu" or "cuda"."""

    device: str
    models: tuple[Learned, ...]


@dataclass(frozen=True)
class Measured:
    """Everything on a page."""

    scene: str
    runs: tuple[MachineRuns, ...]

    def with_runs(self, runs: MachineRuns) -> "Measured":
        """The same with runs on one device exchanged, model by model; CPUs come first."""
        by_device = {each.device: each for each in self.runs}
        before = by_device[runs.device].models if runs.device in by_device else ()
        models = {each.label: each for each in (*before, *runs.models)}
        labels = [label for label in LABELS.values() if label in models]
        by_device[runs.device] = MachineRuns(runs.device, tuple(models[label] for label in labels))
        return Measured(self.scene, tuple(by_device[device] for device in sorted(by_device)))


def _median(statistics: ErrorStatistics) -> str:
    """The medians of position and orientation errors; "lost" if more than half of the images are lost."""
    meters, degrees = statistics.meters.median, statistics.degrees.median
    return "lost" if meters is None or degrees is None else f"{meters:.3f} m, {degrees:.2f}°"


def main(settings: Settings) -> None:
    """Train what is missing, and write the page."""
    room = ROOMS[settings.scene]
    data = settings.data or _rendered(settings.scene)
    recipes = dict(zip(MODELS, room.recipes, strict=True))
    trainings = {LABELS[model]: _trainings(recipes[model], data, settings) for model in settings.models}
    train_all(chain(*trainings.values()), device=settings.device, jobs=settings.jobs)
    runs = MachineRuns(settings.device, tuple(_learned(*each) for each in trainings.items()))
    measured = known(settings.scene, Measured(settings.scene, ())).with_runs(runs)
    write(settings.scene, measured, page(measured))
    for each in measured.runs:
        figure = curve_figure(each)
        if figure is not None:
            (RESULTS / curve_name(measured.scene, each)).write_bytes(figure)
    if settings.scene == "redkitchen":
        replace_block(README, BLOCK, summary(measured.runs[0], room))


def _rendered(scene: str) -> Path:
    if not ROOMS[scene].is_rendered:
        sys.exit(f"the folder of the images of {scene} is not known; name it with --data FOLDER")
    with counted("rendering") as progress:
        return rendered(settings_of("corner", seed=0), progress=progress)


def _trainings(recipe: str, data: Path, settings: Settings) -> list[Trained]:
    """One for each seed; the folder of the first has the recipe's name, and the others are beside it."""
    folder = settings.out / settings.scene / settings.device / recipe
    room = ROOMS[settings.scene]
    options = ["--budget", settings.budget or room.budget, "--precision", settings.precision]
    if find_recipe(recipe).config.backbone == MOBILENETV2_TENSORFLOW:
        options += ["--backbone-weights", settings.backbone_weights]
    for option in room.options:
        options += ["--option", option]
    folders = [folder, *(folder.with_name(f"{folder.name}-seed-{seed}") for seed in range(1, settings.seeds))]
    return [Trained(recipe, data, each, seed, tuple(options)) for seed, each in enumerate(folders)]


def _learned(label: str, trainings: Sequence[Trained]) -> Learned:
    first, *others = trainings
    return Learned(
        label,
        first.recipe,
        first.results(),
        first.machine(),
        curve_of(first.folder),
        _filters(first.folder) if label == LABELS["scene-geometry"] else None,
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
    """The same weights with each outlier filter, as in the paper's Table III."""
    found: dict[str, ErrorStatistics] = {}
    for name in OUTLIER_FILTERS:
        out = folder / "filters" / name
        if not (out / "results.json").exists():
            evaluate_run(folder, out=out, outlier_filter=name)
        found[name] = Results.load(out / "results.json").headline.estimates
    return found


def summary(runs: MachineRuns, room: Room) -> str:
    """One paragraph and the table of all models."""
    first = runs.models[0].results
    budget = first.training.budget if first.training else "some time"
    return (
        f"{room.source}: {first.train_frames} training images, {first.test_frames} test images, a budget of "
        f"{budget} of {_device(runs)} training for each model, {room.start}:\n\n"
        f"{results_table((each.label, each.results) for each in runs.models)}"
    )


def _device(runs: MachineRuns) -> str:
    return "CPU" if runs.device == "cpu" else "GPU"


def page(measured: Measured) -> str:
    """The page without its figures."""
    room = ROOMS[measured.scene]
    parts = []
    for number, runs in enumerate(measured.runs):
        parts += [f"## On a {_device(runs)}"] if len(measured.runs) > 1 else []
        parts.append(summary(runs, room))
        if number == 0:
            parts.append(
                f"{room.split} The best epoch was chosen on frames held out of the training frames. A few "
                "trial steps fitted the schedule to the budget; where the minutes below are more, the "
                f"machine was doing other things as well.{_features(runs)}"
            )
        parts += [*_runs(runs), *_seeds(runs), *_curves(measured.scene, runs), *_filter_tables(runs)]
    options = "".join(f" --option {option}" for option in room.options)
    data = "" if room.is_rendered else " --data FOLDER"
    return result_page(
        room.title,
        "rooms",
        *parts,
        f"    uv run python -m benchmarks.rooms {measured.scene}{data} --backbone-weights FILE",
        f"runs all of it; with `--device cuda` on a GPU. One model is `camloc train {room.recipes[2]} "
        f"--data FOLDER{options} --backbone-weights FILE --budget {room.budget}`.{_precisions(measured)}",
        command=None,
    )


def _features(runs: MachineRuns) -> str:
    """Which models start from cached features, and whether the budget includes their time."""
    found = {
        each.label: each.results.training
        for each in runs.models
        if each.results.training is not None and each.results.training.feature_seconds
    }
    if not found:
        return ""
    are = "are" if all(training.budget_covers_features for training in found.values()) else "are not"
    return (
        f" Features of some variants of every image are computed first, once for all runs, by "
        f"{' and '.join(found)}; these minutes {are} part of the budget."
    )


def _precisions(measured: Measured) -> str:
    """The option of the rows whose arithmetic is not single precision."""
    mixed = [
        each.label
        for runs in measured.runs
        for each in runs.models
        if each.results.training is not None and each.results.training.is_bfloat16
    ]
    return f" With `--precision bf16-mixed`: {', '.join(mixed)}." if mixed else ""


def curve_name(scene: str, runs: MachineRuns) -> str:
    """The file of the figure of one device's runs."""
    return f"{scene}-{runs.device}.svg"


def curve_figure(runs: MachineRuns) -> bytes | None:
    """Held-out errors over minutes, as SVG; None where no run has recorded any."""
    if not any(each.curve for each in runs.models):
        return None
    with styled():
        figure = Figure(figsize=(8.4, 3.5), layout="constrained")
        panels = figure.subplots(1, 2)
        for axes, column, title in zip(panels, (1, 2), ("position (m)", "orientation (°)"), strict=True):
            for each in runs.models:
                if not each.curve:
                    continue
                color, dashes = _LINES[each.label]
                minutes = [point[0] / 60 for point in each.curve]
                errors = [point[column] for point in each.curve]
                axes.plot(minutes, errors, color=color, linestyle=dashes, linewidth=1.8, label=each.label)
            axes.set_title(f"Held-out {title}")
            axes.set_xlabel("minutes")
            axes.set_xlim(left=0.0)
            log_scale(axes, "y")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        legend_below(figure, panels[0])
        return svg(figure)


def _runs(runs: MachineRuns) -> list[str]:
    headings = (
        "",
        "recipe",
        "weights",
        "epochs",
        "minutes of features",
        "minutes of training",
        "ms an image",
    )
    rows = []
    for each in runs.models:
        results, training = each.results, each.results.training
        final, features = results.final_epoch, training.feature_seconds if training else 0.0
        rows.append(
            (
                each.label,
                f"`{each.recipe}`",
                f"{results.parameters or 0:,}",
                f"{training.epochs}" if training else "",
                f"{features / 60:.1f}" if features else "",
                f"{training.seconds / 60:.1f}" if training else "",
                f"{results.timing.median:.0f}" if results.timing else "",
                _median(final) if final else "",
            )
        )
    return [
        table((*headings, "last epoch instead of the best"), rows, text_columns=2),
        f"{_circumstances(runs)} Images are located on the machine's CPU.",
    ]


def _circumstances(runs: MachineRuns) -> str:
    """Seed, machine and software, once for all models that share them."""
    by_words: dict[str, list[str]] = {}
    for each in runs.models:
        seed, training = "", each.results.training
        if training is not None:
            arithmetic = ", in bfloat16" if training.is_bfloat16 else ""
            seed = f"seed {training.seed}{arithmetic}, "
        by_words.setdefault(f"{seed}{each.machine}, {versions(each.results.software)}", []).append(each.label)
    return " ".join(
        capital(f"{'all' if len(by_words) == 1 else ', '.join(labels)}: {words}.")
        for words, labels in by_words.items()
    )


def _seeds(runs: MachineRuns) -> list[str]:
    """The medians of trainings that differ in their seed alone, where there are such."""
    rows = []
    for each in runs.models:
        if each.other_seeds:
            results = [each.results, *each.other_seeds]
            epochs = [one.training.epochs for one in results if one.training is not None]
            recall = mean(one.headline.estimates.recall(0.25, 2.0) for one in results)
            counts = (str(len(results)), mean_and_range(epochs, "", digits=0))
            rows.append((f"**{each.label}**", *counts, *median_ranges(results), f"{recall:.0%}"))
    if not rows:
        return []
    return [
        "The same trainings with several seeds: the mean of their medians, in brackets the least and the "
        "largest. The tables and the figure of this page are of the first seed.",
        table(("", "seeds", "epochs", "position", "orientation", "within 0.25 m, 2°"), rows),
    ]


def _curves(scene: str, runs: MachineRuns) -> list[str]:
    if not any(each.curve for each in runs.models):
        return []
    return [
        f"![Held-out errors over minutes of training]({curve_name(scene, runs)})",
        "Median errors on the held-out frames. The time of computing features counts, and a curve starts at "
        "the validation of its first epoch; decoding the images, which all models need, and validation do "
        "not count.",
    ]


def _filter_tables(runs: MachineRuns) -> list[str]:
    return [
        part
        for each in runs.models
        if each.filters is not None
        for part in (
            f"The outlier filters of {each.label}, with the same weights. The held-out frames chose "
            f"`{each.results.outlier_filter}`, which is the row above.",
            statistics_table(each.filters.items()),
        )
    ]


if __name__ == "__main__":
    main(tyro.cli(Settings))
