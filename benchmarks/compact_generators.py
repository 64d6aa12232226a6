"""The hypernetwork of 2023 with generators of every weight and with compact ones: size, time, error.

    uv run python -m benchmarks.compact_generators --data FOLDER --backbone-weights FILE

trains both, and the same network without a hypernetwork, on the embedded square's corner and on real frames,
as `benchmarks.robustness` and `benchmarks.regressors`, whose runs it shares. Writes
`docs/results/compact_generators.json` and `.md`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks.page import capital, known, median_ranges, result_page, table, write
from benchmarks.passes import shortest
from benchmarks.trainings import Table, seeds_of, table_of
from camloc.cli.commands.demo import settings_of
from camloc.data.formats.demo import rendered
from camloc.models import build_model
from camloc.models.base import PoseModel
from camloc.models.layers.hypernetwork import CompactHyperLinear, HyperLinear
from camloc.recipes import find_recipe

ROWS = {
    "without hypernetwork": "transposenet",
    "full generators": "hyperpose-2023",
    "compact generators": "hyperpose-2023-compact",
}
HEADINGS = ("", "weights", "of the generators", "MB", "ms an image", "position", "orientation")
PASSES = 30

# The scenes, and the files of their recipes.
CORNER, ROOM = "the embedded square's corner", "Red Kitchen"
FILES = {CORNER: "demo", ROOM: "room"}


@dataclass(frozen=True)
class Settings:
    """Where the data are and how to train.

    Attributes:
        data: folder of the real frames; without it their numbers on the page stay.
        corner: whether to measure the corner too; its numbers on the page stay if not.
        backbone_weights: ImageNet weights of MobileNetV2, in timm's names, for the real frames.
        seeds: number of trainings of each row.
        out: folder of the corner's runs, shared with `benchmarks.robustness`.
        room: folder of the real frames' runs.
        device: where to train.
        jobs: trainings at a time.
    """

    data: Path | None = None
    corner: bool = True
    backbone_weights: str = "none"
    seeds: int = 3
    out: Path = Path("runs/robustness")
    room: Path = Path("runs/regressors")
    device: str = "cpu"
    jobs: int = 1


@dataclass(frozen=True)
class Size:
    """Learned values of a network and of its generators, and processor time of one image on one thread."""

    weights: int
    generators: int
    milliseconds: float


@dataclass(frozen=True)
class Measured:
    """Everything on the page, by scene: trainings of each row, and sizes in the order of the rows."""

    results: dict[str, Table]
    sizes: dict[str, list[Size]]


def main(settings: Settings) -> None:
    """Train what is missing, and write the page."""
    results = known("compact_generators", Measured({}, {})).results
    scenes: dict[str, tuple[Path, Path, tuple[str, ...]]] = {}
    if settings.corner:
        scenes[CORNER] = (rendered(settings_of("corner", seed=0)), settings.out, ("--layout", "demo"))
    if settings.data is not None:
        scenes[ROOM] = (settings.data, settings.room, ("--backbone-weights", settings.backbone_weights))
    for scene, (data, out, options) in scenes.items():
        trainings = {
            label: seeds_of(f"{FILES[scene]}/{name}", data, out, settings.seeds, options)
            for label, name in ROWS.items()
        }
        results[scene] = table_of(trainings, device=settings.device, jobs=settings.jobs)
    sizes = {scene: sizes_of([f"{FILES[scene]}/{name}" for name in ROWS.values()]) for scene in results}
    measured = Measured(results, sizes)
    write("compact_generators", measured, page(measured))


def sizes_of(recipes: Sequence[str]) -> list[Size]:
    """Sizes and times of the networks of recipes; their passes are timed in turn."""
    torch.set_num_threads(1)
    models = {name: _network(name) for name in recipes}
    passes = {name: partial(model, image) for name, (model, image) in models.items()}
    with torch.inference_mode():
        milliseconds = shortest(passes, PASSES, time.process_time)
    return [
        Size(model.parameter_count(), _generators(model), milliseconds[name])
        for name, (model, _) in models.items()
    ]


def _network(name: str) -> tuple[PoseModel[Any], torch.Tensor]:
    recipe = find_recipe(name)
    model = build_model(recipe.model, recipe.config).eval().to(memory_format=torch.channels_last)
    image = torch.rand(1, 3, recipe.preprocess.height, recipe.preprocess.width)
    return model, image.contiguous(memory_format=torch.channels_last)


def _generators(model: PoseModel[Any]) -> int:
    layers = [each for each in model.modules() if isinstance(each, HyperLinear | CompactHyperLinear)]
    return sum(parameter.numel() for layer in layers for parameter in layer.parameters())


def page(measured: Measured) -> str:
    """The page."""
    parts = []
    for scene, trained in measured.results.items():
        row, first = next(iter(trained.rows.values())), trained.first
        rows = [
            (
                label,
                f"{size.weights:,}",
                f"{size.generators:,}",
                f"{4e-6 * size.weights:.1f}",
                f"{size.milliseconds:.1f}",
                *median_ranges(trained.results(label)),
            )
            for label, size in zip(ROWS, measured.sizes[scene], strict=True)
        ]
        parts += [
            f"## {capital(scene)}",
            f"{first.train_frames} training images, {first.test_frames} test images, "
            f"{len(row.results)} seeds, {row.training.budget} each, {row.machine}.",
            table(HEADINGS, rows),
        ]
    return result_page(
        "Full and compact generators",
        "compact_generators",
        "HyperPose of 2023 generates all weights of its second pair of heads for each image. The compact "
        "form generates the strengths of fixed patterns instead (`models/layers/hypernetwork.py`). Errors "
        "are means of the medians over the seeds, with the least and the largest. Times are of the "
        "processor, on one thread.",
        *parts,
        command="--data FOLDER --backbone-weights FILE",
    )


if __name__ == "__main__":
    main(tyro.cli(Settings))
