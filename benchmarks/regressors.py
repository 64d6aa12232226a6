"""Every regressor, with and without its hypernetwork, at one budget and over several seeds.

    uv run python -m benchmarks.regressors --data FOLDER --backbone-weights FILE [--device cuda --jobs 8]

trains each row of `ROWS` on real frames (7Scenes' Red Kitchen, sequence 01, with `train.txt` and `test.txt`),
evaluates it, and writes `docs/results/regressors.json` and `.md`. Runs that are there are not trained again.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean, mean

import tyro

from benchmarks.tables import mean_and_range, medians
from benchmarks.trainings import Trained, share_of_machine, train_all
from camloc.core.config import to_json
from camloc.evaluation.metrics import ErrorStatistics
from camloc.evaluation.results import Results

PAGE = Path("docs/results/regressors.md")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        label: what it is called there.
        recipe: what is trained.
        without: label of the same regressor without its hypernetwork, or "".
    """

    label: str
    recipe: str
    without: str = ""


ROWS = (
    Row("PoseNet", "room/posenet"),
    Row("baseline APR", "room/baseline"),
    Row("HyperPose 2025", "room/hyperpose", without="baseline APR"),
    Row("MapNet", "room/mapnet"),
    Row("AtLoc", "room/atloc"),
    Row("AtLoc with hypernetwork", "room/atloc-hypernetwork", without="AtLoc"),
    Row("TransPoseNet", "room/transposenet"),
    Row("HyperPose 2023, full generator", "room/hyperpose-2023", without="TransPoseNet"),
    Row("HyperPose 2023, compact generator", "room/hyperpose-2023-compact", without="TransPoseNet"),
)


@dataclass(frozen=True)
class Settings:
    """Where the data are and how to train.

    Attributes:
        data: folder of the frames.
        backbone_weights: ImageNet weights of MobileNetV2, in timm's names.
        budget: wall-clock time of each training, such as 20m; as the recipes say where it is empty.
        seeds: how many trainings of each row.
        rows: labels of the rows to train and show; all of them if none is given.
        out: folder of the runs.
        device: where to train.
        jobs: trainings at a time.
    """

    data: Path
    backbone_weights: str = "none"
    budget: str = ""
    seeds: int = 3
    rows: tuple[str, ...] = ()
    out: Path = Path("runs/regressors")
    device: str = "cpu"
    jobs: int = 1


@dataclass(frozen=True)
class Measured:
    """Everything that the page shows.

    Attributes:
        machine: what each training had, in words.
        rows: the results of each row's trainings, by its label.
    """

    machine: str
    rows: dict[str, list[Results]]


def main(settings: Settings) -> None:
    """Train what is not trained yet, and write the page."""
    wanted = [row for row in ROWS if not settings.rows or row.label in settings.rows]
    table = {row.label: _trainings(row, settings) for row in wanted}
    train_all(
        (each for trainings in table.values() for each in trainings),
        device=settings.device,
        jobs=settings.jobs,
    )
    results = {label: [each.results() for each in trainings] for label, trainings in table.items()}
    measured = Measured(share_of_machine(settings.device, settings.jobs), results)
    PAGE.with_suffix(".json").write_bytes(to_json(measured))
    PAGE.write_text(page(measured))


def _trainings(row: Row, settings: Settings) -> list[Trained]:
    options: tuple[str, ...] = ("--backbone-weights", settings.backbone_weights)
    if settings.budget:
        options = (*options, "--budget", settings.budget)
    return [
        Trained(row.recipe, settings.data, settings.out / row.recipe / f"seed-{seed}", seed, options)
        for seed in range(settings.seeds)
    ]


def page(measured: Measured) -> str:
    """The whole page."""
    table = measured.rows
    first = next(iter(table.values()))[0]
    training = first.training
    assert training is not None, "these are runs of `camloc train`"
    seeds = len(next(iter(table.values())))
    pairs = [row for row in ROWS if {row.label, row.without} <= set(table)]
    return "\n".join(
        (
            "# The regressors, with and without hypernetworks",
            "",
            "<!-- Written by benchmarks/regressors.py; do not edit. -->",
            "",
            f"{first.scene}: {first.train_frames} training photographs, {first.test_frames} to be located. "
            f"MobileNetV2, trained on ImageNet, in front of all; what its first half makes of 16 views of "
            f"every photograph was computed once before ({_features(table)}). {_repeated(seeds)} "
            f"Each training had {training.budget} and {measured.machine}; the best epoch was chosen on "
            "frames held out of the training frames. The split is not the official one, so the numbers "
            "compare with each other and not with published ones.",
            "",
            "| | weights | position | orientation | within 0.25 m, 2° | epochs | minutes |",
            "| --- | --: | --: | --: | --: | --: | --: |",
            *(_line(label, results) for label, results in table.items()),
            *(_baseline(label, each) for label, each in first.headline.rows()[1:]),
            "",
            "## What the hypernetwork changes",
            "",
            "Error with the hypernetwork over error without it, seed by seed; below 1 it helps.",
            "",
            "| | position | orientation |",
            "| --- | --: | --: |",
            *(_ratio(row.label, table[row.label], table[row.without]) for row in pairs),
            "",
            _verdict([(table[row.label], table[row.without]) for row in pairs]),
            "",
            f"{', '.join(f'{name} {version}' for name, version in sorted(first.software.items()))}.",
            "",
            "    uv run python -m benchmarks.regressors --data FOLDER --backbone-weights FILE "
            f"--budget {_duration(training.budget)}",
            "",
        )
    )


def _duration(budget: str) -> str:
    """A budget in minutes, as the command takes it."""
    return budget.replace(" minutes", "m")


def _repeated(seeds: int) -> str:
    if seeds == 1:
        return "Each row is one training: differences of a tenth are within what another seed gives."
    return (
        f"Each row is the mean of the medians of {seeds} trainings with different seeds, and in brackets the "
        f"least and the largest of them."
    )


def _line(label: str, results: list[Results]) -> str:
    meters, degrees = medians(results)
    recall = mean(each.headline.estimates.recall(0.25, 2.0) for each in results)
    trainings = [each.training for each in results if each.training is not None]
    minutes = mean(each.seconds / 60 for each in trainings)
    epochs = mean(each.epochs for each in trainings)
    return (
        f"| **{label}** | {results[0].parameters or 0:,} | "
        f"{mean_and_range(meters, ' m', digits=3)} | {mean_and_range(degrees, '°', digits=2)} | "
        f"{recall:.0%} | {epochs:.0f} | {minutes:.1f} |"
    )


def _baseline(label: str, errors: ErrorStatistics) -> str:
    recall = f"{errors.recall(0.25, 2.0):.0%}"
    return f"| *{label}* | | {errors.meters.median:.3f} m | {errors.degrees.median:.2f}° | {recall} | | |"


def _features(table: dict[str, list[Results]]) -> str:
    """How long computing features took, for rows of one size of pictures once."""
    seconds = {
        each.training.feature_seconds for row in table.values() for each in row if each.training is not None
    }
    least, most = min(seconds) / 60, max(seconds) / 60
    return f"{least:.1f} to {most:.1f} minutes" if len(seconds) > 1 else f"{most:.1f} minutes"


def _ratios(with_it: list[Results], without: list[Results]) -> tuple[list[float], list[float]]:
    """What the errors of position and of orientation are multiplied by, seed by seed."""
    meters, degrees = (
        [one / other for one, other in zip(ours, theirs, strict=True)]
        for ours, theirs in zip(medians(with_it), medians(without), strict=True)
    )
    return meters, degrees


def _ratio(label: str, with_it: list[Results], without: list[Results]) -> str:
    meters, degrees = _ratios(with_it, without)
    return f"| {label} | {mean_and_range(meters, '', digits=2)} | {mean_and_range(degrees, '', digits=2)} |"


def _verdict(pairs: list[tuple[list[Results], list[Results]]]) -> str:
    """Whether hypernetworks help, over all pairs and seeds, in words."""
    ratios = [_ratios(*pair) for pair in pairs]
    said = []
    for what, column in (("position", 0), ("orientation", 1)):
        factor = geometric_mean([each for pair in ratios for each in pair[column]])
        better = sum(each < 1.0 for pair in ratios for each in pair[column])
        seeds = sum(len(pair[column]) for pair in ratios)
        helps = "helps" if factor < 1.0 else "does not help"
        said.append(f"{helps} in {what} ({factor:.2f} times the error; better in {better} of {seeds})")
    return f"Over all pairs and seeds the hypernetwork {' and '.join(said)}."


if __name__ == "__main__":
    main(tyro.cli(Settings))
