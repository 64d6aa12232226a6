"""What each part of a query of a map is worth: every part switched off in turn.

    uv run python -m benchmarks.map_ablation --data FOLDER

takes the maps that `benchmarks.maps` has built, extracts the features of their test images once, locates them
with every variant, and writes `docs/results/map_ablation.json` and `.md`. The shipped settings were chosen on
held-out training images; this page only shows what they are worth on test images.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro

from benchmarks.maps import ROWS, Answers, answers_of, error, extracted
from benchmarks.page import known, result_page, table, write
from camloc.data.types import Frame
from camloc.inference.verification import MapLocalizer, VerificationSettings, VerifiedPose
from camloc.mapping.scene_map import SceneMap

SHIPPED = VerificationSettings()
VARIANTS: Mapping[str, VerificationSettings] = {
    "as shipped": SHIPPED,
    "similar images alone as candidates": replace(SHIPPED, sources=("retrieval",)),
    "the whole map alone as candidates": replace(SHIPPED, sources=("whole map",)),
    "no guided pass": replace(SHIPPED, windows=()),
    "no wide windows for weak first poses": replace(SHIPPED, windows=SHIPPED.windows[-1:]),
    "half of the points projected": replace(SHIPPED, most_visible=SHIPPED.most_visible // 2),
    "points of near and of far frames weighed alike": replace(SHIPPED, nearness_power=0.0),
    "a robust loss four times as wide": replace(SHIPPED, loss_scale=4.0 * SHIPPED.loss_scale),
    "focal length not checked": replace(SHIPPED, find_focal_length=False),
}

# Rows of `benchmarks.maps`, and every how many test images.
SETS = {"hololens": 1, "unseen": 1, "redkitchen": 2, "corner": 1}


@dataclass(frozen=True)
class Settings:
    """Where the data and the maps are.

    Attributes:
        data: folder with the folders hololens and redkitchen.
        rows: names of the rows to measure.
        maps: folder of the maps that `benchmarks.maps` has built.
    """

    data: Path
    rows: tuple[str, ...] = tuple(SETS)
    maps: Path = Path("runs/maps")


@dataclass(frozen=True)
class Measured:
    """The answers to the first test set of each row, by the name of the variant."""

    rows: dict[str, dict[str, Answers]] = field(default_factory=dict)


def main(settings: Settings) -> None:
    """Measure the rows, and write the page after each."""
    if os.environ.get("OMP_NUM_THREADS") != "1":
        os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.map_ablation", *sys.argv[1:]])
    for name in settings.rows:
        scene = ROWS[name].load(settings.data)
        frames = scene.test or next(iter(scene.conditions.values()))
        found = variants(SceneMap.load(settings.maps / name), frames[:: SETS[name]], ROWS[name].bound)
        rows = {**known("map_ablation", Measured()).rows, name: found}
        measured = Measured({each: rows[each] for each in SETS if each in rows})
        write("map_ablation", measured, page(measured))


def variants(scene_map: SceneMap, frames: Sequence[Frame], bound: tuple[float, float]) -> dict[str, Answers]:
    """The answers of every variant to the same features."""
    localizers = {name: MapLocalizer(scene_map, settings) for name, settings in VARIANTS.items()}
    found: dict[str, list[tuple[float, tuple[float, float] | None]]] = {name: [] for name in VARIANTS}
    for frame, features, camera, _ in extracted(scene_map, frames):
        truth, size = frame.truth(), (camera.width, camera.height)
        for name, localizer in localizers.items():
            started = time.process_time()
            answer = localizer.locate_features(features, camera, size=size)
            seconds = time.process_time() - started
            verified = answer if isinstance(answer, VerifiedPose) else None
            off = None if verified is None else error(truth, verified.world_from_cam)
            found[name].append((seconds, off))
    return {name: answers_of(each, bound) for name, each in found.items()}


def page(measured: Measured) -> str:
    """The page."""
    sections = []
    for name, row in measured.rows.items():
        cells = [
            (
                variant,
                "∞" if each.meters is None else f"{each.meters:.4f} m",
                "∞" if each.degrees is None else f"{each.degrees:.3f}°",
                f"{each.near:.1%}",
                f"{each.verified:,}",
                f"{each.wrong:,}",
                f"{each.milliseconds:.1f} ms",
            )
            for variant, each in row.items()
        ]
        headings = ("", "position", "orientation", "near", "verified", "wrong", "query")
        sections += [f"## {ROWS[name].label[0].upper()}{ROWS[name].label[1:]}", table(headings, cells)]
    return result_page(
        "Parts of a map's query",
        "map_ablation",
        "Each part of locating an image in a map switched off in turn, on the maps and test images of "
        "[maps of local features](maps.md), with the same features, one image at a time on one core. Medians "
        "count images without a verified pose as infinitely wrong; *near* and *wrong* as there. *Query* is "
        "the time after the features. The settings were chosen on held-out training images.",
        *sections,
        command="--data FOLDER",
    )


if __name__ == "__main__":
    main(tyro.cli(Settings))
