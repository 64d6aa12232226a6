"""The time from a command to its answer, and its memory, beside that of importing NumPy and torch.

    uv run python -m benchmarks.startup

writes `docs/results/startup.json` and `.md`. Each command is a new process; all of them run in turn, and the
one with the least processor time counts.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import tyro
from PIL import Image

from benchmarks.page import filled, machine, result_page, write
from camloc.data.image_io import Preprocess
from camloc.geometry import Pose
from camloc.inference.onnx.export import export_onnx
from camloc.models import build_model, presets
from camloc.models.checkpoint import load_checkpoint, save_checkpoint
from camloc.models.metadata import metadata_for

TIMES = (
    ("process", "{name}"),
    ("processor", "{processor:.2f} s"),
    ("wall clock", "{wall:.2f} s"),
    ("memory", "{megabytes:.0f} MB"),
)


@dataclass(frozen=True)
class Process:
    """A process: seconds of processor and of the clock, and its largest memory."""

    name: str
    processor: float
    wall: float
    megabytes: float


@dataclass(frozen=True)
class Measured:
    """Everything on the page."""

    machine: str
    rounds: int
    processes: tuple[Process, ...]


def main(*, rounds: int = 4) -> None:
    """Measure, and write the page.

    Args:
        rounds: Runs of each process.
    """
    with TemporaryDirectory(prefix="camloc-") as folder:
        commands = _commands(Path(folder))
        found: dict[str, list[Process]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, arguments in commands.items():
                found[name].append(_run(name, arguments))
    best = tuple(min(each, key=lambda process: process.processor) for each in found.values())
    everything = Measured(machine(), rounds, best)
    write("startup", everything, page(everything))


def _commands(folder: Path) -> dict[str, Sequence[str]]:
    """The processes by their names; the run holds PoseNet with random weights."""
    torch.manual_seed(0)
    config = presets("posenet")["mobilenetv2"]
    model = build_model("posenet", config)
    poses = Pose.from_quaternion_wxyz(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.zeros(1, 3)).to(
        torch.float64
    )
    metadata = metadata_for("posenet", config, Preprocess(224, 224, 256), ("scene",))
    save_checkpoint(folder / "run", metadata, model, (poses,))
    export_onnx(load_checkpoint(folder / "run"), folder / "model.onnx")
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "image.jpg")
    locate = ["-m", "camloc", "locate"]
    return {
        "`import numpy`": ["-c", "import numpy"],
        "`camloc locate model.onnx image.jpg`": [
            *locate,
            str(folder / "model.onnx"),
            str(folder / "image.jpg"),
        ],
        "`import torch`": ["-c", "import torch"],
        "`camloc locate run image.jpg`, by torch": [*locate, str(folder / "run"), str(folder / "image.jpg")],
    }


def _run(name: str, arguments: Sequence[str]) -> Process:
    """Run Python with these arguments, as a child of a child, so that its resources are its own."""
    program = (
        "import resource, subprocess, sys\n"
        "ended = subprocess.run([sys.executable, *sys.argv[1:]], capture_output=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(ended.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss)\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    wall = time.perf_counter() - started
    status, seconds, kilobytes = ended.stdout.split()
    assert status == "0", f"{name} failed"
    return Process(name, float(seconds), wall, float(kilobytes) / 1e3)


def page(measured: Measured) -> str:
    """The page."""
    numpy, exported, with_torch, run = (each.processor for each in measured.processes)
    return result_page(
        "From the command to the answer",
        "startup",
        f"New processes, in turn, the one of {measured.rounds} with the least processor time: one image of "
        f"640 x 480, PoseNet with MobileNetV2, one thread. Others slow all of them down alike, so that the "
        f"imports of NumPy and of torch, which nothing of camloc can shorten, are the measure: locating with "
        f"an exported file takes {exported / numpy:.1f} times as long as importing NumPy, with the run "
        f"{run / with_torch:.1f} times as long as importing torch.",
        filled(TIMES, map(vars, measured.processes)),
        f"{measured.machine}.",
    )


if __name__ == "__main__":
    tyro.cli(main)
