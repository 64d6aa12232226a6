"""Every regressor, with and without its hypernetwork, at one budget and over several seeds.

    uv run python -m benchmarks.regressors --data FOLDER --backbone-weights FILE --budget 5m --jobs 2
    uv run python -m benchmarks.regressors ... --budget 20m --device cuda --jobs 27

trains each row of `ROWS` on real frames (7Scenes' Red Kitchen, sequence 01, with `train.txt` and `test.txt`),
evaluates it, and writes `docs/results/regressors.json` and `.md`, a table for each budget and machine. Runs
that are there are not trained again; rows that are left out, and other tables, keep the numbers that the page
has.

So many trainings side by side share a GPU well where they go through NVIDIA's multi-process service.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks.hypernetworks import MODEL_PAGE
from benchmarks.regressors_page import ROWS, Measured, Row, page, verdicts
from benchmarks.tables import replace_block
from benchmarks.trainings import Trained, table_of
from camloc.core.config import to_json

PAGE = Path("docs/results/regressors.md")

# Of the model's page.
BLOCK = "what real frames say"


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
    measured = Measured.load(path).with_table(new)
    path.write_bytes(to_json(measured))
    PAGE.write_text(page(measured))
    replace_block(MODEL_PAGE, BLOCK, verdicts(measured))


def _trainings(row: Row, settings: Settings) -> list[Trained]:
    options: tuple[str, ...] = ("--backbone-weights", settings.backbone_weights)
    if settings.budget:
        options = (*options, "--budget", settings.budget)
    return [
        Trained(row.recipe, settings.data, settings.out / row.recipe / f"seed-{seed}", seed, options)
        for seed in range(settings.seeds)
    ]


if __name__ == "__main__":
    main(tyro.cli(Settings))
