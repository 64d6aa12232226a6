"""Reproduces a table of a paper: trains the runs that it needs, or takes finished ones, and measures them.

Every run is trained by `camloc train` in a process of its own, whose output is in a log beside the run's
folder. Finished runs are kept, so that the same command continues. A run that fails leaves its reason in the
table, and the others continue.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from threading import Lock
from typing import Literal, get_args

from camloc.core.config import from_json, to_json
from camloc.core.files import file_name, read_regular, write_atomically
from camloc.data.types import Frame, Scene, oriented, poses_of
from camloc.errors import CamlocError, CheckpointError, DatasetError, RecipeError
from camloc.evaluation.baselines import baseline_errors
from camloc.evaluation.errors import ErrorStatistics, error_statistics
from camloc.evaluation.published import MEAN, PrintedRow, PrintedTable, scene_and_set
from camloc.evaluation.reproduction import (
    Kind,
    Reproduction,
    Result,
    Row,
    mean_of,
    our_label,
    over_seeds,
    reproduction,
)
from camloc.evaluation.results import RESULTS_NAME, Results
from camloc.geometry.pose import PoseError
from camloc.inference.image_retrieval import vlad_errors
from camloc.inference.pooled_retrieval import network_errors
from camloc.inference.torch_network import TorchNetwork
from camloc.models.checkpoint import load_checkpoint
from camloc.recipes import find_recipe
from camloc.runs.autoencode import student_errors
from camloc.runs.commands import CommandFailed, run_camloc
from camloc.runs.evaluate import SCENES
from camloc.runs.manifest import MANIFEST_FILE, DataSource, RunManifest

ORACLE, POSITION_ORACLE, MEAN_POSE = (
    "nearest training pose",
    "nearest training position",
    "mean training pose",
)
VLAD, VLAD_INTERPOLATED = "retrieval, VLAD", "retrieval, VLAD interpolated"
POOLED, POOLED_INTERPOLATED = "retrieval, pooled features", "retrieval, pooled features interpolated"
MAP_ROW = "map of local features"

# Further baselines, which take minutes.
FurtherBaseline = Literal["retrieval", "map"]
FURTHER_BASELINES: tuple[FurtherBaseline, ...] = get_args(FurtherBaseline)

Report = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """Data, budget and seeds of a reproduction.

    Attributes:
        data: the data set's folder, or None to take finished runs only.
        runs: folder of the runs, where finished ones are looked for and new ones are written.
        budget: time of every training, as `camloc train --budget`; "" for the recipes' own schedules.
        seeds: trainings of every row, with the seeds 0, 1, ...
        rows: parts of the methods' names; only rows that contain one are ours. All if empty.
        scenes: of the table; all that the data set has if empty.
        jobs: trainings at a time.
        device: of trainings.
        backbone_weights: as for `camloc train`.
        budget_seconds: the same in seconds; 0 for none.
        options: of the data set's reader, by name.
        baselines: which of `FURTHER_BASELINES` are measured.
    """

    data: Path | None
    runs: Path
    budget: str = ""
    seeds: int = 1
    rows: tuple[str, ...] = ()
    scenes: tuple[str, ...] = ()
    jobs: int = 1
    device: str = "cpu"
    backbone_weights: str = "none"
    budget_seconds: float = 0.0
    options: dict[str, str] = field(default_factory=dict)
    baselines: tuple[FurtherBaseline, ...] = FURTHER_BASELINES


@dataclass(frozen=True)
class Job:
    """One run that a row needs.

    Attributes:
        recipe: of the run.
        scenes: one, or all for a network of several scenes.
        seed: of the training.
        folder: of the run.
    """

    recipe: str
    scenes: tuple[str, ...]
    seed: int
    folder: Path


@dataclass(frozen=True)
class _Kept:
    """Results that were measured before, by name."""

    results: dict[str, Result]


def reproduce(table: PrintedTable, settings: Settings, report: Report) -> Reproduction:
    """Train the runs that are missing, and compose the table.

    Args:
        table: of a paper.
        settings: data, folders and budgets.
        report: called with a line for each step.

    Raises:
        DatasetError: the data set has none of the table's scenes.
        RecipeError: no row is chosen.
    """
    chosen = _chosen_rows(table, settings.rows)
    scenes = _scenes(table, settings)
    joint = _joint_scenes(table, scenes, settings) if any(map(_is_joint, chosen.values())) else ()
    jobs = {
        number: tuple(_jobs(row, (joint,) if _is_joint(row) else tuple((each,) for each in scenes), settings))
        for number, row in chosen.items()
    }
    finished = _finished_runs(settings)
    problems: dict[Job, str] = {}
    found: dict[Job, Path] = {}
    unique = tuple(dict.fromkeys(job for several in jobs.values() for job in several))
    lock = Lock()

    def run(job: Job) -> None:
        try:
            folder = _run_folder(job, table, settings, finished, report)
        except (CommandFailed, CamlocError, OSError) as problem:
            with lock:
                problems[job] = str(problem)
            report(f"failed {job.folder}: {problem}")
        else:
            with lock:
                found[job] = folder

    with ThreadPoolExecutor(max(1, settings.jobs)) as pool:
        for _ in pool.map(run, unique):
            pass
    ours = {
        number: _our_row(table, table.rows[number], several, found, problems, settings, report)
        for number, several in jobs.items()
    }
    by_scene = {scene: found[job] for job in reversed(unique) if job in found for scene in job.scenes}
    baselines = _baseline_rows(table, scenes, by_scene, settings, report)
    return reproduction(table, ours, baselines, data=_data_words(settings, scenes, table))


def _chosen_rows(table: PrintedTable, words: tuple[str, ...]) -> dict[int, PrintedRow]:
    trainable = {number: row for number, row in enumerate(table.rows) if row.recipes}
    chosen = {
        number: row
        for number, row in trainable.items()
        if not words or any(word.lower() in row.method.lower() for word in words)
    }
    if not chosen:
        names = ", ".join(row.method for row in trainable.values())
        raise RecipeError(f"no row of {table.name} contains {' or '.join(words)}; camloc trains {names}")
    return chosen


def _scenes(table: PrintedTable, settings: Settings) -> tuple[str, ...]:
    """The scenes of the table that are wanted and that the data set has."""
    wanted = settings.scenes or table.scenes
    for scene in wanted:
        if scene not in table.scenes:
            raise DatasetError(f"{table.name} has no scene {scene}; it has {', '.join(table.scenes)}")
    if settings.data is None:
        return wanted
    present = present_scenes(table.layout, wanted, settings)
    if not present:
        try:
            _source(table.layout, wanted[0], settings).load()
        except DatasetError as problem:
            raise DatasetError(f"{settings.data} has none of the scenes of {table.name}: {problem}") from None
    return present


def present_scenes(layout: str, wanted: tuple[str, ...], settings: Settings) -> tuple[str, ...]:
    """The wanted scenes that the data set has; all of them where no data set is given."""
    if settings.data is None:
        return wanted
    present = []
    for scene in wanted:
        with suppress(DatasetError):
            _source(layout, scene, settings).load()
            present.append(scene)
    return tuple(present)


def _source(layout: str, scene: str, settings: Settings) -> DataSource:
    assert settings.data is not None
    return DataSource(os.path.realpath(settings.data), layout, scene, dict(settings.options))


def _is_joint(row: PrintedRow) -> bool:
    """Whether one network learns all scenes."""
    return getattr(find_recipe(row.recipes[0]).config, "scenes", 1) > 1


def _joint_scenes(table: PrintedTable, scenes: tuple[str, ...], settings: Settings) -> tuple[str, ...]:
    """The scenes that a network of several scenes learns: those of the data set, also for a table of one."""
    if settings.scenes or table.scenes == table.data_set_scenes:
        return scenes
    return present_scenes(table.layout, table.data_set_scenes, settings) or scenes


def _jobs(row: PrintedRow, groups: tuple[tuple[str, ...], ...], settings: Settings) -> Iterator[Job]:
    """The runs of a row: one for each group of scenes and seed."""
    for group in groups:
        scenes = "+".join(map(file_name, group)) if len(group) < 3 else f"{len(group)}-scenes"
        for seed in range(settings.seeds):
            yield Job(row.recipes[0], group, seed, run_folder(settings, row.recipes[0], scenes, seed))


def run_folder(settings: Settings, recipe: str, scenes: str, seed: int) -> Path:
    """The folder of a run; `scenes` names what it learns."""
    return settings.runs / recipe / scenes / f"seed-{seed}{f'-{settings.budget}' * bool(settings.budget)}"


def _finished_runs(settings: Settings) -> dict[tuple[str, tuple[str, ...], int], Path]:
    """Runs below the folder of runs by recipe, scenes and seed: those of the same data and budget.

    Without data, the budget does not matter.
    """
    found: dict[tuple[str, tuple[str, ...], int], Path] = {}
    for path in sorted(settings.runs.rglob(MANIFEST_FILE)) if settings.runs.is_dir() else ():
        try:
            manifest = RunManifest.load(path.parent)
        except CheckpointError:
            continue
        is_same = settings.data is None or (
            manifest.budget_seconds == settings.budget_seconds
            and all(source.root.startswith(os.path.realpath(settings.data)) for source in manifest.data)
        )
        key = (manifest.recipe, manifest.scenes, manifest.seed)
        if is_same and manifest.recipe and is_measured(path.parent, manifest.scenes):
            found.setdefault(key, path.parent)
    return found


def is_measured(folder: Path, scenes: tuple[str, ...]) -> bool:
    """Whether a run of these scenes was evaluated."""
    return all(_results_path(folder, scene, len(scenes)).is_file() for scene in scenes)


def _results_path(folder: Path, scene: str, scenes: int) -> Path:
    return folder / RESULTS_NAME if scenes == 1 else folder / SCENES / file_name(scene) / RESULTS_NAME


def _run_folder(
    job: Job,
    table: PrintedTable,
    settings: Settings,
    finished: dict[tuple[str, tuple[str, ...], int], Path],
    report: Report,
) -> Path:
    """The folder of a measured run, trained if there is none."""
    key = (job.recipe, job.scenes, job.seed)
    if key in finished:
        report(f"taken  {finished[key]}")
        return finished[key]
    if settings.data is None:
        raise CommandFailed(
            f"{settings.runs} has no finished run of {job.recipe} with seed {job.seed}; "
            "name the data set with --data to train it"
        )
    train_job(job, table.layout, settings, report)
    if not is_measured(job.folder, job.scenes):
        run_camloc(["evaluate", str(job.folder)], job.folder.with_suffix(".log"))
    return job.folder


def train_job(job: Job, layout: str, settings: Settings, report: Report) -> None:
    """Train a run.

    Raises:
        CommandFailed: the training failed.
    """
    report(f"train  {job.folder}")
    scenes = [word for scene in job.scenes for word in ("--scene", scene)]
    words = ["train", job.recipe, "--data", str(settings.data), *scenes, "--layout", layout]
    words += ["--out", str(job.folder), "--seed", str(job.seed), "--device", settings.device]
    words += ["--backbone-weights", settings.backbone_weights]
    words += ["--budget", settings.budget] if settings.budget else []
    run_camloc([*words, *option_words(settings)], job.folder.with_suffix(".log"))


def option_words(settings: Settings) -> list[str]:
    """The options of the data set's reader as words of a command."""
    return [word for name, value in settings.options.items() for word in ("--option", f"{name}={value}")]


def _our_row(
    table: PrintedTable,
    row: PrintedRow,
    jobs: tuple[Job, ...],
    found: dict[Job, Path],
    problems: dict[Job, str],
    settings: Settings,
    report: Report,
) -> Row:
    """Our results of a row, from its runs."""
    by_column: dict[str, list[Result]] = {}
    reasons = [(job.scenes, problems[job]) for job in jobs if job in problems]
    records: list[Results] = []
    for job in jobs:
        if job not in found:
            continue
        try:
            measured = _measured(row, job, found[job], settings, report)
        except (CommandFailed, CamlocError, OSError) as problem:
            reasons.append((job.scenes, str(problem)))
            continue
        for scene, sets in measured.items():
            for column in _columns(table, scene):
                name = scene_and_set(column)[1]
                if name not in sets:
                    reasons.append(((scene,), f"there is no test set {name!r}"))
                    continue
                by_column.setdefault(column, []).append(sets[name])
        with suppress(CheckpointError):
            records.append(Results.load(_results_path(found[job], job.scenes[0], len(job.scenes))))
    results = {column: over_seeds(several) for column, several in by_column.items()}
    label = our_label(row.method)
    failure = _in_words(reasons)
    missing = [scene for scene in table.scenes if scene not in results]
    if table.columns == (MEAN,) and missing and not failure:
        failure = f"no mean without {', '.join(missing)}"
    found_row = _row(table, label, "ours", results, failure)
    return replace(found_row, record=_record(row, records))


def _in_words(reasons: Sequence[tuple[tuple[str, ...], str]]) -> str:
    """Each reason of a failure once, behind its scenes."""
    scenes: dict[str, dict[str, None]] = {}
    for several, reason in reasons:
        scenes.setdefault(reason, {}).update(dict.fromkeys(several))
    return "; ".join(f"{', '.join(several)}: {reason}" for reason, several in scenes.items())


def _row(
    table: PrintedTable, label: str, kind: Kind, results: Mapping[str, Result | None], problem: str
) -> Row:
    """A row from its results by column, or by scene in a table that prints the mean alone."""
    if table.columns == (MEAN,):
        scenes = {scene: each for scene in table.scenes if (each := results.get(scene)) is not None}
        mean = mean_of([scenes.get(scene) for scene in table.scenes])
        return Row(label, kind, (mean,), scenes=scenes, problem=problem)
    cells = tuple(results.get(column) for column in table.columns)
    return Row(label, kind, cells, mean_of(cells), problem=problem)


def _columns(table: PrintedTable, scene: str) -> list[str]:
    if table.columns == (MEAN,):
        return [scene]
    return [column for column in table.columns if scene_and_set(column)[0] == scene]


def _record(row: PrintedRow, records: Sequence[Results]) -> str:
    """The recipe, and how long its runs trained."""
    recipe = f"{row.recipes[0]}, {row.use}" if row.use else row.recipes[0]
    trainings = [each.training for each in records if each.training is not None]
    if not trainings:
        return ""
    seeds = len({each.seed for each in trainings})
    epochs = sorted(each.epochs for each in trainings)
    several = f"{epochs[0]} to {epochs[-1]}" if epochs[0] != epochs[-1] else str(epochs[0])
    budgets = ", ".join(dict.fromkeys(each.budget for each in trainings))
    shares = fmean(each.schedule_share for each in trainings)
    scaled = f", {shares:.2g} of the schedule" if shares != 1.0 else ""
    units = f"{seeds} seed{'s' * (seeds != 1)}, {several} epoch{'s' * (epochs[-1] != 1)}"
    return f"{recipe}; {units}, {budgets}{scaled}"


def _measured(
    row: PrintedRow, job: Job, folder: Path, settings: Settings, report: Report
) -> dict[str, dict[str, Result]]:
    """The results of a run by scene and test set, as the row uses it; "" is the test split itself."""
    kind, *words = row.use.split(":")
    match kind:
        case "":
            return _stored(folder, job.scenes)
        case "filter":
            name, *threshold = words
            options = ("--filter", name, *(("--inliers-within", threshold[0]) if threshold else ()))
            return _evaluated(folder, job, f"filter-{'-'.join(words)}", options, report)
        case "masks":
            masks = settings.runs / "masks" / words[0] / job.scenes[0]
            if not masks.is_dir():
                raise CommandFailed(
                    f"{masks} has no masks; write them with camloc masks --data {settings.data or 'DATA'} "
                    f"--scene {job.scenes[0]} --weights FILE --classes cityscapes --leave-out {words[0]} "
                    f"--out {masks}"
                )
            # Table III compares masks with the learned weights, so that both are not used together.
            options = ("--filter", "none", "--masks", str(masks))
            return _evaluated(folder, job, f"masks-{words[0]}", options, report)
        case _:
            method, student = (words[0], words[1]) if kind == "refine" else ("", words[0])
            beside = _with_student(folder, student, is_virtual=method == "virtual", report=report)
            if not method:
                return _of_student(beside)
            return _evaluated(beside, job, f"refined-{method}", ("--refine", method), report)


def _stored(folder: Path, scenes: tuple[str, ...]) -> dict[str, dict[str, Result]]:
    return {scene: _sets(Results.load(_results_path(folder, scene, len(scenes)))) for scene in scenes}


def _sets(results: Results) -> dict[str, Result]:
    """The results by test set; "" is the test split itself. Papers score every image: none is rejected."""
    found = {part.name: _result(part.unrejected or part.estimates) for part in results.sets}
    return {"": found[results.headline.name], **found}


def _result(statistics: ErrorStatistics) -> Result:
    return Result(statistics.meters.median, statistics.degrees.median)


def _evaluated(
    folder: Path, job: Job, name: str, options: tuple[str, ...], report: Report
) -> dict[str, dict[str, Result]]:
    """The results of a run evaluated with other options."""
    out = folder / name
    if not is_measured(out, job.scenes):
        report(f"measure {out}")
        run_camloc(["evaluate", str(folder), *options, "--out", str(out)], folder.with_suffix(".log"))
    return _stored(out, job.scenes)


def _with_student(folder: Path, student: str, *, is_virtual: bool, report: Report) -> Path:
    """A copy of a run with a pose auto-encoder of its own, since several rows have one of the same run."""
    beside = folder.with_name(f"{folder.name}-{file_name(student.split('/')[-1])}")
    if not (beside / "done").exists():
        report(f"autoencode {beside}")
        shutil.copytree(
            folder,
            beside,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("tensorboard", "filter-*", "masks-*"),
        )
        virtual = ["--virtual"] if is_virtual else []
        words = ["autoencode", str(beside), "--recipe", student, *virtual]
        run_camloc(words, beside.with_suffix(".log"))
        (beside / "done").write_text("")
    return beside


def _of_student(folder: Path) -> dict[str, dict[str, Result]]:
    results = _measured_once(folder / "student.json", lambda: student_errors(folder))
    return {scene: {"": result} for scene, result in results.items()}


def _measured_once(path: Path, measure: Callable[[], Mapping[str, PoseError]]) -> dict[str, Result]:
    """Results by name, measured now or read from the file of an earlier call."""
    if not path.is_file():
        found = {name: _result(error_statistics(error)) for name, error in measure().items()}
        write_atomically(path, to_json(_Kept(found)))
    return from_json(read_regular(path), _Kept).results


def _baseline_rows(
    table: PrintedTable,
    scenes: tuple[str, ...],
    runs: Mapping[str, Path],
    settings: Settings,
    report: Report,
) -> list[Row]:
    """The rows of the oracles, of the mean pose, of retrieval and of the map."""
    if settings.data is None:
        return []
    by_row: dict[str, dict[str, Result]] = {}
    problems: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for scene in scenes:
        source = _source(table.layout, scene, settings)
        loaded = source.load()
        for column, frames in _frames_by_column(table, scene, loaded).items():
            for label, result in _quick_baselines(loaded.train, frames).items():
                by_row.setdefault(label, {})[column] = result
        # Results by row and column; retrieval is of the test split alone.
        steps: list[tuple[str, Callable[[], dict[tuple[str, str], Result]]]] = []
        if "retrieval" in settings.baselines:
            steps.append((VLAD, lambda: _retrieval(loaded, settings, report)))  # noqa: B023 - used at once
            if scene in runs:
                steps.append((POOLED, lambda: _pooled(loaded, runs[scene])))  # noqa: B023
        if "map" in settings.baselines:
            steps.append((MAP_ROW, lambda: _map(table, loaded, settings, report)))  # noqa: B023
        for label, step in steps:
            try:
                for (name, column), result in step().items():
                    by_row.setdefault(name, {})[column] = result
            except (CommandFailed, CamlocError, OSError) as problem:
                report(f"failed {label} of {scene}: {problem}")
                by_row.setdefault(label, {})
                problems.setdefault(label, []).append(((scene,), str(problem)))
    return [
        _row(table, label, "baseline", found, _in_words(problems.get(label, ())))
        for label, found in by_row.items()
    ]


def _frames_by_column(table: PrintedTable, name: str, scene: Scene) -> dict[str, tuple[Frame, ...]]:
    """The test frames of a scene, and of those of its other test sets that have a column."""
    sets = {f"{name}|{condition}": frames for condition, frames in scene.conditions.items()}
    return {name: scene.test, **{column: each for column, each in sets.items() if column in table.columns}}


def _quick_baselines(train: Sequence[Frame], test: Sequence[Frame]) -> dict[str, Result]:
    if not test or not oriented(train):
        return {}
    truth, training = poses_of(test).tensor(), poses_of(oriented(train)).tensor()
    errors = baseline_errors(truth, training)
    found = {
        ORACLE: errors.nearest_pose,
        POSITION_ORACLE: errors.nearest_position,
        MEAN_POSE: errors.mean_pose,
    }
    return {label: _result(error_statistics(error)) for label, error in found.items()}


def _retrieval(scene: Scene, settings: Settings, report: Report) -> dict[tuple[str, str], Result]:
    """Retrieval by VLAD, kept in a file for the next time."""
    frames = [(str(frame.image), str(frame.world_from_cam)) for frame in (*scene.train, *scene.test)]
    digest = hashlib.sha256(repr(frames).encode()).hexdigest()[:16]
    path = settings.runs / "retrieval" / f"{file_name(scene.name)}-{digest}.json"

    def measure() -> dict[str, PoseError]:
        report(f"retrieve {scene.name}: {len(scene.train)} training and {len(scene.test)} test images")
        errors = vlad_errors(scene.train, scene.test)
        return {VLAD: errors["nearest"], VLAD_INTERPOLATED: errors["interpolated"]}

    return {(label, scene.name): result for label, result in _measured_once(path, measure).items()}


def _pooled(scene: Scene, run: Path) -> dict[tuple[str, str], Result]:
    """Retrieval by the pooled features of a run's network, kept in the run's folder."""

    def measure() -> dict[str, PoseError]:
        errors = network_errors(TorchNetwork(load_checkpoint(run)), scene.train, scene.test)
        return {POOLED: errors["nearest"], POOLED_INTERPOLATED: errors["interpolated"]}

    found = _measured_once(run / f"retrieval-{file_name(scene.name)}.json", measure)
    return {(label, scene.name): result for label, result in found.items()}


def _map(
    table: PrintedTable, scene: Scene, settings: Settings, report: Report
) -> dict[tuple[str, str], Result]:
    """The map of a scene alone, where the data has intrinsics."""
    if any(frame.camera is None for frame in scene.test):
        raise DatasetError("a map needs intrinsics, which this data does not have")
    folder = settings.runs / "map" / table.layout / file_name(scene.name)
    if not is_measured(folder, (scene.name,)):
        report(f"map    {folder}")
        words = ["map", "--data", str(settings.data), "--scene", scene.name, "--layout", table.layout]
        log = folder.with_suffix(".log")
        run_camloc([*words, *option_words(settings), "--out", str(folder)], log)
        run_camloc(["evaluate", str(folder)], log)
    found = _sets(Results.load(folder / RESULTS_NAME))
    return {
        (MAP_ROW, f"{scene.name}|{name}" if name else scene.name): result for name, result in found.items()
    }


def _data_words(settings: Settings, scenes: tuple[str, ...], table: PrintedTable) -> str:
    if settings.data is None:
        return f"finished runs below {settings.runs.name}"
    missing = [scene for scene in table.scenes if scene not in scenes]
    left_out = f", without {', '.join(missing)}" if missing else ""
    return f"trained and tested on {settings.data}{left_out}"
