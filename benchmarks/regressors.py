"""Every regressor, with and without its hypernetwork, at one budget and over several seeds.

    uv run python -m benchmarks.regressors --data FOLDER --backbone-weights FILE [--device cuda --jobs 8]

trains each row of `ROWS` on real frames (7Scenes' Red Kitchen, sequence 01, with `train.txt` and `test.txt`),
evaluates it, and writes `docs/results/regressors.json` and `.md`. Runs that are there are not trained again.
"""

import platform
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import tyro

from benchmarks.tables import mean_and_range, medians
from benchmarks.trainings import Trained, train_all
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


def main(settings: Settings) -> None:
    """Train what is not trained yet, and write the page."""
    wanted = [row for row in ROWS if not settings.rows or row.label in settings.rows]
    table = {row.label: _trainings(row, settings) for row in wanted}
    train_all(
        (each for trainings in table.values() for each in trainings),
        device=settings.device,
        jobs=settings.jobs,
    )
    write_page({label: [each.results() for each in trainings] for label, trainings in table.items()})


def _trainings(row: Row, settings: Settings) -> list[Trained]:
    options: tuple[str, ...] = ("--backbone-weights", settings.backbone_weights)
    if settings.budget:
        options = (*options, "--budget", settings.budget)
    return [
        Trained(row.recipe, settings.data, settings.out / row.recipe / f"seed-{seed}", seed, options)
        for seed in range(settings.seeds)
    ]


def write_page(table: dict[str, list[Results]]) -> None:
    """The page and its numbers."""
    PAGE.with_suffix(".json").write_bytes(to_json(table))
    first = next(iter(table.values()))[0]
    training = first.training
    seeds = len(next(iter(table.values())))
    lines = [
        "# The regressors, with and without hypernetworks",
        "",
        "<!-- Written by benchmarks/regressors.py; do not edit. -->",
        "",
        f"{first.scene}: {first.train_frames} training photographs, {first.test_frames} to be located. "
        f"ImageNet features of MobileNetV2 in front of all. {_repeated(seeds)} "
        f"{training.budget if training else ''} on {training.device if training else 'cpu'} each; the best "
        "epoch was chosen on frames held out of the training frames. The split is not the official one, so "
        "the numbers compare with each other and not with published ones.",
        "",
        "| | weights | position | orientation | within 0.25 m, 2° | minutes |",
        "| --- | --: | --: | --: | --: | --: |",
        *(_line(label, results) for label, results in table.items()),
        *(_baseline(label, each) for label, each in first.headline.rows()[1:]),
        "",
        "## What the hypernetwork changes",
        "",
        "Error with the hypernetwork over error without it, seed by seed; below 1 it helps.",
        "",
        "| | position | orientation |",
        "| --- | --: | --: |",
        *(
            _ratio(row.label, table[row.label], table[row.without])
            for row in ROWS
            if {row.label, row.without} <= set(table)
        ),
        "",
        f"{platform.machine()}, "
        + ", ".join(f"{name} {version}" for name, version in sorted(first.software.items()))
        + ".",
        "",
        "    uv run python -m benchmarks.regressors --data FOLDER --backbone-weights FILE",
        "",
    ]
    PAGE.write_text("\n".join(lines))


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
    minutes = mean(each.training.seconds / 60 if each.training else 0.0 for each in results)
    return (
        f"| **{label}** | {results[0].parameters or 0:,} | "
        f"{mean_and_range(meters, ' m', digits=3)} | {mean_and_range(degrees, '°', digits=2)} | "
        f"{recall:.0%} | {minutes:.1f} |"
    )


def _baseline(label: str, errors: ErrorStatistics) -> str:
    recall = f"{errors.recall(0.25, 2.0):.0%}"
    return f"| *{label}* | | {errors.meters.median:.3f} m | {errors.degrees.median:.2f}° | {recall} | |"


def _ratio(label: str, with_it: list[Results], without: list[Results]) -> str:
    shown = []
    for ours, theirs in zip(medians(with_it), medians(without), strict=True):
        ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
        shown.append(mean_and_range(ratios, "", digits=2))
    return f"| {label} | {shown[0]} | {shown[1]} |"


if __name__ == "__main__":
    main(tyro.cli(Settings))
