"""Size of an installation and time to the first answer, without torch and with it.

    uv run python -m benchmarks.install --run runs/room --image PHOTO.jpg

builds the wheel, installs it into two new environments, without extras and with `train`, exports the run
(which needs a network and a map), locates the image in both, and writes `docs/results/install.json` and
`.md`. With `--torch-environment` an environment that exists is measured in place of the second, which saves
a download of gigabytes.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import tyro

from benchmarks.page import result_page, table, write

TARGET_MEGABYTES, TARGET_SECONDS = 400, 1.0
LARGEST = 6


@dataclass(frozen=True)
class Command:
    """Median time of a command, from its start to its end.

    Attributes:
        label: what it does.
        seconds: wall-clock time.
        cpu_seconds: processor time.
    """

    label: str
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Environment:
    """One installation.

    Attributes:
        label: what was installed.
        megabytes: size of all its files, compiled ones included.
        bytecode_megabytes: of these, the modules that were compiled on installation.
        largest: megabytes of its largest folders.
        commands: times.
    """

    label: str
    megabytes: float
    bytecode_megabytes: float
    largest: dict[str, float]
    commands: tuple[Command, ...]


@dataclass(frozen=True)
class Measured:
    """Everything on the page.

    Attributes:
        machine: processor and Python.
        model: the network and the map, with their sizes.
        repeats: how often each command was timed, after one that was not.
        difference: largest difference of an element of the pose matrices of the two installations.
        environments: without torch, and with it.
    """

    machine: str
    model: str
    repeats: int
    difference: float
    environments: tuple[Environment, ...]


def main(run: Path, image: Path, *, torch_environment: Path | None = None, repeats: int = 7) -> None:
    """Install, measure, and write the page.

    Args:
        run: Folder of a run with a network and a map.
        image: Photograph of its scene.
        torch_environment: Environment with the libraries of the extra train; by default a new one.
        repeats: How often each command is timed.
    """
    with TemporaryDirectory(prefix="camloc-install-") as name:
        folder = Path(name)
        subprocess.run(["uv", "build", "--quiet", "--wheel", "--out-dir", folder], check=True)
        (wheel,) = folder.glob("*.whl")
        small = installed(folder / "small", str(wheel))
        whole = torch_environment or installed(folder / "whole", f"{wheel}[train]")
        source = {} if torch_environment is None else {"PYTHONPATH": str(Path("src").resolve())}
        bundle = folder / "bundle"
        answer(whole, source, "export", run, "--out", bundle)

        exported = {
            "camloc --help": ("--help",),
            "locate, exported network": ("locate", bundle, image, "--verify", "never"),
            "locate, map": ("locate", map_alone(run, folder), image),
            "locate, network and map": ("locate", bundle, image),
        }
        with_torch = exported | {"locate, run with torch": ("locate", run, image)}
        environments = (
            environment("camloc", small, {}, exported, repeats),
            environment("camloc[train]", whole, source, with_torch, repeats),
        )
        poses = [
            json.loads(answer(each, settings, "locate", path, image, "--format", "json"))[0]["world_from_cam"]
            for each, settings, path in ((small, {}, bundle), (whole, source, run))
        ]
        measured = Measured(
            machine=f"{os.cpu_count()} cores, Python {sys.version.split()[0]}",
            model=model_words(bundle),
            repeats=repeats,
            difference=float(np.abs(np.array(poses[0]) - np.array(poses[1])).max()),
            environments=environments,
        )
    write("install", measured, page(measured))


def installed(folder: Path, what: str) -> Path:
    """A new environment with a package."""
    subprocess.run(["uv", "venv", "--quiet", folder], check=True)
    install: list[str | Path] = [
        "uv",
        "pip",
        "install",
        "--quiet",
        "--compile-bytecode",
        "--python",
        folder,
        what,
    ]
    subprocess.run(install, check=True)
    return folder


def map_alone(run: Path, folder: Path) -> Path:
    """A folder with the map of a run."""
    alone = folder / "map-alone"
    alone.mkdir()
    (alone / "map").symlink_to((run / "map").resolve())
    return alone


def answer(environment: Path, settings: dict[str, str], *arguments: str | Path) -> str:
    """The output of a command of an environment."""
    program = [environment / "bin" / "python", "-m", "camloc", *arguments]
    return subprocess.run(
        program, env=os.environ | settings, check=True, capture_output=True, text=True
    ).stdout


def environment(
    label: str,
    folder: Path,
    settings: dict[str, str],
    commands: Mapping[str, Sequence[str | Path]],
    repeats: int,
) -> Environment:
    """Size and times of one environment."""
    files = [each for each in folder.rglob("*") if each.is_file() and not each.is_symlink()]
    packages = next(folder.glob("lib/python*/site-packages"))
    sizes: dict[str, float] = {}
    for each in files:
        if each.is_relative_to(packages):
            name = each.relative_to(packages).parts[0].removesuffix(".libs")
            sizes[name] = sizes.get(name, 0.0) + each.stat().st_size / 1e6
    return Environment(
        label=label,
        megabytes=sum(each.stat().st_size for each in files) / 1e6,
        bytecode_megabytes=sum(each.stat().st_size for each in files if each.suffix == ".pyc") / 1e6,
        largest=dict(sorted(sizes.items(), key=lambda item: -item[1])[:LARGEST]),
        commands=tuple(
            timed(name, lambda words=words: answer(folder, settings, *words), repeats)  # type: ignore[misc]
            for name, words in commands.items()
        ),
    )


def timed(label: str, run: Callable[[], object], repeats: int) -> Command:
    """Median times of a program, after one run that reads its files from the disk."""
    wall, processor = [], []
    for _ in range(repeats + 1):
        started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        run()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall.append(time.perf_counter() - started)
        processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return Command(label, median(wall[1:]), median(processor[1:]))


def model_words(bundle: Path) -> str:
    """The sizes of the network and the map of an exported folder."""
    network, scene_map = (
        sum(each.stat().st_size for each in files if each.is_file()) / 1e6
        for files in ([bundle / "model.onnx"], (bundle / "map").rglob("*"))
    )
    return f"a network of {network:.1f} MB and a map of {scene_map:.1f} MB"


def page(measured: Measured) -> str:
    """The page."""
    small, whole = measured.environments
    by_label = {each.label: each for each in small.commands}
    rows = [
        (
            command.label,
            *(_cells(by_label[command.label]) if command.label in by_label else ("", "")),
            *_cells(command),
        )
        for command in whole.commands
    ]
    largest = "; ".join(
        f"{each.label}: " + ", ".join(f"{name} {size:,.0f} MB" for name, size in each.largest.items())
        for each in measured.environments
    )
    size = small.megabytes - small.bytecode_megabytes
    network = by_label["locate, exported network"].cpu_seconds
    # A command has one thread for most of its time.
    is_busy = any(each.seconds > 1.5 * each.cpu_seconds for each in small.commands)
    return result_page(
        "Installations with and without torch",
        "install",
        f"`pip install camloc` locates with maps and exported networks; `camloc[train]` brings torch. "
        f"Here are {measured.model}, exported by `camloc export`; times are those of a command from its "
        f"start to its end, the median of {measured.repeats}.",
        table(
            ("", "camloc", "", "camloc[train]", ""),
            [
                ("size", f"{small.megabytes:,.0f} MB", "", f"{whole.megabytes:,.0f} MB", ""),
                (
                    "of which compiled modules",
                    f"{small.bytecode_megabytes:,.0f} MB",
                    "",
                    f"{whole.bytecode_megabytes:,.0f} MB",
                    "",
                ),
                ("**time**", "**wall**", "**processor**", "**wall**", "**processor**"),
                *rows,
            ],
        ),
        f"The targets are {TARGET_MEGABYTES} MB and {TARGET_SECONDS:.0f} s: without compiled modules the "
        f"installation has {size:,.0f} MB, and an exported network answers after {network:.2f} s of "
        f"processor time. Poses differ by {measured.difference:.0e} at most."
        + (" Other programs ran on the machine: wall-clock times are too long." if is_busy else ""),
        f"Largest: {largest}.",
        f"{measured.machine}.",
        command="--run RUN --image IMAGE",
    )


def _cells(command: Command) -> tuple[str, str]:
    return f"{command.seconds:.2f} s", f"{command.cpu_seconds:.2f} s"


if __name__ == "__main__":
    tyro.cli(main)
