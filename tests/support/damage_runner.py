"""Runs damaged inputs: each in a process with limits of time and memory, or a few in this process."""

import json
import multiprocessing
import os
import resource
import shutil
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from camloc import __version__
from camloc.cli import main as cli
from camloc.core.files import sha256_of
from camloc.errors import CamlocError
from camloc.inference.onnx.bundle import FORMAT, NETWORK, BundleManifest
from camloc.models.checkpoint import WEIGHTS
from camloc.models.metadata import METADATA
from tests.support.damage import reseal
from tests.support.damaged_inputs import FILES, KINDS, Assets, Input
from tests.support.mapped import write_map_run
from tests.support.trained import scene_with_cache, train_run

# Limits of an input.
SECONDS, BYTES = 20.0, 2 * 10**9

# What is wrong with how an input ended; "" if nothing is.
Problem = Literal["", "traceback", "hang", "memory", "wrong", "unnoticed", "lines"]


@dataclass(frozen=True)
class Outcome:
    """How a damaged input ended.

    Attributes:
        kind, number: they make the input again.
        damage: what was done to it.
        is_refused: whether it was refused.
        seconds: the time that it took.
        problem: what is wrong with that.
        detail: of the problem.
    """

    kind: str
    number: int
    damage: str = ""
    is_refused: bool = False
    seconds: float = 0.0
    problem: Problem = ""
    detail: str = ""


def made_assets(folder: Path) -> Assets:
    """The undamaged inputs, made from nothing in about a minute."""
    with scene_with_cache(folder):
        for name in ("run", "other"):
            train_run(folder / "scene", folder / name)
            forget_mean_pose(folder / name / "checkpoint")
        for arguments in (
            ("evaluate", folder / "run"),
            ("export", folder / "run", "--out", folder / "exported.onnx"),
        ):
            ended = run_command(tuple(map(str, arguments)), folder)
            assert ended.status == 0, ended
    return with_maps_and_cache(folder)


def with_maps_and_cache(folder: Path) -> Assets:
    """The same folder with maps, with an exported folder, and with the caches of a training on features."""
    from tests.support.cached import features_and_images

    for seed, name in enumerate(("map", "other-map")):
        write_map_run(folder / name, folder / "scene", seed=seed)
    (folder / "bundle").mkdir()
    network = Path(shutil.copyfile(folder / "exported.onnx", folder / "bundle" / NETWORK))
    BundleManifest(FORMAT, __version__, ("scene",), sha256_of(network)).save(folder / "bundle")
    shutil.rmtree(folder / "cache", ignore_errors=True)
    before = os.environ.get("CAMLOC_CACHE")
    os.environ["CAMLOC_CACHE"] = str(folder / "cache")
    try:
        features_and_images(folder / "scene", folder / "cached-run")
    finally:
        if before is None:
            del os.environ["CAMLOC_CACHE"]
        else:
            os.environ["CAMLOC_CACHE"] = before
    return Assets(folder)


def forget_mean_pose(checkpoint: Path) -> None:
    """Networks that learn for seconds would be rejected as unlearned."""
    content = json.loads((checkpoint / METADATA).read_text())
    (checkpoint / METADATA).write_text(json.dumps({**content, "mean_pose_errors": {}}))
    assert (checkpoint / WEIGHTS).exists()
    reseal(checkpoint)


def shares(total: int) -> dict[str, int]:
    """How many inputs of each kind make the total; at least one each."""
    whole = sum(share for _, share in KINDS.values())
    return {kind: max(1, round(total * share / whole)) for kind, (_, share) in KINDS.items()}


# --- One input ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


def run_command(arguments: tuple[str, ...], folder: Path) -> Ended:
    """Run a command in this process; what C libraries print is caught as well."""
    status = 0
    with (
        _caught(folder / "out.txt", 1) as out,
        _caught(folder / "err.txt", 2) as err,
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            cli.main(list(arguments))
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
    return Ended(status, *((folder / name).read_text(errors="replace") for name in ("out.txt", "err.txt")))


@contextmanager
def _caught(path: Path, descriptor: int) -> Iterator[Any]:
    """Everything that is written to a descriptor, in a file."""
    before = os.dup(descriptor)
    with path.open("w", errors="backslashreplace") as file:
        os.dup2(file.fileno(), descriptor)
        try:
            yield file
        finally:
            file.flush()
            os.dup2(before, descriptor)
            os.close(before)


def tried(assets: Assets, kind: str, number: int) -> Outcome:
    """Make an input, read it, and compare the outcome with the expected one."""
    rng = np.random.default_rng([zlib.crc32(kind.encode()), number])
    with TemporaryDirectory(prefix="camloc-damage-") as name:
        folder = Path(name)
        make = FILES[kind] if kind in FILES else KINDS[kind][0]
        made = make(assets, folder, rng)
        started = time.monotonic()
        try:
            is_refused, problem, detail = _assessed(made, folder)
        except Exception as error:
            where = error.__traceback__
            while where is not None and where.tb_next is not None:
                where = where.tb_next
            line = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else ""
            is_refused, problem, detail = False, "traceback", f"{type(error).__name__} at {line}: {error}"
        seconds = time.monotonic() - started
    return Outcome(kind, number, made.damage, is_refused, round(seconds, 2), problem, detail[:500])


def _assessed(made: Input, folder: Path) -> tuple[bool, Problem, str]:
    """Whether an input is refused, what is wrong with that, and the detail."""
    is_refused, out = False, ""
    if made.arguments:
        ended = run_command(made.arguments, folder)
        is_refused, out = ended.status != 0, ended.out
        lines = ended.err.splitlines()
        if "Traceback" in ended.err:
            return is_refused, "traceback", ended.err
        if (
            not all(line.startswith("camloc: ") for line in lines)
            or len(lines) > 1
            or is_refused > len(lines)
        ):
            return is_refused, "lines", ended.err
        if ended.status not in (0, 1, 2):
            return is_refused, "traceback", f"exit status {ended.status}"
    if made.read is not None and not is_refused:
        with _caught(folder / "err.txt", 2) as err, redirect_stderr(err):
            try:
                made.read()
            except CamlocError:
                is_refused = True
            except AssertionError as wrong:
                return False, "wrong", str(wrong)
        if len((folder / "err.txt").read_text().splitlines()) > 1:
            return is_refused, "lines", (folder / "err.txt").read_text()
    if made.expected == "refused" and not is_refused:
        return False, "unnoticed", out
    if made.expected == "true" and made.baseline and not is_refused:
        truth = run_command(made.baseline, folder).out
        if truth.partition("  ")[2] != out.partition("  ")[2]:
            return False, "wrong", f"{out} instead of {truth}"
    return is_refused, "", ""


# --- Processes with limits ----------------------------------------------------------------------------------


def tried_with_limits(assets: Assets, inputs: Iterable[tuple[str, int]]) -> Iterator[Outcome]:
    """The outcomes of inputs, tried in a process that is ended where it exceeds a limit."""
    context = multiprocessing.get_context("spawn")
    process = None
    connection: Connection | None = None
    for kind, number in inputs:
        if process is None or connection is None:
            connection, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, str(assets.folder)), daemon=True)
            process.start()
            theirs.close()
            assert connection.poll(120), "the process has not started"
            connection.recv()
        connection.send((kind, number))
        outcome = Outcome(kind, number, problem="hang")
        is_over = True
        if connection.poll(SECONDS):
            try:
                outcome, is_over = connection.recv()
            except EOFError:
                outcome = Outcome(kind, number, problem="traceback", detail="the process was killed")
        if is_over:
            process.kill()
            process.join()
            process = None
        yield outcome
    if process is not None:
        process.kill()
        process.join()


def _work(connection: Connection, folder: str) -> None:
    """Try the inputs that come through a connection; the process has a limit of memory."""
    tried(Assets(Path(folder)), "file run/run.json", 0)
    run_command(("locate", f"{folder}/run", str(Assets(Path(folder)).image())), Path(folder))
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    if pages:
        limit = pages * resource.getpagesize() + 2 * BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    connection.send("ready")
    while True:
        try:
            kind, number = connection.recv()
        except EOFError:
            return
        outcome = tried(Assets(Path(folder)), kind, number)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if peak > BYTES and not outcome.problem:
            outcome = Outcome(kind, number, outcome.damage, problem="memory", detail=f"{peak:,} bytes")
        connection.send((outcome, peak > BYTES))
