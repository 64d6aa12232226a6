"""Seconds to read data sets of 100,000 frames, from each layout with one file of poses."""

import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tyro
from PIL import Image

from benchmarks.page import filled, known, machine, result_page, write
from camloc.core.files import write_atomically
from camloc.data import formats
from camloc.data.formats import colmap, nerfstudio, table, tum
from camloc.data.types import Frame, Scene, poses_of
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose

CAMERA = Camera(64, 48, 60.0, 60.0, 32.0, 24.0)
FOLDERS = 100


@dataclass(frozen=True)
class Reading:
    """Reading one data set.

    Attributes:
        layout: its name, and the form of its files.
        frames: number of frames.
        seconds: of `camloc.data.formats.load`.
        megabytes: growth of the process's peak memory, or 0 where an earlier layout needed more.
    """

    layout: str
    frames: int
    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Measured:
    """The content of `readers.json`.

    Attributes:
        readings: of each layout.
        machine: cores and architecture.
    """

    readings: tuple[Reading, ...]
    machine: str


def main(*, frames: int = 100_000, only: tuple[str, ...] = ()) -> None:
    """Write the data sets into a temporary folder, read each, and write the page.

    Args:
        frames: Frames of each data set.
        only: Layouts to read; the others keep their numbers.
    """
    found = {each.layout: each for each in known("readers", Measured((), "")).readings}
    with TemporaryDirectory() as folder:
        scene = made_scene(Path(folder), frames)
        for name in only or WRITERS:
            found[name] = read(name, Path(folder), scene, WRITERS[name])
    measured = Measured(tuple(found[name] for name in WRITERS if name in found), machine())
    write("readers", measured, page(measured))


def page(measured: Measured) -> str:
    """The page of the results."""
    columns = (("", "{layout}"), ("frames", "{frames:,}"), ("seconds", "{seconds:.1f}"))
    text = (
        "Time to read a data set whose images exist: poses and intrinsics are parsed and checked, and every "
        f"image is looked for. One process on a machine of {measured.machine}."
    )
    shown = filled(columns, [vars(each) for each in measured.readings])
    return result_page("Reading large data sets", "readers", text, shown)


def made_scene(folder: Path, count: int) -> Scene:
    """Frames along a curve; the images of each folder are links to one small image."""
    image = Image.new("RGB", (CAMERA.width, CAMERA.height), (90, 90, 90))
    rng = np.random.default_rng(0)
    quaternions = rng.normal(size=(count, 4))
    positions = np.cumsum(rng.normal(scale=0.1, size=(count, 3)), axis=0)
    poses = Pose.from_quaternion_wxyz(
        quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True), positions
    )
    frames = []
    for number in range(count):
        name = f"images/{number % FOLDERS:02d}/{number:06d}.png"
        path = folder / name
        if number < FOLDERS:
            path.parent.mkdir(parents=True)
            image.save(path)
        else:
            os.link(folder / f"images/{number % FOLDERS:02d}/{number % FOLDERS:06d}.png", path)
        frames.append(Frame(name, path, CAMERA, poses[number], time=float(number)))
    return Scene("large", tuple(frames), ())


def read(layout: str, images: Path, scene: Scene, writer: Callable[[Scene, Path, Path], Path]) -> Reading:
    """Write a scene in a layout, and time how long it takes to read it."""
    folder = images / layout.replace(" ", "-")
    folder.mkdir()
    root = writer(scene, folder, images)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    found = formats.load(root)
    seconds = time.perf_counter() - started
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert len(found.train) + len(found.test) == len(scene.train)
    print(f"{layout}: {seconds:.1f} s", file=sys.stderr)
    return Reading(layout, len(scene.train), round(seconds, 2), round(grown / 1024, 1))


def _table(scene: Scene, folder: Path, images: Path) -> Path:
    (folder / "images").symlink_to(images / "images")
    table.write(scene, folder / "poses.csv")
    return folder


def _nerfstudio(scene: Scene, folder: Path, images: Path) -> Path:
    (folder / "images").symlink_to(images / "images")
    nerfstudio.write(scene, folder / "transforms.json")
    return folder


def _colmap(scene: Scene, folder: Path, images: Path) -> Path:
    (folder / "images").symlink_to(images / "images")
    colmap.write(scene, folder / "sparse" / "0")
    _without_lists(folder)
    return folder


def _colmap_text(scene: Scene, folder: Path, images: Path) -> Path:
    (folder / "images").symlink_to(images / "images")
    colmap.write(scene, folder / "sparse" / "0", form="text")
    _without_lists(folder)
    return folder


def _without_lists(folder: Path) -> None:
    (folder / "sparse" / "0" / "train.txt").unlink()


def _tum(scene: Scene, folder: Path, images: Path) -> Path:
    (folder / "images").symlink_to(images / "images")
    times = tuple(float(number) for number in range(len(scene.train)))
    tum.write_trajectory(tum.Trajectory(times, poses_of(scene.train)), folder / "groundtruth.txt")
    lines = "".join(f"{number}.0 {frame.name}\n" for number, frame in enumerate(scene.train))
    write_atomically(folder / "rgb.txt", lines)
    write_atomically(folder / "K.txt", "60 0 32\n0 60 24\n0 0 1\n")
    return folder


WRITERS: dict[str, Callable[[Scene, Path, Path], Path]] = {
    "table": _table,
    "nerfstudio": _nerfstudio,
    "colmap": _colmap,
    "colmap text": _colmap_text,
    "tum": _tum,
}

if __name__ == "__main__":
    tyro.cli(main)
