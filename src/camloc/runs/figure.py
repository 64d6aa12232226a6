"""The papers' figures of a run: attention, clusters, trajectories, errors, occlusion, points, decoding."""

from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from camloc.core.sampling import even_items, even_rows
from camloc.data.image_io import read_image
from camloc.data.types import Frame, Scene, poses_of
from camloc.errors import DatasetError, RecipeError
from camloc.evaluation.comparison import Estimates, common_frames, read_estimates
from camloc.evaluation.files import CSV_NAME
from camloc.evaluation.report.comparison import trajectories
from camloc.evaluation.report.figures import BLUE, Curve, errors_along
from camloc.evaluation.report.model_figures import (
    clusters_figure,
    decoded_figure,
    occlusion_figure,
    points_figure,
)
from camloc.evaluation.results import RESULTS_NAME, Results
from camloc.inference.inspection import embeddings
from camloc.inference.localizer import Localizer
from camloc.models.checkpoint import load_checkpoint
from camloc.refinement.image_decoder import DecoderMetadata
from camloc.refinement.train import IMAGES
from camloc.runs.compare import method_names, runs_in
from camloc.runs.evaluate import attention_to, test_sets
from camloc.runs.manifest import RunManifest

FigureName = Literal["attention", "clusters", "trajectories", "errors", "occlusion", "points", "decoded"]
FIGURES: tuple[FigureName, ...] = get_args(FigureName)

# More images than these only take time in a projection.
MOST_CLUSTERED = 500

# Frames before and after the one with the largest error, and images above them.
_AROUND, _SHOWN = 15, 5


def draw(
    name: FigureName,
    run: Path,
    *,
    scene: str = "",
    images: int = 3,
    clusters: int = 4,
    baseline: Path | None = None,
) -> bytes:
    """A figure of a run as SVG.

    Args:
        name: of the figure.
        run: folder of the run; evaluated, for trajectories and errors.
        scene: one of the scenes of the run.
        images: shown with their attention or points.
        clusters: number of them.
        baseline: another run whose embeddings or errors stand beside.

    Raises:
        CheckpointError: the run is incomplete, or not evaluated.
        DatasetError: it has no test frames, or lost all of them.
        MissingExtraError: clusters need scikit-learn.
        RecipeError: the network has nothing to draw.
    """
    match name:
        case "trajectories":
            results, estimates = _estimates(run)
            title = ", ".join(filter(None, (results.recipe or results.model, results.scene)))
            return trajectories({title: estimates}, unit=results.unit)
        case "errors":
            results, estimates = _estimates(run)
            curves = [Curve("Estimate", estimates.errors(), BLUE)]
            return errors_along(curves, sequences=estimates.sequences, unit=results.unit)
        case "attention":
            return _attention(run, _test_frames(run, scene), images)
        case "clusters":
            return _clusters(run, _test_frames(run, scene), clusters, baseline)
        case "occlusion":
            return _occlusion(run, _test_frames(run, scene), baseline)
        case "points":
            return _points(run, _test_frames(run, scene), images)
        case "decoded":
            path = run / DecoderMetadata.NAME / IMAGES
            if not path.is_file():
                raise RecipeError(
                    f"{run} has no image decoder; train one with camloc autoencode {run} --decoder"
                )
            return decoded_figure(read_image(path))


def _estimates(run: Path) -> tuple[Results, Estimates]:
    """The results and estimates of a run.

    Raises:
        CheckpointError: it is not evaluated.
        DatasetError: all of its test images are lost.
    """
    results, estimates = Results.load(run / RESULTS_NAME), read_estimates(run / CSV_NAME, name=run.name)
    if not np.isfinite(estimates.errors().meters).any():
        raise DatasetError(
            f"all test images of {run} are lost, so that there is nothing to draw; train it longer"
        )
    return results, estimates


def _attention(run: Path, frames: tuple[Frame, ...], images: int) -> bytes:
    if images < 1:
        raise RecipeError(f"a figure of attention shows 1 image or more, not {images}")
    return attention_to(even_items(frames, images), load_checkpoint(run))


def _clusters(run: Path, frames: tuple[Frame, ...], count: int, baseline: Path | None) -> bytes:
    if not 2 <= count <= len(frames):
        raise RecipeError(f"{len(frames)} images make 2 to {len(frames)} clusters, not {count}")
    chosen = even_items(frames, MOST_CLUSTERED)
    vectors = {}
    if baseline is not None:
        other = load_checkpoint(baseline)
        vectors[f"embeddings of {other.metadata.recipe or baseline.name}"] = embeddings(other, chosen)[
            "embeddings"
        ]
    vectors |= embeddings(load_checkpoint(run), chosen)
    arrays = {name: each.double().numpy() for name, each in vectors.items()}
    for name, each in arrays.items():
        if not np.isfinite(each).all():
            raise RecipeError(f"{name} of {run} are not all numbers: its training diverged")
    poses = poses_of(chosen).numpy().to(np.float64)
    return clusters_figure(poses, arrays, count=count)


def _occlusion(run: Path, frames: tuple[Frame, ...], baseline: Path | None) -> bytes:
    """The frames around the one where the run's error, or that of the baseline above it, is largest."""
    runs = (run,) if baseline is None else (baseline, run)
    names = method_names([runs_in(each)[0] for each in runs])
    names = names if len(set(names)) == len(runs) else [str(each) for each in runs]
    read = [replace(_estimates(each)[1], name=name) for each, name in zip(runs, names, strict=True)]
    found = common_frames(read)
    errors = {each.name: each.errors().meters for each in found}
    first, *others = errors.values()
    excess = first - others[0] if others else first
    worst = int(np.where(np.isfinite(excess), excess, -np.inf).argmax())
    sequence = found[0].sequences[worst]
    rows = [row for row in range(max(0, worst - _AROUND), min(len(first), worst + _AROUND + 1))
            if found[0].sequences[row] == sequence]  # fmt: skip
    by_name = {frame.name: frame for frame in frames}
    shown = sorted({rows.index(worst), *even_rows(len(rows), _SHOWN).tolist()})
    missing = [found[0].frames[rows[each]] for each in shown if found[0].frames[rows[each]] not in by_name]
    if missing:
        raise DatasetError(f"{run} was evaluated on other images than those of its data: {missing[0]}")
    return occlusion_figure(
        [read_image(by_name[found[0].frames[rows[each]]].image) for each in shown],
        shown,
        np.array(rows),
        {name: values[rows] for name, values in errors.items()},
        unit=Results.load(run / RESULTS_NAME).unit,
    )


def _points(run: Path, frames: tuple[Frame, ...], images: int) -> bytes:
    if images < 1:
        raise RecipeError(f"a figure of points shows 1 image or more, not {images}")
    localizer = Localizer.load(run, verify="never")
    chosen = even_items(frames, images)
    views = {frame.name: localizer.predicted_view(frame) for frame in chosen}
    found = {name: view for name, view in views.items() if view is not None}
    if not found:
        raise RecipeError(f"the network of {run} predicts no points; scene_geometry does")
    return points_figure(list(found.values()), list(found))


def _test_frames(run: Path, scene: str) -> tuple[Frame, ...]:
    manifest = RunManifest.load(run)
    if scene and scene not in manifest.scenes:
        raise DatasetError(f"{run} has learned {', '.join(manifest.scenes)}, not {scene}")
    number = manifest.scenes.index(scene) if scene else 0
    loaded: Scene = manifest.data[number].load()
    sets = test_sets(loaded)
    if not sets:
        raise DatasetError(f"{loaded.name} has no test frames to draw")
    return next(iter(sets.values()))
