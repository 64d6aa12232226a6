"""Thousands of damaged inputs: tracebacks, hangs, memory, wrong answers and lines on standard error."""

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import tyro
from tests.support.damage_runner import Outcome, made_assets, shares, tried_with_limits
from tests.support.damaged_inputs import FILES, KINDS, Assets

from benchmarks.page import filled, result_page, write


@dataclass(frozen=True)
class Counted:
    """What became of the inputs of one kind.

    Attributes:
        kind: of the inputs.
        inputs: their number.
        refused: of these, in one sentence.
        traceback, hang, memory: a traceback, more than 20 seconds, more than 2 GB.
        wrong: another answer than that of the undamaged input, where it was known.
        unnoticed: damage of a file with a checksum that was not noticed.
        lines: a refusal of more or less than one line on standard error, or lines of other programs.
        slowest: seconds of the slowest input.
    """

    kind: str
    inputs: int
    refused: int
    traceback: int
    hang: int
    memory: int
    wrong: int
    unnoticed: int
    lines: int
    slowest: float


@dataclass(frozen=True)
class Measured:
    """The content of `damage.json`.

    Attributes:
        kinds: of damaged inputs.
        files: of flipped bits and zeroed pages in files that camloc wrote.
    """

    kinds: tuple[Counted, ...]
    files: tuple[Counted, ...]


def main(
    *,
    count: int = 3000,
    each_file: int = 200,
    kinds: tuple[str, ...] = (),
    number: int | None = None,
    folder: Path | None = None,
    seconds: float = float("inf"),
) -> None:
    """Try the inputs, print what went wrong, and write the page once all have been tried.

    Outcomes are appended to a file and not tried again, so that a run may be stopped and continued.

    Args:
        count: Inputs of all kinds together.
        each_file: Damages of each file that camloc writes.
        kinds: Try these kinds alone, and write no page.
        number: Try this input of each kind alone.
        folder: Keep undamaged inputs and outcomes here.
        seconds: Stop after this time, to go on later.
    """
    counts = shares(count) | dict.fromkeys(FILES, each_file)
    unknown = [kind for kind in kinds if kind not in counts]
    if unknown:
        raise SystemExit(f"there is no kind {unknown[0]!r}; the kinds are {', '.join(map(repr, counts))}")
    started = time.monotonic()
    with TemporaryDirectory(prefix="camloc-damage-") as temporary:
        work = folder or Path(temporary)
        if not (work / "cache").exists():
            made_assets(work)
        if number is not None:
            for outcome in tried_with_limits(Assets(work), [(each, number) for each in kinds or counts]):
                print(json.dumps(asdict(outcome)))
            return
        outcomes = earlier(work / "outcomes.jsonl")
        inputs = [(kind, number) for kind in kinds or counts for number in range(counts[kind])]
        missing = [each for each in inputs if each not in outcomes]
        with (work / "outcomes.jsonl").open("a") as file:
            for outcome in tried_with_limits(Assets(work), missing):
                outcomes[outcome.kind, outcome.number] = outcome
                file.write(f"{json.dumps(asdict(outcome))}\n")
                file.flush()
                if outcome.problem:
                    print(json.dumps(asdict(outcome)), flush=True)
                if time.monotonic() - started > seconds:
                    break
    left = sum(each not in outcomes for each in inputs)
    if left or kinds:
        print(f"{left} of {len(inputs)} inputs are left; give the same command again", file=sys.stderr)
        return
    found = {kind: [outcomes[kind, number] for number in range(counts[kind])] for kind in counts}
    rows = {kind: counted(kind, found[kind]) for kind in counts}
    measured = Measured(tuple(rows[kind] for kind in KINDS), tuple(rows[kind] for kind in FILES))
    write("damage", measured, page(measured))


def earlier(path: Path) -> dict[tuple[str, int], Outcome]:
    """The outcomes of a file, by kind and number."""
    lines = path.read_text().splitlines() if path.exists() else []
    outcomes = [Outcome(**json.loads(line)) for line in lines]
    return {(outcome.kind, outcome.number): outcome for outcome in outcomes}


def page(measured: Measured) -> str:
    """The page of the results."""
    columns = [("file", "{name}"), ("damaged", "{inputs}"), ("noticed", "{refused}")]
    files = [{**asdict(each), "name": each.kind.removeprefix("file ")} for each in measured.files]
    sums = {name: sum(getattr(each, name) for each in measured.files) for name in ("inputs", "refused")}
    text = f"{shown(measured.kinds)}\n\n## Flipped bits and zeroed pages\n\n{OF_FILES}\n\n"
    text += filled(columns, [*files, {"name": "**all**", **sums}])
    return result_page("Damaged inputs", "damage", INTRODUCTION, text)


def counted(kind: str, outcomes: Sequence[Outcome]) -> Counted:
    """The counts of the outcomes of one kind."""
    problems = Counter(str(outcome.problem) for outcome in outcomes)
    return Counted(
        kind=kind,
        inputs=len(outcomes),
        refused=sum(outcome.is_refused for outcome in outcomes),
        traceback=problems["traceback"],
        hang=problems["hang"],
        memory=problems["memory"],
        wrong=problems["wrong"],
        unnoticed=problems["unnoticed"],
        lines=problems["lines"],
        slowest=max(outcome.seconds for outcome in outcomes),
    )


INTRODUCTION = (
    "Inputs of a seed are spoilt at random and read by the command line: images (cut, of another kind, huge, "
    "of other colours, with broken metadata), data sets in every layout (lines and numbers exchanged, "
    "mirrored, sheared and transposed matrices, other encodings, absent images, pipes and loops of links), "
    "and everything that camloc writes and reads again (flipped bits, zeroed pages, exchanged files, JSON "
    "values of other types with checksums that fit). Each runs in a process with a limit of 20 seconds and "
    "of 2 GB. An answer is wrong if the undamaged input gives another one and the damage could be noticed; "
    "a wrong digit of a position cannot."
)


OF_FILES = (
    "One to eight bits are flipped, or a page of 4,096 bytes is zeroed, in every file that camloc writes and "
    "reads again: of a run of a network, of a run of a map, of an exported folder, and of the caches. What "
    "reads the file must refuse it; a cache must be made again."
)


def shown(rows: Sequence[Counted]) -> str:
    """The counts as a table, with their sums."""
    names = ("inputs", "refused", "traceback", "hang", "memory", "wrong", "unnoticed", "lines")
    sums = {name: sum(getattr(each, name) for each in rows) for name in names}
    whole = {"kind": "**all**", **sums, "slowest": max(each.slowest for each in rows)}
    headings = {
        "kind": "",
        **{name: name for name in names},
        "traceback": "tracebacks",
        "hang": "over 20 s",
        "memory": "over 2 GB",
        "wrong": "wrong answers",
        "unnoticed": "damage not noticed",
        "lines": "not one line",
    }
    columns = [(heading, f"{{{name}}}") for name, heading in headings.items()]
    return filled([*columns, ("slowest", "{slowest:.1f} s")], [*map(asdict, rows), whole])


if __name__ == "__main__":
    tyro.cli(main)
