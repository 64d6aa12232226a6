"""How long a Transformer model takes for one image, beside the structure as it was published.

    uv run python -m benchmarks.latency

writes `docs/results/latency.json` and `.md`. The published structures are built from torch's own modules
(`benchmarks/published.py`), with the same weights where there are such, and both sides are measured in
turn, so that whatever else the machine does disturbs both. The shortest of many passes counts. What was
measured before is read from the folder of runs; delete it to measure again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import nn

from benchmarks.latency_page import Measured, Row, Times, page
from benchmarks.passes import (
    both_sides,
    largest_difference,
    machine,
    multiply_adds,
    shaken,
    shortest,
    weights_of,
)
from benchmarks.published import PlainHyperPose, PlainTransPoseNet, copy_weights
from camloc.core.config import from_json, to_json
from camloc.models import build_model
from camloc.models.hyperpose_2023 import PRESETS as HYPERPOSE
from camloc.models.transposenet import PRESETS as TRANSPOSENET

PAGE = Path("docs/results/latency.md")
SIDE = 224


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        threads: of torch and of ONNX Runtime.
        rounds: passes of each side.
        out: folder of what is measured.
    """

    threads: int = 2
    rounds: int = 40
    out: Path = Path("runs/latency")


@dataclass(frozen=True)
class Case:
    """A model of ours and the published structure that it is compared with.

    Attributes:
        name: of the file of its times.
        label: of its row.
        model: ours.
        config: its settings.
        published: the settings of the published structure.
    """

    name: str
    label: str
    model: str
    config: Any
    published: Any

    @property
    def same(self) -> bool:
        """Whether the two are the same function of an image."""
        return bool(self.config == self.published)


_FOUR_HEADS = replace(TRANSPOSENET["released"], encoder=replace(TRANSPOSENET["released"].encoder, heads=4))

CASES = (
    Case(
        "transposenet",
        "TransPoseNet, as released (8 heads)",
        "transposenet",
        TRANSPOSENET["released"],
        TRANSPOSENET["released"],
    ),
    Case("transposenet-4", "TransPoseNet, 4 heads", "transposenet", _FOUR_HEADS, _FOUR_HEADS),
    Case(
        "hyperpose-2023",
        "HyperPose 2023, as released",
        "hyperpose_2023",
        HYPERPOSE["released"],
        HYPERPOSE["released"],
    ),
    Case(
        "hyperpose-2023-compact",
        "HyperPose 2023, `compact`, beside the released one",
        "hyperpose_2023",
        HYPERPOSE["compact"],
        HYPERPOSE["released"],
    ),
)


def both_networks(case: Case) -> tuple[nn.Module, nn.Module]:
    """Ours and the published structure, with random weights."""
    torch.manual_seed(0)
    ours = shaken(build_model(case.model, case.config)).eval()
    kind: Callable[[Any], nn.Module] = PlainTransPoseNet if case.model == "transposenet" else PlainHyperPose
    return ours, shaken(kind(case.published)).eval()


def with_arithmetic(row: Row, case: Case) -> Row:
    """The row with what is counted, not timed, and so never read from a file."""
    ours, plain = (multiply_adds(each, torch.rand(1, 3, SIDE, SIDE)) for each in both_networks(case))
    return replace(row, multiply_adds=ours, published_multiply_adds=plain)


def measured(case: Case, settings: Settings) -> Row:
    """The times of one case."""
    ours, plain = both_networks(case)
    if case.same:
        copy_weights(ours, plain)
    image = torch.rand(1, 3, SIDE, SIDE)
    passes = both_sides(ours, plain, image)
    with torch.inference_mode():
        cpu = Times(**shortest(passes(1), settings.rounds, time.process_time))
        each = passes(settings.threads)
        wall = Times(**shortest(each, settings.rounds, time.perf_counter))
        wanted = each["published_torch"]()
        difference = max(largest_difference(each[name](), wanted) for name in ("torch", "onnx"))
    return Row(
        label=case.label,
        weights=weights_of(ours),
        published_weights=weights_of(plain),
        wall=wall,
        cpu=cpu,
        difference=difference if case.same else None,
        threads=settings.threads,
        rounds=settings.rounds,
        machine=machine(),
    )


def main(settings: Settings) -> None:
    """Measure what is not measured yet, and write the page."""
    settings.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for case in CASES:
        path = settings.out / f"{case.name}.json"
        if not path.exists():
            path.write_bytes(to_json(measured(case, settings)))
        rows.append(with_arithmetic(from_json(path.read_bytes(), Row), case))
    all_of_it = Measured(tuple(rows))
    PAGE.with_suffix(".json").write_bytes(to_json(all_of_it))
    PAGE.write_text(page(all_of_it))
    print(page(all_of_it))


if __name__ == "__main__":
    main(tyro.cli(Settings))
