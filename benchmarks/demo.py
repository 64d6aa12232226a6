"""What `camloc demo` prints and reaches, for the README and `docs/results`.

    uv run python -m benchmarks.demo

runs the demo in a fresh cache, so that rendering counts as well, and writes `docs/results/demo.json`,
`docs/results/demo.md` and the demo's output in the README.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.tables import replace_block, results_table
from camloc.core.config import to_json
from camloc.evaluation.results import Results

PAGE = Path("docs/results/demo.md")


def main() -> None:
    """Run, and write the pages."""
    with TemporaryDirectory() as folder:
        work = Path(folder)
        environment = os.environ | {"CAMLOC_CACHE": str(work / "cache"), "COLUMNS": "80"}
        started = time.monotonic()
        printed = _camloc("demo", cwd=work, environment=environment)
        minutes = (time.monotonic() - started) / 60
        named = [("HyperPose", Results.load(work / "runs/demo/results.json"))]
    shown = re.sub(r"\S*/(?=cache/demo/)", "~/.", printed).replace("~/.cache/demo", "~/.cache/camloc/demo")
    replace_block(Path("README.md"), "demo output", f"```text\n{shown.strip()}\n```")
    PAGE.with_suffix(".json").write_bytes(to_json(dict(named)))
    PAGE.write_text(_page(named, minutes))


def _camloc(*arguments: str, cwd: Path, environment: dict[str, str]) -> str:
    """Run the command line, and give what a person would see of it at the end."""
    done = subprocess.run(
        [sys.executable, "-m", "camloc", *arguments],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return "\n".join(line.rstrip() for line in done.stdout.splitlines() if line.strip())


def _page(named: list[tuple[str, Results]], minutes: float) -> str:
    lines = [
        "# The demo",
        "",
        "<!-- Written by benchmarks/demo.py; do not edit. -->",
        "",
        f"HyperPose, from random weights, on "
        f"{named[0][1].train_frames} day frames of the embedded square's corner. The other conditions were "
        f"never trained on; all test sets have the same camera poses. The whole demo took {minutes:.1f} "
        f"minutes on {os.cpu_count()} cores, rendering included.",
        "",
    ]
    for number, part in enumerate(named[0][1].sets):
        lines += [f"## {part.name}", "", results_table(named, test_set=number), ""]
    return "\n".join([*lines, "    uv run python -m benchmarks.demo", ""])


if __name__ == "__main__":
    main()
