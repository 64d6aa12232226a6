"""`camloc edit`: the test images of a data set in winter, summer and in the evening."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from camloc.cli.options import Device, Layout, OptionalFolder, ReaderOptions, Scene
from camloc.errors import UsageError

# The names of the conditions in `camloc.recipes.extended_cambridge_2025`, whose import waits.
Condition = Literal["winter", "summer", "evening"]


def edit(
    data: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FOLDER")]],
    *,
    condition: tyro.conf.UseAppendAction[
        Annotated[tuple[Condition, ...], tyro.conf.arg(help_behavior_hint="(repeatable)")]
    ] = (),
    weights: Annotated[str, tyro.conf.arg(metavar="hub|FOLDER", help_behavior_hint="")] = "",
    by: Literal["instruct-pix2pix", "photometric"] = "instruct-pix2pix",
    out: OptionalFolder = None,
    images: Literal["test", "all"] = "test",
    scene: Scene = "",
    layout: Layout = "auto",
    option: ReaderOptions = (),
    device: Device = "cpu",
) -> None:
    """Edit the test images of a data set into other seasons and light, as in Extended Cambridge Landmarks.

    Names, sizes and poses stay. In a scene of Cambridge Landmarks the images go into its folders winter,
    summer and evening, where `camloc evaluate` finds them; with --out, OUT/CONDITION is a data set of the
    same layout. Instructions and guidance are in recipes/extended_cambridge_2025.py.

    Args:
        data: Folder of a data set.
        condition: Conditions; all three by default.
        weights: Weights of InstructPix2Pix: hub (a download of 5 GB, with its own licence) or a folder of
            diffusers.
        by: instruct-pix2pix follows instructions; photometric changes brightness and colours alone: no snow,
            no lamps, and not what the paper measured.
        out: Folder of the new data sets.
        images: Which images are edited.
        scene: Scene of the data set if it has several.
        layout: Layout of the data set.
        option: Option of the layout's reader.
        device: Device to run on.
    """
    from camloc.cli.options import read_scene
    from camloc.cli.progress import counted
    from camloc.data.editing import Editor, InstructPix2Pix, Photometric, load_pipeline, write_edited
    from camloc.recipes.extended_cambridge_2025 import conditions

    loaded, layout = read_scene(data, layout=layout, scene=scene, options=option)
    root = data / scene if scene and (data / scene).is_dir() else data
    if out is None and (layout != "cambridge" or images == "all"):
        raise UsageError("name the folder of the new data sets with --out")
    if by == "instruct-pix2pix" and not weights:
        raise UsageError("name the weights with --weights hub or a folder, or choose --by photometric")
    frames = loaded.test if images == "test" else (*loaded.train, *loaded.test)
    if not frames:
        raise UsageError(f"{data} has no test images; choose --images all, or --option split=blocks")
    edits = conditions()
    editor: Editor = Photometric()
    if by == "instruct-pix2pix":
        from camloc.core.device import torch_device

        target = str(torch_device(device))
        editor = InstructPix2Pix(load_pipeline(weights, target), edits, target)
    names: tuple[str, ...] = condition or tuple(edits)
    for each in names:
        folder = root / each if out is None else out / each
        with counted(each) as progress:
            write_edited(
                frames, root, folder, each, editor, edits=edits, keep=out is not None, progress=progress
            )
        print(f"{folder}: {len(frames)} images by {editor.name}")
