"""Time and memory of `camloc import` and `camloc check` with many frames: `docs/results/many_frames.md`.

    uv run python -m benchmarks.many_frames DATA

DATA is the folder `redkitchen`, whose frames are copied under other names, with a few bytes behind each image
and a millimetre of noise on each position, so that no two are the same. Each command is a process of its own.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.page import RESULTS, filled, write
from benchmarks.page import page as page_of
from camloc.core.config import from_json
from camloc.data.formats import load, table
from camloc.data.types import Scene
from camloc.geometry.pose import Pose

NAME = "many_frames"
COUNTS = (1_000, 10_000)


@dataclass(frozen=True)
class Row:
    """What a command cost: seconds of the processor and of the clock, and its largest memory."""

    command: str
    frames: int
    processor_seconds: float
    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Measured:
    """The rows of the page, and of how many cores they were given."""

    rows: tuple[Row, ...]
    cores: int


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


def _processor(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def page(measured: Measured) -> str:
    """The page."""
    return page_of(
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
        command="DATA",
    )


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--count", type=int, choices=COUNTS, help="measure this count again, keep the others")
    options = parser.parse_args()
    rows = []
    for count in [options.count] if options.count else COUNTS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            copied(options.data, folder / "walks", count)
            words = (str(folder / "walks"), str(folder / "model"), "--to", "colmap", "--images", "copy")
            rows.append(measured("import", count, *words))
            rows.append(measured("check", count, str(folder / "walks"), "--out", str(folder / "check.html")))
    path = RESULTS / f"{NAME}.json"
    known = from_json(path.read_bytes(), Measured).rows if path.exists() else ()
    kept = [row for row in known if row.frames not in {new.frames for new in rows}]
    ordered = sorted([*kept, *rows], key=lambda row: (row.command != "import", row.frames))
    found = Measured(tuple(ordered), len(os.sched_getaffinity(0)))
    write(NAME, found, page(found))


if __name__ == "__main__":
    main()
