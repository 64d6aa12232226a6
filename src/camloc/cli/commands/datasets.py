"""`camloc datasets`: list the layouts, check a folder, convert it to another layout."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import tyro

from camloc.cli.options import Layout, ReaderOptions, Scene

if TYPE_CHECKING:
    from camloc.data.types import Scene as LoadedScene

Format = Literal["none", "colmap", "nerfstudio", "table", "tum"]


def datasets(
    root: tyro.conf.Positional[
        Annotated[Path | None, tyro.conf.arg(metavar="[FOLDER]", help_behavior_hint="")]
    ] = None,
    *,
    scene: Scene = "",
    layout: Layout = "auto",
    option: ReaderOptions = (),
    to: Annotated[Format, tyro.conf.arg(help_behavior_hint="")] = "none",
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")] = None,
) -> None:
    """List the layouts that camloc reads, check a data set, or convert it to another layout.

    Args:
        root: Folder of a data set, or its file of poses; without it the layouts are listed.
        scene: Scene of the data set if it has several.
        layout: Layout of the data set.
        option: Option of the layout's reader, such as split=blocks.
        to: Layout to convert the poses and cameras to.
        out: Output of the conversion: a folder for colmap, a file for the other layouts.
    """
    from camloc.cli.options import reader_options
    from camloc.data.formats import LAYOUTS, detect, load
    from camloc.errors import RecipeError

    if root is None:
        _list_layouts(LAYOUTS)
        return
    if to != "none" and out is None:
        raise RecipeError(f"name the output of the conversion to {to} with --out")
    if to == "none" and out is not None:
        raise RecipeError(f"name the layout to write to {out} with --to: {', '.join(get_args(Format)[1:])}")
    layout = detect(root) if layout == "auto" else layout
    found = load(root, layout=layout, scene=scene or None, **reader_options(option))
    _describe(found, layout)
    if out is not None:
        _write(found, to, out)
        print(out)


def _list_layouts(layouts: tuple[str, ...]) -> None:
    import importlib

    from camloc.cli.progress import show
    from camloc.data.formats import word_options

    rows = []
    for name in layouts:
        module = importlib.import_module(f"camloc.data.formats.{name}")
        rows.append((name, (module.__doc__ or "").split("\n")[0], ", ".join(word_options(name)) or "-"))
    show(("layout", "what it is", "options"), rows)


def _describe(scene: "LoadedScene", layout: str) -> None:
    """Print numbers that show whether the poses were read correctly."""
    from camloc.data.types import oriented, poses_of

    print(f"{scene.name}: layout {layout}, {len(scene.train)} training and {len(scene.test)} test frames")
    frames = (*scene.train, *scene.test)
    cameras = {frame.camera for frame in frames}
    sequences = {frame.sequence for frame in frames}
    if None in cameras:
        print("  cameras    some frames have no intrinsics")
    for camera in sorted((camera for camera in cameras if camera), key=str)[:3]:
        print(
            f"  camera     {camera.width} x {camera.height}, focal {camera.fx:.1f} {camera.fy:.1f}, "
            f"centre {camera.cx:.1f} {camera.cy:.1f}, {camera.model}"
        )
    print(f"  sequences  {len(sequences)}, cameras {len(cameras)}")
    centers = poses_of(frames).translation
    low, high = centers.min(axis=0), centers.max(axis=0)
    print("  positions  " + ", ".join(f"{a:.2f} to {b:.2f}" for a, b in zip(low, high, strict=True)))
    positions_alone = len(frames) - len(oriented(frames))
    if positions_alone:
        print(f"  poses      {positions_alone} frames have no orientation, only a position")
    if scene.test and positions_alone < len(scene.train):
        _describe_oracle(scene)


def _describe_oracle(scene: "LoadedScene") -> None:
    from camloc.data.types import oriented, poses_of
    from camloc.evaluation.baselines import baseline_errors

    test, train = poses_of(scene.test).tensor(), poses_of(oriented(scene.train)).tensor()
    errors = baseline_errors(test, train).nearest_pose
    meters, degrees = float(errors.meters.median()), float(errors.degrees.median())
    print(f"  baseline   the nearest training pose is {meters:.3f} m and {degrees:.2f}° away (medians)")


def _write(scene: "LoadedScene", to: Format, out: Path) -> None:
    from camloc.core.files import write_atomically
    from camloc.data.formats import colmap, nerfstudio, table
    from camloc.data.types import oriented
    from camloc.errors import DatasetError
    from camloc.evaluation.trajectory import truth_tum

    match to:
        case "colmap":
            colmap.write(scene, out)
        case "nerfstudio":
            nerfstudio.write(scene, out)
        case "table":
            table.write(scene, out)
        case "tum":
            frames = (*scene.train, *scene.test)
            if len(oriented(frames)) < len(frames):
                raise DatasetError("some frames have no orientation, and tum needs one; write a table")
            write_atomically(out, truth_tum(frames))
