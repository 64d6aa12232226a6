"""How long the weighted alignment takes, beside the form with a matrix of weights.

    uv run python -m benchmarks.alignment

writes `docs/results/alignment.json` and `.md`. The paper's times (Table V: 1.5, 4.8 and 30 ms for grids of
30 x 40, 60 x 80 and 120 x 160) grow as the dense form does: a diagonal matrix of weights between the
two point maps. A weighted sum over points is the same number.
"""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import roma
import torch
import tyro
from torch import Tensor
from torch.utils.benchmark import Timer

from camloc.core.config import to_json
from camloc.geometry import Camera, Pose, pose_error
from camloc.geometry.alignment import weighted_kabsch
from camloc.models import build_model
from camloc.recipes import implicit_geometry_2023, room
from camloc.training.recipe import Recipe

PAGE = Path("docs/results/alignment.md")
GRIDS = ((30, 40, 1.5), (60, 80, 4.8), (120, 160, 30.0))


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        threads: of torch.
        seconds: least measuring time of each row.
    """

    threads: int = 2
    seconds: float = 2.0


@dataclass(frozen=True)
class Row:
    """One grid.

    Attributes:
        rows, columns: of the grid.
        ours, dense: median milliseconds of one alignment.
        backward: median milliseconds with gradients.
        published: milliseconds in the paper, on its machine.
        difference: metres between the two answers.
    """

    rows: int
    columns: int
    ours: float
    dense: float
    backward: float
    published: float
    difference: float


def dense_kabsch(source: Tensor, target: Tensor, weights: Tensor) -> Pose:
    """The same motion by way of a points x points matrix of weights, for comparison."""
    share = weights / weights.sum()
    matrix = torch.diag(share)
    source_mean, target_mean = share @ source, share @ target
    covariance = (target - target_mean).T @ matrix @ (source - source_mean)
    rotation = roma.special_procrustes(covariance)
    return Pose(rotation, target_mean - rotation @ source_mean)


def measured(rows: int, columns: int, published: float, settings: Settings) -> Row:
    """The times of one grid."""
    generator = torch.Generator().manual_seed(0)
    count = rows * columns
    source = torch.randn(count, 3, generator=generator)
    turn = roma.random_rotmat(generator=generator)
    target = source @ turn.T + torch.tensor([1.0, 2.0, 3.0])
    target += 0.05 * torch.randn(count, 3, generator=generator)
    weights = torch.rand(count, generator=generator)
    names = {"source": source, "target": target, "weights": weights, "dense": dense_kabsch}

    def milliseconds(statement: str) -> float:
        timer = Timer(statement, globals=names | {"ours": weighted_kabsch}, num_threads=settings.threads)
        return 1000.0 * float(timer.blocked_autorange(min_run_time=settings.seconds).median)

    tracked = source.clone().requires_grad_()
    names["tracked"] = tracked
    error = pose_error(weighted_kabsch(source, target, weights), dense_kabsch(source, target, weights))
    return Row(
        rows=rows,
        columns=columns,
        ours=milliseconds("ours(source, target, weights)"),
        dense=milliseconds("dense(source, target, weights)"),
        backward=milliseconds("ours(tracked, target, weights).translation.sum().backward()"),
        published=published,
        difference=float(error.meters),
    )


@dataclass(frozen=True)
class Answer:
    """What an answer takes from a decoded image on, and its parts.

    Attributes:
        label: which network.
        backbone, network, answer: median milliseconds of the backbone alone, of the whole network, and of
            the network with its alignment.
    """

    label: str
    backbone: float
    network: float
    answer: float


def answered(label: str, recipe: Recipe, settings: Settings) -> Answer:
    """The times of one recipe's network with random weights."""
    torch.manual_seed(0)
    model = build_model(recipe.model, recipe.config).eval()
    width, height = recipe.preprocess.width, recipe.preprocess.height
    image = torch.rand(1, 3, height, width).contiguous(memory_format=torch.channels_last)
    model.to(memory_format=torch.channels_last)
    camera = Camera(width, height, float(width), float(width), width / 2, height / 2)
    intrinsics = torch.from_numpy(camera.matrix()).float().unsqueeze(0)
    names = {"model": model, "image": image, "intrinsics": intrinsics}

    def milliseconds(statement: str) -> float:
        timer = Timer(statement, globals=names, num_threads=settings.threads)
        return 1000.0 * float(timer.blocked_autorange(min_run_time=settings.seconds).median)

    with torch.inference_mode():
        return Answer(
            label,
            backbone=milliseconds("model.backbone(image)"),
            network=milliseconds("model(image)"),
            answer=milliseconds("model.decode(model(image), intrinsics=intrinsics)"),
        )


def main(settings: Settings) -> None:
    """Measure and write the page."""
    rows = [measured(*grid, settings) for grid in GRIDS]
    answers = [
        answered("`room/scene-geometry`, 320 x 240", room.scene_geometry(), settings),
        answered("as published, 640 x 480", implicit_geometry_2023.sevenscenes(), settings),
    ]
    PAGE.with_suffix(".json").write_bytes(to_json({"alignment": rows, "answers": answers}))
    lines = [
        "# Weighted alignment",
        "",
        "<!-- Written by benchmarks/alignment.py; do not edit. -->",
        "",
        f"Median time of one alignment, single precision, {settings.threads} threads, batch of 1; both forms "
        "in the same run. The paper's column is from its own machine.",
        "",
        "| grid | weighted sum | with gradients | matrix of weights | ratio | paper | answers differ by |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    lines += [
        f"| {row.rows} x {row.columns} | {row.ours:.3f} ms | {row.backward:.3f} ms | {row.dense:.2f} ms | "
        f"{row.dense / row.ours:.0f} | {row.published:g} ms | {row.difference:.0e} m |"
        for row in rows
    ]
    lines += [
        "",
        "## The whole answer",
        "",
        "From a decoded image in memory to a pose, beside the backbone alone, one image at a time.",
        "",
        "| network | backbone | with heads | with alignment | ratio to the backbone |",
        "| --- | --: | --: | --: | --: |",
    ]
    lines += [
        f"| {each.label} | {each.backbone:.1f} ms | {each.network:.1f} ms | {each.answer:.1f} ms | "
        f"{each.answer / each.backbone:.2f} |"
        for each in answers
    ]
    lines += [
        "",
        f"{os.cpu_count()} cores ({platform.machine()}), torch {torch.__version__}.",
        "",
        "    uv run python -m benchmarks.alignment",
        "",
    ]
    PAGE.write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main(tyro.cli(Settings))
