"""Tables of results for the documentation: every number from a `results.json`, beside its baselines."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

from camloc.evaluation.errors import ErrorStatistics
from camloc.evaluation.results import Results

HEADINGS = ("", "median", "mean", "90 %", "within 0.25 m, 2°", "within 0.5 m, 5°", "lost")


def results_table(named: Sequence[tuple[str, Results]], *, test_set: int = 0) -> str:
    """A Markdown table of one test set of several results, with the baselines once, below."""
    rows = [(label, results.sets[test_set].estimates) for label, results in named]
    return statistics_table(rows, named[0][1].sets[test_set].rows()[1:])


def statistics_table(
    rows: Sequence[tuple[str, ErrorStatistics]], baselines: Sequence[tuple[str, ErrorStatistics]] = ()
) -> str:
    """A Markdown table of the errors of several methods, and below them what needs no learning."""
    lines = [_line(HEADINGS), _line(["---"] + ["--:"] * (len(HEADINGS) - 1))]
    lines += [_line((f"**{label}**", *_cells(statistics))) for label, statistics in rows]
    lines += [_line((f"*{label}*", *_cells(statistics))) for label, statistics in baselines]
    return "\n".join(lines)


def medians(results: Sequence[Results], *, test_set: int = 0) -> tuple[list[float], list[float]]:
    """Median metres and degrees of several trainings; where most frames were lost, infinity."""
    errors = [each.sets[test_set].estimates for each in results]
    return [_value(each.meters.median) for each in errors], [_value(each.degrees.median) for each in errors]


def median_words(errors: ErrorStatistics) -> str:
    """Both medians of a method; infinity where half of the frames or more were lost."""
    if errors.meters.median is None or errors.degrees.median is None:
        return "∞"
    return f"{errors.meters.median:.3f} m, {errors.degrees.median:.2f}°"


def _value(number: float | None) -> float:
    return float("inf") if number is None else number


def mean_and_range(values: Sequence[float], unit: str, *, digits: int) -> str:
    """The mean of a few numbers and, where there are several, the least and the largest."""
    shown = f"{mean(values):.{digits}f}{unit}"
    if len(values) == 1:
        return shown
    return f"{shown} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def versions(software: Mapping[str, str]) -> str:
    """What results ran on, in words."""
    return ", ".join(f"{name} {version}" for name, version in sorted(software.items()))


def replace_block(path: Path, name: str, text: str) -> None:
    """Put `text` between the comments `<!-- name: ... -->` and `<!-- end of name -->` of a page."""
    page = path.read_text()
    opening = re.search(rf"<!-- {re.escape(name)}:.*?-->", page)
    assert opening is not None, f"{path} has no block '{name}'"
    closing = f"<!-- end of {name} -->"
    end = page.find(closing)
    rest = page[end + len(closing) :] if end >= 0 else page[opening.end() :]
    path.write_text(f"{page[: opening.end()]}\n\n{text}\n\n{closing}{rest}")


def _cells(statistics: ErrorStatistics) -> tuple[str, ...]:
    meters, degrees = statistics.meters, statistics.degrees
    pairs = (
        (meters.median, degrees.median),
        (meters.mean, degrees.mean),
        (meters.quantile_90, degrees.quantile_90),
    )
    shown = [f"{_number(far, 3)} m, {_number(turned, 2)}°" for far, turned in pairs]
    recalls = [f"{statistics.recall(*bound):.0%}" for bound in ((0.25, 2.0), (0.5, 5.0))]
    return (*shown, *recalls, str(statistics.lost))


def _number(value: float | None, digits: int) -> str:
    return "∞" if value is None else f"{value:.{digits}f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
