"""What one model of many places costs: time over the number of places, beside the published structures.

    uv run python -m benchmarks.many_places [--device cuda]

measures one photograph with 7, 100 and 1,000 places, one photograph and a training step of 8 beside the
structures as published (`benchmarks/published_places.py`), and the size of generated layers. Writes
`docs/results/many_places.json` and `.md`. The shortest of some passes counts, both sides in turn.
"""

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import nn
from torch.nn import functional as F

from benchmarks.published_places import PlainMSHyperPose, PlainMSTransformer, copy_place_weights
from camloc.core.config import to_json
from camloc.core.device import wait_for
from camloc.core.types import Batch
from camloc.geometry.pose import Pose
from camloc.models import build_model
from camloc.models.ms_hyperpose import PRESETS as HYPERPOSE
from camloc.models.ms_transformer import PRESETS as TRANSFORMER

PAGE = Path("docs/results/many_places.md")
SIDE = 224
PLACES = (7, 100, 1000)
BATCH = 8

# Ours, its settings, and the published structure of the same settings or of those it replaces.
PAIRS: tuple[tuple[str, str, Any, Callable[[], nn.Module]], ...] = (
    (
        "MS-Transformer, as released",
        "ms_transformer",
        TRANSFORMER["sevenscenes"],
        lambda: PlainMSTransformer(TRANSFORMER["sevenscenes"]),
    ),
    (
        "MS-HyperPose, as released",
        "ms_hyperpose",
        HYPERPOSE["sevenscenes"],
        lambda: PlainMSHyperPose(HYPERPOSE["sevenscenes"]),
    ),
    (
        "MS-HyperPose, `compact`, beside the released one",
        "ms_hyperpose",
        HYPERPOSE["compact"],
        lambda: PlainMSHyperPose(HYPERPOSE["sevenscenes"]),
    ),
)


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        device: where.
        threads: of torch.
        rounds: passes of each side; of training steps a quarter.
    """

    device: str = "cpu"
    threads: int = 2
    rounds: int = 20


@dataclass(frozen=True)
class Pair:
    """Ours beside the published structure.

    Attributes:
        label: of the row.
        answer_ms, published_answer_ms: of one photograph.
        step_ms, published_step_ms: of a training step of 8, with Adam.
        step_mb, published_step_mb: most memory of it on an accelerator, or None.
        generated_mb: of the layers that generate weights, or 0.
    """

    label: str
    answer_ms: float
    published_answer_ms: float
    step_ms: float
    published_step_ms: float
    step_mb: float | None
    published_step_mb: float | None
    generated_mb: float


@dataclass(frozen=True)
class Growth:
    """One photograph in milliseconds, for each number of places."""

    label: str
    places: tuple[int, ...]
    answer_ms: tuple[float, ...]


@dataclass(frozen=True)
class Costs:
    """Everything on the page."""

    machine: str
    pairs: tuple[Pair, ...]
    growth: tuple[Growth, ...]


def pair(label: str, name: str, config: Any, published: Callable[[], nn.Module], settings: Settings) -> Pair:
    """The times of ours and of the published structure, with random weights."""
    torch.manual_seed(0)
    ours, plain = build_model(name, config), published()
    if "beside" not in label:
        copy_place_weights(ours, plain)
    ours.to(settings.device)
    plain.to(settings.device)
    image = torch.rand(1, 3, SIDE, SIDE, device=settings.device)
    with torch.inference_mode():
        ours.eval()
        plain.eval()
        answers = _shortest(
            {"ours": lambda: ours(image), "plain": lambda: plain(image)}, settings.rounds, settings
        )
    batch = _batch(config.scenes, settings)
    steps = {"ours": _step_of_ours(ours, batch), "plain": _step_of_plain(plain, batch)}
    times = _shortest(steps, max(2, settings.rounds // 4), settings)
    memory = {side: _memory(step, settings) for side, step in steps.items()}
    generated = sum(
        each.numel() for each_name, each in ours.named_parameters() if ".generated.layers." in each_name
    )
    return Pair(
        label,
        answers["ours"],
        answers["plain"],
        times["ours"],
        times["plain"],
        memory["ours"],
        memory["plain"],
        4e-6 * generated,
    )


def growth(label: str, name: str, config: Any, settings: Settings) -> Growth:
    """The time of one photograph for each number of places."""
    models = {str(count): build_model(name, replace(config, scenes=count)).eval() for count in PLACES}
    image = torch.rand(1, 3, SIDE, SIDE, device=settings.device)
    passes: dict[str, Callable[[], Any]] = {}
    for count, model in models.items():
        model.to(settings.device)
        passes[count] = lambda model=model: model(image)  # type: ignore[misc]
    with torch.inference_mode():
        times = _shortest(passes, settings.rounds, settings)
    return Growth(label, PLACES, tuple(times[str(count)] for count in PLACES))


def _batch(scenes: int, settings: Settings) -> Batch:
    generator = torch.Generator().manual_seed(1)
    turns = torch.randn(BATCH, 4, generator=generator)
    return Batch(
        images=torch.rand(BATCH, 3, SIDE, SIDE, generator=generator),
        world_from_cam=Pose.from_quaternion_wxyz(turns, torch.randn(BATCH, 3, generator=generator)),
        intrinsics=None,
        scene=torch.arange(BATCH) % scenes,
    ).to(settings.device)


def _step_of_ours(model: Any, batch: Batch) -> Callable[[], None]:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6, fused=True)

    def step() -> None:
        model.train()
        optimizer.zero_grad()
        torch.stack(list(model.losses(model(batch.images), batch).values())).sum().backward()
        optimizer.step()

    return step


def _step_of_plain(model: nn.Module, batch: Batch) -> Callable[[], None]:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6)
    position, quaternion = batch.world_from_cam.translation, batch.world_from_cam.quaternion_wxyz()

    def step() -> None:
        model.train()
        optimizer.zero_grad()
        found, turned, chances = model(batch.images)
        far = torch.linalg.vector_norm(found - position, dim=-1).mean()
        angle = torch.linalg.vector_norm(F.normalize(turned, dim=-1) - quaternion, dim=-1).mean()
        (far + angle + F.nll_loss(chances, batch.scene)).backward()
        optimizer.step()

    return step


def _memory(step: Callable[[], None], settings: Settings) -> float | None:
    if settings.device != "cuda":
        return None
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def _shortest(passes: Mapping[str, Callable[[], Any]], rounds: int, settings: Settings) -> dict[str, float]:
    """Milliseconds of the shortest pass of each, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in passes}
    device = torch.device(settings.device)
    for _ in range(rounds + 1):
        for name, run in passes.items():
            started = time.perf_counter()
            run()
            wait_for(device)
            times[name].append(1000.0 * (time.perf_counter() - started))
    return {name: min(taken[1:]) for name, taken in times.items()}


def page(costs: Costs) -> str:
    """The page."""
    lines = [
        "# What many places cost",
        "",
        "<!-- Written by benchmarks/many_places.py; do not edit. -->",
        "",
        f"{costs.machine}. One photograph of {SIDE} x {SIDE}; the published structures run the CNN to its "
        "end, and twice for MS-HyperPose, compute attention with its weights and a mask, and select the "
        "place by a mask over all. Training steps are of 8 photographs with Adam.",
        "",
        "| model of 7 places | a photograph, published | ours | ratio | a training step, published | ours | "
        "ratio | memory, published | ours | generators |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for row in costs.pairs:
        cells = (
            row.label,
            f"{row.published_answer_ms:.1f} ms",
            f"{row.answer_ms:.1f} ms",
            f"{row.published_answer_ms / row.answer_ms:.2f}",
            f"{row.published_step_ms:.0f} ms",
            f"{row.step_ms:.0f} ms",
            f"{row.published_step_ms / row.step_ms:.2f}",
            *("" if size is None else f"{size:,.0f} MB" for size in (row.published_step_mb, row.step_mb)),
            f"{row.generated_mb:.1f} MB" if row.generated_mb else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    heads = " | ".join(f"{count:,} places" for count in PLACES)
    lines += [
        "",
        "A photograph over the number of places. The heads, and the generation of their weights, see the "
        "place that was decided on alone; what grows is the decoder, whose queries ask each other and the "
        "map.",
        "",
        f"| | {heads} |",
        "| --- | --: | --: | --: |",
        *(
            f"| {row.label} | {' | '.join(f'{value:.1f} ms' for value in row.answer_ms)} |"
            for row in costs.growth
        ),
        "",
        "    uv run python -m benchmarks.many_places",
        "",
    ]
    return "\n".join(lines)


def main(settings: Settings) -> None:
    """Measure, and write the page."""
    torch.set_num_threads(settings.threads)
    where = torch.cuda.get_device_name() if settings.device == "cuda" else f"CPU, {settings.threads} threads"
    machine = f"{where} ({os.cpu_count()} cores, {platform.machine()}), torch {torch.__version__}"
    pairs = tuple(pair(*each, settings) for each in PAIRS)
    grown = tuple(
        growth(label, name, config, settings)
        for label, name, config in (
            ("MS-Transformer, 7Scenes", "ms_transformer", TRANSFORMER["sevenscenes"]),
            ("MS-HyperPose, `compact`", "ms_hyperpose", HYPERPOSE["compact"]),
            ("MS-HyperPose, as released", "ms_hyperpose", HYPERPOSE["sevenscenes"]),
        )
    )
    costs = Costs(machine, pairs, grown)
    PAGE.with_suffix(".json").write_bytes(to_json(costs))
    PAGE.write_text(page(costs))
    print(page(costs))


if __name__ == "__main__":
    main(tyro.cli(Settings))
