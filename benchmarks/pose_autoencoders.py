"""Pose auto-encoders of several regressors in several scenes, and what they are good for.

    uv run python -m benchmarks.pose_autoencoders --redkitchen FOLDER --hololens FOLDER \\
        --backbone-weights FILE

trains the teachers, teaches and measures (`benchmarks.student_measurements`), and writes
`docs/results/pose_autoencoders.json`, `.md` and a figure of decoded images. The embedded scene is rendered;
the folders are 7Scenes' Red Kitchen, sequence 01, and a HoloLens walk as a table of poses, each with
`train.txt` and `test.txt`. What is there already is not made again. On a machine with an accelerator:
`--device cuda --jobs 8`.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from benchmarks.student_page import Students, page
from benchmarks.student_records import NAME, Measured
from benchmarks.trainings import Trained, train_all
from camloc.cli.commands.demo import settings_of
from camloc.core.config import to_json
from camloc.data.formats.demo import rendered
from camloc.refinement.image_decoder import DecoderMetadata
from camloc.refinement.train import IMAGES

PAGE = Path("docs/results/pose_autoencoders.md")

DEMO = ("demo/posenet", "demo/hyperpose", "demo/transposenet")
ROOM = ("room/posenet", "room/hyperpose", "room/transposenet")

# Teachers whose encodings are decoded into images, and beside which relative poses are learned from
# images, which takes most of an hour of one core: on the scene that is rendered, for which there is depth.
# From latents all teachers' are.
SEEN = ("demo/posenet",)
DRAWN = "demo/posenet"


@dataclass(frozen=True)
class Settings:
    """Where the data are and how to run.

    Attributes:
        redkitchen, hololens: folders of the frames; a scene that is not given is left out.
        backbone_weights: ImageNet weights of MobileNetV2, in timm's names.
        budget: wall-clock time of each teacher's training; as its recipe says where it is empty.
        out: folder of the runs.
        device: where to train.
        jobs: trainings, and then lessons, at a time.
    """

    redkitchen: Path | None = None
    hololens: Path | None = None
    backbone_weights: str = "none"
    budget: str = ""
    out: Path = Path("runs/pose_autoencoders")
    device: str = "cpu"
    jobs: int = 1


def main(settings: Settings) -> None:
    """Train, teach and measure what is missing, and write the page."""
    teachers = _teachers(settings)
    train_all(teachers, device=settings.device, jobs=settings.jobs)
    missing = [each.folder for each in teachers if not (each.folder / NAME).exists()]
    with ThreadPoolExecutor(max(1, settings.jobs)) as pool:
        failed = [each for each in pool.map(lambda run: _measure(run, settings), missing) if each]
    if failed:
        raise SystemExit("these lessons failed:\n" + "\n".join(failed))
    write_page([each.folder for each in teachers], machine=teachers[0].machine())


def write_page(runs: list[Path], *, machine: str) -> None:
    """The page and its numbers, from runs that were measured."""
    students = Students(machine, tuple(Measured.load(run) for run in runs))
    PAGE.with_suffix(".json").write_bytes(to_json(students))
    for run, each in zip(runs, students.runs, strict=True):
        if each.recipe == DRAWN:
            PAGE.with_suffix(".png").write_bytes((run / DecoderMetadata.NAME / IMAGES).read_bytes())
    PAGE.write_text(page(students))


def _teachers(settings: Settings) -> list[Trained]:
    """The regressors that teach, scene after scene."""
    budget = ("--budget", settings.budget) if settings.budget else ()
    scene = rendered(replace(settings_of("corner", seed=0), depth_every=1))
    found = [
        Trained(recipe, scene, settings.out / recipe, options=("--layout", "demo", *budget))
        for recipe in DEMO
    ]
    weights = ("--backbone-weights", settings.backbone_weights, *budget)
    table = ("--layout", "table", "--option", "rotation=world_from_cam")
    rooms = ((settings.redkitchen, "redkitchen", ()), (settings.hololens, "hololens", table))
    for data, name, options in rooms:
        if data is not None:
            found += [
                Trained(recipe, data, settings.out / name / recipe, options=(*weights, *options))
                for recipe in ROOM
            ]
    return found


def _measure(run: Path, settings: Settings) -> str | None:
    """Teach and measure in a process of its own; what to read where it failed."""
    words = ["benchmarks.student_measurements", str(run), "--device", settings.device]
    virtual = ["--virtual"] if f"{run.parent.name}/{run.name}" in SEEN else []
    threads = str(max(1, (os.cpu_count() or 1) // settings.jobs))
    printed = run / "measured.txt"
    with printed.open("w") as file:
        done = subprocess.run(
            [sys.executable, "-m", *words, *virtual],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": threads},
        )
    print(f"{run}: {'measured' if done.returncode == 0 else 'failed'}", flush=True)
    return None if done.returncode == 0 else f"{run}: see {printed}"


if __name__ == "__main__":
    main(tyro.cli(Settings))
