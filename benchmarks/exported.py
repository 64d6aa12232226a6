"""What matrix products in 8-bit whole numbers cost and gain: the regressors of Red Kitchen, exported twice.

    uv run python -m benchmarks.exported [--runs runs/regressors]

exports the first seed of every row that `benchmarks.regressors` has trained in single precision and in int8,
evaluates both files on the test frames of their scene, and times them in turn. Writes
`docs/results/exported.json` and `.md`.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from benchmarks.passes import machine, onnx_pass, shortest
from benchmarks.regressors_page import ROWS
from benchmarks.tables import median_words
from camloc.core.config import to_json
from camloc.evaluation.errors import ErrorStatistics
from camloc.inference.onnx.export import export_onnx
from camloc.inference.onnx.runtime import ExportPrecision
from camloc.models.checkpoint import load_checkpoint
from camloc.runs.evaluate import evaluate_run
from camloc.runs.manifest import RunManifest

PAGE = Path("docs/results/exported.md")
PRECISIONS: tuple[ExportPrecision, ...] = ("float32", "int8")


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        runs: folder of what `benchmarks.regressors` has trained.
        rounds: timed passes of each file.
    """

    runs: Path = Path("runs/regressors")
    rounds: int = 40


@dataclass(frozen=True)
class Exported:
    """One file.

    Attributes:
        megabytes: its size.
        milliseconds: of the processor for an image, one thread.
        errors: on the test frames.
    """

    megabytes: float
    milliseconds: float
    errors: ErrorStatistics


@dataclass(frozen=True)
class Row:
    """A run and its two files.

    Attributes:
        label: of the run.
        scene: the scene.
        files: in single precision and in int8.
    """

    label: str
    scene: str
    files: tuple[Exported, Exported]


@dataclass(frozen=True)
class Measured:
    """Everything on the page.

    Attributes:
        machine: what it was measured on.
        rounds: timed passes of each file.
        rows: the runs.
    """

    machine: str
    rounds: int
    rows: tuple[Row, ...]


def main(settings: Settings) -> None:
    """Export, evaluate and time every run that is there, and write the page."""
    runs = {row.label: settings.runs / row.recipe / "seed-0" for row in ROWS}
    rows = tuple(
        measured(label, run, settings.rounds)
        for label, run in runs.items()
        if (run / "results.json").exists()
    )
    if not rows:
        raise SystemExit(f"{settings.runs} has no runs; train them with benchmarks.regressors")
    found = Measured(machine(), settings.rounds, rows)
    PAGE.with_suffix(".json").write_bytes(to_json(found))
    PAGE.write_text(page(found))


def measured(label: str, run: Path, rounds: int) -> Row:
    """One run: its two files, of which the passes are timed in turn."""
    checkpoint, (source,) = load_checkpoint(run), RunManifest.load(run).data
    preprocess = checkpoint.metadata.preprocess
    image = torch.rand(1, 3, preprocess.height, preprocess.width)
    paths = {precision: run / f"{precision}.onnx" for precision in PRECISIONS}
    for precision, path in paths.items():
        export_onnx(checkpoint, path, precision=precision)
    passes = [onnx_pass(path.read_bytes(), image, 1) for path in paths.values()]
    times = shortest(dict(zip(map(str, paths), passes, strict=True)), rounds, time.process_time)
    single, whole = (
        Exported(
            path.stat().st_size / 1e6,
            times[precision],
            evaluate_run(path, data=source).results.headline.estimates,
        )
        for precision, path in paths.items()
    )
    return Row(label, source.load().name, (single, whole))


def page(measured: Measured) -> str:
    """The page of measured rows."""
    frames = measured.rows[0].files[0].errors.frames
    lines = [
        "# Exported in whole numbers",
        "",
        "<!-- Written by benchmarks/exported.py; do not edit. -->",
        "",
        f"Regressors that have learned {measured.rows[0].scene}, exported by `camloc export` and by `camloc "
        f"export --precision int8`, which keeps and multiplies the weights of matrix products in 8-bit "
        f"whole numbers; convolutions stay as they are. Medians of {frames:,} test images; time of the "
        f"processor for one of them in ONNX Runtime, one thread, the shortest of {measured.rounds} passes, "
        f"both files in turn.",
        "",
        "| model | file | int8 | ratio | time | int8 | ratio | median | int8 |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: |",
        *(_line(row) for row in measured.rows),
        "",
        f"{measured.machine}.",
        "",
        "    uv run python -m benchmarks.exported",
        "",
    ]
    return "\n".join(lines)


def _line(row: Row) -> str:
    single, whole = row.files
    cells = (
        row.label,
        f"{single.megabytes:.1f} MB",
        f"{whole.megabytes:.1f} MB",
        f"{single.megabytes / whole.megabytes:.1f}",
        f"{single.milliseconds:.1f} ms",
        f"{whole.milliseconds:.1f} ms",
        f"{single.milliseconds / whole.milliseconds:.2f}",
        median_words(single.errors),
        median_words(whole.errors),
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main(tyro.cli(Settings))
