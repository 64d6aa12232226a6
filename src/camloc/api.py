"""The commands as functions: `load_dataset`, `build_map`, `train`, `evaluate`, `save_pretrained`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from camloc.core.extras import require_extra
from camloc.data import formats
from camloc.data.types import Scene
from camloc.runs.manifest import DataSource

if TYPE_CHECKING:
    from camloc.evaluation.results import Results
    from camloc.mapping.scene_map import SceneMap
    from camloc.training.recipe import Recipe


def load_dataset(root: Path | str, *, layout: str = "auto", scene: str = "", **options: Any) -> Scene:
    """Read the frames of a scene: images, cameras and poses.

    Args:
        root: folder of the data set, or its file of poses.
        layout: one of `camloc datasets`, or "auto" to find out.
        scene: scene of the data set if it has several; else a name for the scene.
        options: of the layout's reader.

    Raises:
        DatasetError: the layout is not clear, or the data cannot be used; the message says why and where.
    """
    return formats.load(Path(root), layout=layout, scene=scene or None, **options)


def build_map(
    data: Path | str,
    out: Path | str,
    *,
    layout: str = "auto",
    scene: str = "",
    size_bytes: int | None = 8_000_000,
    masks: Path | None = None,
    **options: Any,
) -> "SceneMap":
    """Build and calibrate the map of a scene, and write it into a run folder. torch is not imported.

    Args:
        data, layout, scene, options: see `load_dataset`.
        out: folder of the run, new or trained.
        size_bytes: most bytes of the map, or None for all points.
        masks: folder with masks named IMAGE.png, black where pixels do not count.

    Raises:
        DatasetError: the data cannot be read, or too few frames have pose, intrinsics and a readable image.
        CamlocError: the folder cannot be written.
    """
    from camloc.mapping.build import MapSettings
    from camloc.runs.map import build_maps

    source = DataSource(os.path.realpath(data), layout, scene, options)
    (mapped,) = build_maps((source,), Path(out), MapSettings(size_bytes=size_bytes), masks=masks)
    return mapped.scene_map


def train(
    recipe: "str | Recipe",
    data: Path | str,
    out: Path | str,
    *,
    layout: str = "auto",
    scene: str = "",
    seed: int = 0,
    backbone_weights: Literal["none", "hub"] | Path = "none",
    budget_seconds: float = 0.0,
    precision: Literal["auto", "32-true", "bf16-mixed"] = "32-true",
    **options: Any,
) -> Path:
    """Train a network on the training frames of a scene; the same call continues an interrupted run.

    Args:
        recipe: name of a recipe (`camloc recipes`), or a recipe of your own.
        data, layout, scene, options: see `load_dataset`.
        out: folder of the run.
        seed: of all random numbers.
        backbone_weights: "none" (random), "hub" (download), or a safetensors file with timm's names.
        budget_seconds: wall-clock time that the schedule is scaled to, or 0 for the recipe's schedule.
        precision: of the arithmetic, as of `camloc train`.

    Returns:
        The folder of the run, for `Localizer.load` and `evaluate`.

    Raises:
        RecipeError: there is no such recipe, or it does not fit the data.
        DatasetError: the data cannot be read.
        MissingExtraError: the libraries of training are not installed.
    """
    require_extra("train", "training")
    from camloc.recipes import find_recipe
    from camloc.runs.prepare import Compute, prepare
    from camloc.runs.train import train as run_training

    training = prepare(
        find_recipe(recipe) if isinstance(recipe, str) else recipe,
        name=recipe if isinstance(recipe, str) else "own",
        data=DataSource(os.path.realpath(data), layout, scene, options),
        folder=Path(out),
        seed=seed,
        weights=backbone_weights,
        budget_seconds=budget_seconds,
        compute=Compute(precision=precision),
    )
    for _ in run_training(training):
        pass
    return training.folder


def evaluate(
    run: Path | str,
    *,
    out: Path | None = None,
    verify: Literal["auto", "always", "never"] = "auto",
    refine: str = "none",
) -> "Results":
    """Locate the test frames of a run, and write results.json, estimates.csv, TUM files and report.html.

    Without the libraries of the extra `report` there is no report.html.

    Args:
        run: folder of the run.
        out: folder to write into; the run's own by default.
        verify: use of the run's map; see `Localizer`.
        refine: refinement method of positions; see `Localizer`.

    Raises:
        CheckpointError: the run is incomplete or damaged.
        DatasetError: there are no test frames.
    """
    from camloc.runs.evaluate import evaluate_run

    return evaluate_run(Path(run), out=out, verify=verify, refine=refine).results


def save_pretrained(
    run: Path | str, folder: Path | str, *, repository: str = "", private: bool = True
) -> Path:
    """Export a run as a bundle with its card; with a repository, upload it to the Hugging Face hub.

    Args:
        run: folder of the run.
        folder: of the bundle, for `Localizer.from_pretrained`.
        repository: `owner/name` to upload it as, with the token of `hf auth login`, or "".
        private: whether a repository that is made is private.

    Returns:
        The folder of the bundle.

    Raises:
        CheckpointError: the run holds neither a network nor a map, or the hub refuses the upload.
        MissingExtraError: the run has a network and torch is not installed, or the library of the hub is not.
    """
    from camloc.runs.export import export_run

    bundle = export_run(Path(run), Path(folder)).path
    if repository:
        from camloc.inference.hub import upload

        upload(bundle, repository, private=private)
    return bundle
