"""The page of `benchmarks.latency`: what is measured, and how it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Times:
    """Milliseconds of one image.

    Attributes:
        torch, onnx: ours in PyTorch and in ONNX Runtime.
        onnx_int8: ours in ONNX Runtime with matrix products of 8-bit whole numbers, which are not the same.
        published_torch, published_onnx: the published structure.
    """

    torch: float
    onnx: float
    onnx_int8: float
    published_torch: float
    published_onnx: float


@dataclass(frozen=True)
class Row:
    """One case.

    Attributes:
        label: of the case.
        weights, published_weights: how many there are.
        wall: by the clock, on several threads.
        cpu: of the processor, on one thread; other programs hardly change it.
        difference: largest difference of ours, in PyTorch and in ONNX Runtime, from the published output,
            over the largest number of it; None where ours is another network.
        threads, rounds: how it was measured.
        machine: on what.
        multiply_adds, published_multiply_adds: of one image, in convolutions and products of matrices.
    """

    label: str
    weights: int
    published_weights: int
    wall: Times
    cpu: Times
    difference: float | None
    threads: int
    rounds: int
    machine: str
    multiply_adds: int = 0
    published_multiply_adds: int = 0


@dataclass(frozen=True)
class Measured:
    """Everything on the page."""

    rows: tuple[Row, ...]


def page(measured: Measured) -> str:
    """The page of measured rows."""
    rows, first = measured.rows, measured.rows[0]
    lines = [
        "# One image through a Transformer",
        "",
        "<!-- Written by benchmarks/latency.py; do not edit. -->",
        "",
        f"One image of 224 x 224 on a CPU, single precision, the shortest of {first.rounds} passes, the "
        "columns in turn. *Published* is the structure of the authors' code from torch's own modules: "
        "attention with its weights and a mask, all layers for all tokens, the whole CNN (twice for "
        "HyperPose), all tables and classifiers. The first three ratios are to the published structure in "
        "PyTorch, which is what its authors run; the last is to the same in ONNX Runtime, whose export "
        "leaves out by itself what no output depends on. The third is of `camloc export --precision int8`, "
        "whose answers differ a little: [by how much](exported.md).",
        "",
        f"## By the clock, {first.threads} threads",
        "",
        *times_table([(row.label, row.wall) for row in rows]),
        "",
        "## Time of the processor, 1 thread",
        "",
        "Other programs on the machine hardly change these.",
        "",
        *times_table([(row.label, row.cpu) for row in rows]),
        "",
        "## What is computed",
        "",
        "Multiplications with additions, in convolutions and products of matrices. As the outputs are the "
        "same, most of them have to be made: where the times above are less by more than these, the rest is "
        "what was read and written between them.",
        "",
        "| model | published | ours | ratio |",
        "| --- | --: | --: | --: |",
        *(_arithmetic(row) for row in rows),
        "",
        "## Size, and how far the outputs are from the published ones",
        "",
        "| model | weights | | published | | ratio | outputs differ by |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    for row in rows:
        cells = " | ".join(
            f"{count:,} | {count * 4 / 1e6:.0f} MB" for count in (row.weights, row.published_weights)
        )
        differ = "another network" if row.difference is None else f"{row.difference:.0e}"
        lines.append(f"| {row.label} | {cells} | {row.published_weights / row.weights:.1f} | {differ} |")
    return "\n".join([*lines, "", f"{first.machine}.", "", "    uv run python -m benchmarks.latency", ""])


def _arithmetic(row: Row) -> str:
    published, ours = row.published_multiply_adds, row.multiply_adds
    return f"| {row.label} | {published / 1e9:.2f} G | {ours / 1e9:.2f} G | {published / ours:.2f} |"


def times_table(named: Sequence[tuple[str, Times]]) -> list[str]:
    """The lines of a table of times with their ratios."""
    lines = [
        "| model | published, PyTorch | ours, PyTorch | ratio | ours, ONNX Runtime | ratio | "
        "ours, int8 | ratio | published, ONNX Runtime | ratio |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for label, times in named:
        reference = times.published_torch
        lines.append(
            f"| {label} | {reference:.0f} ms | {times.torch:.0f} ms | {reference / times.torch:.2f} | "
            f"{times.onnx:.0f} ms | {reference / times.onnx:.2f} | "
            f"{times.onnx_int8:.0f} ms | {reference / times.onnx_int8:.2f} | {times.published_onnx:.0f} ms | "
            f"{times.published_onnx / times.onnx:.2f} |"
        )
    return lines
