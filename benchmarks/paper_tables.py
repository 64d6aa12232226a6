"""The tables of the papers by `camloc reproduce`, end to end on small stand-ins for their data sets.

    uv run python -m benchmarks.paper_tables
    uv run python -m benchmarks.paper_tables --only pose_autoencoders_2022/2 --budget 1m

writes the stand-ins (walks over the embedded square under the names of the papers' scenes, in the layouts of
the data sets), gives tables of each paper to `camloc reproduce`, and compares its files with the printed
tables. The other tables are started without data, to see that they name the runs that they need.
Finished runs are kept; a table that is left out keeps its numbers.
"""

import csv
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import atan2, degrees
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import numpy as np
import tyro
from PIL import Image
from tests.support.layouts import WRITERS, Matrix, PosedScene

from benchmarks.page import known, machine, result_page, table, write
from camloc.core.files import cache_folder
from camloc.data.formats.cambridge import CONDITIONS
from camloc.data.formats.demo import load
from camloc.data.formats.sevenscenes import COLOUR_CAMERA
from camloc.data.types import Frame
from camloc.evaluation.published import (
    MEAN,
    PAPERS,
    Cell,
    PrintedTable,
    average_ranks,
    find_table,
    published_tables,
)
from camloc.evaluation.reproduction import Reproduction
from camloc.runs.reproduce import Settings, reproduce
from market_square import SquareSettings, render

# Of each paper a table or more; some use the runs of others.
TABLES = (
    "transposenet_2021/1",
    "transposenet_2021/2",
    "hyperpose_2023/3",
    "hyperpose_2025/6",
    "pose_autoencoders_2022/2",
    "pose_autoencoders_2022/7",
    "implicit_geometry_2023/III",
)

# A training of this size takes minutes and 10 GB on a CPU.
ONE_SCENE = {"implicit_geometry_2023/III": "ShopFacade"}

# Images have the shape of those of the data sets; networks resize them.
SIZES = {"cambridge": (192, 108), "sevenscenes": (160, 120), "twelvescenes": (160, 120)}
TRAIN_FRAMES, TEST_FRAMES = 16, 5

# Conditions of the embedded square in place of those of the Extended Cambridge Landmarks.
FLAVOURS = dict(zip(CONDITIONS, ("winter", "morning", "evening"), strict=True))


@dataclass(frozen=True)
class Checked:
    """A table that `camloc reproduce` has written, compared with the printed one.

    Attributes:
        printed: number of printed rows in its files.
        columns: number of its columns.
        wrong: printed results that are missing or have other numbers.
        ours: number of our rows.
        measured, expected: results of ours that were measured, and that the table has room for.
        baselines: number of further rows.
        problems: what is missing, and why.
        seconds: of the command; those of runs that were kept are in the table that trained them.
    """

    printed: int
    columns: int
    wrong: tuple[str, ...]
    ours: int
    measured: int
    expected: int
    baselines: int
    problems: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Started:
    """A table that was started without data and without runs.

    Attributes:
        printed, columns: as in `Checked`.
        wrong: as in `Checked`.
        ours: number of our rows.
        silent: those of our rows that do not say what they need.
    """

    printed: int
    columns: int
    wrong: tuple[str, ...]
    ours: int
    silent: tuple[str, ...]


@dataclass(frozen=True)
class Recomputed:
    """The averages and ranks of a table, recomputed from its rows or from those of the table it averages.

    Attributes:
        averages, ranks: how many were recomputed.
        contradictions: rows whose printed average or rank is another one.
        unlisted: those of them of which `camloc reproduce` says nothing.
    """

    averages: int
    ranks: int
    contradictions: tuple[str, ...]
    unlisted: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """The content of `paper_tables.json`.

    Attributes:
        tables: trained, by name.
        started: the others.
        recomputed: every table that prints averages or ranks.
        budget: of each training, as on the command line.
        frames: of a scene, for training and for testing.
        machine: which one.
    """

    tables: dict[str, Checked] = field(default_factory=dict)
    started: dict[str, Started] = field(default_factory=dict)
    recomputed: dict[str, Recomputed] = field(default_factory=dict)
    budget: str = ""
    frames: tuple[int, int] = (TRAIN_FRAMES, TEST_FRAMES)
    machine: str = ""


def main(
    *, only: tuple[str, ...] = TABLES, budget: str = "10s", folder: Path = Path("runs/paper_tables")
) -> None:
    """Reproduce the tables on stand-ins, start the others without data, and write the page.

    Args:
        only: Tables to train.
        budget: Time of each training.
        folder: Of the stand-ins, of the runs and of the tables.
    """
    measured = replace(
        known("paper_tables", Measured()),
        recomputed={name: found for name in published_tables() if (found := recomputed(find_table(name)))},
        budget=budget,
        machine=machine(),
    )
    names = {*measured.tables, *only}
    measured = replace(
        measured,
        started={name: started(each) for name, each in published_tables().items() if name not in names},
    )
    for name in only:
        printed = find_table(name)
        data = folder / "data" / printed.layout
        stand_in(data, printed.layout, printed.data_set_scenes)
        seconds, output = run(name, data, folder, budget)
        print(output)
        result = Reproduction.load(folder / f"{file_stem(name)}.json")
        if name in measured.tables and not re.search("^(train|autoencode)", output, re.MULTILINE):
            seconds = measured.tables[name].seconds  # of the call that trained the runs
        tables = dict(measured.tables)
        tables[name] = checked(printed, result, folder / f"{file_stem(name)}.csv", seconds)
        in_order = {each: tables[each] for each in published_tables() if each in tables}
        measured = replace(measured, tables=in_order)
        write("paper_tables", measured, page(measured))


def file_stem(name: str) -> str:
    """The name of a table's files."""
    return name.replace("/", "-")


def run(name: str, data: Path, folder: Path, budget: str) -> tuple[float, str]:
    """Reproduce one table as a user would; returns the seconds and the output."""
    started_at = time.monotonic()
    command = [sys.executable, "-m", "camloc", "reproduce", name, "--data", str(data), "--budget", budget]
    command += ["--scene", ONE_SCENE[name]] if name in ONE_SCENE else []
    command += ["--runs", str(folder / "runs"), "--out", str(folder / file_stem(name))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return time.monotonic() - started_at, done.stdout


def stand_in(folder: Path, layout: str, scenes: Sequence[str]) -> None:
    """Write the scenes of a data set: walks over squares of different looks, in the data set's layout."""
    width, height = SIZES[layout]
    for number, name in enumerate(scenes):
        if (folder / name).exists():
            continue
        settings = SquareSettings(
            width=width,
            height=height,
            field_of_view_degrees=2 * degrees(atan2(COLOUR_CAMERA.cx, COLOUR_CAMERA.fx)),
            train_frames=TRAIN_FRAMES,
            test_frames=TEST_FRAMES,
            variants=tuple(FLAVOURS.values()) if layout == "cambridge" else (),
            depth_every=0,
            seed=number,
        )
        rendered = render(settings, cache_folder() / "demo")
        scene = load(rendered)
        camera = scene.train[0].camera
        assert camera is not None
        if layout == "cambridge":
            camera = camera.resized(width=1920, height=1080)  # its focal lengths are those of the originals
        images = tuple(np.asarray(Image.open(frame.image)) for frame in (*scene.train, *scene.test))
        train, test = (tuple(map(matrix_of, frames)) for frames in (scene.train, scene.test))
        WRITERS[layout](folder / name, PosedScene(train, test, camera, images))
        for flavour, condition in FLAVOURS.items() if layout == "cambridge" else ():
            for place, frame in enumerate(scene.conditions[condition], start=len(train)):
                path = folder / name / flavour / "seq2" / f"frame{place:05d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.open(frame.image).save(path)


def matrix_of(frame: Frame) -> Matrix:
    """The 4 x 4 `world_from_cam` of a frame."""
    assert frame.world_from_cam is not None
    return np.asarray(frame.world_from_cam.matrix(), np.float64)


def checked(printed: PrintedTable, result: Reproduction, csv_file: Path, seconds: float) -> Checked:
    """Compare the files of a table with the printed one."""
    ours = [row for row in result.rows if row.kind == "ours"]
    problems = [f"{row.label}: {shortened(row.problem)}" for row in result.rows if row.problem]
    for row in ours:
        shown = row.scenes.values() if row.scenes else row.cells
        infinite = sum(each is not None and each.meters is None for each in shown)
        if infinite:
            problems.append(
                f"{row.label}: {infinite} of {len(shown)} medians are infinite, because most images have no "
                "pose in their scene"
            )
    results = [each for row in ours for each in (row.scenes.values() if row.scenes else row.cells)]
    return Checked(
        printed=sum(row.kind == "printed" for row in result.rows),
        columns=len(result.columns),
        wrong=wrong_cells(printed, list(csv.DictReader(csv_file.open(newline="")))),
        ours=len(ours),
        measured=sum(each is not None and each.meters is not None for each in results),
        expected=sum(len(printed.scenes) if row.scenes else len(row.cells) for row in ours),
        baselines=sum(row.kind == "baseline" for row in result.rows),
        problems=tuple(problems),
        seconds=seconds,
    )


def shortened(problem: str) -> str:
    """What is missing, without what to type next and the folders of this machine."""
    return re.sub(r"\S*/runs/(\S+)", r"\1", problem.partition(";")[0])


def wrong_cells(printed: PrintedTable, lines: Sequence[dict[str, str]]) -> tuple[str, ...]:
    """Printed results that the CSV file does not have, or has with other numbers."""
    written = [line for line in lines if line["kind"] == "printed"]
    wanted = []
    for row in printed.rows:
        for column, cell in (*zip(printed.columns, row.cells, strict=True), (MEAN, row.mean)):
            if cell is not None:
                halves = ("" if each is None else f"{each:g}" for each in (cell.meters, cell.degrees))
                wanted.append((row.method, column, *halves))
    found = {(line["method"], line["column"], line["meters"], line["degrees"]) for line in written}
    return tuple(" ".join(each) for each in wanted if each not in found)


def recomputed(printed: PrintedTable) -> Recomputed | None:
    """What the printed rows say about the averages and ranks of a table; None if it prints neither."""
    averages, wrong_averages = recomputed_averages(printed)
    ranks, wrong_ranks = recomputed_ranks(printed)
    contradictions = tuple(dict.fromkeys((*wrong_averages, *wrong_ranks)))
    unlisted = tuple(each for each in contradictions if each not in (printed.misprints or {}))
    return Recomputed(averages, ranks, contradictions, unlisted) if averages or ranks else None


def recomputed_averages(printed: PrintedTable) -> tuple[int, list[str]]:
    """How many averages follow from printed results, and the rows whose average is another one."""
    if printed.of:
        source = {row.method: row.cells for row in find_table(f"{printed.paper}/{printed.of}").rows}
        means = {row.method: row.cells[0] for row in printed.rows}
    else:
        source = {row.method: row.cells for row in printed.rows}
        means = {row.method: row.mean for row in printed.rows}
    pairs = {method: (source[method], mean) for method, mean in means.items() if mean is not None}
    return len(pairs), [method for method, (cells, mean) in pairs.items() if not is_mean(mean, cells)]


def is_mean(mean: Cell, cells: Sequence[Cell | None]) -> bool:
    """Whether rounding alone explains the difference of a printed average and the mean of its cells."""
    for half, name in enumerate(("meters", "degrees")):
        values = [getattr(cell, name) for cell in cells if cell is not None]
        shown = getattr(mean, name)
        if shown is None or None in values:
            continue
        bound = mean.half_units[half] + fmean(cell.half_units[half] for cell in cells if cell is not None)
        if abs(fmean(values) - shown) > bound + 1e-9:
            return False
    return True


def recomputed_ranks(printed: PrintedTable) -> tuple[int, list[str]]:
    """How many rows have ranks, and those whose averages give other ranks."""
    if printed.ranks is None:
        return 0, []
    pairs = {row.method: row.cells[0] for row in printed.rows}
    means = {
        method: (cell.meters, cell.degrees)
        for method, cell in pairs.items()
        if cell is not None and cell.meters is not None and cell.degrees is not None
    }
    computed = average_ranks(means)
    return len(computed), [method for method, ranks in computed.items() if ranks != printed.ranks[method]]


def started(printed: PrintedTable) -> Started:
    """A table without data and runs: the printed rows, and what each of ours needs."""
    with TemporaryDirectory(prefix="camloc-table-") as temporary:
        stem = Path(temporary) / "table"
        result = reproduce(printed, Settings(None, Path(temporary) / "none"), lambda _: None)
        paths = result.save(stem)
        lines = list(csv.DictReader(paths[1].open(newline="")))
    ours = [row for row in result.rows if row.kind == "ours"]
    return Started(
        printed=sum(row.kind == "printed" for row in result.rows),
        columns=len(result.columns),
        wrong=wrong_cells(printed, lines),
        ours=len(ours),
        silent=tuple(row.label for row in ours if "--data" not in row.problem),
    )


def page(measured: Measured) -> str:
    """The page of the results."""
    train, test = measured.frames
    introduction = (
        f"`camloc reproduce` on stand-ins: the embedded square, rendered under the names of the papers' "
        f"scenes in the layouts of their data sets, {train} images for training and {test} for testing each. "
        f"Trainings had {measured.budget}: our errors mean nothing and are not shown. The page says that "
        "every row and column is there, and whether the papers' averages and ranks follow from their rows. "
        f"{measured.machine}."
    )
    headings = ("table", "printed rows", "columns", "wrong or missing", "our rows", "our results",
                "baselines", "minutes")  # fmt: skip
    rows = [
        (
            f"`{name}` {find_table(name).title}",
            str(each.printed),
            str(each.columns),
            str(len(each.wrong)),
            str(each.ours),
            f"{each.measured} of {each.expected}",
            str(each.baselines),
            f"{each.seconds / 60:.1f}",
        )
        for name, each in measured.tables.items()
    ]
    others = ("table", "printed rows", "columns", "wrong or missing", "our rows", "rows that do not say what "
              "they need")  # fmt: skip
    started_rows = [
        (
            f"`{name}` {find_table(name).title}",
            *map(str, (each.printed, each.columns, len(each.wrong), each.ours, len(each.silent))),
        )
        for name, each in measured.started.items()
    ]
    averages = [
        (f"`{name}`", str(each.averages), str(each.ranks or ""), ", ".join(each.contradictions),
         ", ".join(each.unlisted))
        for name, each in measured.recomputed.items()
    ]  # fmt: skip
    missing = [f"- `{name}`, {each}" for name, result in measured.tables.items() for each in result.problems]
    return result_page(
        "The papers' tables, end to end",
        "paper_tables",
        introduction,
        table(headings, rows),
        "A table that uses the runs, the maps or the retrieval of another takes less time. "
        + " ".join(f"`{name}` was trained on {scene} alone." for name, scene in ONE_SCENE.items()),
        "## What is missing",
        "\n".join(missing) or "Nothing.",
        "## Averages and ranks",
        "Recomputed from the printed rows; a difference that rounding explains is none.",
        table(("table", "averages", "ranks", "contradictions", "not listed"), averages),
        "## Misprints and remarks",
        "The contradictions above, numbers that contradict another table or their source, and other remarks, "
        "as they stand below the tables:",
        "\n".join(misprints()),
        "## The other tables, without data",
        table(others, started_rows),
        "Tables of run times are measured with random weights, and have no rows of other papers.",
    )


def misprints() -> list[str]:
    """The listed misprints and the notes, paper by paper."""
    lines = []
    for name, printed in published_tables().items():
        where = f"- {PAPERS[printed.paper]}, `{name}`"
        lines += [f"{where}, {method}: {what}." for method, what in (printed.misprints or {}).items()]
        lines += [f"{where}: {printed.note}"] if printed.note else []
    return lines


if __name__ == "__main__":
    tyro.cli(main)
