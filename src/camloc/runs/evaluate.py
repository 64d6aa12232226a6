"""Evaluating a run, or what it was exported to, on frames not learned from: results, estimates, report."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from camloc.data.types import Frame, Scene, oriented, poses_of
from camloc.errors import DatasetError, ImageError, RecipeError
from camloc.evaluation.errors import ErrorStatistics, EvaluatedSet, error_statistics
from camloc.evaluation.multi_scene import ScenesResults, scenes_results, write_scenes
from camloc.evaluation.predicted_points import MappedView
from camloc.evaluation.report.build import REPORT_NAME, write_evaluation
from camloc.evaluation.report.learned import rows_to_map
from camloc.evaluation.results import (
    RESULTS_NAME,
    Results,
    Timing,
    TrainingRecord,
    headline_of,
    results_of,
    timing_of,
)
from camloc.geometry.pose import Pose
from camloc.inference.localizer import EstimatesByMethod, Localizer
from camloc.inference.onnx.runtime import is_exported, load_onnx, runtime_of
from camloc.inference.prediction import model_of
from camloc.models.outlier_filters import OutlierFilter
from camloc.runs.extend import subsampled
from camloc.runs.manifest import LAST, LOG, DataSource, RunManifest
from camloc.training.log import read_log


def learned_scenes(run: Path) -> tuple[str, ...]:
    """The names of the scenes that a run, or an exported file, has learned.

    Raises:
        CheckpointError: it is missing, incomplete or damaged.
    """
    return load_onnx(run).metadata.scenes if is_exported(run) else RunManifest.load(run).scenes


def manifest_of(run: Path) -> RunManifest | None:
    """What a run was made from; None for an exported file, which holds what answers need and no more.

    Raises:
        CheckpointError: the run is incomplete or damaged.
    """
    return None if is_exported(run) else RunManifest.load(run)


def sources_of(run: Path, metadata: RunManifest | None, data: Sequence[DataSource]) -> Sequence[DataSource]:
    """Where the images of an evaluation are: in `data`, or where the run found those that it learned.

    Raises:
        RecipeError: an exported file is evaluated on nothing.
    """
    if data:
        return data
    if metadata is None:
        raise RecipeError(f"{run} does not say which images to evaluate it on; name them with --data")
    return metadata.data


def folder_of_results(run: Path, out: Path | None) -> Path:
    """Where an evaluation writes: `out`, or the run's folder; of model.onnx the folder model beside it."""
    return out or (run.with_suffix("") if is_exported(run) else run)


FrameProgress = Callable[[int, int], None]

# Images that are located one by one to measure how long an answer takes.
TIMED_IMAGES = 23


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluation found.

    Attributes:
        results: the numbers.
        report: the page that shows them.
    """

    results: Results
    report: Path


def evaluate_run(
    run: Path,
    *,
    data: DataSource | None = None,
    out: Path | None = None,
    device: str = "cpu",
    outlier_filter: OutlierFilter | None = None,
    masks: Path | None = None,
    refine: str = "none",
    progress: FrameProgress | None = None,
) -> Evaluation:
    """Locate the test frames of one scene and write what came of it.

    Leaves `results.json`, `estimates.csv`, two TUM files and `report.html` in the folder that
    `folder_of_results` names; of models that find points in images also `points.ply`.

    Args:
        run: its folder, or an exported file.
        data: frames to evaluate on; those that were kept apart from training where it is None.
        out: where to write.
        device: where the network runs.
        outlier_filter, masks: of `Localizer`, for models that align points.
        refine: of `Localizer`. Where the run has a pose auto-encoder, every way of refining is measured
            beside it.
        progress: called with the number of frames done and of all.

    Raises:
        CheckpointError: the run is incomplete or damaged.
        DatasetError: there are no test frames, or the model has learned several scenes and not theirs.
        RecipeError: an exported file is evaluated on nothing.
    """
    metadata = manifest_of(run)
    sources = sources_of(run, metadata, () if data is None else (data,))
    if len(sources) > 1:
        raise DatasetError(f"{run} has learned {len(sources)} scenes; say with --data which it is about")
    localizer = Localizer.load(
        run, device=device, outlier_filter=outlier_filter, masks=masks, refine=refine, every_method=True
    )
    return evaluate_scene(
        _tested(sources[0]),
        run=run,
        metadata=metadata,
        localizer=localizer,
        out=folder_of_results(run, out),
        progress=progress,
    )


def evaluate_scene(
    scene: Scene,
    *,
    run: Path,
    metadata: RunManifest | None,
    localizer: Localizer,
    out: Path,
    progress: FrameProgress | None = None,
) -> Evaluation:
    """Locate the test frames of a scene and write what came of it into `out`; see `evaluate_run`."""
    sets = test_sets(scene)
    counted = _Counter(progress, sum(len(frames) for frames in sets.values()))
    known_name = _scene(localizer, scene)
    checkpoint = localizer.checkpoint
    known = checkpoint.metadata.scenes
    evaluated = [
        _evaluated(
            name,
            frames,
            counted(localizer.locate_every_method(frames)),
            localizer.refine,
            known_name,
            len(known),
        )
        for name, frames in sets.items()
    ]
    # Baselines may copy any training image, those that only chose the best epoch included.
    trained = oriented(scene.train)
    training_poses = (
        poses_of(trained).tensor() if trained else checkpoint.training_poses[known.index(known_name)]
    )
    log = [] if metadata is None else read_log(run / LOG)
    results = results_of(
        evaluated,
        training_poses,
        model=checkpoint.metadata.model,
        recipe=checkpoint.metadata.recipe,
        scene=scene.name,
        unit=scene.unit,
        outlier_filter=localizer.used_filter or "",
        refined_by=localizer.refine,
        parameters=model_of(checkpoint).parameter_count(),
        runtime=runtime_of(checkpoint),
        final_epoch=None
        if metadata is None
        else _final_epoch(run, evaluated[0], device=str(localizer.device)),
        training=None if metadata is None else _training_record(metadata, log),
        timing=time_answers(localizer, [frame for frames in sets.values() for frame in frames]),
        settings=None if metadata is None else metadata.settings,
    )
    mapped = _mapped(localizer, headline_of(evaluated), training_poses)
    write_evaluation(out, results, evaluated, training_poses, log=log, mapped=mapped)
    return Evaluation(results, out / REPORT_NAME)


def _tested(source: DataSource) -> Scene:
    """The scene of a source, if it has frames that were kept apart."""
    scene = source.load()
    if not test_sets(scene):
        raise DatasetError(f"{source.root} has no test frames; name some with --test-list FILE")
    return scene


def _evaluated(
    name: str,
    frames: tuple[Frame, ...],
    answers: Iterator[EstimatesByMethod],
    refine: str,
    scene: str,
    scenes: int,
) -> EvaluatedSet:
    """The answers of one set by each way, and by the one that is asked for."""
    methods = list(answers)
    each = {way: tuple(answer[way] for answer in methods) for way in methods[0]}
    return EvaluatedSet(name, frames, each[refine], scene, scenes, each if len(each) > 1 else {})


def test_sets(scene: Scene) -> Mapping[str, tuple[Frame, ...]]:
    """The frames that were kept apart, by name: the test split first, then other conditions."""
    sets = {scene.test_name: scene.test, **scene.conditions}
    return {name: frames for name, frames in sets.items() if frames}


def time_answers(localizer: Localizer, frames: list[Frame]) -> Timing | None:
    """How long one image takes from file to pose, one at a time."""
    seconds: list[float] = []
    for frame in frames[:TIMED_IMAGES]:
        started = time.perf_counter()
        try:
            localizer.locate(frame.image, camera=frame.camera)
        except ImageError:
            continue
        seconds.append(time.perf_counter() - started)
    return timing_of(seconds, device=str(localizer.device))


def _mapped(localizer: Localizer, headline: EvaluatedSet, training_poses: Pose) -> dict[int, MappedView]:
    """What a model that finds points says about some frames, by their row; nothing for one that regresses."""
    views = {row: localizer.mapped(headline.frames[row]) for row in rows_to_map(headline, training_poses)}
    return {row: view for row, view in views.items() if view is not None}


def _scene(localizer: Localizer, scene: Scene) -> str:
    """Which of the model's scenes the frames are of; a model of one scene may know it by another name."""
    known = localizer.checkpoint.metadata.scenes
    if len(known) > 1 and scene.name not in known:
        raise DatasetError(
            f"the model has not learned {scene.name!r}, only {', '.join(known)}; say with --scene which it is"
        )
    return scene.name if len(known) > 1 else known[0]


def _final_epoch(folder: Path, headline: EvaluatedSet, *, device: str) -> ErrorStatistics | None:
    """The statistics of the last epoch's weights on the first test set."""
    if not (folder / LAST).exists():
        return None
    localizer = Localizer.load(folder / LAST, device=device)
    estimates = tuple(localizer.locate_all(headline.frames))
    return error_statistics(replace(headline, estimates=estimates).errors())


def _training_record(metadata: RunManifest, log: list[dict[str, float]]) -> TrainingRecord:
    last: dict[str, Any] = log[-1] if log else {}
    budget = f"{metadata.budget_seconds / 60:g} minutes" if metadata.budget_seconds else f"{len(log)} epochs"
    return TrainingRecord(
        seed=metadata.seed,
        device=metadata.device,
        precision=metadata.precision,
        budget=budget,
        schedule_share=metadata.schedule_share,
        epochs=int(last.get("epoch", 0)),
        seconds=float(last.get("seconds", 0.0)),
        feature_seconds=metadata.feature_seconds,
        budget_covers_features=metadata.budget_covers_features,
    )


class _Counter:
    """Counts answers as they pass, for a progress bar."""

    def __init__(self, progress: FrameProgress | None, total: int) -> None:
        self.progress = progress
        self.total = total
        self.done = 0

    def __call__(self, answers: Iterator[EstimatesByMethod]) -> Iterator[EstimatesByMethod]:
        for answer in answers:
            self.done += 1
            if self.progress:
                self.progress(self.done, self.total)
            yield answer


SCENES = "scenes"


@dataclass(frozen=True, eq=False)
class ScenesEvaluation:
    """What an evaluation of several scenes found.

    Attributes:
        results: of the scenes together.
        scenes: of each scene.
        report: the page that shows them all.
    """

    results: ScenesResults
    scenes: tuple[Results, ...]
    report: Path


def evaluate_scenes(
    run: Path,
    *,
    data: Sequence[DataSource] = (),
    out: Path | None = None,
    device: str = "cpu",
    refine: str = "none",
    progress: FrameProgress | None = None,
) -> ScenesEvaluation:
    """Locate the test frames of every scene that a run has learned, or of those of `data`.

    Leaves in `scenes/<name>` of the folder that `folder_of_results` names what `evaluate_run` leaves of one
    scene, and beside that folder a `results.json` and a `report.html` of all of them. A scene without test
    frames is left out. Baselines copy only such images of a scene that joined as were learned from.
    `refine` is that of `Localizer`.

    Raises:
        CheckpointError: the run is incomplete or damaged.
        DatasetError: there are no test frames at all, or the model has not learned a scene of `data`.
        RecipeError: an exported file is evaluated on nothing.
    """
    metadata = manifest_of(run)
    out = folder_of_results(run, out)
    localizer = Localizer.load(run, device=device, refine=refine, every_method=True)
    scenes = [source.load() for source in sources_of(run, metadata, data)]
    if metadata is not None and metadata.extension is not None and not data:
        scenes[-1] = subsampled(scenes[-1], metadata.extension.fraction)
    tested = [scene for scene in scenes if test_sets(scene)]
    if not tested:
        raise DatasetError(f"none of the scenes of {run} has test frames; name a split that has some")
    found = []
    for scene in tested:
        evaluation = evaluate_scene(
            scene,
            run=run,
            metadata=metadata,
            localizer=localizer,
            out=out / SCENES / scene.name,
            progress=progress,
        )
        found.append(evaluation.results)
    results = scenes_results(found)
    report = write_scenes(out, results)
    return ScenesEvaluation(results, tuple(found), report)


def scene_results(folder: Path, scene: str) -> Results:
    """What an earlier evaluation of a run of several scenes found about one of them."""
    return Results.load(folder / SCENES / scene / RESULTS_NAME)
