"""Whether hypernetworks helped: errors with them over errors without, in numbers and in words."""

from collections.abc import Sequence
from pathlib import Path
from statistics import geometric_mean

from benchmarks.tables import medians
from camloc.evaluation.results import Results

# The page of the model, which says whether they help, in a block for each benchmark.
MODEL_PAGE = Path("docs/models/hyperpose.md")

# Of position and of orientation, a number for each seed.
Ratios = tuple[list[float], list[float]]


def ratios_of(with_it: list[Results], without: list[Results], *, test_set: int = 0) -> Ratios:
    """What the errors of position and of orientation are multiplied by, for each seed that both have."""
    meters, degrees = (
        [one / other for one, other in zip(ours, theirs, strict=False)]
        for ours, theirs in zip(
            medians(with_it, test_set=test_set), medians(without, test_set=test_set), strict=True
        )
    )
    return meters, degrees


def helps(pairs: Sequence[Ratios]) -> str:
    """Whether they did, over several pairs or test sets and all their seeds, in words."""
    said = []
    for what, column in (("position", 0), ("orientation", 1)):
        ratios = [each for pair in pairs for each in pair[column]]
        factor = geometric_mean(ratios)
        better = sum(each < 1.0 for each in ratios)
        said.append(
            f"{what} {_in_words(factor)} ({factor:.2f} times the error, less in {better} of {len(ratios)})"
        )
    return ", ".join(said)


def _in_words(factor: float) -> str:
    """What became of an error; a twentieth is less than another seed changes."""
    if factor > 1.05:
        return "worse"
    return "better" if factor < 0.95 else "about the same"
