"""`camloc import`: write a data set in another layout, with its images."""

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from camloc.cli.options import OptionalFile, ReaderOptions, Scene
from camloc.errors import DatasetError

if TYPE_CHECKING:
    from camloc.data.types import Scene as DataScene

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
    the layouts that are read. Of a ROS bag (ROS 1 or 2) the command prints the topics that it uses; --option
    image_topic=, pose_topic= (or tf), info_topic=, world=, mount=, most_seconds= choose others.

    Args:
        source: Folder of a data set, its file of poses, or a ROS bag.
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
    from camloc.cli.options import read_scene, reader_options
    from camloc.cli.progress import counted
    from camloc.data.convert import write_scene
    from camloc.data.formats.robotcar import developer
    from camloc.data.rosbag import is_bag

    develop = developer(demosaic=demosaic, table=undistort) if demosaic or undistort else None
    with ExitStack() as stack:
        if layout == "rosbag" or (layout == "auto" and is_bag(source)):
            layout, images = "rosbag", "link"
            folder = Path(stack.enter_context(_beside(dest)))
            found = _from_bag(source, folder, scene, reader_options(option))
        else:
            found, layout = read_scene(source, layout=layout, scene=scene, options=option)
        with counted("images") as progress:
            notes = write_scene(found, dest, to, images=images, develop=develop, progress=progress)
    describe(found, layout)
    for note in notes:
        print(f"  note       {note}")
    print(f"{dest}: layout {to}; check it with `camloc check {dest}`")


def _beside(dest: Path) -> "TemporaryDirectory[str]":
    """A folder on the disk of the new one, so that images can be linked."""
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise DatasetError(f"{dest} exists and is not an empty folder; name a new one")
    dest.absolute().parent.mkdir(parents=True, exist_ok=True)
    return TemporaryDirectory(prefix=".camloc-", dir=dest.absolute().parent)


def _from_bag(source: Path, folder: Path, scene: str, options: dict[str, str]) -> "DataScene":
    from camloc.cli.progress import counted
    from camloc.data.formats import reader_values
    from camloc.data.rosbag import read_bag

    values = reader_values(read_bag, options, "the ROS bag")
    with counted("reading") as update:
        return read_bag(source, folder, scene, progress=update, **values)
