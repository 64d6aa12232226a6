"""A regressor, HyperPose and scene geometry on 1,000 real frames, at the same budget, beside what needs none.

    uv run python -m benchmarks.redkitchen --data FOLDER --backbone-weights FILE

trains them, evaluates them, and writes `docs/results/redkitchen.json` and `.md` and the table in the README.
The folder is 7Scenes' Red Kitchen, sequence 01, with `train.txt` and `test.txt`: every fourth block of 50
frames is for testing.
"""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks.tables import replace_block, results_table
from camloc.apps.commands.train import train
from camloc.core.config import to_json
from camloc.evaluation.results import Results
from camloc.recipes.evaluate import evaluate_run
from camloc.refiners.outlier_filters import OUTLIER_FILTERS

RECIPES = (
    ("baseline APR", "room/baseline"),
    ("HyperPose", "room/hyperpose"),
    ("scene geometry", "room/scene-geometry"),
)
ALIGNED = "room/scene-geometry"
PAGE = Path("docs/results/redkitchen.md")


@dataclass(frozen=True)
class Settings:
    """Where the data are and how long to train.

    Attributes:
        data: folder of the frames.
        backbone_weights: ImageNet weights of MobileNetV2, in timm's names.
        budget: wall-clock time of each training.
        out: folder of the runs.
        seed: of all randomness.
    """

    data: Path
    backbone_weights: str = "none"
    budget: str = "20m"
    out: Path = Path("runs/redkitchen")
    seed: int = 0


def main(settings: Settings) -> None:
    """Train what is not trained yet, and write the pages."""
    named: list[tuple[str, Results]] = []
    for label, recipe in RECIPES:
        folder = settings.out / recipe
        if (folder / "results.json").exists():
            evaluate_run(folder)
        else:
            train(
                recipe,
                data=settings.data,
                out=folder,
                backbone_weights=settings.backbone_weights,
                budget=settings.budget,
                seed=settings.seed,
            )
        named.append((label, Results.load(folder / "results.json")))
    PAGE.with_suffix(".json").write_bytes(to_json(dict(named)))
    table = results_table(named)
    PAGE.write_text(_page(named, table, settings) + _filters(settings.out / ALIGNED))
    replace_block(Path("README.md"), "redkitchen table", _summary(named, table))


def _filters(folder: Path) -> str:
    """The same weights with each way of leaving wrong points out, as in the paper's Table III."""
    named = [
        (name, evaluate_run(folder, out=folder / "filters" / name, outlier_filter=name).results)
        for name in OUTLIER_FILTERS
    ]
    chosen = Results.load(folder / "results.json").outlier_filter
    lines = [
        "",
        "## How wrong points are left out",
        "",
        f"Scene geometry, the same weights. The held-out frames chose `{chosen}`, which is the row above.",
        "",
        results_table(named),
        "",
    ]
    return "\n".join(lines)


def _summary(named: list[tuple[str, Results]], table: str) -> str:
    first = named[0][1]
    budget = first.training.budget if first.training else "some time"
    return (
        f"7Scenes' Red Kitchen, sequence 01: {first.train_frames} training photographs, {first.test_frames} "
        f"to be located, a budget of {budget} of CPU training for each model, ImageNet features of "
        f"MobileNetV2:\n\n{table}"
    )


def _page(named: list[tuple[str, Results]], table: str, settings: Settings) -> str:
    first = named[0][1]
    lines = [
        "# Red Kitchen, learned in minutes on a CPU",
        "",
        "<!-- Written by benchmarks/redkitchen.py; do not edit. -->",
        "",
        _summary(named, table),
        "",
        "Every fourth block of 50 frames is for testing. This is not the official split, so the numbers "
        "compare with each other and not with published ones. The best epoch was chosen on frames held out "
        "of the training frames. A few trial steps fitted the schedule to the budget; where the minutes "
        "below are more, the machine was doing other things as well. Scene geometry first computes the "
        "features of 16 variants of every photograph: some minutes more, once for all runs.",
        "",
        "| | weights | epochs | minutes | ms a photograph | last epoch instead of the best |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    for label, results in named:
        training, timing, final = results.training, results.timing, results.final_epoch
        minutes = f"{training.seconds / 60:.1f}" if training else ""
        last = f"{final.meters.median:.3f} m, {final.degrees.median:.2f}°" if final else ""
        lines.append(
            f"| {label} | {results.parameters or 0:,} | {training.epochs if training else ''} | {minutes} | "
            f"{timing.median if timing else 0:.0f} | {last} |"
        )
    lines += [
        "",
        f"Seed {settings.seed}, {os.cpu_count()} cores ({platform.machine()}), "
        + ", ".join(f"{name} {version}" for name, version in sorted(first.software.items()))
        + ".",
        "",
        "    uv run python -m benchmarks.redkitchen --data FOLDER --backbone-weights FILE",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main(tyro.cli(Settings))
