"""Collects the estimates of runs and of trajectories for `camloc compare`."""

from collections.abc import Sequence
from pathlib import Path

from camloc.core.files import file_name
from camloc.errors import CheckpointError, DatasetError, UsageError
from camloc.evaluation.comparison import (
    Comparison,
    Estimates,
    compare,
    read_estimates,
    read_trajectory_of,
    truth_of,
)
from camloc.evaluation.files import CSV_NAME
from camloc.evaluation.results import RESULTS_NAME, Results
from camloc.runs.evaluate import SCENES
from camloc.runs.manifest import MANIFEST_FILE, RunManifest, budget_words

Folder = tuple[Path, RunManifest | None]


def compare_sources(sources: Sequence[Path], *, scene: str = "", truth: Path | None = None) -> Comparison:
    """Compare evaluated runs, folders of runs, and TUM files.

    Runs with the same recipe and budget are the seeds of one method.

    Args:
        sources: folders and files.
        scene: which scene of runs of several scenes.
        truth: TUM file of the true poses; not needed beside a run, which has them.

    Raises:
        CheckpointError: a run is not evaluated.
        DatasetError: nothing can be compared.
        UsageError: a source is neither a run nor a TUM file, or the scene is not clear.
    """
    files = [path for path in sources if path.is_file()]
    folders = [run for path in sources if path.is_dir() for run in runs_in(path)]
    missing = [path for path in sources if not path.exists()]
    if missing:
        raise UsageError(f"{missing[0]} does not exist; name runs, folders of runs, or TUM files")
    names = method_names(folders)
    estimates: list[Estimates] = []
    unit = "m"
    for (folder, manifest), name in zip(folders, names, strict=True):
        where = _results_folder(folder, manifest, scene)
        seed = "" if manifest is None else str(manifest.seed)
        estimates.append(read_estimates(where / CSV_NAME, name=name, seed=seed))
        unit = Results.load(where / RESULTS_NAME).unit
    if files:
        if truth is not None:
            like = truth_of(truth)
        elif estimates:
            like = estimates[0]
        else:
            raise UsageError("name the TUM file of the true poses with --truth, or a run beside the files")
        taken = {each.name for each in estimates}
        for path in files:
            name = path.stem if path.stem not in taken else str(path)
            taken.add(name)
            estimates.append(read_trajectory_of(path, like, name=name))
    if len(estimates) < 2:
        raise DatasetError("there is one source; name two or more runs or trajectories to compare")
    return compare(estimates, unit=unit)


def runs_in(folder: Path) -> list[Folder]:
    """The run of a folder, or the evaluated runs below it."""
    if (folder / MANIFEST_FILE).is_file() or (folder / RESULTS_NAME).is_file():
        return [(folder, _manifest(folder))]
    found = [path.parent for path in sorted(folder.rglob(MANIFEST_FILE))]
    evaluated = [run for run in found if any(run.rglob(CSV_NAME))]
    if not evaluated:
        raise CheckpointError(f"{folder} has no evaluated run; run `camloc evaluate` first")
    return [(run, _manifest(run)) for run in evaluated]


def _manifest(folder: Path) -> RunManifest | None:
    return RunManifest.load(folder) if (folder / MANIFEST_FILE).is_file() else None


def method_names(folders: Sequence[Folder]) -> list[str]:
    """A name for each run: its recipe, with budget, precision or folder where several methods have one.

    Runs of one method have one name: they differ in their seeds.
    """
    keys = [
        (str(folder), 0.0, "") if manifest is None
        else (manifest.recipe or "map", manifest.budget_seconds, manifest.precision)
        for folder, manifest in folders
    ]  # fmt: skip
    seeds: dict[tuple[str, float, str], list[int]] = {}
    for key, (_, manifest) in zip(keys, folders, strict=True):
        seeds.setdefault(key, []).append(-1 if manifest is None else manifest.seed)
    budgets: dict[str, set[tuple[float, str]]] = {}
    for recipe, budget, precision in keys:
        budgets.setdefault(recipe, set()).add((budget, precision))
    names = []
    for key, (folder, _) in zip(keys, folders, strict=True):
        recipe, budget, precision = key
        if len(set(seeds[key])) < len(seeds[key]):  # equal seeds: two runs that differ in something else
            differences = [folder.name]
        else:
            several, precisions = map(set, zip(*budgets[recipe], strict=True))
            differences = [budget_words(budget) if budget else "whole schedule"] if len(several) > 1 else []
            differences += [precision] if len(precisions) > 1 else []
        names.append(f"{recipe} ({', '.join(differences)})" if differences else recipe)
    return names


def _results_folder(folder: Path, manifest: RunManifest | None, scene: str) -> Path:
    if manifest is None or len(manifest.scenes) < 2:
        return folder
    if scene not in manifest.scenes:
        raise UsageError(f"{folder} has learned {', '.join(manifest.scenes)}; name one of them with --scene")
    return folder / SCENES / file_name(scene)
