"""The page of a room: made from `docs/results/<scene>.json` alone, whatever machine its runs were on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from benchmarks.tables import mean_and_range, medians, results_table, statistics_table, versions
from camloc.core.config import from_json
from camloc.evaluation.errors import ErrorStatistics
from camloc.evaluation.report.figures import BLUE, GREY, ORANGE, legend_below, log_scale, styled, svg
from camloc.evaluation.results import Results

# Of the rows of the tables.
ORDER = ("baseline APR", "HyperPose", "scene geometry")

# Each model keeps its colour and its dashes in all figures.
_LINES = dict(zip(ORDER, ((GREY, ":"), (ORANGE, "--"), (BLUE, "-")), strict=True))


@dataclass(frozen=True)
class Room:
    """What is said about a scene.

    Attributes:
        title: of its page.
        what: where the images are from.
        split: which of them are for testing.
        recipes: of the regressor, of HyperPose and of scene geometry that suit it, by its held-out frames.
        start: what the networks start from.
        budget: of each training.
        is_rendered: whether its frames are made by camloc, and need no folder.
        options: for the reader of its layout.
    """

    title: str
    what: str
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
class Learned:
    """One model's run.

    Attributes:
        label: what tables call it.
        recipe: that trained it.
        results: its `results.json`.
        machine: what it was trained on, in words.
        curve: seconds since the start, and the median errors (metres, degrees) of the held-out frames then.
            The seconds are those of computing features and of training steps; decoding images, which
            takes all models the same time, and looking at the held-out frames do not count.
        filters: for models that align points, the errors of the same weights with each way of leaving wrong
            ones out.
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
    """All models on one kind of machine.

    Attributes:
        device: "cpu" or "cuda".
        models: what was learned.
    """

    device: str
    models: tuple[Learned, ...]

    @property
    def results(self) -> list[tuple[str, Results]]:
        """The results by the models' labels."""
        return [(each.label, each.results) for each in self.models]


@dataclass(frozen=True)
class Measured:
    """Everything that a page shows."""

    scene: str
    runs: tuple[MachineRuns, ...]

    @classmethod
    def load(cls, path: Path) -> "Measured":
        """Read what an earlier measurement left."""
        return from_json(path.read_bytes(), cls)

    def with_runs(self, runs: MachineRuns) -> "Measured":
        """The same with runs on one device exchanged, model by model; CPUs come first."""
        by_device = {each.device: each for each in self.runs}
        before = by_device[runs.device].models if runs.device in by_device else ()
        models = {each.label: each for each in (*before, *runs.models)}
        known = [label for label in ORDER if label in models]
        by_device[runs.device] = MachineRuns(runs.device, tuple(models[label] for label in known))
        return Measured(self.scene, tuple(by_device[device] for device in sorted(by_device)))


def summary(runs: MachineRuns, room: Room) -> str:
    """One paragraph and the table of all models."""
    first = runs.models[0].results
    budget = first.training.budget if first.training else "some time"
    where = "CPU" if runs.device == "cpu" else "GPU"
    return (
        f"{room.what}: {first.train_frames} training images, {first.test_frames} to be located, a "
        f"budget of {budget} of {where} training for each model, {room.start}:\n\n"
        f"{results_table(runs.results)}"
    )


def page(measured: Measured, room: Room) -> str:
    """The whole page."""
    lines = [f"# {room.title}", "", "<!-- Written by benchmarks/rooms.py; do not edit. -->", ""]
    for number, runs in enumerate(measured.runs):
        if len(measured.runs) > 1:
            lines += [f"## On a {'CPU' if runs.device == 'cpu' else 'GPU'}", ""]
        lines += [summary(runs, room), ""]
        if number == 0:
            lines += [
                f"{room.split} The best epoch was chosen on frames held out of the training frames. A few "
                "trial steps fitted the schedule to the budget; where the minutes below are more, the "
                f"machine was doing other things as well. {_features(runs)}",
                "",
            ]
        lines += [*_runs(runs), *_seeds(runs), *_curves(measured.scene, runs), *_filters(runs)]
    options = "".join(f" --option {option}" for option in room.options)
    data = "" if room.is_rendered else " --data FOLDER"
    lines += [
        f"    uv run python -m benchmarks.rooms {measured.scene}{data} --backbone-weights FILE",
        "",
        f"runs all of it; with `--device cuda` on a GPU. One model is `camloc train {room.recipes[2]} "
        f"--data FOLDER{options} --backbone-weights FILE --budget {room.budget}`.{_precisions(measured)}",
        "",
    ]
    return "\n".join(lines)


def _features(runs: MachineRuns) -> str:
    """Who computes features first, and whether the budget covers that time."""
    found = [
        (each.label, each.results.training)
        for each in runs.models
        if each.results.training is not None and each.results.training.feature_seconds
    ]
    if not found:
        return ""
    are = "are" if all(training.budget_covers_features for _, training in found) else "are not"
    labels = " and ".join(label for label, _ in found)
    return (
        f"Features of some variants of every image are computed first, once for all runs, by {labels}; "
        f"these minutes {are} part of the budget."
    )


def _precisions(measured: Measured) -> str:
    """How to have the rows whose arithmetic is not single precision."""
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
    """Held-out errors over minutes, as SVG; None where no run has noted any."""
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


def _runs(runs: MachineRuns) -> Sequence[str]:
    lines = [
        "| | recipe | weights | epochs | minutes of features | minutes of training | ms an image | "
        "last epoch instead of the best |",
        "| --- | --- | --: | --: | --: | --: | --: | --: |",
    ]
    for each in runs.models:
        results, weights = each.results, f"{each.results.parameters or 0:,}"
        training, timing, final = results.training, results.timing, results.final_epoch
        before = f"{training.feature_seconds / 60:.1f}" if training and training.feature_seconds else ""
        minutes, epochs = (f"{training.seconds / 60:.1f}", training.epochs) if training else ("", "")
        last = f"{final.meters.median:.3f} m, {final.degrees.median:.2f}°" if final else ""
        answer = f"{timing.median:.0f}" if timing else ""
        lines.append(
            f"| {each.label} | `{each.recipe}` | {weights} | {epochs} | {before} | {minutes} | {answer} | "
            f"{last} |"
        )
    return [*lines, "", f"{_circumstances(runs)} Images are located on the machine's CPU.", ""]


def _circumstances(runs: MachineRuns) -> str:
    """Seed, machine and software, once for all models that share them."""
    by_words: dict[str, list[str]] = {}
    for each in runs.models:
        seed, training = "", each.results.training
        if training is not None:
            arithmetic = ", in bfloat16" if training.is_bfloat16 else ""
            seed = f"seed {training.seed}{arithmetic}, "
        by_words.setdefault(f"{seed}{each.machine}, {versions(each.results.software)}", []).append(each.label)
    said = [
        f"{'all' if len(by_words) == 1 else ', '.join(labels)}: {words}."
        for words, labels in by_words.items()
    ]
    return " ".join(text[0].upper() + text[1:] for text in said)


def _seeds(runs: MachineRuns) -> list[str]:
    """The medians of trainings that differ in their seed alone, where there are such."""
    repeated = [each for each in runs.models if each.other_seeds]
    if not repeated:
        return []
    lines = [
        "The same trainings with several seeds: the mean of their medians, in brackets the least and the "
        "largest. The tables and the figure of this page are of the first seed.",
        "",
        "| | seeds | epochs | position | orientation | within 0.25 m, 2° |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    for each in repeated:
        results = [each.results, *each.other_seeds]
        meters, degrees = medians(results)
        epochs = [one.training.epochs for one in results if one.training is not None]
        recall = mean(one.headline.estimates.recall(0.25, 2.0) for one in results)
        lines.append(
            f"| **{each.label}** | {len(results)} | {mean_and_range(epochs, '', digits=0)} | "
            f"{mean_and_range(meters, ' m', digits=3)} | "
            f"{mean_and_range(degrees, '°', digits=2)} | {recall:.0%} |"
        )
    return [*lines, ""]


def _curves(scene: str, runs: MachineRuns) -> Sequence[str]:
    if not any(each.curve for each in runs.models):
        return []
    return [
        f"![Held-out errors over minutes of training]({curve_name(scene, runs)})",
        "",
        "Median errors on the held-out frames. The time of computing features counts, and a curve starts "
        "where its first epoch was looked at; decoding the images, which all models need, and looking "
        "at the held-out frames do not count.",
        "",
    ]


def _filters(runs: MachineRuns) -> list[str]:
    lines: list[str] = []
    for each in runs.models:
        if each.filters is None:
            continue
        lines += [
            f"How {each.label} leaves wrong points out, with the same weights. The held-out frames chose "
            f"`{each.results.outlier_filter}`, which is the row above.",
            "",
            statistics_table(list(each.filters.items())),
            "",
        ]
    return lines
