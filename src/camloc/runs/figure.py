"""The papers' figures of a run: attention, clusters, trajectories, errors along the sequence."""

from pathlib import Path
from typing import Literal, get_args

import numpy as np

from camloc.core.device import even_indices
from camloc.data.types import Frame, Scene, poses_of
from camloc.errors import DatasetError, RecipeError
from camloc.evaluation.comparison import read_estimates
from camloc.evaluation.report.comparison import trajectories
from camloc.evaluation.report.figures import BLUE, Curve, errors_along
from camloc.evaluation.report.model_figures import attention_figure, clusters_figure
from camloc.evaluation.results import RESULTS_NAME, Results
from camloc.evaluation.trajectory import CSV_NAME
from camloc.inference.inspection import attention_maps, embeddings
from camloc.models.checkpoint import load_checkpoint
from camloc.runs.evaluate import test_sets
from camloc.runs.manifest import RunManifest

FigureName = Literal["attention", "clusters", "trajectories", "errors"]
FIGURES: tuple[FigureName, ...] = get_args(FigureName)

# More images than these only take time in a projection.
MOST_CLUSTERED = 500


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
        images: shown with their attention.
        clusters: number of them.
        baseline: another run whose embeddings stand beside.

    Raises:
        CheckpointError: the run is incomplete, or not evaluated.
        DatasetError: it has no test frames.
        MissingExtraError: clusters need scikit-learn.
        RecipeError: the network has nothing to draw.
    """
    match name:
        case "trajectories":
            estimates = read_estimates(run / CSV_NAME, name=run.name)
            return trajectories({run.name: estimates}, unit=Results.load(run / RESULTS_NAME).unit)
        case "errors":
            estimates = read_estimates(run / CSV_NAME, name=run.name)
            curves = [Curve("Estimate", estimates.errors(), BLUE)]
            unit = Results.load(run / RESULTS_NAME).unit
            return errors_along(curves, sequences=estimates.sequences, unit=unit)
        case "attention":
            return _attention(run, _test_frames(run, scene), images)
        case "clusters":
            return _clusters(run, _test_frames(run, scene), clusters, baseline)


def _attention(run: Path, frames: tuple[Frame, ...], images: int) -> bytes:
    if images < 1:
        raise RecipeError(f"a figure of attention shows 1 image or more, not {images}")
    chosen = [frames[row] for row in even_indices(len(frames), images).tolist()]
    found = list(attention_maps(load_checkpoint(run), chosen))
    return attention_figure(
        [each.image.movedim(0, -1).numpy() for each in found],
        [{name: weights.numpy() for name, weights in each.maps.items()} for each in found],
        [each.frame.name for each in found],
    )


def _clusters(run: Path, frames: tuple[Frame, ...], count: int, baseline: Path | None) -> bytes:
    if not 2 <= count <= len(frames):
        raise RecipeError(f"{len(frames)} images make 2 to {len(frames)} clusters, not {count}")
    chosen = [frames[row] for row in even_indices(len(frames), MOST_CLUSTERED).tolist()]
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
