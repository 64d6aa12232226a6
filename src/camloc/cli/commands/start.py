"""`camloc start`: from photographs or a video to a localizer and a report, in one command."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from camloc.cli.commands.poses import Frames, KnownDistanceOption, Source
from camloc.cli.options import OptionalFolder, Seed

# Page of the check, in the run's folder.
CHECK_FILE = "check.html"

if TYPE_CHECKING:
    from camloc.runs.manifest import DataSource
    from camloc.runs.poses import KnownDistance


def start(
    source: tyro.conf.Positional[Source],
    *,
    out: OptionalFolder = None,
    known_distance: KnownDistanceOption = None,
    frames: Frames = 300,
    budget: Annotated[str, tyro.conf.arg(metavar="20m", help_behavior_hint="")] = "",
    recipe: Annotated[str, tyro.conf.arg(metavar="RECIPE")] = "room/hyperpose",
    backbone_weights: Annotated[str, tyro.conf.arg(metavar="none|hub|FILE")] = "none",
    seed: Seed = 0,
    anyway: bool = False,
) -> None:
    """Compute poses, check them, build a map, and locate the test images: all in one command.

    With --budget a network is trained as well. The same command continues where it was stopped:
    finished steps are not repeated. Data that have poses start with the check (see camloc check), which stops
    where a map or a network would be wasted.

    Args:
        source: Folder of photographs, a video, or a quoted pattern such as 'photos/*.jpg'.
        out: Folder of the run; runs/NAME of the source by default. The poses are in its folder scene.
        known_distance: Two images and the distance in metres between the places where they were taken.
        frames: Most frames that are used of a video.
        budget: Time for training a network, such as 20m; none is trained without.
        recipe: Recipe of that network.
        backbone_weights: Initial weights of its backbone: none, hub (a download), or a file.
        seed: Seed of all randomness.
        anyway: Go on where the check has found faults.
    """
    from camloc.cli.commands.poses import known_distance_of
    from camloc.cli.options import checked_seed, seconds
    from camloc.cli.progress import console
    from camloc.runs.manifest import DataSource

    seed, budget_seconds = checked_seed(seed), seconds(budget) if budget else 0.0
    distance = known_distance_of(known_distance)
    run = out or Path("runs") / _name(source)
    data, name = Path(source), ""
    if not _has_poses(data):
        data, name = run / "scene", _name(source)
        _poses(source, data, distance, frames)
    sources = (DataSource(os.path.realpath(data), scene=name),)
    _check(run, sources[0], data, anyway=anyway)
    if budget_seconds:
        _train(run, sources, recipe, backbone_weights, budget_seconds, seed)
    else:
        _map_and_evaluate(run, sources, data=data)
        console.print(f"\nnext   camloc locate {run} IMAGE.jpg")


def _name(source: str) -> str:
    from camloc.core.files import file_name

    path = Path(source)
    if any(sign in source for sign in "*?["):
        path = Path(source.partition("*")[0].partition("?")[0].partition("[")[0]).parent
    return file_name((path.stem if path.is_file() else path.resolve().name) or "scene")


def _has_poses(data: Path) -> bool:
    from camloc.data.formats import detect
    from camloc.errors import DatasetError

    try:
        detect(data)
    except DatasetError:
        return False
    return True


def _poses(source: str, scene: Path, distance: "KnownDistance | None", frames: int) -> None:
    """Compute the poses, unless an earlier call has."""
    from camloc.cli.commands.poses import compute_and_print, report_lines
    from camloc.cli.progress import console
    from camloc.errors import UsageError
    from camloc.runs.poses import read_report

    earlier = read_report(scene)
    console.print(f"poses  {scene}" + ("" if earlier is None else " are computed"))
    if earlier is None:
        compute_and_print(source, scene, known_distance=distance, frames=frames)
        return
    if earlier.source != source:
        raise UsageError(f"{scene} holds the poses of {earlier.source}; name another folder with --out")
    for line in report_lines(earlier):
        print(line)


def _check(run: Path, source: "DataSource", data: Path, *, anyway: bool) -> None:
    """Describe and check the data, unless a map of them is built already.

    Raises:
        DatasetError: training on them would be wasted.
    """
    from camloc.cli.commands.check import check_and_print
    from camloc.cli.commands.datasets import describe
    from camloc.cli.progress import console
    from camloc.data.formats import detect
    from camloc.errors import DatasetError

    if _is_built(run, (source,), data):
        return
    console.print("check")
    scene = source.load()
    describe(scene, detect(data))
    run.mkdir(parents=True, exist_ok=True)
    if not check_and_print(scene, run / CHECK_FILE) and not anyway:
        raise DatasetError(
            f"{data} has faults that would waste a map or a network; mend them (see {run / CHECK_FILE}), or "
            f"go on with --anyway"
        )


def _is_built(run: Path, sources: "tuple[DataSource, ...]", data: Path) -> bool:
    """Whether the run has a map of these data that is newer than they are."""
    from camloc.mapping.scene_map import MAPS_FOLDER, METADATA_FILE
    from camloc.runs.manifest import MANIFEST_FILE, RunManifest

    is_known = (run / MANIFEST_FILE).is_file() and RunManifest.load(run).data == sources
    return is_known and _is_newer(run / MAPS_FOLDER / "0" / METADATA_FILE, data)


def _map_and_evaluate(run: Path, sources: "tuple[DataSource, ...]", *, data: Path) -> None:
    from camloc.cli.commands.evaluate import evaluate_and_report
    from camloc.cli.commands.map import build_and_print
    from camloc.cli.progress import console
    from camloc.evaluation.results import RESULTS_NAME
    from camloc.mapping.scene_map import MAPS_FOLDER
    from camloc.runs.evaluate import test_sets

    is_built = _is_built(run, sources, data)
    console.print(f"map    {run}" + (" is built" if is_built else ""))
    if not is_built:
        build_and_print(sources, run)
    if is_built and _is_newer(run / RESULTS_NAME, run / MAPS_FOLDER / "0"):
        console.print(f"report {run / 'report.html'}")
        return
    if not any(test_sets(source.load()) for source in sources):
        console.print("no test images: take 24 photographs or more to measure errors")
    else:
        evaluate_and_report(run)


def _is_newer(path: Path, folder: Path) -> bool:
    """Whether a file exists and is newer than the files of a folder, images apart."""
    kinds = (".bin", ".txt", ".json", ".safetensors")
    others = [each for each in folder.rglob("*") if each.suffix in kinds]
    return path.is_file() and all(path.stat().st_mtime >= each.stat().st_mtime for each in others)


def _train(
    run: Path,
    sources: "tuple[DataSource, ...]",
    recipe: str,
    backbone_weights: str,
    budget_seconds: float,
    seed: int,
) -> None:
    from camloc.cli.commands.train import train_and_report
    from camloc.cli.options import backbone_weights as weights_of
    from camloc.recipes import find_recipe

    train_and_report(
        find_recipe(recipe),
        name=recipe,
        sources=sources,
        out=run,
        seed=seed,
        weights=weights_of(backbone_weights),
        budget_seconds=budget_seconds,
        map_sources=sources,
    )
