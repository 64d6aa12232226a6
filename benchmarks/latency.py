"""The time of one image through a Transformer model, beside the structure as it was published.

    uv run python -m benchmarks.latency

writes `docs/results/latency.json` and `.md`. The published structures are built from torch's own modules
(`benchmarks/published.py`), with the same weights where both have them, and both sides are measured in turn.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import tyro
from torch import nn

from benchmarks.page import filled, write
from benchmarks.page import page as page_of
from benchmarks.passes import (
    both_sides,
    largest_difference,
    machine,
    multiply_adds,
    shaken,
    shortest,
    times_table,
    weights_of,
)
from benchmarks.published import PlainHyperPose, PlainTransPoseNet, copy_weights
from camloc.models import build_model
from camloc.models.hyperpose_2023 import PRESETS as HYPERPOSE
from camloc.models.transposenet import PRESETS as TRANSPOSENET

SIDE = 224

ARITHMETIC = (
    ("model", "{label}"),
    ("published", "{published:.2f} G"),
    ("ours", "{ours:.2f} G"),
    ("ratio", "{ratio:.2f}"),
)
SIZES = (
    ("model", "{label}"),
    ("weights", "{weights:,}"),
    ("", "{megabytes:.0f} MB"),
    ("published", "{published_weights:,}"),
    ("", "{published_megabytes:.0f} MB"),
    ("ratio", "{ratio:.1f}"),
    ("outputs differ by", "{differ}"),
)


@dataclass(frozen=True)
class Case:
    """A model of ours and the settings of the published structure; equal settings give equal outputs."""

    label: str
    model: str
    config: Any
    published: Any

    def networks(self) -> tuple[nn.Module, nn.Module]:
        """Ours and the published structure, with random weights."""
        torch.manual_seed(0)
        ours = shaken(build_model(self.model, self.config)).eval()
        kind: Callable[[Any], nn.Module] = (
            PlainTransPoseNet if self.model == "transposenet" else PlainHyperPose
        )
        return ours, shaken(kind(self.published)).eval()


_EIGHT_HEADS = TRANSPOSENET["released"]
_FOUR_HEADS = replace(_EIGHT_HEADS, encoder=replace(_EIGHT_HEADS.encoder, heads=4))
_RELEASED, _COMPACT = HYPERPOSE["released"], HYPERPOSE["compact"]

CASES = (
    Case("TransPoseNet, as released (8 heads)", "transposenet", _EIGHT_HEADS, _EIGHT_HEADS),
    Case("TransPoseNet, 4 heads", "transposenet", _FOUR_HEADS, _FOUR_HEADS),
    Case("HyperPose 2023, as released", "hyperpose_2023", _RELEASED, _RELEASED),
    Case("HyperPose 2023, `compact`, beside the released one", "hyperpose_2023", _COMPACT, _RELEASED),
)


def measured(case: Case, *, threads: int, rounds: int) -> dict[str, Any]:
    """Times, size and arithmetic of one case.

    `wall` is by the clock, on several threads; `cpu` is processor time on one thread; `difference` is None
    where ours is another network.
    """
    ours, plain = case.networks()
    is_same = case.config == case.published
    if is_same:
        copy_weights(ours, plain)
    image = torch.rand(1, 3, SIDE, SIDE)
    passes = both_sides(ours, plain, image)
    with torch.inference_mode():
        cpu = shortest(passes(1), rounds, time.process_time)
        each = passes(threads)
        wall = shortest(each, rounds, time.perf_counter)
        wanted = each["published_torch"]()
        difference = max(largest_difference(each[name](), wanted) for name in ("torch", "onnx"))
    return {
        "label": case.label,
        "weights": weights_of(ours),
        "published_weights": weights_of(plain),
        "wall": wall,
        "cpu": cpu,
        "difference": difference if is_same else None,
        "threads": threads,
        "rounds": rounds,
        "machine": machine(),
        "multiply_adds": multiply_adds(ours, image),
        "published_multiply_adds": multiply_adds(plain, image),
    }


def page(measured: dict[str, Any]) -> str:
    """The page."""
    rows = measured["rows"]
    first = rows[0]
    arithmetic = [
        {
            "label": row["label"],
            "published": row["published_multiply_adds"] / 1e9,
            "ours": row["multiply_adds"] / 1e9,
            "ratio": row["published_multiply_adds"] / row["multiply_adds"],
        }
        for row in rows
    ]
    sizes = [
        {
            **row,
            "megabytes": row["weights"] * 4 / 1e6,
            "published_megabytes": row["published_weights"] * 4 / 1e6,
            "ratio": row["published_weights"] / row["weights"],
            "differ": "another network" if row["difference"] is None else f"{row['difference']:.0e}",
        }
        for row in rows
    ]
    return page_of(
        "One image through a Transformer",
        "latency",
        f"One image of 224 x 224 on a CPU, single precision, the shortest of {first['rounds']} passes, the "
        "columns in turn. *Published* is the structure of the authors' code from torch's own modules: "
        "attention with its weights and a mask, all layers for all tokens, the whole CNN (twice for "
        "HyperPose), all tables and classifiers. The first three ratios are to the published structure in "
        "PyTorch, which is what its authors run; the last is to the same in ONNX Runtime, whose export "
        "removes what no output depends on. The third is of `camloc export --precision int8`, whose outputs "
        "differ a little: [by how much](exported.md).",
        f"## By the clock, {first['threads']} threads",
        times_table((row["label"], row["wall"]) for row in rows),
        "## Processor time, 1 thread",
        "Other programs on the machine hardly change these.",
        times_table((row["label"], row["cpu"]) for row in rows),
        "## Arithmetic",
        "Multiplications with additions, in convolutions and products of matrices. As the outputs are the "
        "same, most of them are necessary: where the times above are less by more than these, the rest is "
        "reading and writing between them.",
        filled(ARITHMETIC, arithmetic),
        "## Size, and difference of the outputs from the published ones",
        filled(SIZES, sizes),
        f"{first['machine']}.",
    )


def main(threads: int = 2, *, rounds: int = 40) -> None:
    """Measure, and write the page.

    Args:
        threads: Of torch and of ONNX Runtime.
        rounds: Passes of each side.
    """
    everything = {"rows": [measured(case, threads=threads, rounds=rounds) for case in CASES]}
    write("latency", everything, page(everything))


if __name__ == "__main__":
    tyro.cli(main)
