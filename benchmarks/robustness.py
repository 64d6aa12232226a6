"""Unseen light and occlusion: every model on the embedded scene.

    uv run python -m benchmarks.robustness [--device cuda --jobs 6]

trains each row of `ROWS` on the embedded square's corner by day, at the same schedule and over several seeds,
and tests them in the evening, at night under lamps, in winter and behind people, as in section 6 of the
HyperPose supplement. Writes `docs/results/robustness.json`, `.md` and a figure of the
error along the walks while people pass.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import tyro
from matplotlib.figure import Figure

from benchmarks.page import RESULTS, known, medians, replace_block, result_page, table, write
from benchmarks.trainings import (
    MODEL_PAGE,
    Repeated,
    Table,
    ratios_of,
    seeds_of,
    table_of,
    verdict_of,
)
from camloc.cli.commands.demo import settings_of
from camloc.data.formats.demo import rendered
from camloc.evaluation.report.figures import GREY, ORANGE, PURPLE, legend_below, styled, svg
from camloc.evaluation.results import Results
from market_square import OCCLUDED, Renderer, SquareSettings
from market_square.free_space import free_space_of
from market_square.rendering import image
from market_square.scene import shots

FIGURE = RESULTS / "robustness.svg"

# The block of the model's page.
BLOCK = "results in unseen light"

ROWS = (
    ("baseline APR", "demo/baseline"),
    ("HyperPose 2025", "demo/hyperpose"),
    ("TransPoseNet", "demo/transposenet"),
    ("HyperPose 2023, full", "demo/hyperpose-2023"),
    ("HyperPose 2023, compact", "demo/hyperpose-2023-compact"),
    ("scene geometry", "demo/scene-geometry"),
)
# A model with a hypernetwork, and the same without.
PAIRS = (
    ("HyperPose 2025", "baseline APR"),
    ("HyperPose 2023, full", "TransPoseNet"),
    ("HyperPose 2023, compact", "TransPoseNet"),
)
DRAWN = {"baseline APR": GREY, "HyperPose 2025": ORANGE}


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        seeds: number of trainings of each row.
        rows: labels of the rows to train; the others keep their numbers.
        out: folder of the runs.
        device: where to train.
        jobs: trainings at a time.
    """

    seeds: int = 3
    rows: tuple[str, ...] = ()
    out: Path = Path("runs/robustness")
    device: str = "cpu"
    jobs: int = 1


def main(settings: Settings) -> None:
    """Train what is missing, and write the page."""
    scene = settings_of("corner", seed=0)
    root = rendered(scene)
    trainings = {
        label: seeds_of(recipe, root, settings.out, settings.seeds, ("--layout", "demo"))
        for label, recipe in ROWS
        if not settings.rows or label in settings.rows
    }
    new = table_of(trainings, device=settings.device, jobs=settings.jobs)
    trained = known("robustness", Table({})).with_rows(new, order=[label for label, _ in ROWS])
    write("robustness", trained, page(trained))
    replace_block(MODEL_PAGE, BLOCK, verdict(trained))
    if set(DRAWN) <= set(trainings):
        runs = {label: [each.folder for each in trainings[label]] for label in DRAWN}
        FIGURE.write_bytes(walk_figure(runs, covered(scene)))


def covered(scene: SquareSettings) -> dict[str, float]:
    """The share of each occluded test image that people cover, by the image's name."""
    free_space, renderer = free_space_of(scene.seed), Renderer(seed=scene.seed)
    wanted = [shot for shot in shots(scene, free_space) if shot.variant == OCCLUDED]
    return {shot.image: float(image(renderer, free_space, scene, shot).is_occluder.mean()) for shot in wanted}


def walk_figure(folders: dict[str, list[Path]], cover: dict[str, float]) -> bytes:
    """The position error along the occluded walks, above the share of the image that people cover; SVG."""
    with styled():
        figure = Figure(figsize=(8.4, 4.4), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        steps = np.arange(len(cover))
        for label, runs in folders.items():
            for variant, dashes in ((OCCLUDED, "-"), ("day", ":")):
                errors = np.array([_errors(run, variant) for run in runs]).mean(0)
                named = f"{label}, {variant}"
                above.plot(steps, errors, dashes, color=DRAWN[label], label=named, linewidth=1.6)
        below.fill_between(steps, 100 * np.array(list(cover.values())), color=PURPLE, alpha=0.5, linewidth=0)
        above.set_title("position error (m)")
        above.set_ylim(bottom=0)
        below.set_title("covered by people (%)")
        below.set(xlabel="frame of the test walks", xlim=(0, len(cover) - 1), ylim=(0, 100))
        legend_below(figure, above)
        return svg(figure)


def _errors(folder: Path, variant: str) -> list[float]:
    """Metres of error of each frame of a test set, in their order; NaN for a frame that was lost."""
    with (folder / "estimates.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["set"] == variant]
    return [float(row["meters"] or "nan") for row in rows]


def page(trained: Table) -> str:
    """The page without its figure."""
    first = trained.first
    sets = [part.name for part in first.sets]
    rows = [_errors_row(f"**{label}**", row) for label, row in trained.rows.items()]
    rows += [_baseline_row(number, first) for number in range(1, 4)]
    ratios = [
        _ratio_row(one, trained.results(one), trained.results(other))
        for one, other in PAIRS
        if {one, other} <= set(trained.rows)
    ]
    return result_page(
        "Unseen light and occlusion",
        "robustness",
        f"All models learn {first.train_frames} day frames of the embedded square's corner from random "
        f"weights, without people; all test sets have the same {first.test_frames} camera poses. Medians, "
        "mean over the seeds.",
        table(("", *sets, "trained"), rows),
        "## Effect of the hypernetwork",
        "Error with the hypernetwork over error without it, mean over the seeds; below 1 it helps.",
        table(("", *sets), ratios),
        "Over all test sets and seeds:",
        verdict(trained),
        f"![Error along the walk]({FIGURE.name})",
        "The error along the test walks, mean over the seeds: by day (dotted) and while people pass (solid), "
        "with the share of the image that they cover below.",
    )


def _errors_row(label: str, row: Repeated) -> tuple[str, ...]:
    pairs = (medians(row.results, test_set=number) for number in range(len(row.results[0].sets)))
    cells = (f"{mean(meters):.2f} m, {mean(degrees):.2f}°" for meters, degrees in pairs)
    return (label, *cells, f"{row.trainings()}, {row.machine}")


def _baseline_row(number: int, results: Results) -> tuple[str, ...]:
    rows = [part.rows()[number] for part in results.sets]
    cells = (f"{errors.meters.median:.2f} m, {errors.degrees.median:.2f}°" for _, errors in rows)
    return (f"*{rows[0][0]}*", *cells, "")


def _ratio_row(label: str, with_it: list[Results], without: list[Results]) -> tuple[str, ...]:
    pairs = (ratios_of(with_it, without, test_set=number) for number in range(len(with_it[0].sets)))
    return (label, *(f"{mean(meters):.2f} m, {mean(degrees):.2f}°" for meters, degrees in pairs))


def verdict(trained: Table) -> str:
    """Whether hypernetworks help, over all test sets and seeds."""
    lines = []
    for label, without in PAIRS:
        with_it = trained.results(label)
        sets = range(len(with_it[0].sets))
        pairs = [ratios_of(with_it, trained.results(without), test_set=number) for number in sets]
        lines.append(f"- {label}: {verdict_of(pairs)}.")
    return "\n".join(lines)


if __name__ == "__main__":
    main(tyro.cli(Settings))
