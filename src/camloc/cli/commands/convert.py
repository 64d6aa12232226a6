"""`camloc convert`: weights that a paper's authors published become a run."""

from pathlib import Path
from typing import Annotated

import tyro

from camloc.cli.options import (
    Folders,
    Layout,
    OptionalFolder,
    ReaderOptions,
    Scenes,
    data_sources,
)
from camloc.errors import UsageError


def convert(
    weights: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="WEIGHTS")]],
    *,
    as_: Annotated[str, tyro.conf.arg(name="as", metavar="MODEL/PRESET")],
    data: Folders = (),
    run: OptionalFolder = None,
    out: OptionalFolder = None,
    scene: Scenes = (),
    layout: Layout = "auto",
    option: ReaderOptions = (),
) -> None:
    """Make a run of published weights, to be located with, evaluated, exported and compared here.

    Only tensors are read; nothing in the file is executed. The names of the authors' classes are translated,
    and a tensor that is missing or has another shape is an error. The data set gives the training poses and
    the cameras; its scenes are in the order that the weights have learned.

    Args:
        weights: State dict of the authors' network: a file of torch, or of safetensors.
        as: Network and settings, such as transposenet/released or ms_transformer/cambridge; camloc models
            lists them. pose_autoencoder adds an encoder to --run.
        data: Folder of the data set; repeat the option for several scenes.
        run: Run of the teacher, for a pose auto-encoder.
        out: Folder of the run; runs/published/MODEL/PRESET by default.
        scene: Scenes in the order of the weights, as for camloc train.
        layout: Layout of the data set.
        option: Option of the layout's reader.
    """
    from camloc.cli.progress import console
    from camloc.runs.convert import POSE_AUTOENCODER, convert_autoencoder, convert_run

    model, _, preset = as_.partition("/")
    if model == POSE_AUTOENCODER:
        if run is None:
            raise UsageError("name the run of the auto-encoder's teacher with --run")
        convert_autoencoder(weights, run)
        console.print(f"next   camloc evaluate {run} --refine auto")
        return
    if not preset:
        raise UsageError(f"'{as_}' is not MODEL/PRESET, such as transposenet/released")
    sources = data_sources(data, layout=layout, scenes=scene, options=option)
    folder = out or Path("runs") / "published" / model / preset
    unused = convert_run(weights, model=model, preset=preset, data=sources, folder=folder)
    if unused:
        console.print(f"{len(unused)} tensors have no effect and were left out, such as {unused[0]}")
    console.print(f"next   camloc evaluate {folder}\n       camloc export {folder}")
