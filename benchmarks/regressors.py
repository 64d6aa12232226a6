"""Every regressor, with and without its hypernetwork, at one budget and over several seeds.

    uv run python -m benchmarks.regressors --data FOLDER --backbone-weights FILE --budget 5m --jobs 2
    uv run python -m benchmarks.regressors ... --budget 20m --device cuda --jobs 27

trains each row of `ROWS` on real frames (7Scenes' Red Kitchen, sequence 01, with `train.txt` and `test.txt`),
evaluates it, and writes `docs/results/regressors.json` and `.md`, a table for each budget and machine.
Existing runs are not trained again; rows that are left out, and other tables, keep their numbers.

Many trainings side by side share a GPU well through NVIDIA's multi-process service.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import tyro

from benchmarks.page import (
    capital,
    known,
    mean_and_range,
    median_ranges,
    replace_block,
    result_page,
    table,
    versions,
    write,
)
from benchmarks.trainings import (
    MODEL_PAGE,
    Ratios,
    Repeated,
    Table,
    ratios_of,
    seeds_of,
    table_of,
    verdict_of,
)
from camloc.evaluation.errors import ErrorStatistics
from camloc.evaluation.results import TrainingRecord
from camloc.recipes import find_recipe

# The block of the model's page.
BLOCK = "results on real frames"

HEADINGS = ("", "weights", "position", "orientation", "within 0.25 m, 2°", "minutes", "trained")


@dataclass(frozen=True)
class Row:
    """One row: its label, its recipe, and the label of the same regressor without its hypernetwork, or ""."""

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
        budget: wall-clock time of each training, such as 20m; that of the recipes where it is empty.
        seeds: number of trainings of each row.
        rows: labels of the rows to train; all of them if none is given.
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
    """All tables of the page, by budget and machine."""

    tables: dict[str, Table]

    def with_table(self, new: Table) -> "Measured":
        """The same with new rows in the table of their budget and machine, or with a further table."""
        first = next(iter(new.rows.values()))
        name = f"{first.training.budget}, {first.machine}"
        table = self.tables.get(name, Table({})).with_rows(new, order=[row.label for row in ROWS])
        return Measured(self.tables | {name: table})


def main(settings: Settings) -> None:
    """Train what is missing, and write the page."""
    options: tuple[str, ...] = ("--backbone-weights", settings.backbone_weights)
    options += ("--budget", settings.budget) if settings.budget else ()
    trainings = {
        row.label: seeds_of(row.recipe, settings.data, settings.out, settings.seeds, options)
        for row in ROWS
        if not settings.rows or row.label in settings.rows
    }
    new = table_of(trainings, device=settings.device, jobs=settings.jobs)
    measured = known("regressors", Measured({})).with_table(new)
    write("regressors", measured, page(measured))
    replace_block(MODEL_PAGE, BLOCK, verdicts(measured))


def page(measured: Measured) -> str:
    """The page."""
    first = next(iter(measured.tables.values())).first
    sections = [
        part for name, each in measured.tables.items() for part in (f"## {capital(name)}", *_section(each))
    ]
    return result_page(
        "The regressors, with and without hypernetworks",
        "regressors",
        f"{first.scene}: {first.train_frames} training images, {first.test_frames} test images. "
        "MobileNetV2, trained on ImageNet, in front of all. Each row is the mean of the medians of trainings "
        "with different seeds, and in brackets the least and the largest of them; the best epoch of each was "
        "chosen on frames held out of the training frames. The split is not the official one, so the numbers "
        "compare with each other and not with published ones.",
        "Below each table stand the errors with a hypernetwork over those without it, seed by seed: below 1 "
        "it helps.",
        *sections,
        command=None,
    )


def _section(trained: Table) -> list[str]:
    """One table, its ratios, and the command that measures it."""
    first = next(iter(trained.rows.values())).training
    rows = [_row(label, row) for label, row in trained.rows.items()]
    rows += [_baseline(label, errors) for label, errors in trained.first.headline.rows()[1:]]
    device = "" if first.device == "cpu" else f" --device {first.device}"
    parts = [
        f"Each training had {first.budget}{_features(trained)}.{_stopped(trained)}",
        table(HEADINGS, rows),
    ]
    if pairs := _pairs(trained):
        ratios = [
            (label, mean_and_range(meters, "", digits=2), mean_and_range(degrees, "", digits=2))
            for label, (meters, degrees) in pairs.items()
        ]
        parts += [table(("with a hypernetwork", "position", "orientation"), ratios), verdict(trained)]
    return [
        *parts,
        f"{versions(trained.first.software)}.",
        "    uv run python -m benchmarks.regressors --data FOLDER --backbone-weights FILE --budget "
        f"{first.budget.replace(' minutes', 'm')}{device}",
    ]


def _row(label: str, row: Repeated) -> tuple[str, ...]:
    recall = mean(each.headline.estimates.recall(0.25, 2.0) for each in row.results)
    minutes = mean(each.training.seconds / 60 for each in row.results if each.training is not None)
    weights = f"{row.results[0].parameters or 0:,}"
    return (
        f"**{label}**",
        weights,
        *median_ranges(row.results),
        f"{recall:.0%}",
        f"{minutes:.1f}",
        row.trainings(),
    )


def _baseline(label: str, errors: ErrorStatistics) -> tuple[str, ...]:
    medians = (f"{errors.meters.median:.3f} m", f"{errors.degrees.median:.2f}°")
    return (f"*{label}*", "", *medians, f"{errors.recall(0.25, 2.0):.0%}", "", "")


def _stopped(trained: Table) -> str:
    """The trainings that did not reach the end of their schedule."""
    found = [
        f"{label} after {training.epochs:,} of {planned:,} epochs"
        for label, row in trained.rows.items()
        for training in (each.training for each in row.results)
        if training is not None and training.epochs < (planned := _planned(label, training))
    ]
    return f" Stopped before the end of their schedule: {', '.join(found)}." if found else ""


def _planned(label: str, training: TrainingRecord) -> int:
    """The epochs of a training's schedule."""
    recipe = next(row.recipe for row in ROWS if row.label == label)
    return find_recipe(recipe).scaled(training.schedule_share).epochs


def _features(trained: Table) -> str:
    """The time of cached features that many rows share, and whether the budget includes it."""
    trainings = {
        label: [each.training for each in row.results if each.training and each.training.feature_seconds]
        for label, row in trained.rows.items()
    }
    all_of_them = [each for row in trainings.values() for each in row]
    if not all_of_them:
        return ""
    seconds = {each.feature_seconds for each in all_of_them}
    minutes = " to ".join(sorted({f"{each / 60:.1f}" for each in (min(seconds), max(seconds))}))
    features = f"features of the network's first half that rows share, {minutes} minutes a seed"
    if all(each.budget_covers_features for each in all_of_them):
        return f", including {features}"
    some = [label for label, row in trainings.items() if any(each.budget_covers_features for each in row)]
    return f", beside {features}" + (f" (some of {' and '.join(some)}: including them)" if some else "")


def _pairs(trained: Table) -> dict[str, Ratios]:
    """The ratios of every row beside the row without its hypernetwork."""
    return {
        row.label: ratios_of(trained.results(row.label), trained.results(row.without))
        for row in ROWS
        if {row.label, row.without} <= set(trained.rows)
    }


def verdicts(measured: Measured) -> str:
    """The verdict of each table."""
    return "\n\n".join(
        f"{capital(name)}:\n\n{verdict(each)}" for name, each in measured.tables.items() if _pairs(each)
    )


def verdict(trained: Table) -> str:
    """Whether hypernetworks help, for each pair and over all of them."""
    pairs = _pairs(trained)
    lines = [f"- {label}: {verdict_of([ratios])}." for label, ratios in pairs.items()]
    return "\n".join((*lines, f"- All pairs and seeds: {verdict_of(list(pairs.values()))}."))


if __name__ == "__main__":
    main(tyro.cli(Settings))
