"""Many trainings, side by side where the machine has room; what is there already is not trained again."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from camloc.core.config import from_json
from camloc.evaluation.results import Results, TrainingRecord

# In the folder of a run: what the run had of which machine, since a page may be written on another.
MACHINE = "machine.txt"


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

    def machine(self) -> str:
        """What it had to train with, in words."""
        note = self.folder / MACHINE
        return note.read_text().strip() if note.exists() else "a machine that was not noted"

    def command(self, device: str) -> list[str]:
        """The command that trains and evaluates it."""
        words = ["train", self.recipe, "--data", str(self.data), "--out", str(self.folder)]
        return [*words, "--seed", str(self.seed), "--device", device, *self.options]


@dataclass(frozen=True)
class Repeated:
    """A row of a table: one training with several seeds.

    Attributes:
        machine: what each of them had, in words.
        results: of each of them.
    """

    machine: str
    results: list[Results]

    @property
    def training(self) -> TrainingRecord:
        """What the first of them was given and used."""
        training = self.results[0].training
        assert training is not None, "these are runs of `camloc train`"
        return training

    def words(self) -> str:
        """How often, how long and where it was trained."""
        return f"{self.trainings()}, {self.machine}"

    def trainings(self) -> str:
        """How often and how long it was trained."""
        seeds = f"{len(self.results)} seeds" if len(self.results) > 1 else "1 seed"
        epochs = sorted({each.training.epochs for each in self.results if each.training is not None})
        counted = f"{epochs[0]} to {epochs[-1]}" if len(epochs) > 1 else f"{epochs[0]}"
        return f"{seeds}, {counted} epochs"


@dataclass(frozen=True)
class Table:
    """The rows of a page, by their labels."""

    rows: dict[str, Repeated]

    @property
    def first(self) -> Results:
        """Those of one of its trainings: what is known of the frames, and what needs no learning."""
        return next(iter(self.rows.values())).results[0]

    @classmethod
    def load(cls, path: Path) -> "Table":
        """What an earlier measurement left in a file, or no rows."""
        return from_json(path.read_bytes(), cls) if path.exists() else cls({})

    def with_rows(self, new: "Table", *, order: Sequence[str]) -> "Table":
        """The same with rows measured anew, in an order."""
        rows = self.rows | new.rows
        return Table({label: rows[label] for label in order if label in rows})

    def results(self, label: str) -> list[Results]:
        """Of a row."""
        return self.rows[label].results


def table_of(trainings: Mapping[str, Sequence[Trained]], *, device: str, jobs: int) -> Table:
    """Train what is missing of every row, `jobs` at a time, and take the results."""
    train_all((each for row in trainings.values() for each in row), device=device, jobs=jobs)
    return Table(
        {
            label: Repeated(row[0].machine(), [each.results() for each in row])
            for label, row in trainings.items()
        }
    )


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
    if device == "cpu":
        return f"{max(1, cores // jobs)} of {cores} cores ({platform.machine()})"
    many = f"{jobs} at a time on " if jobs > 1 else ""
    return f"{many}one {torch.cuda.get_device_name()} with {cores} cores ({platform.machine()})"


def _run(training: Trained, device: str, jobs: int) -> str | None:
    """Run one, and give what there is to read where it failed."""
    training.folder.mkdir(parents=True, exist_ok=True)
    (training.folder / MACHINE).write_text(share_of_machine(device, jobs) + "\n")
    printed = training.folder / "printed.txt"
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))} if jobs > 1 else {}
    with printed.open("w") as file:
        command = [sys.executable, "-m", "camloc", *training.command(device)]
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | threads)
    print(f"{training.folder}: {'done' if done.returncode == 0 else 'failed'}", flush=True)
    return None if done.returncode == 0 else f"{training.folder}: see {printed}"
