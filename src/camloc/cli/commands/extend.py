"""`camloc extend`: add a scene to a multi-scene run, from a few images."""

import logging
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from camloc.cli.options import (
    Device,
    Folder,
    Layout,
    OptionalFolder,
    ReaderOptions,
    Run,
    Scene,
    Seed,
    checked_seed,
    data_source,
)
from camloc.errors import RecipeError, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from camloc.runs.extend import ExtensionResults

# The same as in `camloc.runs.extend`, whose import loads torch.
Moves = Literal["all", "heads", "scene"]


def extend(
    run: tyro.conf.Positional[Run],
    *,
    data: Folder,
    scene: Scene = "",
    layout: Layout = "auto",
    option: ReaderOptions = (),
    fraction: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 1.0,
    epochs: Annotated[int, tyro.conf.arg(metavar="NUMBER")] = 3,
    moves: Moves = "all",
    out: OptionalFolder = None,
    seed: Seed = 0,
    device: Device = "cpu",
    devices: Annotated[int, tyro.conf.arg(metavar="NUMBER")] = 1,
) -> None:
    """Add a scene to a multi-scene run, from a part of the scene's images.

    The run is not changed; a new run continues from its weights. The known scenes are trained again beside
    the new one, each with an equal share, so their data must still exist. Their errors before and after are
    written to extension.json.

    With --moves scene the poses in known scenes stay the same to the last bit. Only images of a known scene
    that are now assigned to the new scene are lost; the table counts them. The new scene is learned best with
    --moves all.

    Args:
        run: Folder of a trained multi-scene run.
        data: Folder of the new scene.
        scene: Scene of the data set if it has several; else the name of the new scene.
        layout: Layout of the new scene's data.
        option: Option of the layout's reader, such as split=blocks.
        fraction: Share of the new scene's training frames to use, evenly spaced.
        epochs: Number of epochs; one has as many images as all scenes together.
        moves: What is trained: the whole network, the heads of all scenes, or only the parameters of the new
            scene, which keeps the poses in known scenes.
        out: Folder of the new run; RUN+SCENE by default.
        seed: Seed of all random numbers.
        device: Device to train on.
        devices: Number of processes that share every batch.
    """
    from rich.console import Console

    from camloc.cli.commands.evaluate import report_line
    from camloc.cli.progress import console, counted, train_and_show
    from camloc.core.device import torch_device
    from camloc.runs.evaluate import evaluate_scenes, test_sets
    from camloc.runs.extend import extension_recipe, recipe_of, write_comparison
    from camloc.runs.manifest import Extension, RunManifest
    from camloc.runs.prepare import Compute, prepare

    torch_device(device)
    if devices < 1:
        raise UsageError(f"training needs 1 device or more, not {devices}")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    manifest = RunManifest.load(run)
    source = data_source(data, layout=layout, scene=scene, options=option)
    new_scene = source.load()
    if not test_sets(new_scene):
        raise RecipeError(
            f"{data} has no test frames to measure the new scene with; name some in its test.txt"
        )
    folder = out or Path(f"{run}+{new_scene.name}")
    recipe = extension_recipe(recipe_of(manifest), known=len(manifest.scenes), epochs=epochs, moves=moves)
    with counted("reading images") as progress:
        training = prepare(
            recipe,
            name=manifest.recipe,
            data=(*manifest.data, source),
            folder=folder,
            seed=checked_seed(seed),
            compute=Compute(device, devices),
            extension=Extension(os.path.realpath(run), fraction),
            progress=progress,
            feature_progress=partial(progress, label="computing features"),
        )
    introduction = (
        f"{new_scene.name} joins {', '.join(manifest.scenes)} with "
        f"{len(training.train_frames[-1])} training images"
    )
    if not train_and_show(training, introduction):
        return
    with counted("locating") as progress:
        before = evaluate_scenes(run, out=folder / "before", device=device, progress=progress)
    with counted("locating") as progress:
        after = evaluate_scenes(folder, device=device, progress=progress)
    results = write_comparison(
        folder, before.results, after.results, fraction=fraction, epochs=epochs, moves=moves, run=run
    )
    Console(highlight=False).print(extension_table(results))
    console.print(f"{report_line(after.report)}\n\nnext   camloc locate {folder} IMAGE.jpg")


def extension_table(results: "ExtensionResults") -> "Table":
    """The known scenes before and after, and the new one."""
    from camloc.evaluation.plain_table import terminal_table
    from camloc.evaluation.report.wording import angle, change, distance, percent, plain

    headings = ("scene", "before", "after", "change", "right scene", "taken for the new")
    table = terminal_table(headings, wraps=True)
    for known in results.known:
        medians = [
            f"{distance(each[0], known.unit)} {angle(each[1])}" for each in (known.before, known.after)
        ]
        changes = [change(*each) for each in zip(known.before, known.after, strict=True)]
        words = changes[0] if changes[0] == changes[1] else ", ".join(changes)
        decided = known.decided_after
        right = "" if decided is None else percent(decided.share)
        taken = "" if decided is None else f"{known.taken_for(results.new.name):,} of {decided.frames:,}"
        table.add_row(plain(known.scene), *medians, words, right, taken)
    new = results.new.headline
    median = (
        f"{distance(new.estimates.meters.median, results.new.unit)} {angle(new.estimates.degrees.median)}"
    )
    right = "" if new.decision is None else percent(new.decision.share)
    table.add_row(plain(results.new.name), "", median, "new", right, "", style="bold")
    shares = [percent(share) for share in (results.right_before, results.right_after)]
    table.caption = (
        f"known scenes: {shares[0]} assigned correctly before, {shares[1]} after; "
        f"{results.taken_for_new:,} of their images are now taken for {plain(results.new.name)}"
    )
    return table
