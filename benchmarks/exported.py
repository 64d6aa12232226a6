"""Cost and gain of 8-bit integers: the regressors of Red Kitchen, exported twice.

    uv run python -m benchmarks.exported [--runs runs/regressors] [--only PoseNet]

exports the first seed of every row that `benchmarks.regressors` has trained in single precision and in int8,
calibrated as `camloc export` does, evaluates both files on the test frames of their scene, and times them in
turn. Writes `docs/results/exported.json` and `.md`; rows that are not measured keep their numbers.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks.page import known, median_words, result_page, table, write
from benchmarks.passes import machine, onnx_pass, shortest
from benchmarks.regressors import ROWS
from camloc.evaluation.errors import ErrorStatistics
from camloc.inference.onnx.export import export_onnx
from camloc.inference.onnx.quantization import Quantised
from camloc.inference.onnx.runtime import ExportPrecision
from camloc.models.checkpoint import load_checkpoint
from camloc.runs.evaluate import evaluate_run
from camloc.runs.export import calibration_of
from camloc.runs.manifest import RunManifest

PRECISIONS: tuple[ExportPrecision, ...] = ("float32", "int8")
HEADINGS = (
    "model", "file", "int8", "share", "time", "int8", "ratio", "median", "int8", "held out, int8",
    "layers in int8",
)  # fmt: skip


@dataclass(frozen=True)
class Exported:
    """One file: its size, processor time for an image on one thread, and errors on the test frames."""

    megabytes: float
    milliseconds: float
    errors: ErrorStatistics


@dataclass(frozen=True)
class Row:
    """A run and its files in single precision and in int8.

    Attributes:
        label, scene: of the run.
        files: both.
        loss: share by which the larger of both medians on held-out training frames grows with int8; None for
            int8 without training images, where only matrix products are in integers.
        layers: numbers of layers in int8 and of all.
        kept: layers in single precision.
        budget: seconds of training, or 0 for the recipe's schedule.
    """

    label: str
    scene: str
    files: tuple[Exported, Exported]
    loss: float | None = None
    layers: tuple[int, int] = (0, 0)
    kept: tuple[str, ...] = ()
    budget: float = 0.0


@dataclass(frozen=True)
class Measured:
    """Everything on the page; `rounds` passes of each file were timed."""

    machine: str
    rounds: int
    rows: tuple[Row, ...]


def main(runs: Path = Path("runs/regressors"), *, only: tuple[str, ...] = (), rounds: int = 20) -> None:
    """Export, evaluate and time the existing runs, and write the page.

    Args:
        runs: Folder of the runs of benchmarks.regressors.
        only: Labels of the rows to measure; all by default.
        rounds: Timed passes of each file.
    """
    earlier = known("exported", Measured("", 0, ())).rows
    found = {row.label: row for row in earlier if row.loss is not None}
    for row in ROWS:
        run = runs / row.recipe / "seed-0"
        if (run / "run.json").exists() and (not only or row.label in only):
            found[row.label] = measured(row.label, run, rounds)
    if not found:
        raise SystemExit(f"{runs} has no runs; train them with benchmarks.regressors")
    rows = [found[row.label] for row in ROWS if row.label in found]
    rows += [row for row in earlier if row.loss is None]
    everything = Measured(machine(), rounds, tuple(rows))
    write("exported", everything, page(everything))


def measured(label: str, run: Path, rounds: int) -> Row:
    """The two files of one run, whose passes are timed in turn."""
    checkpoint, manifest = load_checkpoint(run), RunManifest.load(run)
    (source,) = manifest.data
    preprocess = checkpoint.metadata.preprocess
    image = torch.rand(1, 3, preprocess.height, preprocess.width)
    calibration = calibration_of(run, checkpoint.metadata, checkpoint.model.decoding.numpy())
    paths = {precision: run / f"{precision}.onnx" for precision in PRECISIONS}
    made: dict[str, Quantised | None] = {
        precision: export_onnx(checkpoint, path, precision=precision, calibration=calibration)
        for precision, path in paths.items()
    }
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
    integers = made["int8"]
    assert integers is not None
    assert integers.single is not None
    assert integers.found is not None
    return Row(
        label,
        source.load().name,
        (single, whole),
        integers.found.loss(integers.single),
        (integers.layers - len(integers.kept), integers.layers),
        integers.kept,
        manifest.budget_seconds,
    )


def page(measured: Measured) -> str:
    """The page."""
    calibrated = [row for row in measured.rows if row.loss is not None]
    others = [row for row in measured.rows if row.loss is None]
    first = measured.rows[0]
    return result_page(
        "Exported in 8-bit integers",
        "exported",
        f"Regressors of {first.scene}, exported by `camloc export` and by `camloc export --precision int8`. "
        f"Medians of {first.files[0].errors.frames:,} test images, which decided nothing; processor time of "
        f"one of them in ONNX Runtime, one thread, the shortest of at least {measured.rounds} passes, both "
        f"files in turn.",
        *(_calibrated(calibrated) if calibrated else ()),
        "## Without training images",
        "Where a run's images are no longer there, only matrix products are in integers, with scales that "
        "are computed at run time; convolutions stay in single precision.",
        table(HEADINGS[:-2], [_cells(row) for row in others]),
        f"{measured.machine}.",
    )


def _calibrated(rows: list[Row]) -> list[str]:
    """The part on calibrated files."""
    budgets = sorted({f"{row.budget:.0f}" for row in rows}, key=float)
    return [
        "## With training images",
        f"Weights, maps and products are 8-bit integers, calibrated on training frames, with as many layers "
        f"in single precision as keep both medians of held-out frames within 5 %. The networks were "
        f"trained for {' to '.join(dict.fromkeys((budgets[0], budgets[-1])))} seconds: enough to compare the "
        f"files, and too few to compare the networks.",
        table(HEADINGS, [_cells(row) for row in rows]),
        *(f"{row.label} keeps in single precision: {'; '.join(row.kept)}." for row in rows if row.kept),
    ]


def _cells(row: Row) -> tuple[str, ...]:
    single, whole = row.files
    return (
        row.label,
        *(f"{each.megabytes:.1f} MB" for each in row.files),
        f"{whole.megabytes / single.megabytes:.2f}",
        *(f"{each.milliseconds:.1f} ms" for each in row.files),
        f"{single.milliseconds / whole.milliseconds:.2f}",
        *(median_words(each.errors) for each in row.files),
        *(() if row.loss is None else (f"{row.loss:+.1%}", f"{row.layers[0]} of {row.layers[1]}")),
    )


if __name__ == "__main__":
    tyro.cli(main)
