"""Every regressor, with and without its hypernetwork, at one budget and over several seeds.

    uv run python -m benchmarks.regressors --data FOLDER --backbone-weights FILE [--device cuda --jobs 8]

trains each row of `ROWS` on real frames (7Scenes' Red Kitchen, sequence 01, with `train.txt` and `test.txt`),
evaluates it, and writes `docs/results/regressors.json` and `.md`. Runs that are there are not trained again;
rows that are left out keep the numbers that the page has.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean, mean

import tyro

from benchmarks.tables import mean_and_range, medians, replace_block, versions
from benchmarks.trainings import Repeated, Table, Trained, table_of
from camloc.core.config import to_json
from camloc.evaluation.metrics import ErrorStatistics
from camloc.evaluation.results import Results

PAGE = Path("docs/results/regressors.md")

# The page of the model, which says whether hypernetworks help, and the block of it that does.
MODEL_PAGE = Path("docs/models/hyperpose.md")
BLOCK = "what real frames say"


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


def main(settings: Settings) -> None:
    """Train what is not trained yet, and write the page."""
    wanted = [row for row in ROWS if not settings.rows or row.label in settings.rows]
    trainings = {row.label: _trainings(row, settings) for row in wanted}
    new = table_of(trainings, device=settings.device, jobs=settings.jobs)
    path = PAGE.with_suffix(".json")
    table = Table.load(path).with_rows(new, order=[row.label for row in ROWS])
    path.write_bytes(to_json(table))
    PAGE.write_text(page(table))
    replace_block(MODEL_PAGE, BLOCK, verdict(table))


def _trainings(row: Row, settings: Settings) -> list[Trained]:
    options: tuple[str, ...] = ("--backbone-weights", settings.backbone_weights)
    if settings.budget:
        options = (*options, "--budget", settings.budget)
    return [
        Trained(row.recipe, settings.data, settings.out / row.recipe / f"seed-{seed}", seed, options)
        for seed in range(settings.seeds)
    ]


def page(table: Table) -> str:
    """The whole page."""
    row = next(iter(table.rows.values()))
    first, budget = row.results[0], row.training.budget
    return "\n".join(
        (
            "# The regressors, with and without hypernetworks",
            "",
            "<!-- Written by benchmarks/regressors.py; do not edit. -->",
            "",
            f"{first.scene}: {first.train_frames} training photographs, {first.test_frames} to be located. "
            f"MobileNetV2, trained on ImageNet, in front of all. {_repeated(table)} Each training had "
            f"{budget}{_features(table)}; the best epoch was chosen on frames held out of the training "
            "frames. The split is not the official one, so the numbers compare with each other and not with "
            "published ones.",
            "",
            "| | weights | position | orientation | within 0.25 m, 2° | minutes | trained |",
            "| --- | --: | --: | --: | --: | --: | --- |",
            *(_line(label, row) for label, row in table.rows.items()),
            *(_baseline(label, each) for label, each in first.headline.rows()[1:]),
            "",
            "## What the hypernetwork changes",
            "",
            "Error with the hypernetwork over error without it, seed by seed; below 1 it helps.",
            "",
            "| | position | orientation |",
            "| --- | --: | --: |",
            *(_ratio(label, *ratios) for label, ratios in _pairs(table).items()),
            "",
            verdict(table),
            "",
            f"{versions(first.software)}.",
            "",
            "    uv run python -m benchmarks.regressors --data FOLDER --backbone-weights FILE "
            f"--budget {_duration(budget)}",
            "",
        )
    )


def _duration(budget: str) -> str:
    """A budget in minutes, as the command takes it."""
    return budget.replace(" minutes", "m")


def _repeated(table: Table) -> str:
    if all(len(row.results) == 1 for row in table.rows.values()):
        return "Each row is one training: differences of a tenth are within what another seed gives."
    return (
        "Each row is the mean of the medians of trainings with different seeds, and in brackets the least "
        "and the largest of them."
    )


def _line(label: str, row: Repeated) -> str:
    results = row.results
    meters, degrees = medians(results)
    recall = mean(each.headline.estimates.recall(0.25, 2.0) for each in results)
    minutes = mean(each.training.seconds / 60 for each in results if each.training is not None)
    return (
        f"| **{label}** | {results[0].parameters or 0:,} | "
        f"{mean_and_range(meters, ' m', digits=3)} | {mean_and_range(degrees, '°', digits=2)} | "
        f"{recall:.0%} | {minutes:.1f} | {row.words()} |"
    )


def _baseline(label: str, errors: ErrorStatistics) -> str:
    recall = f"{errors.recall(0.25, 2.0):.0%}"
    return f"| *{label}* | | {errors.meters.median:.3f} m | {errors.degrees.median:.2f}° | {recall} | | |"


def _features(table: Table) -> str:
    """The time of features that many rows share, and whether the budget covers it."""
    trainings = [row.training for row in table.rows.values() if row.training.feature_seconds]
    if not trainings:
        return ""
    minutes = " and ".join(f"{each / 60:.1f}" for each in sorted({one.feature_seconds for one in trainings}))
    covered = "including" if all(each.budget_covers_features for each in trainings) else "beside"
    return f", {covered} features of the network's first half that rows share, {minutes} minutes a seed"


def _ratios(with_it: list[Results], without: list[Results]) -> tuple[list[float], list[float]]:
    """What the errors of position and of orientation are multiplied by, for each seed that both have."""
    meters, degrees = (
        [one / other for one, other in zip(ours, theirs, strict=False)]
        for ours, theirs in zip(medians(with_it), medians(without), strict=True)
    )
    return meters, degrees


def _ratio(label: str, meters: list[float], degrees: list[float]) -> str:
    return f"| {label} | {mean_and_range(meters, '', digits=2)} | {mean_and_range(degrees, '', digits=2)} |"


def _pairs(table: Table) -> dict[str, tuple[list[float], list[float]]]:
    """The ratios of every row that has one without its hypernetwork beside it."""
    return {
        row.label: _ratios(table.results(row.label), table.results(row.without))
        for row in ROWS
        if {row.label, row.without} <= set(table.rows)
    }


def verdict(table: Table) -> str:
    """Whether hypernetworks help, for each pair and over all of them, in words."""
    pairs = _pairs(table)
    lines = [f"- {label}: {_helps([ratios])}." for label, ratios in pairs.items()]
    return "\n".join((*lines, f"- All pairs and seeds: {_helps(list(pairs.values()))}."))


def _helps(pairs: list[tuple[list[float], list[float]]]) -> str:
    said = []
    for what, column in (("position", 0), ("orientation", 1)):
        ratios = [each for pair in pairs for each in pair[column]]
        factor = geometric_mean(ratios)
        better = sum(each < 1.0 for each in ratios)
        said.append(
            f"{what} {_in_words(factor)} ({factor:.2f} times the error, less in {better} of {len(ratios)})"
        )
    return ", ".join(said)


def _in_words(factor: float) -> str:
    """What became of an error; a twentieth is less than another seed changes."""
    if factor > 1.05:
        return "worse"
    return "better" if factor < 0.95 else "about the same"


if __name__ == "__main__":
    main(tyro.cli(Settings))
