"""Thousands of damaged inputs: tracebacks, hangs, memory, wrong answers and lines on standard error."""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.damage_runner import Outcome, made_assets, shares, tried_with_limits
from tests.support.damaged_inputs import KINDS, Assets

from benchmarks import page as common
from benchmarks.page import RESULTS, filled, write
from camloc.core.config import from_json, to_json


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
    """The content of `damage.json`."""

    kinds: tuple[Counted, ...]


def main() -> None:
    """Try the inputs, print what went wrong, and write the page once every kind has been tried."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3000, help="inputs of all kinds together")
    parser.add_argument("--kinds", nargs="*", default=[], help="try these kinds alone, such as images")
    parser.add_argument("--number", type=int, default=None, help="try this input of each kind alone")
    parser.add_argument("--assets", type=Path, default=None, help="folder to keep the undamaged inputs in")
    parser.add_argument("--results", type=Path, default=None, help="file of results to add to")
    arguments = parser.parse_args()
    unknown = [kind for kind in arguments.kinds if kind not in KINDS]
    if unknown:
        parser.error(f"there is no kind {unknown[0]!r}; the kinds are {', '.join(map(repr, KINDS))}")
    kinds = arguments.kinds or list(KINDS)
    with TemporaryDirectory(prefix="camloc-damage-") as temporary:
        folder = arguments.assets or Path(temporary)
        if not (folder / "cache").exists():
            made_assets(folder)
        if arguments.number is not None:
            for outcome in tried_with_limits(Assets(folder), [(each, arguments.number) for each in kinds]):
                print(json.dumps(asdict(outcome)))
            return
        counts, path = shares(arguments.count), arguments.results or RESULTS / "damage.json"
        for kind in kinds:
            outcomes = []
            for outcome in tried_with_limits(Assets(folder), [(kind, each) for each in range(counts[kind])]):
                outcomes.append(outcome)
                if outcome.problem:
                    print(json.dumps(asdict(outcome)), flush=True)
            # After each kind, so that a run may be divided and continued.
            found = {kind: counted(kind, outcomes)}
            if path.exists() and (arguments.kinds or kind != kinds[0]):
                earlier = from_json(path.read_bytes(), Measured).kinds
                found = {each.kind: each for each in earlier} | found
            measured = Measured(tuple(found[each] for each in KINDS if each in found))
            path.write_bytes(to_json(measured))
    if arguments.results is None:
        write("damage", measured, page(measured))
    else:
        print(shown(measured.kinds))


def page(measured: Measured) -> str:
    """The page of the results."""
    return common.page("Damaged inputs", "damage", INTRODUCTION, shown(measured.kinds))


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
    main()
