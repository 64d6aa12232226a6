"""`camloc view`: a run or a data set in 3-D, in the browser."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from camloc.cli.options import Layout, ReaderOptions, Scene
from camloc.core.extras import require_extra
from camloc.errors import UsageError

if TYPE_CHECKING:
    from camloc.serve.viewer import Content


def view(
    path: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RUN|DATA")]],
    *,
    scene: Scene = "",
    layout: Layout = "auto",
    option: ReaderOptions = (),
    most: Annotated[int, tyro.conf.arg(metavar="NUMBER")] = 60,
    host: Annotated[str, tyro.conf.arg(metavar="ADDRESS")] = "127.0.0.1",
    port: Annotated[int, tyro.conf.arg(metavar="NUMBER")] = 8080,
) -> None:
    """Show a run, an exported bundle or a data set in 3-D, in the browser.

    Of a data set: cameras and points. Of a run: the points of its map, the training cameras (grey), and test
    images located now: true cameras (blue), estimates (green where verified, orange where not), a red line
    from each truth to its estimate, and the ellipsoid of three standard deviations. Click a camera to see its
    image; the slider goes along the sequence; a button takes a photograph and shows where it was taken.

    Args:
        path: Folder of a run or of a data set, or an exported folder or file.
        scene: Scene of the run or of the data set, if it has several.
        layout: Layout of the data set.
        option: Option of the layout's reader, such as split=blocks.
        most: Test images that are located, evenly chosen.
        host: Address to listen at.
        port: Port to listen at.
    """
    if most < 0 or not 1 <= port <= 65_535:
        raise UsageError("--most is 0 or more and --port from 1 to 65535; correct them")
    require_extra("view", "the viewer")
    from camloc.cli.progress import console
    from camloc.inference.onnx.bundle import is_archive, is_exported
    from camloc.serve.viewer import show

    is_run = (path / "run.json").is_file()
    if is_run:
        content = _of_run(path, scene, most)
    elif is_exported(path) or is_archive(path):
        content = _of_bundle(path, scene)
    else:
        content = _of_data(path, scene, layout, option)
    server = show(content, host=host, port=port)
    console.print(f"open http://{host}:{port}/ (Ctrl-C ends)")
    try:
        while True:
            time.sleep(3600.0)
    finally:
        server.stop()


def _of_data(path: Path, scene: str, layout: str, option: tuple[str, ...]) -> "Content":
    import numpy as np

    from camloc.cli.options import data_source
    from camloc.data.types import oriented
    from camloc.serve.viewer import Content

    found = data_source(path, layout=layout, scene=scene, options=option).load()
    points = np.zeros((0, 3)) if found.points is None else found.points
    notes = (f"{len(found.train)} training and {len(found.test)} test frames", *found.notes)
    tested = [(frame, None) for frame in oriented(found.test)]
    return Content(found.name, points, oriented(found.train), tested, notes)


def _of_run(path: Path, scene: str, most: int) -> "Content":
    import numpy as np

    from camloc.cli.progress import counted
    from camloc.core.sampling import even_items
    from camloc.data.types import Estimate, Frame, oriented
    from camloc.inference.localizer import Localizer
    from camloc.runs.manifest import RunManifest, load_scenes
    from camloc.serve.viewer import Content

    scenes = {each.name: each for each in load_scenes(RunManifest.load(path).data)}
    name = scene or next(iter(scenes))
    if name not in scenes:
        raise UsageError(f"the run has no scene {name!r}; its scenes are {', '.join(scenes)}")
    localizer = Localizer.load(path)
    frames = oriented(scenes[name].test)
    chosen = even_items(frames, most)
    tested: list[tuple[Frame, Estimate | None]] = []
    with counted("test images") as progress:
        for frame, estimate in zip(chosen, localizer.locate_all(chosen, batch_size=1), strict=True):
            tested.append((frame, estimate))
            progress(len(tested), len(chosen))
    scene_map = localizer.map_of(name)
    points = np.zeros((0, 3)) if scene_map is None else scene_map.points_in_world()
    return Content(name, points, oriented(scenes[name].train), tested, locate=localizer.locate)


def _of_bundle(path: Path, scene: str) -> "Content":
    """The map of an exported bundle, whose training images are elsewhere."""
    from camloc.data.types import Frame
    from camloc.geometry.pose import Pose
    from camloc.inference.localizer import Localizer
    from camloc.serve.viewer import Content

    localizer = Localizer.load(path)
    name = scene or next(iter(localizer.maps), "")
    scene_map = localizer.map_of(name)
    if scene_map is None:
        known = ", ".join(localizer.maps) or "none"
        raise UsageError(f"{path} has no map of the scene {name!r} to show; its maps are: {known}")
    poses = Pose(scene_map.frame_rotations(), scene_map.frame_centers())
    frames = [
        Frame(label, Path(label), scene_map.cameras[int(scene_map.frame_cameras[row])], poses[row])
        for row, label in enumerate(scene_map.frame_names)
    ]
    return Content(name, scene_map.points_in_world(), frames, locate=localizer.locate)
