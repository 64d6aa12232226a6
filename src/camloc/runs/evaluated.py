"""What is evaluated: a run or an exported file, on which photographs, and where the results go."""

from collections.abc import Sequence
from pathlib import Path

from camloc.errors import RecipeError
from camloc.exported import is_exported, load_onnx
from camloc.runs.facts import DataSource, RunFacts


def learned_places(run: Path) -> tuple[str, ...]:
    """The names of the places that a run, or an exported file, has learned.

    Raises:
        CheckpointError: it is missing, incomplete or damaged.
    """
    return load_onnx(run).facts.scenes if is_exported(run) else RunFacts.load(run).scenes


def facts_of(run: Path) -> RunFacts | None:
    """What a run was made from; None for an exported file, which holds what answers need and no more.

    Raises:
        CheckpointError: the run is incomplete or damaged.
    """
    return None if is_exported(run) else RunFacts.load(run)


def sources_of(run: Path, facts: RunFacts | None, data: Sequence[DataSource]) -> Sequence[DataSource]:
    """Where the photographs of an evaluation are: in `data`, or where the run found those that it learned.

    Raises:
        RecipeError: an exported file is evaluated on nothing.
    """
    if data:
        return data
    if facts is None:
        raise RecipeError(f"{run} does not say which photographs to evaluate it on; name them with --data")
    return facts.data


def folder_of_results(run: Path, out: Path | None) -> Path:
    """Where an evaluation writes: `out`, or the run's folder; of model.onnx the folder model beside it."""
    return out or (run.with_suffix("") if is_exported(run) else run)
