"""What refining a position costs: nearest poses, encoding, weights, and all of it, on one thread of a CPU.

    uv run python -m benchmarks.refinement

writes `docs/results/refinement_cost.json` and `.md`, with the times of the paper (Table 5 and section 4.4,
on a GTX 1080) beside ours. The poses are those of cameras that wander through scenes; weights are random.
Times are taken by the clock, and of the processor: the latter hardly change with what else it has to do.
"""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor

from benchmarks.refinement_page import Measured, Row, Search, Size, Times, page
from camloc.core.config import to_json
from camloc.geometry import Pose, PoseIndex, PoseMetric
from camloc.geometry.pose_search import Nearness
from camloc.models.base import Latents
from camloc.recipes import students
from camloc.refinement.pose_autoencoder import PoseAutoencoder, PoseAutoencoderConfig
from camloc.refinement.position import PositionRefiner
from camloc.refinement.refiner import REFINEMENT_METHODS, PositionRefinement, Query, RefinementMethod

PAGE = Path("docs/results/refinement_cost.md")
LATENT = 256

# Of the embedded scene's regressor.
WIDE = 3072


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        poses: that are remembered, as many as Cambridge Landmarks and 7Scenes have for training.
        many: poses for the search alone.
        queries: answers to refine, one at a time.
    """

    poses: int = 26_000
    many: int = 10_000_000
    queries: int = 200


def wandering_poses(count: int, *, seed: int = 0) -> Pose:
    """Cameras on long walks, a few centimetres and degrees from one to the next."""
    generator = torch.Generator().manual_seed(seed)
    rates = 0.1 + 0.3 * torch.rand(7, generator=generator, dtype=torch.float64)
    phases = 6.3 * torch.rand(7, generator=generator, dtype=torch.float64)
    parts = torch.arange(count, dtype=torch.float64).split(1_000_000)
    return Pose.cat([_part_of_walk(part, rates, phases, generator) for part in parts])


def _part_of_walk(steps: Tensor, rates: Tensor, phases: Tensor, generator: torch.Generator) -> Pose:
    time_, count = steps.unsqueeze(1) / 200, len(steps)
    waves = torch.sin(rates * time_ + phases)
    waves += 0.03 * torch.randn(count, 7, generator=generator, dtype=torch.float64)
    position = waves[:, :3] * torch.tensor([8.0, 6.0, 0.5], dtype=torch.float64)
    quaternion = waves[:, 3:] * torch.tensor([0.4, 0.3, 1.0, 0.2], dtype=torch.float64)
    quaternion[:, 0] += 1.2
    return Pose.from_quaternion_wxyz(quaternion, position)


def questions(poses: Pose, count: int) -> Pose:
    """Answers beside some of the poses, as a regressor would give them."""
    generator = torch.Generator().manual_seed(1)
    rows = torch.randperm(len(poses), generator=generator)[:count]
    off = 0.2 * torch.randn(len(rows), 3, generator=generator, dtype=torch.float64)
    return Pose(poses.rotation[rows], poses.translation[rows] + off)


def timed(action: Callable[[int], object], count: int) -> Times:
    """The times of calls with 0, 1, ..., after a few to warm up."""
    for number in range(min(3, count)):
        action(number)
    processor, clock = [], []
    for number in range(count):
        began, started = time.perf_counter(), time.thread_time()
        action(number)
        processor.append(1000.0 * (time.thread_time() - started))
        clock.append(1000.0 * (time.perf_counter() - began))
    return Times(float(np.median(processor)), float(np.median(clock)), float(np.quantile(clock, 0.9)))


def searched(poses: Pose, kind: Nearness, predict: Pose) -> Search:
    """The times of one tree, and of comparing with all poses."""
    started = time.thread_time()
    index = PoseIndex(poses, PoseMetric(kind))
    build = time.thread_time() - started
    tree = timed(lambda row: index.nearest(predict[row : row + 1], 3), len(predict))
    few = min(20 if len(poses) < 1_000_000 else 3, len(predict))
    brute = timed(lambda row: index.nearest_of_all(predict[row : row + 1], 3), few)
    return Search(len(poses), kind, build, tree, brute)


def refined(way: RefinementMethod, poses: Pose, encoder: PoseAutoencoder, queries: list[Query]) -> Row:
    """The time of one way: search, encoding and weights."""
    count, ridge = (30, 1.0) if way == "anchored" else (3, 1e-6)
    refiner = PositionRefiner(PositionRefinement(way, neighbours=count, ridge=ridge), (poses,), encoder)
    label = f"refining, {way}, {count} neighbours"
    times = timed(lambda row: refiner.refined(queries[row]), len(queries))
    return Row(label, times, {"adamw": 7.51}.get(way))


def files() -> tuple[Size, ...]:
    """The sizes of auto-encoders for narrow latents and for one wide one, as published and as taught here."""
    published, ours = PoseAutoencoderConfig(), students.quick().config
    return (
        Size(f"latents of {LATENT}", PoseAutoencoder(published, latents=(LATENT, LATENT)).megabytes, 0.89),
        Size("the same, `students/quick`", PoseAutoencoder(ours, latents=(LATENT, LATENT)).megabytes),
        Size(f"one latent of {WIDE:,}", _shared(published).megabytes),
        Size("the same, `students/quick`", _shared(ours).megabytes),
    )


def _shared(config: PoseAutoencoderConfig) -> PoseAutoencoder:
    """For teachers whose halves are one, wide."""
    return PoseAutoencoder(replace(config, branches="shared"), latents=(WIDE, WIDE))


def main(settings: Settings) -> None:
    """Measure, and write the page."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    poses = wandering_poses(settings.poses)
    predict = questions(poses, settings.queries)
    encoder = PoseAutoencoder(PoseAutoencoderConfig(), latents=(LATENT, LATENT)).eval()
    encoder.observe((poses,), Latents(*torch.rand(2, len(poses), LATENT)))
    queries = [
        Query(predict[row : row + 1], torch.zeros(1, dtype=torch.int64), Latents(*torch.rand(2, 1, LATENT)))
        for row in range(len(predict))
    ]
    with torch.inference_mode():
        encoded = timed(lambda row: encoder(poses[3 * row : 3 * row + 3]), len(queries))
        rows = [Row("encoding three poses", encoded, published=1.22)]
        rows += [refined(way, poses, encoder, queries) for way in REFINEMENT_METHODS]
    searches = [searched(poses, kind, predict) for kind in ("joint", "published")]
    many = wandering_poses(settings.many)
    searches.append(searched(many, "joint", questions(many, settings.queries)))
    machine = f"{platform.machine()}, torch {torch.__version__}"
    measured = Measured(settings.poses, tuple(rows), tuple(searches), files(), machine)
    PAGE.with_suffix(".json").write_bytes(to_json(measured))
    PAGE.write_text(page(measured))
    print(page(measured))


if __name__ == "__main__":
    main(tyro.cli(Settings))
