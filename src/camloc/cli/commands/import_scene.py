"""`camloc import`: write a data set in another layout, with its images."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from camloc.cli.options import OptionalFile, ReaderOptions, Scene

# The same as in `camloc.data.convert`, whose import takes longer than the help may.
To = Literal["table", "colmap", "nerfstudio", "tum", "kitti"]


def import_scene(
    source: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="SOURCE")]],
    dest: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="DEST")]],
    *,
    layout: Annotated[str, tyro.conf.arg(name="from", metavar="LAYOUT")] = "auto",
    to: To = "table",
    scene: Scene = "",
    option: ReaderOptions = (),
    images: Literal["link", "copy"] = "link",
    demosaic: bool = False,
    undistort: OptionalFile = None,
) -> None:
    """Write a data set in another layout, with its images, as a folder that every command reads.

    The folder is read again before it gets its name: the same poses, the same split. `camloc datasets` lists
    the layouts that are read.

    Args:
        source: Folder of a data set, or its file of poses.
        dest: New folder.
        layout: Layout of the source.
        to: Layout to write: table is a CSV file beside the images.
        scene: Scene of the data set if it has several.
        option: Option of the source's reader, such as split=blocks.
        images: Hard links to the images of the source, or copies.
        demosaic: Write colour images for raw ones (Bayer mosaic GBRG, as RobotCar has them).
        undistort: Write undistorted images, by a look-up table of RobotCar's SDK (distortion_lut.bin).
    """
    from camloc.cli.commands.datasets import describe
    from camloc.cli.options import reader_options
    from camloc.cli.progress import counted
    from camloc.data.convert import write_scene
    from camloc.data.formats import detect, load
    from camloc.data.formats.robotcar import developer

    layout = detect(source) if layout == "auto" else layout
    found = load(source, layout=layout, scene=scene or None, **reader_options(option))
    develop = developer(demosaic=demosaic, table=undistort) if demosaic or undistort else None
    with counted("images") as progress:
        notes = write_scene(found, dest, to, images=images, develop=develop, progress=progress)
    describe(found, layout)
    for note in notes:
        print(f"  note       {note}")
    print(f"{dest}: layout {to}; see what it is worth with `camloc check {dest}`")
