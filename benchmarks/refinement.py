"""The cost of refining a position: nearest poses, encoding, weights, and all together, on one CPU thread.

    uv run python -m benchmarks.refinement

writes `docs/results/refinement_cost.json` and `.md`, with the times of the paper (Table 5 and section 4.4, on
a GTX 1080) beside ours. The poses are those of cameras that wander through scenes; weights are random. Times
are by the clock and of the processor; other programs change the latter little.
"""

import platform
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.page import filled, result_page, write
from camloc.geometry import Pose, PoseIndex, PoseMetric
from camloc.geometry.pose_search import Nearness
from camloc.models.base import Latents
from camloc.recipes import students
from camloc.refinement.pose_autoencoder import PoseAutoencoder, PoseAutoencoderConfig
from camloc.refinement.position import PositionRefiner
from camloc.refinement.refiner import REFINEMENT_METHODS, PositionRefinement, Query, RefinementMethod

LATENT = 256

# Latents of the embedded scene's regressor.
WIDE = 3072

TIMES = (
    ("", "{label}"),
    ("processor", "{times[processor]:.3f} ms"),
    ("by the clock", "{times[clock]:.3f} ms"),
    ("90 % of them", "{times[clock_90]:.3f} ms"),
    ("paper", "{paper}"),
)
SEARCHES = (
    ("poses", "{poses:,}"),
    ("metric", "{kind}"),
    ("tree, built once", "{build_seconds:.2f} s"),
    ("search, processor", "{tree[processor]:.3f} ms"),
    ("by the clock", "{tree[clock]:.3f} ms"),
    ("all poses", "{brute_force[processor]:.2f} ms"),
    ("ratio", "{ratio:.0f}"),
)
SIZES = (("", "{label}"), ("ours", "{megabytes:.2f} MB"), ("paper", "{paper}"))


def wandering_poses(count: int, *, seed: int = 0) -> Pose:
    """Cameras on long walks, a few centimetres and degrees from one to the next."""
    generator = torch.Generator().manual_seed(seed)
    rates = 0.1 + 0.3 * torch.rand(7, generator=generator, dtype=torch.float64)
    phases = 6.3 * torch.rand(7, generator=generator, dtype=torch.float64)
    parts = torch.arange(count, dtype=torch.float64).split(1_000_000)
    return Pose.cat([_part_of_walk(part, rates, phases, generator) for part in parts])


def _part_of_walk(steps: Tensor, rates: Tensor, phases: Tensor, generator: torch.Generator) -> Pose:
    waves = torch.sin(rates * steps.unsqueeze(1) / 200 + phases)
    waves += 0.03 * torch.randn(len(steps), 7, generator=generator, dtype=torch.float64)
    position = waves[:, :3] * torch.tensor([8.0, 6.0, 0.5], dtype=torch.float64)
    quaternion = waves[:, 3:] * torch.tensor([0.4, 0.3, 1.0, 0.2], dtype=torch.float64)
    quaternion[:, 0] += 1.2
    return Pose.from_quaternion_wxyz(quaternion, position)


def noisy_estimates(poses: Pose, count: int) -> Pose:
    """Poses beside some of the poses, like the estimates of a regressor."""
    generator = torch.Generator().manual_seed(1)
    rows = torch.randperm(len(poses), generator=generator)[:count]
    off = 0.2 * torch.randn(len(rows), 3, generator=generator, dtype=torch.float64)
    return Pose(poses.rotation[rows], poses.translation[rows] + off)


def timed(action: Callable[[int], object], count: int) -> dict[str, float]:
    """Milliseconds of the calls with 0, 1, ..., after a few to warm up: medians, and a 90 % quantile."""
    for number in range(min(3, count)):
        action(number)
    processor, clock = [], []
    for number in range(count):
        began, started = time.perf_counter(), time.thread_time()
        action(number)
        processor.append(1000.0 * (time.thread_time() - started))
        clock.append(1000.0 * (time.perf_counter() - began))
    return {
        "processor": float(np.median(processor)),
        "clock": float(np.median(clock)),
        "clock_90": float(np.quantile(clock, 0.9)),
    }


def compared_with_all(index: PoseIndex, query: Pose, count: int) -> NDArray[np.int64]:
    """The rows of the nearest poses, by the distance from every one."""
    query = query.numpy()
    (position,), (quaternion,) = query.translation, query.quaternion_wxyz()
    scales = index._scales(position, quaternion)
    distances = index._distances(slice(None), position, quaternion, scales)
    return np.argsort(distances, kind="stable")[:count]


def search(poses: Pose, kind: Nearness, queries: Pose) -> dict[str, Any]:
    """Times of the nearest three of many poses: in a tree, and by comparison with all poses."""
    started = time.thread_time()
    index = PoseIndex(poses, PoseMetric(kind))
    build = time.thread_time() - started
    tree = timed(lambda row: index.nearest(queries[row : row + 1], 3), len(queries))
    few = min(20 if len(poses) < 1_000_000 else 3, len(queries))
    brute = timed(lambda row: compared_with_all(index, queries[row : row + 1], 3), few)
    return {"poses": len(poses), "kind": kind, "build_seconds": build, "tree": tree, "brute_force": brute}


def refined(
    method: RefinementMethod, poses: Pose, encoder: PoseAutoencoder, queries: list[Query]
) -> dict[str, Any]:
    """The time of one method: search, encoding and weights."""
    count, ridge = (30, 1.0) if method == "anchored" else (3, 1e-6)
    refiner = PositionRefiner(PositionRefinement(method, neighbours=count, ridge=ridge), (poses,), encoder)
    label = f"refining, {method}, {count} neighbours"
    times = timed(lambda row: refiner.refined(queries[row]), len(queries))
    return {"label": label, "times": times, "published": {"adamw": 7.51}.get(method)}


def sizes() -> list[dict[str, Any]]:
    """Megabytes of auto-encoders for narrow latents and for one wide one, as published and as in camloc."""
    published, ours = PoseAutoencoderConfig(), students.quick().config

    def megabytes(config: PoseAutoencoderConfig, width: int = LATENT) -> float:
        return PoseAutoencoder(config, latents=(width, width)).megabytes

    narrow = {f"latents of {LATENT}": megabytes(published), "the same, `students/quick`": megabytes(ours)}
    wide = [megabytes(replace(each, branches="shared"), WIDE) for each in (published, ours)]
    rows = [
        *narrow.items(),
        *zip((f"one latent of {WIDE:,}", "the same, `students/quick`"), wide, strict=True),
    ]
    paper = (0.89, None, None, None)
    return [
        {"label": label, "megabytes": size, "published": known}
        for (label, size), known in zip(rows, paper, strict=True)
    ]


def page(measured: dict[str, Any]) -> str:
    """The page."""
    poses = measured["poses"]

    def with_paper(row: dict[str, Any], unit: str) -> dict[str, Any]:
        published = row["published"]
        return row | {"paper": "" if published is None else f"{published:g} {unit}"}

    searches = [
        row | {"ratio": row["brute_force"]["processor"] / row["tree"]["processor"]}
        for row in measured["searches"]
    ]
    files = [
        with_paper(row, "MB") | {"label": f"pose auto-encoder, {row['label']}"} for row in measured["sizes"]
    ]
    stored = {
        "label": f"{poses:,} poses, seven numbers of double precision",
        "megabytes": poses * 7 * 8 / 1e6,
        "paper": "2.15 MB",
    }
    return result_page(
        "The cost of refining a position",
        "refinement",
        f"{poses:,} training poses, one estimate at a time, one thread of a CPU. Medians of processor time, "
        "which other programs change less, and of time by the clock. Refining is search, encoding and "
        "weights together, as are the paper's 7.51 ms; its times are from a GTX 1080.",
        filled(TIMES, (with_paper(row, "ms") for row in measured["rows"])),
        "## Nearest poses",
        "The nearest three. Comparing with all poses was timed in the same run, vectorised, on the same "
        "thread. The ratio and the building of the tree are in processor time.",
        filled(SEARCHES, searches, text_columns=2),
        "## Memory",
        filled(SIZES, [*files, stored]),
        f"{measured['machine']}.",
    )


def main(poses: int = 26_000, *, many: int = 10_000_000, queries: int = 200) -> None:
    """Measure, and write the page.

    Args:
        poses: Training poses, as many as Cambridge Landmarks and 7Scenes have.
        many: Poses for the search alone.
        queries: Estimates to refine, one at a time.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    known = wandering_poses(poses)
    estimates = noisy_estimates(known, queries)
    encoder = PoseAutoencoder(PoseAutoencoderConfig(), latents=(LATENT, LATENT)).eval()
    encoder.observe((known,), Latents(*torch.rand(2, len(known), LATENT)))
    batch = [
        Query(estimates[row : row + 1], torch.zeros(1, dtype=torch.int64), Latents(*torch.rand(2, 1, LATENT)))
        for row in range(len(estimates))
    ]
    with torch.inference_mode():
        encoded = timed(lambda row: encoder(known[3 * row : 3 * row + 3]), len(batch))
        rows = [{"label": "encoding three poses", "times": encoded, "published": 1.22}]
        rows += [refined(method, known, encoder, batch) for method in REFINEMENT_METHODS]
    searches = [search(known, kind, estimates) for kind in ("joint", "published")]
    more = wandering_poses(many)
    searches.append(search(more, "joint", noisy_estimates(more, queries)))
    machine = f"{platform.machine()}, torch {torch.__version__}"
    measured = {"poses": poses, "rows": rows, "searches": searches, "sizes": sizes(), "machine": machine}
    write("refinement_cost", measured, page(measured))


if __name__ == "__main__":
    tyro.cli(main)
