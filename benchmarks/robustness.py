"""Light that was never trained on, and people in the way: every model on the embedded scene.

    uv run python -m benchmarks.robustness [--device cuda --jobs 6]

trains each row of `ROWS` on the embedded square's corner by day, at the same schedule and over several seeds,
and tests them in the evening, at night under lamps, in winter and behind people, as section 6 of the
HyperPose supplement does on its data sets. Writes `docs/results/robustness.json`, `.md` and a figure of the
error along the walks while people pass.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import tyro
from matplotlib.figure import Figure

from benchmarks.hypernetworks import MODEL_PAGE, helps, ratios_of
from benchmarks.tables import medians, replace_block
from benchmarks.trainings import Repeated, Table, Trained, table_of
from camloc.cli.commands.demo import settings_of
from camloc.core.config import to_json
from camloc.data.formats.demo import rendered
from camloc.evaluation.report.figures import GREY, ORANGE, PURPLE, legend_below, styled, svg
from camloc.evaluation.results import Results
from market_square import OCCLUDED, Renderer, SquareSettings
from market_square.free_space import free_space_of
from market_square.rendering import image
from market_square.scene import shots

PAGE = Path("docs/results/robustness.md")
FIGURE = Path("docs/results/robustness.svg")

# Of the model's page.
BLOCK = "what unseen light says"

ROWS = (
    ("baseline APR", "demo/baseline"),
    ("HyperPose 2025", "demo/hyperpose"),
    ("TransPoseNet", "demo/transposenet"),
    ("HyperPose 2023, compact", "demo/hyperpose-2023-compact"),
    ("scene geometry", "demo/scene-geometry"),
)
# A model with a hypernetwork, and the same without.
PAIRS = (("HyperPose 2025", "baseline APR"), ("HyperPose 2023, compact", "TransPoseNet"))
DRAWN = {"baseline APR": GREY, "HyperPose 2025": ORANGE}


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        seeds: how many trainings of each.
        rows: labels of the rows to train; the others keep the numbers that the page has.
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
    """Train what is not trained yet, and write the page."""
    scene = settings_of("corner", seed=0)
    root = rendered(scene)
    trainings = {
        label: [
            Trained(recipe, root, settings.out / recipe / f"seed-{seed}", seed, ("--layout", "demo"))
            for seed in range(settings.seeds)
        ]
        for label, recipe in ROWS
        if not settings.rows or label in settings.rows
    }
    new = table_of(trainings, device=settings.device, jobs=settings.jobs)
    path = PAGE.with_suffix(".json")
    table = Table.load(path).with_rows(new, order=[label for label, _ in ROWS])
    path.write_bytes(to_json(table))
    PAGE.write_text(page(table))
    replace_block(MODEL_PAGE, BLOCK, verdict(table))
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


def page(table: Table) -> str:
    """The whole page but its figure."""
    first = next(iter(table.rows.values())).results
    sets = [part.name for part in first[0].sets]
    head = ["", f"| | {' | '.join(sets)} |", f"| --- |{' --: |' * len(sets)}"]
    lines = [
        "# Light that was never trained on, and people in the way",
        "",
        "<!-- Written by benchmarks/robustness.py; do not edit. -->",
        "",
        f"All learn {first[0].train_frames} day frames of the embedded square's corner from random weights, "
        f"without people; all test sets have the same {first[0].test_frames} camera poses. Medians, mean "
        "over the seeds.",
        "",
        f"{head[1]} trained |",
        f"{head[2]} --- |",
        *(_errors_line(f"**{label}**", row) for label, row in table.rows.items()),
        *(_baseline_line(number, first[0]) for number in range(1, 4)),
        "",
        "## What the hypernetwork changes",
        "",
        "Error with the hypernetwork over error without it, mean over the seeds; below 1 it helps.",
        *head,
        *(
            _ratio_line(one, table.results(one), table.results(other))
            for one, other in PAIRS
            if {one, other} <= set(table.rows)
        ),
        "",
        "Over all test sets and seeds:",
        "",
        verdict(table),
        "",
        f"![Error along the walk]({FIGURE.name})",
        "",
        "The error along the test walks, mean over the seeds: by day (dotted) and while people pass (solid), "
        "with the share of the image that they cover below.",
        "",
        "    uv run python -m benchmarks.robustness",
        "",
    ]
    return "\n".join(lines)


def _errors_line(label: str, row: Repeated) -> str:
    cells, rows = [], row.results
    for number in range(len(rows[0].sets)):
        meters, degrees = medians(rows, test_set=number)
        cells.append(f"{mean(meters):.2f} m, {mean(degrees):.2f}°")
    return f"| {label} | {' | '.join(cells)} | {row.words()} |"


def _baseline_line(number: int, results: Results) -> str:
    rows = [part.rows()[number] for part in results.sets]
    cells = [f"{errors.meters.median:.2f} m, {errors.degrees.median:.2f}°" for _, errors in rows]
    return f"| *{rows[0][0]}* | {' | '.join(cells)} | |"


def _ratio_line(label: str, with_it: list[Results], without: list[Results]) -> str:
    cells = []
    for number in range(len(with_it[0].sets)):
        meters, degrees = ratios_of(with_it, without, test_set=number)
        cells.append(f"{mean(meters):.2f} m, {mean(degrees):.2f}°")
    return f"| {label} | {' | '.join(cells)} |"


def verdict(table: Table) -> str:
    """Whether hypernetworks help, over all test sets and seeds, in words."""
    lines = []
    for label, without in PAIRS:
        with_it = table.results(label)
        sets = range(len(with_it[0].sets))
        pairs = [ratios_of(with_it, table.results(without), test_set=number) for number in sets]
        lines.append(f"- {label}: {helps(pairs)}.")
    return "\n".join(lines)


if __name__ == "__main__":
    main(tyro.cli(Settings))
