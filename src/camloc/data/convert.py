"""`write_scene`: a scene in another layout, with its images, as a folder that `load` reads again."""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image

from camloc.core.files import link_or_copy
from camloc.core.progress import CountProgress, silent
from camloc.data.formats import colmap, kitti, load, nerfstudio, table, tum
from camloc.data.types import Frame, Scene, poses_of
from camloc.data.world import World
from camloc.errors import CamlocError, DatasetError, one_line

Written = Literal["table", "colmap", "nerfstudio", "tum", "kitti"]
WRITTEN: tuple[Written, ...] = get_args(Written)

Images = Literal["link", "copy"]

# Entries of poses that are read again may differ by this.
_SAME = 1e-6


def write_scene(
    scene: Scene,
    folder: Path,
    layout: Written,
    *,
    images: Images = "link",
    develop: Callable[[Path], Image.Image] | None = None,
    progress: CountProgress = silent,
) -> tuple[str, ...]:
    """Write a scene to a new folder, and read it again to see that poses and split are the same.

    Frames keep their names, except in KITTI, where they are numbers. Points, depth,
    conditions, recordings and times that the layout cannot hold are left out.

    Args:
        scene: the scene.
        folder: does not exist yet, or is empty.
        layout: one of `WRITTEN`.
        images: "link" makes hard links, and copies where the file system has none; "copy" copies.
        develop: makes the image to be written from the file of an image; nothing is linked then.
        progress: is called with the images that are done and their number.

    Returns:
        A sentence for each part that is not written.

    Raises:
        DatasetError: the folder is not empty, or the layout cannot hold the scene.
        CamlocError: the folder cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetError(f"{folder} exists and is not an empty folder; name a new one")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".camloc-", dir=folder.parent) as unfinished:
            # A folder within, because the temporary one may be read by its owner alone.
            made = Path(unfinished) / "made"
            made.mkdir()
            World(unit=scene.unit).save(made)  # most layouts do not say it
            written = _write(scene, made, layout)
            for done, (frame, name) in enumerate(written, start=1):
                path = made / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if develop is not None:
                    develop(frame.image).save(path)
                elif images == "copy":
                    shutil.copyfile(frame.image, path)
                else:
                    link_or_copy(frame.image, path)
                progress(done, len(written))
            _check(scene, made, layout, [name for _, name in written])
            os.replace(made, folder)  # noqa: PTH105 - also onto an empty folder
    except OSError as problem:
        raise CamlocError(f"{folder} cannot be written ({one_line(problem)[:200]})") from None
    return _left_out(scene, layout)


def _write(scene: Scene, folder: Path, layout: Written) -> list[tuple[Frame, str]]:
    """Write poses and intrinsics; the frames with the names of their images below the folder."""
    frames = (*scene.train, *scene.test)
    match layout:
        case "table":
            table.write(scene, folder / "poses.csv")
        case "colmap":
            colmap.write(scene, folder)
        case "nerfstudio":
            nerfstudio.write(scene, folder / "transforms.json")
        case "tum":
            tum.write(scene, folder)
        case "kitti":
            return list(zip(frames, kitti.write(scene, folder), strict=True))
    return [(frame, frame.name) for frame in frames]


def _check(scene: Scene, folder: Path, layout: Written, names: Sequence[str]) -> None:
    """Read the folder again, and refuse other poses or another split."""
    again = load(folder, layout=layout)
    found = {frame.name: frame for frame in (*again.train, *again.test)}
    wrong = [name for name in names if name not in found]
    if not wrong and layout != "table":  # a table alone holds frames without an orientation
        before = poses_of((*scene.train, *scene.test)).matrix()
        after = poses_of([found[name] for name in names]).matrix()
        wrong = [names[int(row)] for row in np.flatnonzero(np.abs(after - before).max(axis=(1, 2)) > _SAME)]
    if wrong or again.unit != scene.unit or (scene.test and len(again.test) != len(scene.test)):
        raise CamlocError(
            f"{folder} does not hold the scene as it was: {wrong[0] if wrong else 'another split'}"
        )


def _left_out(scene: Scene, layout: Written) -> tuple[str, ...]:
    notes = []
    if scene.conditions:
        notes.append(f"test frames of the conditions {', '.join(scene.conditions)} are not written")
    if scene.points is not None and layout != "colmap":
        notes.append(f"{len(scene.points)} points are not written; colmap holds them")
    depths = sum(frame.depth is not None for frame in (*scene.train, *scene.test))
    if depths:
        notes.append(f"{depths} depth images are not written")
    return tuple(notes)
