"""Evaluates a run or an exported file on test frames, and writes results, estimates and a report."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camloc.core.extras import has_extra
from camloc.core.files import file_name, write_atomically
from camloc.core.progress import CountProgress, silent
from camloc.core.sealed import sealed_json
from camloc.data.types import Estimate, Frame, Located, Lost, Scene, oriented, poses_of
from camloc.errors import DatasetError, ImageError, RecipeError
from camloc.evaluation.errors import (
    ErrorStatistics,
    EvaluatedSet,
    ScoredSet,
    error_statistics,
    score_sets,
)
from camloc.evaluation.files import REPORT_NAME, best_middle_worst, rows_to_map, write_files
from camloc.evaluation.multi_scene import ScenesResults, scenes_results
from camloc.evaluation.results import (
    RESULTS_NAME,
    MapRecord,
    Results,
    Timing,
    TrainingRecord,
    results_of,
    timing_of,
)
from camloc.inference.image_retrieval import vlad_errors
from camloc.inference.localizer import MAP, Localizer, Verify
from camloc.inference.network import EstimatesByMethod, NetworkLocalizer
from camloc.inference.onnx.bundle import is_exported, scenes_of
from camloc.mapping.scene_map import SceneMap
from camloc.models.outlier_filters import OutlierFilter
from camloc.runs.manifest import LAST, LOG, DataSource, RunManifest, budget_words
from camloc.training.log import read_log

if TYPE_CHECKING:
    from camloc.inference.torch_network import TorchNetwork
    from camloc.models.checkpoint import Checkpoint


def learned_scenes(run: Path) -> tuple[str, ...]:
    """The names of the scenes that a run, or an exported file or folder, has learned.

    Raises:
        CheckpointError: it is missing, incomplete or damaged.
    """
    return scenes_of(run) if is_exported(run) else RunManifest.load(run).scenes


def manifest_of(run: Path) -> RunManifest | None:
    """The manifest of a run; None for an exported file, which has none.

    Raises:
        CheckpointError: the run is incomplete or damaged.
    """
    return None if is_exported(run) else RunManifest.load(run)


def sources_of(run: Path, manifest: RunManifest | None, data: Sequence[DataSource]) -> Sequence[DataSource]:
    """The data sources of an evaluation: `data`, or those that the run was trained on.

    Raises:
        RecipeError: the run is an exported file and `data` is empty.
    """
    if data:
        return data
    if manifest is None:
        raise RecipeError(f"{run} does not name its test images; name them with --data")
    return manifest.data


def folder_of_results(run: Path, out: Path | None) -> Path:
    """The folder of the results: `out`, or the run's folder; for model.onnx the folder `model` beside it."""
    return out or (run.with_suffix("") if run.suffix == ".onnx" else run)


# Folder of the results of each scene, below that of all.
SCENES = "scenes"

# The name of the verified estimates alone, where others are lost.
VERIFIED = "verified"

# Images that are located one by one to measure the time of an image.
TIMED_IMAGES = 23


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The outcome of an evaluation.

    Attributes:
        results: the statistics.
        report: path of the page; None if the libraries that draw it are not installed.
    """

    results: Results
    report: Path | None


def evaluate_run(
    run: Path,
    *,
    data: DataSource | None = None,
    out: Path | None = None,
    device: str = "cpu",
    outlier_filter: OutlierFilter | None = None,
    masks: Path | None = None,
    refine: str = "none",
    verify: Verify = "auto",
    retrieval: bool = False,
    inlier_threshold: float | None = None,
    progress: CountProgress = silent,
) -> Evaluation:
    """Locate the test frames of one scene, score them and write the results.

    Writes `results.json`, `estimates.csv`, two TUM files and `report.html` into the folder of
    `folder_of_results`; for models that predict points also `points.ply`.

    Args:
        run: folder of a run, or an exported file.
        data: frames to evaluate on; the test frames of the run's data where it is None.
        out: folder to write into.
        device: device of the network.
        outlier_filter, masks: of `Localizer`, for models that align points.
        refine: of `Localizer`. Where the run has a pose auto-encoder, every refinement method is scored too.
        verify: of `Localizer`. Where the run has a map, the network alone and the verified poses are both
            scored.
        retrieval: whether to score the poses of similar training images too, on the first test set.
        inlier_threshold: of `Localizer`, for filters with RANSAC.
        progress: called with the numbers of located frames and of all frames.

    Raises:
        CheckpointError: the run is incomplete or damaged.
        DatasetError: there are no test frames, or the model knows several scenes but not theirs.
        RecipeError: the run is an exported file and `data` is None.
    """
    manifest = manifest_of(run)
    sources = sources_of(run, manifest, () if data is None else (data,))
    if len(sources) > 1:
        raise DatasetError(f"{run} has learned {len(sources)} scenes; name one of them with --data")
    localizer = Localizer.load(
        run,
        device=device,
        verify=verify,
        outlier_filter=outlier_filter,
        masks=masks,
        refine=refine,
        every_method=True,
        inlier_threshold=inlier_threshold,
    )
    return evaluate_scene(
        _tested(sources[0]),
        run=run,
        manifest=manifest,
        localizer=localizer,
        out=folder_of_results(run, out),
        retrieval=retrieval,
        progress=progress,
    )


def _filter_words(network: NetworkLocalizer) -> str:
    """The outlier filter of a network, with its threshold where it is not the usual one."""
    name = network.used_filter or ""
    return (
        name if network.inlier_threshold is None else f"{name}, inliers within {network.inlier_threshold:g}"
    )


def evaluate_scene(
    scene: Scene,
    *,
    run: Path,
    manifest: RunManifest | None,
    localizer: Localizer,
    out: Path,
    retrieval: bool = False,
    progress: CountProgress = silent,
) -> Evaluation:
    """Locate and score the test frames of a scene, and write the results into `out`; see `evaluate_run`."""
    sets = test_sets(scene)
    known, network = localizer.scenes, localizer.network
    name = _known_name(localizer, scene)
    evaluated = []
    total, done = sum(len(frames) for frames in sets.values()), 0
    for set_name, frames in sets.items():
        answers: list[EstimatesByMethod] = []
        for answer in localizer.locate_every_method(frames):
            answers.append(answer)
            done += 1
            progress(done, total)
        each = {method: tuple(answer[method] for answer in answers) for method in answers[0]}
        methods = _side_by_side(each) if len(each) > 1 else {}
        unrejected = _unrejected(localizer, each, frames)
        evaluated.append(
            EvaluatedSet(set_name, frames, each[localizer.method], name, len(known), methods, unrejected)
        )
    # Baselines may copy any training image, held-out ones that only chose the best epoch included.
    trained = oriented(scene.train)
    if trained:
        training_poses = poses_of(trained)
    elif network is not None:
        training_poses = network.network.training_poses[known.index(name)]
    else:
        raise DatasetError(f"{scene.name} has no training frames with an orientation to compare with")
    scored = score_sets(evaluated, training_poses)
    log = [] if manifest is None else read_log(run / LOG)
    scene_map = localizer.map_of(name)
    results = results_of(
        scored,
        train_frames=len(training_poses),
        model=MAP if network is None else network.metadata.model,
        recipe="" if network is None else network.metadata.recipe,
        scene=scene.name,
        unit=scene.unit,
        outlier_filter="" if network is None else _filter_words(network),
        refined_by=localizer.method,
        parameters=0 if network is None else network.network.parameters,
        runtime="NumPy" if network is None else network.network.runtime,
        final_epoch=None
        if manifest is None or network is None
        else _final_epoch(run, evaluated[0], device=network.network.device),
        training=None if manifest is None or network is None else _training_record(manifest, log),
        timing=time_answers(localizer, [frame for frames in sets.values() for frame in frames]),
        scene_map=None if scene_map is None else _map_record(scene_map),
        settings={} if manifest is None else dict(manifest.settings),
    )
    if retrieval:
        results = _with_retrieval(results, scene, localizer, evaluated[0].frames)
    views = {row: localizer.predicted_view(scored[0].frames[row]) for row in rows_to_map(scored[0])}
    mapped = {row: view for row, view in views.items() if view is not None}
    write_files(out, results, scored, mapped=mapped)
    if not has_extra("report"):
        return Evaluation(results, None)
    from camloc.evaluation.report.build import report_html
    from camloc.evaluation.report.figures import MapPoints

    page = report_html(
        results,
        scored,
        training_poses,
        log=log,
        mapped=mapped,
        map_points=None if scene_map is None else MapPoints(scene_map.points_in_world(), scene_map.views()),
        attention=_attention(localizer, scored[0]),
    )
    write_atomically(out / REPORT_NAME, page)
    return Evaluation(results, out / REPORT_NAME)


def _torch_network(localizer: Localizer) -> "TorchNetwork | None":
    """The network of a run; None for an exported one and for a map alone."""
    network = None if localizer.network is None else localizer.network.network
    if network is None or network.runtime != "PyTorch":
        return None
    from camloc.inference.torch_network import TorchNetwork

    assert isinstance(network, TorchNetwork)
    return network


def _attention(localizer: Localizer, scored: ScoredSet) -> bytes | None:
    """The attention of a Transformer to the best, a middle and the worst image; None for other networks."""
    network = _torch_network(localizer)
    if network is None:
        return None
    from camloc.inference.inspection import has_attention

    if not has_attention(network.checkpoint):
        return None
    located = [row for row, answer in enumerate(scored.answers) if isinstance(answer, Located)]
    if not located:
        return None
    rows = best_middle_worst(scored, located)
    return attention_to([scored.frames[row] for row in rows], network.checkpoint)


def attention_to(frames: Sequence[Frame], checkpoint: "Checkpoint") -> bytes:
    """The figure of a Transformer's attention to some images.

    Raises:
        RecipeError: the model has no Transformer.
        ImageError: an image cannot be read.
    """
    from camloc.evaluation.report.model_figures import attention_figure
    from camloc.inference.inspection import attention_maps

    found = list(attention_maps(checkpoint, frames))
    return attention_figure(
        [each.image.movedim(0, -1).numpy() for each in found],
        [{name: weights.numpy() for name, weights in each.maps.items()} for each in found],
        [each.frame.name for each in found],
    )


def _with_retrieval(
    results: Results, scene: Scene, localizer: Localizer, frames: tuple[Frame, ...]
) -> Results:
    """The results with those of retrieval by local features and, for a network, by its pooled features."""
    found = {f"Retrieval, VLAD {name}": each for name, each in vlad_errors(scene.train, frames).items()}
    network = _torch_network(localizer)
    if network is not None:
        from camloc.inference.pooled_retrieval import network_errors

        by_network = network_errors(network, scene.train, frames)
        found |= {f"Retrieval, network {name}": each for name, each in by_network.items()}
    statistics = {name: error_statistics(each) for name, each in found.items()}
    headline = replace(results.headline, retrieval=statistics)
    return replace(results, headline=headline, sets=(headline, *results.sets[1:]))


def _side_by_side(each: Mapping[str, tuple[Estimate, ...]]) -> Mapping[str, tuple[Estimate, ...]]:
    """The estimates by method; where a map verifies those of a network, also the verified ones alone."""
    if MAP not in each:
        return each
    verified = tuple(
        answer if isinstance(answer, Lost) or answer.is_verified else Lost("not verified")
        for answer in each[MAP]
    )
    return {**each, VERIFIED: verified}


def _unrejected(
    localizer: Localizer, each: Mapping[str, tuple[Estimate, ...]], frames: tuple[Frame, ...]
) -> tuple[Estimate, ...] | None:
    """The network's estimates if no image were rejected; None where it rejects none."""
    network = localizer.network
    if network is None:
        return None
    own = each[network.refine]
    lost = [frame for frame, estimate in zip(frames, own, strict=True) if isinstance(estimate, Lost)]
    if not lost:
        return None
    found = replace(localizer, network=replace(network, rejects=False), maps={}, verify="never").locate_all(
        lost
    )
    return tuple(next(found) if isinstance(estimate, Lost) else estimate for estimate in own)


def _map_record(scene_map: SceneMap) -> MapRecord:
    return MapRecord(
        points=len(scene_map),
        frames=len(scene_map.frame_names),
        size_bytes=sum(len(content) for content in scene_map.to_files().values()),
        calibrated_on=scene_map.calibration.frames,
        least_inliers=scene_map.calibration.least_inliers,
    )


def _tested(source: DataSource) -> Scene:
    """The scene of a source, if it has test frames."""
    scene = source.load()
    if not test_sets(scene):
        raise DatasetError(f"{source.root} has no test frames; name some with --test-list FILE")
    return scene


def test_sets(scene: Scene) -> Mapping[str, tuple[Frame, ...]]:
    """The test frames of a scene by the name of their set: the test split first, then other conditions."""
    sets = {scene.test_name: scene.test, **scene.conditions}
    return {name: frames for name, frames in sets.items() if frames}


def time_answers(localizer: Localizer, frames: list[Frame]) -> Timing | None:
    """The time from one image file to its pose, one image at a time."""
    seconds: list[float] = []
    for frame in frames[:TIMED_IMAGES]:
        started = time.perf_counter()
        try:
            localizer.locate(frame.image, camera=frame.camera)
        except ImageError:
            continue
        seconds.append(time.perf_counter() - started)
    return timing_of(seconds, device="cpu" if localizer.network is None else localizer.network.network.device)


def _known_name(localizer: Localizer, scene: Scene) -> str:
    """The scene's name in the model; a model of one scene may know it by another name."""
    known = localizer.scenes
    if len(known) > 1 and scene.name not in known:
        raise DatasetError(
            f"the model has not learned {scene.name!r}, only {', '.join(known)}; "
            f"name one of them with --scene"
        )
    return scene.name if len(known) > 1 else known[0]


def _final_epoch(folder: Path, headline: EvaluatedSet, *, device: str) -> ErrorStatistics | None:
    """The statistics of the last epoch's weights on the first test set."""
    if not (folder / LAST).exists():
        return None
    localizer = Localizer.load(folder / LAST, device=device)
    estimates = tuple(localizer.locate_all(headline.frames))
    return error_statistics(replace(headline, estimates=estimates).errors())


def _training_record(manifest: RunManifest, log: list[dict[str, float]]) -> TrainingRecord:
    last: dict[str, Any] = log[-1] if log else {}
    budget = budget_words(manifest.budget_seconds) if manifest.budget_seconds else f"{len(log)} epochs"
    return TrainingRecord(
        seed=manifest.seed,
        device=manifest.device,
        precision=manifest.precision,
        budget=budget,
        schedule_share=manifest.schedule_share,
        epochs=int(last.get("epoch", 0)),
        seconds=float(last.get("seconds", 0.0)),
        feature_seconds=manifest.feature_seconds,
        budget_covers_features=manifest.budget_covers_features,
    )


@dataclass(frozen=True, eq=False)
class ScenesEvaluation:
    """The outcome of an evaluation of several scenes.

    Attributes:
        results: of the scenes together.
        scenes: results of each scene.
        report: path of the page of all scenes, or None.
    """

    results: ScenesResults
    scenes: tuple[Results, ...]
    report: Path | None


def evaluate_scenes(
    run: Path,
    *,
    data: Sequence[DataSource] = (),
    out: Path | None = None,
    device: str = "cpu",
    refine: str = "none",
    verify: Verify = "auto",
    retrieval: bool = False,
    progress: CountProgress = silent,
) -> ScenesEvaluation:
    """Evaluate every scene that a run has learned, or the scenes of `data`.

    Writes the files of `evaluate_run` into `scenes/<name>` below `folder_of_results`, and there a
    `results.json` and a `report.html` of all scenes. A scene without test frames is skipped. If the last
    scene was added from a part of its frames, baselines copy only that part. `refine` and `verify` are those
    of `Localizer`.

    Raises:
        CheckpointError: the run is incomplete or damaged.
        DatasetError: there are no test frames at all, or the model does not know a scene of `data`.
        RecipeError: the run is an exported file and `data` is empty.
    """
    manifest = manifest_of(run)
    out = folder_of_results(run, out)
    localizer = Localizer.load(run, device=device, refine=refine, verify=verify, every_method=True)
    scenes = [source.load() for source in sources_of(run, manifest, data)]
    if manifest is not None and manifest.extension is not None and not data:
        from camloc.runs.extend import subsampled  # needs torch, as every run with an extension does

        scenes[-1] = subsampled(scenes[-1], manifest.extension.fraction)
    tested = [scene for scene in scenes if test_sets(scene)]
    if not tested:
        raise DatasetError(f"none of the scenes of {run} has test frames; name a split that has some")
    found = []
    for scene in tested:
        evaluation = evaluate_scene(
            scene,
            run=run,
            manifest=manifest,
            localizer=localizer,
            out=out / SCENES / file_name(scene.name),
            retrieval=retrieval,
            progress=progress,
        )
        found.append(evaluation.results)
    results = scenes_results(found)
    write_atomically(out / RESULTS_NAME, sealed_json(results))
    if not has_extra("report"):
        return ScenesEvaluation(results, tuple(found), None)
    from camloc.evaluation.report.build import scenes_html

    write_atomically(out / REPORT_NAME, scenes_html(results))
    return ScenesEvaluation(results, tuple(found), out / REPORT_NAME)


def scene_results(folder: Path, scene: str) -> Results:
    """The results of one scene, from an earlier evaluation of several scenes."""
    return Results.load(folder / SCENES / file_name(scene) / RESULTS_NAME)
