"""The output and the results of `camloc demo`, for the README and `docs/results`.

    uv run python -m benchmarks.demo

runs the demo in a fresh cache, so that the time of rendering counts, and writes `docs/results/demo.json`,
`docs/results/demo.md` and the demo's output in the README.
"""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.page import replace_block, result_page, statistics_table, write
from camloc.evaluation.report.wording import method_name
from camloc.evaluation.results import Results
from camloc.evaluation.table import format_table

README, BLOCK = Path("README.md"), "demo output"


@dataclass(frozen=True)
class Measured:
    """One demo.

    Attributes:
        minutes: of the whole demo, rendering included.
        cores: of the machine.
        before, after: the printed lines before and after the table of results.
        results: of the run.
    """

    minutes: float
    cores: int
    before: tuple[str, ...]
    after: tuple[str, ...]
    results: Results


def main() -> None:
    """Run the demo, and write the pages."""
    with TemporaryDirectory() as folder:
        work = Path(folder)
        environment = os.environ | {"CAMLOC_CACHE": str(work / "cache"), "COLUMNS": "80"}
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "camloc", "demo"],
            cwd=work,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        minutes = (time.monotonic() - started) / 60
        results = Results.load(work / "runs/demo/results.json")
    shown = re.sub(r"\S*/(?=cache/demo/)", "~/.", done.stdout)
    shown = shown.replace("~/.cache/demo", "~/.cache/camloc/demo")
    # Where output is not a terminal, progress bars become lines, which depend on the machine's speed.
    progress = re.compile(r"[\w ]+: [\d,]+ of [\d,]+")
    lines = [line.rstrip() for line in shown.splitlines() if line.strip() and not progress.fullmatch(line)]
    first = next(row for row, line in enumerate(lines) if line.lstrip().startswith("test set"))
    last = next(row for row, line in enumerate(lines) if line.startswith("report "))
    if lines[first:last] != format_table(results).splitlines():
        raise SystemExit("the demo printed another table than that of its results:\n" + "\n".join(lines))
    before, after = lines[:first], lines[last:]
    measured = Measured(minutes, os.cpu_count() or 1, tuple(before), tuple(after), results)
    write("demo", measured, page(measured))
    replace_block(README, BLOCK, output(measured))


def output(measured: Measured) -> str:
    """The lines that the demo prints, as a block of the README."""
    lines = (*measured.before, *format_table(measured.results).splitlines(), *measured.after)
    return "\n".join(("```text", *lines, "```"))


def page(measured: Measured) -> str:
    """The page."""
    results = measured.results
    parts = []
    for part in results.sets:
        rows = [("answer", part.estimates)]
        rows += [
            (method_name(method, has_map=results.scene_map is not None), statistics)
            for method, statistics in part.every_method.items()
            if method != results.refined_by
        ]
        parts += [f"## {part.name}", statistics_table(rows, part.rows()[1:])]
    return result_page(
        "The demo",
        "demo",
        "HyperPose, from random weights, on day frames of the embedded square's corner, and a map of "
        f"{results.train_frames} larger ones. *Answer* is that of `camloc locate`: the map's pose where it "
        "is verified, the network's where it is not. The other conditions were never trained on; all test "
        f"sets have the same camera poses. The whole demo took {measured.minutes:.1f} minutes on "
        f"{measured.cores} cores, rendering included.",
        *parts,
    )


if __name__ == "__main__":
    main()
