"""The page of `benchmarks.regressors`: its rows, and how they are shown."""

from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from benchmarks.hypernetworks import Ratios, helps, ratios_of
from benchmarks.tables import mean_and_range, medians, versions
from benchmarks.trainings import Repeated, Table
from camloc.core.config import from_json
from camloc.evaluation.errors import ErrorStatistics
from camloc.evaluation.results import TrainingRecord
from camloc.recipes import find_recipe


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
class Measured:
    """All tables of the page.

    Attributes:
        tables: by what each training had, in words.
    """

    tables: dict[str, Table]

    @classmethod
    def load(cls, path: Path) -> "Measured":
        """What earlier measurements left, or no tables."""
        return from_json(path.read_bytes(), cls) if path.exists() else cls({})

    def with_table(self, new: Table) -> "Measured":
        """The same with rows measured anew in the table of their budget and machine, or a further table."""
        first = next(iter(new.rows.values()))
        name = f"{first.training.budget}, {first.machine}"
        table = self.tables.get(name, Table({})).with_rows(new, order=[row.label for row in ROWS])
        return Measured(self.tables | {name: table})


def page(measured: Measured) -> str:
    """The whole page."""
    tables = measured.tables
    first = next(iter(tables.values())).first
    lines = [
        "# The regressors, with and without hypernetworks",
        "",
        "<!-- Written by benchmarks/regressors.py; do not edit. -->",
        "",
        f"{first.scene}: {first.train_frames} training images, {first.test_frames} to be located. "
        "MobileNetV2, trained on ImageNet, in front of all. Each row is the mean of the medians of trainings "
        "with different seeds, and in brackets the least and the largest of them; the best epoch of each was "
        "chosen on frames held out of the training frames. The split is not the official one, so the numbers "
        "compare with each other and not with published ones.",
        "",
        "Below each table stand the errors with a hypernetwork over those without it, seed by seed: below 1 "
        "it helps.",
    ]
    for name, table in tables.items():
        lines += ["", f"## {name[0].upper()}{name[1:]}", "", *_section(table)]
    return "\n".join((*lines, ""))


def _section(table: Table) -> list[str]:
    """One table and what follows from it."""
    budget = next(iter(table.rows.values())).training.budget
    device = "" if (training := table.first.training) is None else training.device
    lines = [
        f"Each training had {budget}{_features(table)}.{_stopped(table)}",
        "",
        "| | weights | position | orientation | within 0.25 m, 2° | minutes | trained |",
        "| --- | --: | --: | --: | --: | --: | --- |",
        *(_line(label, row) for label, row in table.rows.items()),
        *(_baseline(label, each) for label, each in table.first.headline.rows()[1:]),
    ]
    if pairs := _pairs(table):
        lines += [
            "",
            "| with a hypernetwork | position | orientation |",
            "| --- | --: | --: |",
            *(_ratio(label, *ratios) for label, ratios in pairs.items()),
            "",
            verdict(table),
        ]
    return [
        *lines,
        "",
        f"{versions(table.first.software)}.",
        "",
        "    uv run python -m benchmarks.regressors --data FOLDER --backbone-weights FILE "
        f"--budget {_duration(budget)}{'' if device == 'cpu' else f' --device {device}'}",
    ]


def _duration(budget: str) -> str:
    """A budget in minutes, as the command takes it."""
    return budget.replace(" minutes", "m")


def _stopped(table: Table) -> str:
    """Which trainings did not reach the end of their schedule."""
    found = [
        f"{label} after {training.epochs:,} of {planned:,} epochs"
        for label, row in table.rows.items()
        for training in (each.training for each in row.results)
        if training is not None and training.epochs < (planned := _planned(label, training))
    ]
    if not found:
        return ""
    return f" Stopped before the end of their schedule: {', '.join(found)}."


def _planned(label: str, training: TrainingRecord) -> int:
    """The epochs of a training's schedule."""
    recipe = next(row.recipe for row in ROWS if row.label == label)
    return find_recipe(recipe).scaled(training.schedule_share).epochs


def _line(label: str, row: Repeated) -> str:
    results = row.results
    meters, degrees = medians(results)
    recall = mean(each.headline.estimates.recall(0.25, 2.0) for each in results)
    minutes = mean(each.training.seconds / 60 for each in results if each.training is not None)
    return (
        f"| **{label}** | {results[0].parameters or 0:,} | "
        f"{mean_and_range(meters, ' m', digits=3)} | {mean_and_range(degrees, '°', digits=2)} | "
        f"{recall:.0%} | {minutes:.1f} | {row.trainings()} |"
    )


def _baseline(label: str, errors: ErrorStatistics) -> str:
    recall = f"{errors.recall(0.25, 2.0):.0%}"
    return f"| *{label}* | | {errors.meters.median:.3f} m | {errors.degrees.median:.2f}° | {recall} | | |"


def _features(table: Table) -> str:
    """The time of features that many rows share, and whether the budget covers it."""
    trainings = {
        label: [each.training for each in row.results if each.training and each.training.feature_seconds]
        for label, row in table.rows.items()
    }
    all_of_them = [each for row in trainings.values() for each in row]
    if not all_of_them:
        return ""
    seconds = {each.feature_seconds for each in all_of_them}
    minutes = " to ".join(sorted({f"{each / 60:.1f}" for each in (min(seconds), max(seconds))}))
    covered = {label: any(each.budget_covers_features for each in row) for label, row in trainings.items()}
    features = f"features of the network's first half that rows share, {minutes} minutes a seed"
    if all(each.budget_covers_features for each in all_of_them):
        return f", including {features}"
    some = [label for label, is_covered in covered.items() if is_covered]
    return f", beside {features}" + (f" (some of {' and '.join(some)}: including them)" if some else "")


def _ratio(label: str, meters: list[float], degrees: list[float]) -> str:
    return f"| {label} | {mean_and_range(meters, '', digits=2)} | {mean_and_range(degrees, '', digits=2)} |"


def _pairs(table: Table) -> dict[str, Ratios]:
    """The ratios of every row that has one without its hypernetwork beside it."""
    return {
        row.label: ratios_of(table.results(row.label), table.results(row.without))
        for row in ROWS
        if {row.label, row.without} <= set(table.rows)
    }


def verdicts(measured: Measured) -> str:
    """What each table says of hypernetworks, in words."""
    said = (
        f"{name[0].upper()}{name[1:]}:\n\n{verdict(table)}"
        for name, table in measured.tables.items()
        if _pairs(table)
    )
    return "\n\n".join(said)


def verdict(table: Table) -> str:
    """Whether hypernetworks help, for each pair and over all of them, in words."""
    pairs = _pairs(table)
    lines = [f"- {label}: {helps([ratios])}." for label, ratios in pairs.items()]
    return "\n".join((*lines, f"- All pairs and seeds: {helps(list(pairs.values()))}."))
