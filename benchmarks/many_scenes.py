"""What one model of many scenes costs: beside the published structures, and over the number of scenes.

    uv run python -m benchmarks.many_scenes [--device cuda]

measures one image and a training step of 8 beside the structures as published
(`benchmarks/published_scenes.py`), one image with 7, 100 and 1,000 scenes, and the size of generated
layers. Writes `docs/results/many_scenes.json` and `.md`. The shortest of some passes counts, both sides in
turn. What was measured before is read from the folder of runs; delete it to measure again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import nn

from benchmarks.latency_page import Times
from benchmarks.many_scenes_page import Costs, Growth, Pair, Step, page
from benchmarks.passes import both_sides, largest_difference, machine, shaken, shortest
from benchmarks.published_scenes import (
    PlainMSHyperPose,
    PlainMSTransformer,
    PlainMSTransPoseNet,
    copy_scene_weights,
)
from benchmarks.training_steps import peak_megabytes, random_batch, step_of_ours, step_of_plain
from camloc.core.config import from_json, to_json
from camloc.core.device import wait_for
from camloc.models import build_model
from camloc.models.ms_hyperpose import PRESETS as HYPERPOSE
from camloc.models.ms_transformer import PRESETS as TRANSFORMER
from camloc.models.ms_transposenet import PRESETS as TRANSPOSENET

PAGE = Path("docs/results/many_scenes.md")
SIDE = 224
SCENES = (7, 100, 1000)


@dataclass(frozen=True)
class Case:
    """A model of ours and the published structure that it is compared with.

    Attributes:
        name: of the file of its times.
        label: of its row.
        model: ours.
        config: its settings.
        published: the published structure.
        same: whether the two are the same function of an image.
    """

    name: str
    label: str
    model: str
    config: Any
    published: Callable[[], nn.Module]
    same: bool = True


CASES = (
    Case(
        "ms-transformer",
        "MS-Transformer, as released",
        "ms_transformer",
        TRANSFORMER["sevenscenes"],
        lambda: PlainMSTransformer(TRANSFORMER["sevenscenes"]),
    ),
    Case(
        "ms-transposenet",
        "TransPoseNet of many scenes",
        "ms_transposenet",
        TRANSPOSENET["sevenscenes"],
        lambda: PlainMSTransPoseNet(TRANSPOSENET["sevenscenes"]),
        same=False,
    ),
    Case(
        "ms-hyperpose-compact",
        "MS-HyperPose, `compact`, beside the released one",
        "ms_hyperpose",
        HYPERPOSE["compact"],
        lambda: PlainMSHyperPose(HYPERPOSE["sevenscenes"]),
        same=False,
    ),
    Case(
        "ms-hyperpose",
        "MS-HyperPose, as released",
        "ms_hyperpose",
        HYPERPOSE["sevenscenes"],
        lambda: PlainMSHyperPose(HYPERPOSE["sevenscenes"]),
    ),
)

GROWING = (
    ("MS-Transformer, 7Scenes", "ms_transformer", TRANSFORMER["sevenscenes"]),
    ("TransPoseNet of many scenes", "ms_transposenet", TRANSPOSENET["sevenscenes"]),
    ("MS-HyperPose, `compact`", "ms_hyperpose", HYPERPOSE["compact"]),
)


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        device: of the training steps; images pass on the CPU.
        threads: of torch and of ONNX Runtime, for times by the clock; 0 for none, where others use the
            machine: a thread that waits for its turn says nothing about the network.
        rounds: passes of each side; of training steps a quarter.
        out: folder of what is measured.
    """

    device: str = "cpu"
    threads: int = 0
    rounds: int = 12
    out: Path = Path("runs/many-scenes")


def measured(case: Case, settings: Settings) -> Pair:
    """The times and the memory of one case, with random weights."""
    torch.manual_seed(0)
    ours, plain = shaken(build_model(case.model, case.config)), shaken(case.published())
    if case.same:
        copy_scene_weights(ours, plain)
    cpu, wall, difference = answers(ours.eval(), plain.eval(), settings)
    generated = sum(each.numel() for name, each in ours.named_parameters() if ".generated.layers." in name)
    return Pair(
        label=case.label,
        cpu=cpu,
        wall=wall,
        difference=difference if case.same else None,
        step=training_steps(ours, plain, case.config.scenes, settings),
        generated_mb=4e-6 * generated,
        threads=settings.threads,
        rounds=settings.rounds,
        device=settings.device if settings.device == "cpu" else torch.cuda.get_device_name(),
        machine=machine(),
    )


def answers(ours: nn.Module, plain: nn.Module, settings: Settings) -> tuple[Times, Times | None, float]:
    """One image in time of the processor and by the clock, and how far the outputs differ."""
    image = torch.rand(1, 3, SIDE, SIDE)
    passes = both_sides(ours, plain, image)
    with torch.inference_mode():
        wall = None
        if settings.threads:
            wall = Times(**shortest(passes(settings.threads), settings.rounds, time.perf_counter))
        each = passes(1)
        cpu = Times(**shortest(each, settings.rounds, time.process_time))
        wanted = each["published_torch"]()[:2]
        difference = max(largest_difference(each[name]()[:2], wanted) for name in ("torch", "onnx"))
    return cpu, wall, difference


def training_steps(ours: Any, plain: nn.Module, scenes: int, settings: Settings) -> Step:
    """A step of either side: on a CPU time of the processor on 1 thread, on an accelerator by the clock."""
    torch.set_num_threads(1)
    device = torch.device(settings.device)
    batch = random_batch(scenes, SIDE, settings.device)
    sides: tuple[nn.Module, nn.Module] = (ours.to(device), plain.to(device))
    steps = step_of_ours(ours, batch), step_of_plain(plain, batch)

    def awaited(step: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            step()
            wait_for(device)

        return run

    clock = time.process_time if device.type == "cpu" else time.perf_counter
    names = ("ours", "plain")
    passes = {name: awaited(step) for name, step in zip(names, steps, strict=True)}
    times = shortest(passes, max(2, settings.rounds // 4), clock, warm_up=1)
    ours_mb, plain_mb = (
        peak_megabytes(side, step, device.type) for side, step in zip(sides, steps, strict=True)
    )
    return Step(times["ours"], times["plain"], ours_mb, plain_mb)


def growth(label: str, name: str, config: Any, settings: Settings) -> Growth:
    """One image in time of the processor, for each number of scenes."""
    torch.set_num_threads(1)
    image = torch.rand(1, 3, SIDE, SIDE)
    models = {count: build_model(name, replace(config, scenes=count)).eval() for count in SCENES}
    passes = {str(count): (lambda model=model: model(image)) for count, model in models.items()}
    with torch.inference_mode():
        times = shortest(passes, settings.rounds, time.process_time)
    return Growth(label, SCENES, tuple(times[str(count)] for count in SCENES))


def main(settings: Settings) -> None:
    """Measure what is not measured yet, and write the page."""
    settings.out.mkdir(parents=True, exist_ok=True)
    pairs = []
    for case in CASES:
        path = settings.out / f"{case.name}.json"
        if not path.exists():
            path.write_bytes(to_json(measured(case, settings)))
        pairs.append(from_json(path.read_bytes(), Pair))
    grown = []
    for label, name, config in GROWING:
        path = settings.out / f"growth-{name}.json"
        if not path.exists():
            path.write_bytes(to_json(growth(label, name, config, settings)))
        grown.append(from_json(path.read_bytes(), Growth))
    costs = Costs(tuple(pairs), tuple(grown))
    PAGE.with_suffix(".json").write_bytes(to_json(costs))
    PAGE.write_text(page(costs))
    print(page(costs))


if __name__ == "__main__":
    main(tyro.cli(Settings))
