"""Sequences with and without tracking: errors, the share of images with a pose, and time.

    uv run python -m benchmarks.tracking --data FOLDER [--maps FOLDER]

Each block of consecutive test images is one sequence. "gaps" are the same sequences with three of ten images
covered by grey: images that alone are lost.
"""

import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from jaxtyping import UInt8
from numpy.typing import NDArray

from benchmarks.maps import ROWS
from benchmarks.page import filled, known, result_page, write
from camloc import Localizer, Located, Query
from camloc.data.image_io import read_with_camera
from camloc.data.query import NamedQuery
from camloc.data.types import Estimate, Frame
from camloc.geometry.pose import pose_error
from camloc.inference.tracking import Track
from camloc.inference.verification import MapLocalizer
from camloc.mapping.build import MapSettings
from camloc.mapping.scene_map import SceneMap
from camloc.runs.map import build_map

# Images in a second of each scene; the office's recording does not say, and it was walked.
_RATES = {"redkitchen": 30.0, "hololens": 5.0}

_BLOCKS = {"redkitchen": "redkitchen (50 each)", "hololens": "the office floor, hololens (12 each)"}

# Of ten images in a row the last three are covered, but none of the first ten.
_PERIOD, _COVERED = 10, 3


@dataclass(frozen=True)
class Row:
    """Errors of the images of a scene by one method; null stands for infinity."""

    scene: str
    images: str
    method: str
    frames: int
    with_pose: float
    meters_median: float | None
    degrees_median: float | None
    meters_90: float | None
    degrees_90: float | None
    meters_largest: float | None
    cpu_milliseconds: float
    covered_by_two_sigma: float | None


@dataclass(frozen=True)
class Measured:
    """All rows."""

    rows: tuple[Row, ...]


def sequences(frames: Sequence[Frame]) -> list[list[tuple[float, Frame]]]:
    """Blocks of consecutive frames with the numbers in their names."""
    blocks: list[list[tuple[float, Frame]]] = []
    for frame in sorted(frames, key=_number):
        number = _number(frame)
        if blocks and number - blocks[-1][-1][0] <= 3:
            blocks[-1].append((number, frame))
        else:
            blocks.append([(number, frame)])
    return blocks


def main(
    data: Annotated[Path, tyro.conf.arg(metavar="FOLDER")],
    maps: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None,
    scenes: tuple[str, ...] = tuple(_RATES),
) -> None:
    """Measure, and write docs/results/tracking.json and .md.

    Args:
        data: folder with the folders redkitchen and hololens.
        maps: folder that keeps the maps, one folder a scene; built where it is missing.
        scenes: names of scenes to measure; the rows of the others stay.
    """
    before = known("tracking", Measured(())).rows
    rows = {name: [row for row in before if row.scene == name] for name in _RATES}
    with tempfile.TemporaryDirectory() as scratch:
        for name in scenes:
            rows[name] = []
            scene = ROWS[name].load(data)
            localizer = Localizer(maps={name: MapLocalizer(_map(name, data, maps or Path(scratch)))})
            single: dict[str, tuple[Estimate, float]] = {}
            for images in ("all", "gaps"):
                rows[name] += measured(name, images, localizer, sequences(scene.test), _RATES[name], single)
    measured_rows = Measured(tuple(row for name in _RATES for row in rows[name]))
    write("tracking", measured_rows, page(measured_rows))


def measured(
    scene: str,
    images: str,
    localizer: Localizer,
    blocks: Sequence[Sequence[tuple[float, Frame]]],
    rate: float,
    single: dict[str, tuple[Estimate, float]],
) -> list[Row]:
    """Each image alone; with those before it; with those before and after it.

    `single` holds the estimates of single images with their times, so that images are located alone once.
    """
    alone: list[tuple[Estimate, Frame]] = []
    online: list[tuple[Estimate, Frame]] = []
    smooth: list[tuple[Estimate, Frame]] = []
    seconds = {"alone": 0.0, "online": 0.0, "smooth": 0.0}
    for block in blocks:
        frames = [frame for _, frame in block]
        queries = list(_queries(block, rate, covered=images == "gaps"))
        for query, frame in zip(queries, frames, strict=True):
            key = f"{frame.name} {isinstance(query.query.image, Path)}"
            if key not in single:
                started = time.process_time()
                found = localizer.locate(query.query)
                single[key] = found, time.process_time() - started
            alone.append((single[key][0], frame))
            seconds["alone"] += single[key][1]
        track = Track(localizer)
        started = time.process_time()
        tracked = list(track.images(queries))
        seconds["online"] += time.process_time() - started
        online += [(each.pose, frame) for each, frame in zip(tracked, frames, strict=True)]
        started = time.process_time()
        smoothed = track.smooth()
        seconds["smooth"] += time.process_time() - started
        smooth += [(each.pose, frame) for each, frame in zip(smoothed, frames, strict=True)]
    seconds["smooth"] += seconds["online"]
    return [
        row(scene, images, method, estimates, 1e3 * seconds[key] / len(estimates))
        for method, key, estimates in (
            ("alone", "alone", alone),
            ("tracked, live", "online", online),
            ("tracked, smoothed", "smooth", smooth),
        )
    ]


def row(
    scene: str, images: str, method: str, found: Sequence[tuple[Estimate, Frame]], milliseconds: float
) -> Row:
    """The errors of estimates; a lost one is infinitely wrong."""
    meters, degrees, within = [], [], []
    for estimate, frame in found:
        if not isinstance(estimate, Located):
            meters.append(np.inf)
            degrees.append(np.inf)
            continue
        error = pose_error(estimate.world_from_cam.numpy(), frame.truth())
        meters.append(float(error.meters))
        degrees.append(float(error.degrees))
        if estimate.covariance is not None:
            sigma = float(np.sqrt(np.diag(estimate.covariance)[3:].sum()))
            within.append(meters[-1] <= 2.0 * sigma)
    return Row(
        scene=scene,
        images=images,
        method=method,
        frames=len(found),
        with_pose=float(np.isfinite(meters).mean()),
        meters_median=_quantile(meters, 0.5),
        degrees_median=_quantile(degrees, 0.5),
        meters_90=_quantile(meters, 0.9),
        degrees_90=_quantile(degrees, 0.9),
        meters_largest=_quantile(meters, 1.0),
        cpu_milliseconds=milliseconds,
        covered_by_two_sigma=float(np.mean(within)) if within else None,
    )


def page(found: Measured) -> str:
    """The page."""
    shown = [name for name in _BLOCKS if any(row.scene == name for row in found.rows)]
    columns = [
        ("scene", "{scene}"),
        ("images", "{images}"),
        ("", "{method}"),
        ("with a pose", "{with_pose:.1%}"),
        ("median", "{median}"),
        ("90 %", "{ninety}"),
        ("largest", "{largest}"),
        ("within two sigma", "{sigma}"),
        ("an image, CPU", "{cpu_milliseconds:.0f} ms"),
    ]
    cells: list[dict[str, Any]] = [
        vars(each)
        | {
            "median": _pair(each.meters_median, each.degrees_median),
            "ninety": _pair(each.meters_90, each.degrees_90),
            "largest": "lost" if each.meters_largest is None else f"{each.meters_largest:.3f} m",
            "sigma": "" if each.covered_by_two_sigma is None else f"{each.covered_by_two_sigma:.1%}",
        }
        for each in found.rows
    ]
    return result_page(
        "Tracking",
        "tracking",
        f"Blocks of consecutive test images of {' and of '.join(_BLOCKS[name] for name in shown)}, each "
        "located alone, or as a sequence by `camloc track`: with the images before it (live), and with those "
        "before and after it (smoothed). In *gaps* three of ten images are covered by grey. A lost image is "
        "infinitely wrong. The motion model is estimated from each sequence, without its truth.",
        filled(columns, cells, text_columns=3),
        "Near a predicted pose the features of a smaller image are enough, which saves time; they are fewer "
        "and less exact, so that live medians are larger. Smoothing takes the motion between neighbouring "
        "images from the features that they share: what the map's errors have in common for them, a filter "
        "takes for motion. *Smoothed* counts all the time. What is left is common to whole sequences (the "
        "map's own errors, and those of the poses that it was built from); the covariances allow for it.",
        command="--data FOLDER",
    )


def _queries(block: Sequence[tuple[float, Frame]], rate: float, *, covered: bool) -> Iterator[NamedQuery]:
    for position, (number, frame) in enumerate(block):
        image: Path | UInt8[NDArray[np.uint8], "h w 3"] = frame.image
        if covered and position >= _PERIOD // 2 and position % _PERIOD >= _PERIOD - _COVERED:
            image = np.full_like(np.asarray(read_with_camera(frame)[0]), 128)
        yield NamedQuery(frame.name, Query(image, frame.camera, time=number / rate, name=frame.name))


def _map(name: str, data: Path, maps: Path) -> SceneMap:
    folder = maps / name
    if not (folder / "map.json").is_file():
        settings = MapSettings(size_bytes=ROWS[name].size_bytes)
        build_map(ROWS[name].load(data), settings).scene_map.save(folder)
    return SceneMap.load(folder)


def _number(frame: Frame) -> float:
    return float(re.findall(r"\d+", Path(frame.name).name)[0])


def _quantile(values: Sequence[float], share: float) -> float | None:
    found = float(np.quantile(values, share, method="inverted_cdf"))
    return found if np.isfinite(found) else None


def _pair(meters: float | None, degrees: float | None) -> str:
    return "lost" if meters is None or degrees is None else f"{meters:.3f} m, {degrees:.2f}°"


if __name__ == "__main__":
    tyro.cli(main)
