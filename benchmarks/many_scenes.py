"""The cost of one model of many scenes: beside the published structures, and over the number of scenes.

    uv run python -m benchmarks.many_scenes [--device cuda]

measures one image and a training step of 8 beside the structures as published
(`tests/support/authors.py`), one image with 7, 100 and 1,000 scenes, and the size of generated layers.
Writes `docs/results/many_scenes.json` and `.md`. The shortest of several passes counts, both sides in turn.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import tyro
from tests.support import authors
from torch import nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.page import filled, result_page, table, write
from benchmarks.passes import (
    BATCH,
    both_sides,
    camloc_step,
    largest_difference,
    machine,
    published_step,
    random_images,
    shortest,
    times_table,
    with_weights_of,
)
from camloc.core.device import wait_for
from camloc.models import build_model
from camloc.models.ms_hyperpose import PRESETS as HYPERPOSE
from camloc.models.ms_transformer import PRESETS as TRANSFORMER
from camloc.models.ms_transposenet import PRESETS as TRANSPOSENET
from camloc.runs.prepare import Compute

SIDE = 224
SCENES = (7, 100, 1000)

_STEPS = (
    ("model", "{label}"),
    ("published", "{published_ms:,.0f} ms"),
    ("ours", "{ours_ms:,.0f} ms"),
    ("ratio", "{time_ratio:.2f}"),
    ("memory, published", "{published_mb:,.0f} MB"),
    ("ours", "{ours_mb:,.0f} MB"),
    ("ratio", "{memory_ratio:.2f}"),
    ("generators", "{generators}"),
    ("poses differ by", "{differ}"),
)


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        device: of the training steps; images pass on the CPU.
        threads: of torch and of ONNX Runtime, for times by the clock; 0 for none, where other programs use
            the machine: a thread that waits for its turn says nothing about the network.
        rounds: passes of each side; of training steps a quarter.
    """

    device: str = "cpu"
    threads: int = 0
    rounds: int = 12


@dataclass(frozen=True)
class Case:
    """A model of ours and a published structure; `is_same` if both are the same function of an image."""

    label: str
    model: str
    config: Any
    published: Callable[[], nn.Module]
    is_same: bool = True


_TRANSFORMER, _TRANSPOSENET = TRANSFORMER["sevenscenes"], TRANSPOSENET["sevenscenes"]
_HYPERPOSE, _COMPACT = HYPERPOSE["sevenscenes"], HYPERPOSE["compact"]
_MANY_TRANSPOSENET = "TransPoseNet of many scenes"


def _hyperpose() -> nn.Module:
    return authors.MSTransformer(7, (4, 4), hyper=(256, 512))


CASES = (
    Case(
        "MS-Transformer, as released",
        "ms_transformer",
        _TRANSFORMER,
        partial(authors.MSTransformer, 7, (6, 4)),
    ),
    Case(
        _MANY_TRANSPOSENET,
        "ms_transposenet",
        _TRANSPOSENET,
        partial(authors.MSTransPoseNet, 7),
        is_same=False,
    ),
    Case(
        "MS-HyperPose, `compact`, beside the released one",
        "ms_hyperpose",
        _COMPACT,
        _hyperpose,
        is_same=False,
    ),
    Case("MS-HyperPose, as released", "ms_hyperpose", _HYPERPOSE, _hyperpose),
)

GROWING = (
    ("MS-Transformer, 7Scenes", "ms_transformer", _TRANSFORMER),
    (_MANY_TRANSPOSENET, "ms_transposenet", _TRANSPOSENET),
    ("MS-HyperPose, `compact`", "ms_hyperpose", _COMPACT),
)


def measured(case: Case, settings: Settings) -> dict[str, Any]:
    """Times and memory of one case, with random weights."""
    torch.manual_seed(0)
    plain = authors.shaken(case.published())
    name = case.model if case.is_same else None
    ours = with_weights_of(plain, build_model(case.model, case.config), name=name)
    cpu, wall, difference = image_times(ours, plain, settings)
    generated = sum(each.numel() for name, each in ours.named_parameters() if ".generated.layers." in name)
    return {
        "label": case.label,
        "cpu": cpu,
        "wall": wall,
        "difference": difference if case.is_same else None,
        "step": training_steps(ours, plain, case.config.scenes, settings),
        "generated_mb": 4e-6 * generated,
        "threads": settings.threads,
        "rounds": settings.rounds,
        "device": settings.device if settings.device == "cpu" else torch.cuda.get_device_name(),
        "machine": machine(),
    }


def image_times(
    ours: nn.Module, plain: nn.Module, settings: Settings
) -> tuple[dict[str, float], dict[str, float] | None, float]:
    """One image in processor time and by the clock, and the difference of the outputs."""
    passes = both_sides(ours, plain, torch.rand(1, 3, SIDE, SIDE))
    with torch.inference_mode():
        wall = None
        if settings.threads:
            wall = shortest(passes(settings.threads), settings.rounds, time.perf_counter)
        each = passes(1)
        cpu = shortest(each, settings.rounds, time.process_time)
        wanted = each["published_torch"]()[0].split((3, 4), dim=1)
        difference = max(largest_difference(each[name]()[:2], wanted) for name in ("torch", "onnx"))
    return cpu, wall, difference


def training_steps(ours: Any, plain: nn.Module, scenes: int, settings: Settings) -> dict[str, float]:
    """Time and memory of a step: on a CPU processor time on 1 thread, on an accelerator by the clock."""
    torch.set_num_threads(1)
    device = torch.device(settings.device)
    images = random_images(scenes)
    steps = {
        "ours": camloc_step(ours.to(device), images, Compute(settings.device)),
        "published": published_step(plain.to(device), images, device),
    }

    def awaited(step: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            step()
            wait_for(device)

        return run

    clock = time.process_time if device.type == "cpu" else time.perf_counter
    passes = {name: awaited(step) for name, step in steps.items()}
    times = shortest(passes, max(2, settings.rounds // 4), clock, warm_up=1)
    return {
        "ours_ms": times["ours"],
        "published_ms": times["published"],
        "ours_mb": peak_megabytes(ours, steps["ours"], device.type),
        "published_mb": peak_megabytes(plain, steps["published"], device.type),
    }


def peak_megabytes(model: nn.Module, step: Callable[[], None], device: str) -> float:
    """The most memory of a step beside weights and optimiser state: activations and gradients.

    On a CPU from all allocations of torch that its profiler records.
    """
    for parameter in model.parameters():
        parameter.grad = None
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    assert recorded.profiler is not None
    assert recorded.profiler.kineto_results is not None
    events = [each for each in recorded.profiler.kineto_results.events() if each.name() == "[memory]"]
    allocated = most = 0
    for event in sorted(events, key=lambda each: each.start_ns()):
        allocated += event.nbytes()
        most = max(most, allocated)
    return most / 1e6


def growth(label: str, name: str, config: Any, *, rounds: int) -> dict[str, Any]:
    """One image in processor time, for each number of scenes."""
    torch.set_num_threads(1)
    image = torch.rand(1, 3, SIDE, SIDE)
    passes = {
        str(count): partial(build_model(name, replace(config, scenes=count)).eval(), image)
        for count in SCENES
    }
    with torch.inference_mode():
        times = shortest(passes, rounds, time.process_time)
    return {"label": label, "scenes": SCENES, "answer_ms": [times[str(count)] for count in SCENES]}


def page(measured: dict[str, Any]) -> str:
    """The page."""
    pairs, grown = measured["pairs"], measured["growth"]
    first = pairs[0]
    on_cpu = first["device"] == "cpu"
    by_clock = [(pair["label"], pair["wall"]) for pair in pairs if pair["wall"] is not None]
    steps = [
        {
            **pair["step"],
            "label": pair["label"],
            "time_ratio": pair["step"]["published_ms"] / pair["step"]["ours_ms"],
            "memory_ratio": pair["step"]["published_mb"] / pair["step"]["ours_mb"],
            "generators": f"{pair['generated_mb']:.1f} MB" if pair["generated_mb"] else "",
            "differ": "another network" if pair["difference"] is None else f"{pair['difference']:.0e}",
        }
        for pair in pairs
    ]
    return result_page(
        "The cost of many scenes",
        "many_scenes",
        f"Models of 7 scenes, images of 224 x 224, random weights, single precision, the shortest of "
        f"{first['rounds']} passes, the columns in turn. The published structures run the CNN to its end, "
        "and twice for MS-HyperPose, compute attention with its weights and a mask, and select the scene by "
        "a mask over all; TransPoseNet's tokens depend on the scene of its classifier. The third ratio is of "
        "`camloc export --precision int8`, whose outputs differ a little: [by how much](exported.md).",
        "## One image, processor time, 1 thread",
        "Other programs on the machine hardly change these.",
        times_table((pair["label"], pair["cpu"]) for pair in pairs),
        f"## One image by the clock, {first['threads']} threads" if by_clock else "",
        times_table(by_clock) if by_clock else "",
        f"## A training step of {BATCH} images",
        f"With Adam; {'processor time, 1 thread' if on_cpu else 'by the clock, on ' + first['device']}. "
        "Memory is the most that a step holds beside the weights and the optimiser's state: activations and "
        "gradients.",
        filled(_STEPS, steps),
        "## Over the number of scenes",
        "One image, processor time on 1 thread, in PyTorch. The heads, and the generation of their weights, "
        "run for the chosen scene alone. What grows is the decoder, whose queries attend to each other and "
        "to the feature map, and in TransPoseNet the last layer of its encoders.",
        table(
            ("", *(f"{count:,} scenes" for count in grown[0]["scenes"])),
            ((row["label"], *(f"{each:.0f} ms" for each in row["answer_ms"])) for row in grown),
        ),
        f"{first['machine']}.",
    )


def main(settings: Settings) -> None:
    """Measure, and write the page."""
    everything = {
        "pairs": [measured(case, settings) for case in CASES],
        "growth": [growth(*each, rounds=settings.rounds) for each in GROWING],
    }
    write("many_scenes", everything, page(everything))


if __name__ == "__main__":
    main(tyro.cli(Settings))
