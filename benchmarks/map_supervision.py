"""Scene geometry with and without the points of a map in its loss: `docs/results/map_supervision.md`.

    uv run python -m benchmarks.map_supervision --data FOLDER --backbone-weights FILE

FOLDER is the office floor, `hololens`. Both trainings have the recipe's own schedule; what is trained already
is taken as it is.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks.page import result_page, results_table, write
from benchmarks.trainings import Trained, train_all
from camloc.evaluation.results import Results
from camloc.models.checkpoint import load_checkpoint

NAME = "map_supervision"
RECIPE = "room/scene-geometry-context"
LABELS = {"poses alone": (), "poses and a map": ("--map-supervision",)}


@dataclass(frozen=True)
class Row:
    """A training: its label, seed and machine, its medians on held-out images, and its results."""

    label: str
    seed: int
    machine: str
    held_out: tuple[float, float]
    results: Results


@dataclass(frozen=True)
class Measured:
    """The rows of the page."""

    rows: tuple[Row, ...]


def main(
    data: Path,
    backbone_weights: str,
    *,
    seeds: int = 1,
    jobs: int = 1,
    out: Path = Path("runs/map_supervision"),
) -> None:
    """Train what is missing, and write the page.

    Args:
        data: Folder of the office floor.
        backbone_weights: ImageNet weights of MobileNetV2, in timm's names.
        seeds: Number of trainings of each.
        jobs: Trainings at a time.
        out: Folder of the runs.
    """
    words = ("--option", "rotation=world_from_cam", "--backbone-weights", backbone_weights)
    trainings = {
        (label, seed): Trained(
            RECIPE, data, out / label.replace(" ", "-") / f"seed-{seed}", seed, (*words, *more)
        )
        for label, more in LABELS.items()
        for seed in range(seeds)
    }
    train_all(trainings.values(), device="cpu", jobs=jobs)
    measured = Measured(
        tuple(
            Row(label, seed, training.machine(), _held_out(training.folder), training.results())
            for (label, seed), training in trainings.items()
        )
    )
    write(NAME, measured, page(measured))


def _held_out(run: Path) -> tuple[float, float]:
    error = load_checkpoint(run).metadata.expected_error
    assert error is not None, "the recipe holds images out"
    meters, degrees = error
    return meters, degrees


def page(measured: Measured) -> str:
    """The page."""
    several = len(measured.rows) > len(LABELS)
    labels = [f"{row.label}, seed {row.seed}" if several else row.label for row in measured.rows]
    held_out = "; ".join(
        f"{label} {row.held_out[0]:.3f} m, {row.held_out[1]:.2f}°"
        for label, row in zip(labels, measured.rows, strict=True)
    )
    return result_page(
        "Scene geometry with the points of a map",
        NAME,
        f"`{RECIPE}` on the office floor with the recipe's own schedule, with and without "
        "`camloc train --map-supervision`: a map of the training images is built first, and a cell that one "
        "of its points projects to learns that point, in the world and in camera axes. The held-out images "
        "chose the epoch, the test images chose nothing.",
        results_table(zip(labels, (row.results for row in measured.rows), strict=True)),
        f"Medians of the held-out images: {held_out}.",
        f"{measured.rows[0].machine}.",
        command="--data FOLDER --backbone-weights FILE",
    )


if __name__ == "__main__":
    tyro.cli(main)
