"""The time of the weighted alignment, beside the form with a matrix of weights.

    uv run python -m benchmarks.alignment

writes `docs/results/alignment.json` and `.md`. The paper's times (Table V: 1.5, 4.8 and 30 ms for grids of
30 x 40, 60 x 80 and 120 x 160) grow as the dense form does: a diagonal matrix of weights between the two
point maps. A weighted sum over points is the same number.
"""

from dataclasses import dataclass
from typing import Any

import roma
import torch
import tyro
from torch import Tensor
from torch.utils.benchmark import Timer

from benchmarks.page import filled, machine, result_page, write
from camloc.geometry import Camera, Pose, pose_error
from camloc.geometry.alignment import weighted_kabsch
from camloc.models import build_model
from camloc.recipes import implicit_geometry_2023, room
from camloc.training.recipe import Recipe

# Rows and columns of the paper's grids, and its milliseconds.
GRIDS = ((30, 40, 1.5), (60, 80, 4.8), (120, 160, 30.0))

ALIGNMENT = (
    ("grid", "{rows} x {columns}"),
    ("weighted sum", "{ours:.3f} ms"),
    ("with gradients", "{backward:.3f} ms"),
    ("matrix of weights", "{dense:.2f} ms"),
    ("ratio", "{ratio:.0f}"),
    ("paper", "{published:g} ms"),
    ("answers differ by", "{difference:.0e} m"),
)
ANSWERS = (
    ("network", "{label}"),
    ("backbone", "{backbone:.1f} ms"),
    ("with heads", "{network:.1f} ms"),
    ("with alignment", "{answer:.1f} ms"),
    ("ratio to the backbone", "{ratio:.2f}"),
)


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        threads: of torch.
        seconds: least measuring time of each row.
    """

    threads: int = 2
    seconds: float = 2.0

    def milliseconds(self, statement: str, names: dict[str, Any]) -> float:
        """The median time of a statement."""
        timer = Timer(statement, globals=names, num_threads=self.threads)
        return 1000.0 * float(timer.blocked_autorange(min_run_time=self.seconds).median)


def dense_kabsch(source: Tensor, target: Tensor, weights: Tensor) -> Pose:
    """The same motion by way of a points x points matrix of weights, for comparison."""
    share = weights / weights.sum()
    matrix = torch.diag(share)
    source_mean, target_mean = share @ source, share @ target
    covariance = (target - target_mean).T @ matrix @ (source - source_mean)
    rotation = roma.special_procrustes(covariance)
    return Pose(rotation, target_mean - rotation @ source_mean)


def alignment(rows: int, columns: int, published: float, settings: Settings) -> dict[str, float]:
    """The milliseconds of one grid, and the metres between the two answers."""
    generator = torch.Generator().manual_seed(0)
    count = rows * columns
    source = torch.randn(count, 3, generator=generator)
    turn = roma.random_rotmat(generator=generator)
    target = source @ turn.T + torch.tensor([1.0, 2.0, 3.0])
    target += 0.05 * torch.randn(count, 3, generator=generator)
    weights = torch.rand(count, generator=generator)
    names = {"source": source, "target": target, "weights": weights, "dense": dense_kabsch}
    names |= {"ours": weighted_kabsch, "tracked": source.clone().requires_grad_()}
    error = pose_error(weighted_kabsch(source, target, weights), dense_kabsch(source, target, weights))
    backward = "ours(tracked, target, weights).translation.sum().backward()"
    return {
        "rows": rows,
        "columns": columns,
        "ours": settings.milliseconds("ours(source, target, weights)", names),
        "dense": settings.milliseconds("dense(source, target, weights)", names),
        "backward": settings.milliseconds(backward, names),
        "published": published,
        "difference": float(error.meters),
    }


def answer(label: str, recipe: Recipe, settings: Settings) -> dict[str, Any]:
    """The milliseconds from a decoded image to a pose, and of parts, with random weights."""
    torch.manual_seed(0)
    model = build_model(recipe.model, recipe.config).eval().to(memory_format=torch.channels_last)
    width, height = recipe.preprocess.width, recipe.preprocess.height
    image = torch.rand(1, 3, height, width).contiguous(memory_format=torch.channels_last)
    camera = Camera(width, height, float(width), float(width), width / 2, height / 2)
    intrinsics = torch.from_numpy(camera.matrix()).float().unsqueeze(0)
    names = {"model": model, "image": image, "intrinsics": intrinsics}
    with torch.inference_mode():
        return {
            "label": label,
            "backbone": settings.milliseconds("model.backbone(image)", names),
            "network": settings.milliseconds("model(image)", names),
            "answer": settings.milliseconds("model.decode(model(image), intrinsics=intrinsics)", names),
        }


def page(measured: dict[str, Any]) -> str:
    """The page."""
    return result_page(
        "Weighted alignment",
        "alignment",
        f"Median time of one alignment, single precision, {measured['threads']} threads, batch of 1; both "
        "forms in the same run. The paper's column is from its own machine.",
        filled(ALIGNMENT, ({**row, "ratio": row["dense"] / row["ours"]} for row in measured["alignment"])),
        "## The whole estimate",
        "From a decoded image in memory to a pose, beside the backbone alone, one image at a time.",
        filled(ANSWERS, ({**row, "ratio": row["answer"] / row["backbone"]} for row in measured["answers"])),
        f"{measured['machine']}.",
    )


def main(settings: Settings) -> None:
    """Measure and write the page."""
    networks = {
        "`room/scene-geometry`, 320 x 240": room.scene_geometry(),
        "as published, 640 x 480": implicit_geometry_2023.sevenscenes(),
    }
    measured = {
        "threads": settings.threads,
        "machine": machine(),
        "alignment": [alignment(*grid, settings) for grid in GRIDS],
        "answers": [answer(label, recipe, settings) for label, recipe in networks.items()],
    }
    write("alignment", measured, page(measured))


if __name__ == "__main__":
    main(tyro.cli(Settings))
