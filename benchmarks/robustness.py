"""Light that was never trained on, and people in the way: a regressor with and without its hypernetwork.

    uv run python -m benchmarks.robustness [--device cuda --jobs 6]

trains both on the embedded square's corner by day, over several seeds, and tests them in the evening, at
night under lamps, in winter and behind people, as section 6 of the HyperPose supplement does on its data
sets. Writes `docs/results/robustness.json`, `.md` and a figure of the error along a walk while people pass.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import matplotlib.pyplot as plt
import numpy as np
import tyro

from benchmarks.tables import medians
from benchmarks.trainings import Trained, train_all
from camloc.apps.commands.demo import place_of
from camloc.core.config import to_json
from camloc.datasets.demo import OCCLUDED, DemoPlace, Renderer, render
from camloc.datasets.demo.free_space import free_space_of
from camloc.datasets.demo.place import shots
from camloc.datasets.demo.rendering import photograph
from camloc.evaluation.results import Results

PAGE = Path("docs/results/robustness.md")
FIGURE = Path("docs/results/robustness.svg")
ROWS = (("baseline APR", "demo/baseline"), ("HyperPose", "demo/hyperpose"))
COLOURS = ("#7a7a7a", "#c1440e")


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        seeds: how many trainings of each.
        out: folder of the runs.
        device: where to train.
        jobs: trainings at a time.
    """

    seeds: int = 3
    out: Path = Path("runs/robustness")
    device: str = "cpu"
    jobs: int = 1


def main(settings: Settings) -> None:
    """Train what is not trained yet, and write the page."""
    place = place_of("corner", seed=0)
    root = render(place)
    table = {
        label: [
            Trained(recipe, root, settings.out / recipe / f"seed-{seed}", seed, ("--layout", "demo"))
            for seed in range(settings.seeds)
        ]
        for label, recipe in ROWS
    }
    train_all((each for row in table.values() for each in row), device=settings.device, jobs=settings.jobs)
    draw_walk({label: [each.folder for each in row] for label, row in table.items()}, covered(place))
    write_page(table)


def covered(place: DemoPlace) -> dict[str, float]:
    """The share of each occluded test picture that people cover, by the picture's name."""
    free_space, renderer = free_space_of(place.seed), Renderer(seed=place.seed)
    wanted = [shot for shot in shots(place, free_space) if shot.variant == OCCLUDED]
    return {
        shot.image: float(photograph(renderer, free_space, place, shot).is_occluder.mean()) for shot in wanted
    }


def draw_walk(folders: dict[str, list[Path]], cover: dict[str, float]) -> None:
    """The position error along the occluded walks, over the share of the picture that people cover."""
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(8.0, 4.2), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    steps = np.arange(len(cover))
    for (label, runs), colour in zip(folders.items(), COLOURS, strict=True):
        for variant, style in ((OCCLUDED, "-"), ("day", ":")):
            errors = np.array([_errors(run, variant) for run in runs]).mean(0)
            above.plot(steps, errors, style, color=colour, label=f"{label}, {variant}", linewidth=1.4)
    below.fill_between(steps, 100 * np.array(list(cover.values())), color="#4a6fa5", alpha=0.5, linewidth=0)
    above.set(ylabel="position error, m", ylim=(0, None))
    below.set(ylabel="covered, %", xlabel="frame of the test walks", xlim=(0, len(cover) - 1), ylim=(0, 100))
    above.legend(frameon=False, fontsize=8, ncols=2)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(FIGURE, metadata={"Date": None})
    plt.close(figure)


def _errors(folder: Path, variant: str) -> list[float]:
    """Metres of error of each frame of a test set, in their order; NaN for a frame that was lost."""
    with (folder / "estimates.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["set"] == variant]
    return [float(row["meters"] or "nan") for row in rows]


def write_page(table: dict[str, list[Trained]]) -> None:
    """The page and its numbers."""
    results = {label: [each.results() for each in row] for label, row in table.items()}
    PAGE.with_suffix(".json").write_bytes(to_json(results))
    first = next(iter(results.values()))[0]
    lines = [
        "# Light that was never trained on, and people in the way",
        "",
        "<!-- Written by benchmarks/robustness.py; do not edit. -->",
        "",
        f"Both learn {first.train_frames} day frames of the embedded square's corner, without people; all "
        f"test sets have the same {first.test_frames} camera poses. Medians, mean over "
        f"{len(next(iter(results.values())))} seeds (least to largest).",
        "",
        "| | " + " | ".join(label for label, _ in ROWS) + " | with over without, seed by seed |",
        "| --- |" + " --: |" * (len(ROWS) + 1),
    ]
    lines += [_line(number, list(results.values())) for number in range(len(first.sets))]
    lines += [
        "",
        f"![Error along the walk]({FIGURE.name})",
        "",
        "The error along the test walks, mean over the seeds: by day (dotted) and while people pass (solid), "
        "with the share of the picture that they cover below.",
        "",
        "    uv run python -m benchmarks.robustness",
        "",
    ]
    PAGE.write_text("\n".join(lines))


def _line(number: int, rows: list[list[Results]]) -> str:
    """One test set: the medians of both, and what the hypernetwork makes of the error."""
    cells, errors = [], []
    for row in rows:
        meters, degrees = medians(row, test_set=number)
        errors.append((meters, degrees))
        cells.append(f"{mean(meters):.3f} m ({min(meters):.3f} to {max(meters):.3f}), {mean(degrees):.2f}°")
    (plain_meters, plain_degrees), (meters, degrees) = errors
    further = mean(one / other for one, other in zip(meters, plain_meters, strict=True))
    turned = mean(one / other for one, other in zip(degrees, plain_degrees, strict=True))
    return f"| {rows[0][0].sets[number].name} | {' | '.join(cells)} | {further:.2f} m, {turned:.2f}° |"


if __name__ == "__main__":
    main(tyro.cli(Settings))
