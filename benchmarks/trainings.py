"""Many trainings, side by side where the machine has room; what is there already is not trained again."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from camloc.evaluation.results import Results


@dataclass(frozen=True)
class Trained:
    """One training of a table.

    Attributes:
        recipe: its name.
        data: folder of the frames.
        folder: of the run.
        seed: of all randomness.
        options: further words of the command line, such as ("--budget", "20m").
    """

    recipe: str
    data: Path
    folder: Path
    seed: int = 0
    options: tuple[str, ...] = ()

    def results(self) -> Results:
        """What it reached."""
        return Results.load(self.folder / "results.json")

    def command(self, device: str) -> list[str]:
        """The command that trains and evaluates it."""
        words = ["train", self.recipe, "--data", str(self.data), "--out", str(self.folder)]
        return [*words, "--seed", str(self.seed), "--device", device, *self.options]


def train_all(trainings: Iterable[Trained], *, device: str, jobs: int) -> None:
    """Train what has no results yet, `jobs` at a time, each by the command that a person would type.

    All first seeds come before all second ones, so that what is there early says something of every row.
    What a training prints is kept in `printed.txt` beside its run.

    Raises:
        SystemExit: one of them failed; the others were finished all the same.
    """
    missing = [each for each in trainings if not (each.folder / "results.json").exists()]
    missing.sort(key=lambda each: each.seed)
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        failed = [each for each in pool.map(lambda one: _run(one, device, jobs), missing) if each is not None]
    if failed:
        raise SystemExit("these trainings failed:\n" + "\n".join(failed))


def share_of_machine(device: str, jobs: int) -> str:
    """What each of so many trainings at a time has of this machine, in words."""
    cores = os.cpu_count() or 1
    words = f"{max(1, cores // jobs)} of {cores} cores ({platform.machine()})"
    return words if device == "cpu" else f"{torch.cuda.get_device_name()}, {words}"


def _run(training: Trained, device: str, jobs: int) -> str | None:
    """Run one, and give what there is to read where it failed."""
    training.folder.mkdir(parents=True, exist_ok=True)
    printed = training.folder / "printed.txt"
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))} if jobs > 1 else {}
    with printed.open("w") as file:
        command = [sys.executable, "-m", "camloc", *training.command(device)]
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | threads)
    print(f"{training.folder}: {'done' if done.returncode == 0 else 'failed'}", flush=True)
    return None if done.returncode == 0 else f"{training.folder}: see {printed}"
