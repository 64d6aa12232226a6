"""The hypernetwork of 2023 with generators of every weight and with compact ones: size, time, error.

    uv run python -m benchmarks.compact_generators --data FOLDER --backbone-weights FILE

trains both, and the same network without a hypernetwork, on the embedded square's corner and on real frames,
as `benchmarks.robustness` and `benchmarks.regressors`, whose runs it takes up. Writes
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

from benchmarks.passes import shortest
from benchmarks.tables import mean_and_range, medians
from benchmarks.trainings import Table, Trained, table_of
from camloc.cli.commands.demo import settings_of
from camloc.core.config import from_json, to_json
from camloc.data.formats.demo import rendered
from camloc.evaluation.results import Results
from camloc.models import build_model
from camloc.models.base import PoseModel
from camloc.models.layers.hypernetwork import CompactHyperLinear, HyperLinear
from camloc.recipes import find_recipe

PAGE = Path("docs/results/compact_generators.md")
ROWS = (
    ("without hypernetwork", "transposenet"),
    ("full generators", "hyperpose-2023"),
    ("compact generators", "hyperpose-2023-compact"),
)
PASSES = 30

# The scenes, and the files of their recipes.
CORNER, ROOM = "the embedded square's corner", "Red Kitchen"
FILES = {CORNER: "demo", ROOM: "room"}


@dataclass(frozen=True)
class Settings:
    """Where the data are and how to train.

    Attributes:
        data: folder of the real frames; without it those keep the numbers that the page has.
        corner: whether to measure the corner too; it keeps the numbers that the page has if not.
        backbone_weights: ImageNet weights of MobileNetV2, in timm's names, for these.
        seeds: how many trainings of each row.
        out: folder of the corner's runs, some of which `benchmarks.robustness` has trained.
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
    """What a network weighs and takes.

    Attributes:
        weights: learned values.
        generators: those of the layers that generate weights.
        milliseconds: of the processor, one thread, for one image: the shortest of many passes; all networks
            of a scene in turn.
    """

    weights: int
    generators: int
    milliseconds: float


@dataclass(frozen=True)
class Measured:
    """Everything that the page shows.

    Attributes:
        results: of the trainings of each row of each scene.
        sizes: of the networks, in the order of the rows, by scene.
    """

    results: dict[str, Table]
    sizes: dict[str, list[Size]]

    @classmethod
    def of_page(cls) -> "Measured":
        """What an earlier measurement left."""
        path = PAGE.with_suffix(".json")
        return from_json(path.read_bytes(), cls) if path.exists() else cls({}, {})


def main(settings: Settings) -> None:
    """Train what is not trained yet, and write the page."""
    scenes: dict[str, tuple[Path, Path, tuple[str, ...]]] = {}
    if settings.corner:
        scenes[CORNER] = (rendered(settings_of("corner", seed=0)), settings.out, ("--layout", "demo"))
    if settings.data is not None:
        weights = ("--backbone-weights", settings.backbone_weights)
        scenes[ROOM] = (settings.data, settings.room, weights)
    results = Measured.of_page().results
    for scene, (data, out, options) in scenes.items():
        trainings = {
            label: [
                Trained(name, data, out / name / f"seed-{seed}", seed, options)
                for seed in range(settings.seeds)
            ]
            for label, name in rows_of(scene).items()
        }
        results[scene] = table_of(trainings, device=settings.device, jobs=settings.jobs)
    sizes = {scene: measured(list(rows_of(scene).values())) for scene in results}
    all_scenes = Measured(results, sizes)
    PAGE.with_suffix(".json").write_bytes(to_json(all_scenes))
    PAGE.write_text(page(all_scenes))


def rows_of(scene: str) -> dict[str, str]:
    """The recipes of a scene's rows by their labels."""
    return {label: f"{FILES[scene]}/{row}" for label, row in ROWS}


def measured(recipes: Sequence[str]) -> list[Size]:
    """Size and time of the networks of recipes, measured in turn."""
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
    """The whole page."""
    lines = [
        "# Full and compact generators",
        "",
        "<!-- Written by benchmarks/compact_generators.py; do not edit. -->",
        "",
        "HyperPose of 2023 generates all weights of its second pair of heads for each image. The compact "
        "form generates the strengths of fixed patterns instead (`models/parts/hyper.py`). Errors are means "
        "of the medians over the seeds, with the least and the largest. Times are of the processor, on one "
        "thread.",
    ]
    for scene, table in measured.results.items():
        row = next(iter(table.rows.values()))
        first = row.results[0]
        lines += [
            "",
            f"## {scene[0].upper()}{scene[1:]}",
            "",
            f"{first.train_frames} training images, {first.test_frames} to be located, "
            f"{len(row.results)} seeds, {row.training.budget} each, {row.machine}.",
            "",
            "| | weights | of the generators | MB | ms an image | position | orientation |",
            "| --- | --: | --: | --: | --: | --: | --: |",
            *(
                _line(label, table.results(label), size)
                for (label, _), size in zip(ROWS, measured.sizes[scene], strict=True)
            ),
        ]
    lines += [
        "",
        "    uv run python -m benchmarks.compact_generators --data FOLDER --backbone-weights FILE",
        "",
    ]
    return "\n".join(lines)


def _line(label: str, results: list[Results], size: Size) -> str:
    meters, degrees = medians(results)
    return (
        f"| {label} | {size.weights:,} | {size.generators:,} | {4e-6 * size.weights:.1f} | "
        f"{size.milliseconds:.1f} | {mean_and_range(meters, ' m', digits=3)} | "
        f"{mean_and_range(degrees, '°', digits=2)} |"
    )


if __name__ == "__main__":
    main(tyro.cli(Settings))
