"""Cost and gain of 8-bit matrix products: the regressors of Red Kitchen, exported twice.

    uv run python -m benchmarks.exported [--runs runs/regressors]

exports the first seed of every row that `benchmarks.regressors` has trained in single precision and in int8,
evaluates both files on the test frames of their scene, and times them in turn. Writes
`docs/results/exported.json` and `.md`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks.page import median_words, table, write
from benchmarks.page import page as page_of
from benchmarks.passes import machine, onnx_pass, shortest
from benchmarks.regressors import ROWS
from camloc.evaluation.errors import ErrorStatistics
from camloc.inference.onnx.export import export_onnx
from camloc.inference.onnx.runtime import ExportPrecision
from camloc.models.checkpoint import load_checkpoint
from camloc.runs.evaluate import evaluate_run
from camloc.runs.manifest import RunManifest

PRECISIONS: tuple[ExportPrecision, ...] = ("float32", "int8")
HEADINGS = ("model", "file", "int8", "ratio", "time", "int8", "ratio", "median", "int8")


@dataclass(frozen=True)
class Exported:
    """One file: its size, processor time for an image on one thread, and errors on the test frames."""

    megabytes: float
    milliseconds: float
    errors: ErrorStatistics


@dataclass(frozen=True)
class Row:
    """A run and its files in single precision and in int8."""

    label: str
    scene: str
    files: tuple[Exported, Exported]


@dataclass(frozen=True)
class Measured:
    """Everything on the page; `rounds` passes of each file were timed."""

    machine: str
    rounds: int
    rows: tuple[Row, ...]


def main(runs: Path = Path("runs/regressors"), *, rounds: int = 40) -> None:
    """Export, evaluate and time every existing run, and write the page.

    Args:
        runs: Folder of the runs of benchmarks.regressors.
        rounds: Timed passes of each file.
    """
    found = {row.label: runs / row.recipe / "seed-0" for row in ROWS}
    rows = [measured(label, run, rounds) for label, run in found.items() if (run / "results.json").exists()]
    if not rows:
        raise SystemExit(f"{runs} has no runs; train them with benchmarks.regressors")
    everything = Measured(machine(), rounds, tuple(rows))
    write("exported", everything, page(everything))


def measured(label: str, run: Path, rounds: int) -> Row:
    """The two files of one run, whose passes are timed in turn."""
    checkpoint, (source,) = load_checkpoint(run), RunManifest.load(run).data
    preprocess = checkpoint.metadata.preprocess
    image = torch.rand(1, 3, preprocess.height, preprocess.width)
    paths = {precision: run / f"{precision}.onnx" for precision in PRECISIONS}
    for precision, path in paths.items():
        export_onnx(checkpoint, path, precision=precision)
    passes: dict[str, Callable[[], Any]] = {
        precision: onnx_pass(path.read_bytes(), image, 1) for precision, path in paths.items()
    }
    times = shortest(passes, rounds, time.process_time)
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
    """The page."""
    return page_of(
        "Exported in 8-bit whole numbers",
        "exported",
        f"Regressors of {measured.rows[0].scene}, exported by `camloc export` and by `camloc export "
        f"--precision int8`, which stores and multiplies the weights of matrix products as 8-bit whole "
        f"numbers; convolutions stay in single precision. Medians of "
        f"{measured.rows[0].files[0].errors.frames:,} test images; processor time of one of them in ONNX "
        f"Runtime, one thread, the shortest of {measured.rounds} passes, both files in turn.",
        table(HEADINGS, map(_cells, measured.rows)),
        f"{measured.machine}.",
    )


def _cells(row: Row) -> tuple[str, ...]:
    single, whole = row.files
    return (
        row.label,
        *(f"{each.megabytes:.1f} MB" for each in row.files),
        f"{single.megabytes / whole.megabytes:.1f}",
        *(f"{each.milliseconds:.1f} ms" for each in row.files),
        f"{single.milliseconds / whole.milliseconds:.2f}",
        *(median_words(each.errors) for each in row.files),
    )


if __name__ == "__main__":
    tyro.cli(main)
