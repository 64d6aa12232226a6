"""`camloc datasets`: list the layouts, and describe a folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from camloc.cli.options import Layout, ReaderOptions, Scene, read_scene

if TYPE_CHECKING:
    from camloc.data.types import Scene as LoadedScene
    from camloc.geometry.camera import Camera

# Broken images that a message names.
_MOST_NAMED = 5


def datasets(
    root: tyro.conf.Positional[
        Annotated[Path | None, tyro.conf.arg(metavar="[FOLDER]", help_behavior_hint="")]
    ] = None,
    *,
    scene: Scene = "",
    layout: Layout = "auto",
    option: ReaderOptions = (),
    quick: bool = False,
) -> None:
    """List the layouts that camloc reads, or describe a data set and open its images.

    Args:
        root: Folder of a data set, or its file of poses; without it the layouts are listed.
        scene: Scene of the data set if it has several.
        layout: Layout of the data set.
        option: Option of the layout's reader, such as split=blocks.
        quick: Check poses and cameras, and open no image.
    """
    if root is None:
        _list_layouts()
        return
    found, layout = read_scene(root, layout=layout, scene=scene, options=option)
    if not quick:
        _check_images(found)
    describe(found, layout)


def _list_layouts() -> None:
    import importlib

    from camloc.cli.progress import show
    from camloc.data.formats import LAYOUTS, option_types

    rows = []
    for name in LAYOUTS:
        module = importlib.import_module(f"camloc.data.formats.{name}")
        rows.append((name, (module.__doc__ or "").split("\n")[0], ", ".join(option_types(name)) or "-"))
    show(("layout", "what it is", "options"), rows)


def _check_images(scene: "LoadedScene") -> None:
    """Open every image, as training would.

    Raises:
        DatasetError: some cannot be used; the first ones are named.
    """
    from concurrent.futures import ThreadPoolExecutor

    from camloc.cli.progress import counted
    from camloc.data.image_io import read_with_camera
    from camloc.data.types import Frame
    from camloc.errors import DatasetError, ImageError
    from camloc.mapping.check.findings import named

    def problem(frame: Frame) -> tuple[str, str] | None:
        try:
            read_with_camera(frame)
        except ImageError as found:
            return frame.name, str(found)
        return None

    frames = scene.frames
    problems = []
    with counted("images") as progress, ThreadPoolExecutor() as threads:
        for done, found in enumerate(threads.map(problem, frames), start=1):
            problems += [found] if found else []
            progress(done, len(frames))
    if problems:
        (_, first), *others = problems
        also = f"; so are {named([name for name, _ in others], _MOST_NAMED)}" if others else ""
        raise DatasetError(
            f"{len(problems)} of {len(frames)} images cannot be used: {first}{also}; replace them, "
            f"or leave them out with --option exclude={','.join(name for name, _ in problems[:_MOST_NAMED])}"
        )


def describe(scene: "LoadedScene", layout: str) -> None:
    """Print the notes of the reader, and numbers that show whether the poses were read correctly."""
    from camloc.data.types import oriented, poses_of

    print(f"{scene.name}: layout {layout}, {len(scene.train)} training and {len(scene.test)} test frames")
    for note in scene.notes:
        print(f"  note       {note}")
    frames = (*scene.train, *scene.test)
    cameras = {frame.camera for frame in frames}
    sequences = {frame.sequence for frame in frames}
    unknown = sum(frame.camera is None for frame in frames)
    if unknown:
        print(f"  cameras    {unknown} of {len(frames)} frames have no intrinsics")
    for camera in sorted((camera for camera in cameras if camera), key=str)[:3]:
        print(
            f"  camera     {camera.width} x {camera.height}, focal {camera.fx:.1f} {camera.fy:.1f}, "
            f"centre {camera.cx:.1f} {camera.cy:.1f}, {camera.model} {_distortion(camera)}".rstrip()
        )
    print(f"  sequences  {len(sequences)}, cameras {len(cameras)}")
    centers = poses_of(frames).translation
    low, high = centers.min(axis=0), centers.max(axis=0)
    print(
        "  positions  "
        + ", ".join(f"{a:.2f} to {b:.2f}" for a, b in zip(low, high, strict=True))
        + f" {scene.unit}"
    )
    positions_alone = len(frames) - len(oriented(frames))
    if positions_alone:
        print(f"  poses      {positions_alone} frames have no orientation, only a position")
    if scene.test and positions_alone < len(scene.train):
        _describe_oracle(scene)


def _distortion(camera: "Camera") -> str:
    return " ".join(f"{number:.4g}" for number in camera.distortion)


def _describe_oracle(scene: "LoadedScene") -> None:
    from camloc.data.types import oriented, poses_of
    from camloc.evaluation.baselines import baseline_errors
    from camloc.evaluation.errors import empirical_quantile

    errors = baseline_errors(poses_of(scene.test), poses_of(oriented(scene.train))).nearest_pose
    meters, degrees = (empirical_quantile(each, 0.5) for each in errors)
    print(
        f"  baseline   the nearest training pose is {meters:.3f} {scene.unit} and {degrees:.2f}° away "
        f"(medians)"
    )
