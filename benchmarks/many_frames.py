"""Time and memory of commands with many frames: `docs/results/many_frames.md`.

    uv run python -m benchmarks.many_frames DATA
    uv run python -m benchmarks.many_frames --maps

DATA is the folder `redkitchen`, whose frames are copied under other names, with a few bytes behind each image
and a millimetre of noise on each position, so that no two are the same: `camloc import` and `camloc check`.
`--maps` builds maps of rendered frames instead. Each row is a process of its own.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro

from benchmarks.page import filled, known, result_page, write
from camloc.data.formats import load, table
from camloc.data.formats.demo import rendered
from camloc.data.types import Scene
from camloc.geometry.pose import Pose
from market_square import SquareSettings

NAME = "many_frames"

MILLION = 1_000_000


@dataclass(frozen=True)
class Row:
    """What a command cost: seconds of the processor and of the clock, and its largest memory."""

    command: str
    frames: int
    processor_seconds: float
    seconds: float
    megabytes: float


@dataclass(frozen=True)
class MapRow:
    """A map of rendered frames: its parts, seconds of the processor, and the largest memory."""

    frames: int
    pairs: int
    matches: int
    points: int
    map_megabytes: float
    seconds: dict[str, float]
    processor_seconds: float
    megabytes: float


@dataclass(frozen=True)
class Measured:
    """The rows of the page, and of how many cores they were given."""

    rows: tuple[Row, ...] = ()
    cores: int = 1
    maps: tuple[MapRow, ...] = ()


def copied(data: Path, folder: Path, count: int) -> None:
    """Write a data set of so many frames, whose walk is that of `data`, again and again."""
    scene = load(data)
    frames = sorted((*scene.train, *scene.test), key=lambda frame: frame.name)
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    made = []
    for number in range(count):
        frame = frames[number % len(frames)]
        walk = number // len(frames)
        path = folder / "images" / f"{walk:03d}" / f"{number:06d}{frame.image.suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(frame.image.read_bytes() + number.to_bytes(4, "big"))
        pose = frame.truth()
        moved = Pose(pose.rotation, pose.translation + random.normal(0.0, 1e-3, 3))
        name = path.relative_to(folder).as_posix()
        made.append(replace(frame, name=name, image=path, world_from_cam=moved, sequence=f"{walk:03d}"))
    kept = count * 9 // 10
    table.write(Scene("walks", tuple(made[:kept]), tuple(made[kept:])), folder / "poses.csv")


def measured(command: str, frames: int, *words: str) -> Row:
    """Run a command of camloc in a process of its own."""
    wall = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "camloc", command, *words])
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"camloc {command} ended with {os.waitstatus_to_exitcode(status)}")
    # The kernel counts in kilobytes.
    return Row(command, frames, _processor(usage), time.perf_counter() - wall, usage.ru_maxrss / 1024)


def rendered_scene(count: int) -> Scene:
    """So many small frames of walks around the square."""
    settings = SquareSettings(width=192, height=144, train_frames=count, test_frames=1)
    return load(rendered(settings), layout="demo")


def measured_map(count: int) -> MapRow:
    """Build the map of rendered frames in a process of its own."""
    rendered_scene(count)
    program = (
        "import json, sys\n"
        "from benchmarks.many_frames import rendered_scene\n"
        "from camloc.mapping.build import MapSettings\n"
        "from camloc.runs.map import build_map\n"
        "report = build_map(rendered_scene(int(sys.argv[1])), MapSettings()).report\n"
        "names = ('frames', 'pairs', 'matches', 'points', 'size_bytes', 'seconds')\n"
        "print(json.dumps({name: getattr(report, name) for name in names}))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(count)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = json.loads(process.stdout.read())
    _, _, usage = os.wait4(process.pid, 0)
    return MapRow(
        found["frames"],
        found["pairs"],
        found["matches"],
        found["points"],
        found["size_bytes"] / 1e6,
        found["seconds"],
        _processor(usage),
        usage.ru_maxrss / 1024,
    )


def _processor(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def page(measured: Measured) -> str:
    """The page."""
    return result_page(
        "Many frames",
        NAME,
        "Time and largest memory of commands on a data set of 640 x 480 pixels whose walk is repeated until "
        f"there are enough frames. {measured.cores} core{'s' if measured.cores > 1 else ''} could be used.",
        filled(
            [
                ("command", "`camloc {command}`"),
                ("frames", "{frames:,}"),
                ("processor", "{processor_seconds:.0f} s"),
                ("clock", "{seconds:.0f} s"),
                ("memory", "{megabytes:.0f} MB"),
            ],
            [vars(row) for row in measured.rows],
        ),
        *_map_part(measured.maps),
        command="DATA",
    )


def _map_part(maps: tuple[MapRow, ...]) -> list[str]:
    if not maps:
        return []
    first, last = maps[0], maps[-1]

    def growth(one: float, other: float) -> str:
        return f"{other / one:.1f}"

    steps = sorted(first.seconds, key=first.seconds.__getitem__, reverse=True)
    grown = ", ".join(f"{step} {growth(first.seconds[step], last.seconds[step])}" for step in steps[:4])
    return [
        "## Maps",
        "Rendered frames of 192 x 144 pixels of walks around the square, with calibration and without a "
        "bound of the map's size.",
        filled(
            [
                ("frames", "{frames:,}"),
                ("pairs", "{pairs:,}"),
                ("matches", "{matches:,}"),
                ("points", "{points:,}"),
                ("map", "{map_megabytes:.1f} MB"),
                ("processor", "{processor_seconds:.0f} s"),
                ("memory", "{megabytes:.0f} MB"),
            ],
            [vars(row) for row in maps],
        ),
        f"With {growth(first.frames, last.frames)} times the frames there are "
        f"{growth(first.pairs, last.pairs)} times the pairs and {growth(first.points, last.points)} times "
        f"the points; the map's files grow {growth(first.map_megabytes, last.map_megabytes)} times, time "
        f"{growth(first.processor_seconds, last.processor_seconds)} times ({grown}) and memory "
        f"{growth(first.megabytes, last.megabytes)} times.",
        "## A million frames, on paper",
        _plan(last),
    ]


def _plan(row: MapRow) -> str:
    """What a million frames would take, at the rates of the largest map."""
    parts = MILLION // row.frames
    hours = {step: seconds * parts / 3600 for step, seconds in row.seconds.items()}
    return (
        f"At the rates of {row.frames:,} frames one core would take {hours['features']:.0f} hours for "
        f"features, {hours['matching']:.0f} for matching and {hours['triangulation']:.0f} for triangulation; "
        f"in one process they would need {row.megabytes * parts / 1e3:.0f} GB. Features and matches are "
        f"independent of each other, triangulation is local: {parts} parts of {row.frames:,} neighbouring "
        f"frames, which overlap by a block, are {parts} scenes of one world. `camloc map --cluster` builds "
        f"them by Ray Data, {row.processor_seconds / 60:.0f} minutes and {row.megabytes / 1e3:.1f} GB each; "
        f"they have {row.map_megabytes * parts / 1e3:.1f} GB together. [The index](scene_search.md) of "
        "scenes finds the part that an image shows, and `camloc serve --memory` holds those in use. One "
        "bundle adjustment of all parts would need their matches in COLMAP's database, on disk; camloc does "
        "not do it."
    )


def main(
    data: tyro.conf.Positional[Path | None] = None,
    *,
    maps: bool = False,
    counts: tuple[int, ...] = (1_000, 10_000),
) -> None:
    """Measure, and write the page; the rows of other numbers of frames stay.

    Args:
        data: Folder of Red Kitchen.
        maps: Measure maps of rendered frames.
        counts: Numbers of frames.
    """
    found = known(NAME, Measured())
    if maps:
        rows = [row for row in found.maps if row.frames not in counts] + [*map(measured_map, counts)]
        found = replace(found, maps=tuple(sorted(rows, key=lambda row: row.frames)))
    if data is not None:
        commands = [row for count in counts for row in _commands(data, count)]
        kept = [row for row in found.rows if row.frames not in counts]
        ordered = sorted([*kept, *commands], key=lambda row: (row.command != "import", row.frames))
        found = replace(found, rows=tuple(ordered), cores=len(os.sched_getaffinity(0)))
    write(NAME, found, page(found))


def _commands(data: Path, count: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copied(data, folder / "walks", count)
        words = (str(folder / "walks"), str(folder / "model"), "--to", "colmap", "--images", "copy")
        check = (str(folder / "walks"), "--out", str(folder / "check.html"))
        return [measured("import", count, *words), measured("check", count, *check)]


if __name__ == "__main__":
    tyro.cli(main)
