"""What the pages of results share: tables in Markdown, words for numbers, and the files they are written to.

A page is made from its file of numbers alone: `docs/results/<name>.json` and `<name>.md` are written
together.
"""

import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, TypeVar

import torch

from camloc.core.config import from_json, to_json
from camloc.evaluation.errors import ErrorStatistics
from camloc.evaluation.results import Results

RESULTS = Path("docs/results")

Known = TypeVar("Known")

HEADINGS = ("", "median", "mean", "90 %", "within 0.25 m, 2°", "within 0.5 m, 5°", "lost")


def result_page(title: str, script: str, *parts: str, command: str | None = "") -> str:
    """A page of paragraphs and tables.

    Args:
        title: of the page.
        script: name of the module in `benchmarks` that writes it.
        parts: paragraphs and tables; empty ones are left out.
        command: options of the module that measure everything again; None if the parts show the command.
    """
    note = f"<!-- Written by benchmarks/{script}.py; do not edit. -->"
    shown = "" if command is None else f"    uv run python -m benchmarks.{script} {command}".rstrip()
    return "\n\n".join(part for part in (f"# {title}", note, *parts, shown) if part) + "\n"


def known(name: str, nothing: Known) -> Known:
    """The numbers of an earlier measurement, or the given ones where there is none."""
    path = RESULTS / f"{name}.json"
    return from_json(path.read_bytes(), type(nothing)) if path.exists() else nothing


def write(name: str, measured: Any, text: str) -> None:
    """Write the numbers and the page that shows them."""
    (RESULTS / f"{name}.json").write_bytes(to_json(measured))
    (RESULTS / f"{name}.md").write_text(text)
    print(text)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: int = 1) -> str:
    """A Markdown table whose first columns are text."""
    rules = ["---"] * text_columns + ["--:"] * (len(headings) - text_columns)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headings, rules, *rows))


def filled(
    columns: Sequence[tuple[str, str]], rows: Iterable[Mapping[str, Any]], *, text_columns: int = 1
) -> str:
    """A table of measured rows: the heading and the format of each column, such as `{ours:.2f} ms`."""
    cells = ([form.format(**row) for _, form in columns] for row in rows)
    return table([heading for heading, _ in columns], cells, text_columns=text_columns)


def machine() -> str:
    """Cores, architecture and torch of this machine."""
    return f"{os.cpu_count()} cores ({platform.machine()}), torch {torch.__version__}"


def versions(software: Mapping[str, str]) -> str:
    """The versions of the packages of a result."""
    return ", ".join(f"{name} {version}" for name, version in sorted(software.items()))


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[0].upper() + text[1:]


def results_table(named: Iterable[tuple[str, Results]], *, test_set: int = 0) -> str:
    """One test set of several results, with the baselines once, below."""
    sets = [(label, results.sets[test_set]) for label, results in named]
    return statistics_table([(label, each.estimates) for label, each in sets], sets[0][1].rows()[1:])


def statistics_table(
    rows: Iterable[tuple[str, ErrorStatistics]], baselines: Iterable[tuple[str, ErrorStatistics]] = ()
) -> str:
    """The errors of several methods, and below them those of the baselines."""
    named = [(f"**{label}**", errors) for label, errors in rows]
    named += [(f"*{label}*", errors) for label, errors in baselines]
    return table(HEADINGS, [(label, *_cells(errors)) for label, errors in named])


def _cells(errors: ErrorStatistics) -> tuple[str, ...]:
    pairs = [_pair(errors, name) for name in ("median", "mean", "quantile_90")]
    recalls = [f"{errors.recall(*bound):.0%}" for bound in ((0.25, 2.0), (0.5, 5.0))]
    return (*pairs, *recalls, str(errors.lost))


def median_words(errors: ErrorStatistics) -> str:
    """Both medians; infinity where half of the frames or more were lost."""
    return "∞" if errors.meters.median is None else _pair(errors, "median")


def _pair(errors: ErrorStatistics, name: str) -> str:
    meters, degrees = getattr(errors.meters, name), getattr(errors.degrees, name)
    return f"{_number(meters, 3)} m, {_number(degrees, 2)}°"


def _number(value: float | None, digits: int) -> str:
    return "∞" if value is None else f"{value:.{digits}f}"


def medians(results: Iterable[Results], *, test_set: int = 0) -> tuple[list[float], list[float]]:
    """Median metres and degrees of several trainings; infinite where most frames were lost."""
    errors = [each.sets[test_set].estimates for each in results]
    meters, degrees = ([each.meters.median for each in errors], [each.degrees.median for each in errors])
    return [_finite(each) for each in meters], [_finite(each) for each in degrees]


def _finite(value: float | None) -> float:
    return float("inf") if value is None else value


def mean_and_range(values: Sequence[float], unit: str, *, digits: int) -> str:
    """The mean of a few numbers and, where there are several, the least and the largest."""
    shown = f"{mean(values):.{digits}f}{unit}"
    if len(values) == 1:
        return shown
    return f"{shown} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def median_ranges(results: Sequence[Results]) -> tuple[str, str]:
    """Mean and range of the median metres and degrees of several trainings."""
    meters, degrees = medians(results)
    return mean_and_range(meters, " m", digits=3), mean_and_range(degrees, "°", digits=2)


def block(path: Path, name: str) -> str:
    """The text between the comments `<!-- name: ... -->` and `<!-- end of name -->` of a page."""
    return _block(path, name)[1].strip()


def replace_block(path: Path, name: str, text: str) -> None:
    """Exchange the text between these comments."""
    before, _, after = _block(path, name)
    path.write_text(f"{before}\n\n{text}\n\n{after}")


def _block(path: Path, name: str) -> tuple[str, str, str]:
    found = re.fullmatch(
        rf"(.*<!-- {re.escape(name)}:[^\n]*?-->)(.*)(<!-- end of {re.escape(name)} -->.*)",
        path.read_text(),
        re.DOTALL,
    )
    assert found is not None, f"{path} has no block '{name}'"
    return found[1], found[2], found[3]
