"""Several trainings, side by side where the machine has room; existing runs are not trained again."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean

import torch

from benchmarks.page import medians
from camloc.evaluation.results import Results, TrainingRecord

# In the folder of a run: the machine that trained it, since a page may be written on another one.
MACHINE = "machine.txt"

# The page of the model with the verdicts on hypernetworks, a block for each benchmark.
MODEL_PAGE = Path("docs/models/hyperpose.md")


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
        """The results of the run."""
        return Results.load(self.folder / "results.json")

    def machine(self) -> str:
        """The machine that trained the run."""
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
        machine: the machine of each training.
        results: of each training.
    """

    machine: str
    results: list[Results]

    @property
    def training(self) -> TrainingRecord:
        """The record of the first training."""
        training = self.results[0].training
        assert training is not None, "these are runs of `camloc train`"
        return training

    def trainings(self) -> str:
        """The numbers of seeds and of epochs."""
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
        """The results of the first training, for what all rows share: frames and baselines."""
        return next(iter(self.rows.values())).results[0]

    def with_rows(self, new: "Table", *, order: Sequence[str]) -> "Table":
        """The same with new rows added or exchanged, in an order."""
        rows = self.rows | new.rows
        return Table({label: rows[label] for label in order if label in rows})

    def results(self, label: str) -> list[Results]:
        """The results of a row."""
        return self.rows[label].results


def table_of(trainings: Mapping[str, Sequence[Trained]], *, device: str, jobs: int) -> Table:
    """Train the missing runs of every row, `jobs` at a time, and collect the results."""
    train_all((each for row in trainings.values() for each in row), device=device, jobs=jobs)
    return Table(
        {
            label: Repeated(row[0].machine(), [each.results() for each in row])
            for label, row in trainings.items()
        }
    )


def seeds_of(recipe: str, data: Path, out: Path, seeds: int, options: tuple[str, ...] = ()) -> list[Trained]:
    """One training for each seed, in folders below `out`."""
    return [Trained(recipe, data, out / recipe / f"seed-{seed}", seed, options) for seed in range(seeds)]


def train_all(trainings: Iterable[Trained], *, device: str, jobs: int) -> None:
    """Train the runs that have no results yet, `jobs` at a time, each with the command line.

    All first seeds come before all second ones, so that early results cover every row. The output of a
    training is kept in `printed.txt` beside its run.

    Raises:
        SystemExit: a training failed; the others were finished first.
    """
    missing = [each for each in trainings if not (each.folder / "results.json").exists()]
    missing.sort(key=lambda each: each.seed)
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        failed = [each for each in pool.map(lambda one: _run(one, device, jobs), missing) if each]
    if failed:
        raise SystemExit("these trainings failed:\n" + "\n".join(failed))


def _run(training: Trained, device: str, jobs: int) -> str:
    training.folder.mkdir(parents=True, exist_ok=True)
    (training.folder / MACHINE).write_text(share_of_machine(device, jobs) + "\n")
    return run_logged(["camloc", *training.command(device)], training.folder / "printed.txt", jobs)


def run_logged(words: Sequence[str], printed: Path, jobs: int) -> str:
    """Run `python -m ...` with its output in a file; the name of that file if it failed, else ""."""
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))} if jobs > 1 else {}
    with printed.open("w") as file:
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | threads)
    print(f"{printed.parent}: {'done' if done.returncode == 0 else 'failed'}", flush=True)
    return "" if done.returncode == 0 else f"{printed.parent}: see {printed}"


def share_of_machine(device: str, jobs: int) -> str:
    """The part of this machine that each of several concurrent trainings has."""
    cores = os.cpu_count() or 1
    if device == "cpu":
        return f"{max(1, cores // jobs)} of {cores} cores ({platform.machine()})"
    many = f"{jobs} at a time on " if jobs > 1 else ""
    return f"{many}one {torch.cuda.get_device_name()} with {cores} cores ({platform.machine()})"


# Ratios of position and of orientation errors, a number for each seed.
Ratios = tuple[list[float], list[float]]


def ratios_of(with_it: list[Results], without: list[Results], *, test_set: int = 0) -> Ratios:
    """The factors on the errors of position and orientation, for each seed that both have."""
    meters, degrees = (
        [one / other for one, other in zip(ours, theirs, strict=False)]
        for ours, theirs in zip(
            medians(with_it, test_set=test_set), medians(without, test_set=test_set), strict=True
        )
    )
    return meters, degrees


def verdict_of(pairs: Sequence[Ratios]) -> str:
    """Whether errors became smaller, over several pairs or test sets and all their seeds.

    Factors within a twentieth of 1 count as no change: another seed changes as much.
    """
    parts = []
    for name, column in (("position", 0), ("orientation", 1)):
        ratios = [each for pair in pairs for each in pair[column]]
        factor = geometric_mean(ratios)
        better = sum(each < 1.0 for each in ratios)
        words = "worse" if factor > 1.05 else "better" if factor < 0.95 else "about the same"
        parts.append(f"{name} {words} ({factor:.2f} times the error, less in {better} of {len(ratios)})")
    return ", ".join(parts)
