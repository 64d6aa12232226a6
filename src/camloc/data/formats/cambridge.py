"""Cambridge Landmarks: a list of camera centres with `cam_from_world` quaternions, w first.

    KingsCollege/dataset_train.txt       three lines of heading, then: seq1/frame00001.png X Y Z W P Q R
    KingsCollege/dataset_test.txt
    KingsCollege/reconstruction.nvm      optional; the focal length of each image
    KingsCollege/seq1/frame00001.png

Kendall et al., PoseNet, ICCV 2015. The position is the centre in the world, while the quaternion rotates
the world into the camera: read as one pose, every image would look the wrong way, and the papers' errors
would not show it.

Images of the Extended Cambridge Landmarks, which are the test images in other seasons and light, lie in
folders of the scene with the names of the conditions and are its `conditions`:

    KingsCollege/winter/seq2/frame00001.png     also summer, evening; any ending

`reconstruction.nvm` is VisualSFM's: focal lengths in pixels of the images of 1920 x 1080, the principal
point in the middle, and names that may end in .jpg where the lists say .png. Its radial distortion, which is
small and of VisualSFM's own model, is not used; a note says so where it moves corners by a pixel or more.
Without the file, or for an image that is not in it, intrinsics are unknown.
"""

import math
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from camloc.data.checks import PUBLISHED_QUATERNION_LENGTH
from camloc.data.formats.parts.files import (
    clean_name,
    is_file,
    is_folder,
    is_image_name,
    is_named,
    numbers_in,
    read_lines,
)
from camloc.data.formats.parts.intrinsics import camera_from_fields
from camloc.data.formats.parts.posed import Posed, listed_image, posed_scene
from camloc.data.splits import EVERYTHING, Listed, OwnSplit, Selection, folder_name, scene_folder
from camloc.data.types import Frame, Scene
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

SCENES = ("GreatCourt", "KingsCollege", "OldHospital", "ShopFacade", "StMarysChurch", "Street")
LOOKS_FOR = "dataset_train.txt (Cambridge Landmarks)"

# Published with a position of 3e9 m; nothing else in the file is beyond a few hundred metres.
BROKEN_FRAMES = {"GreatCourt": ("seq5/frame00297.png",)}

# Of the Extended Cambridge Landmarks, "HyperPose" (2025); the test images as they were are the "original".
CONDITIONS = ("winter", "summer", "evening")
ORIGINAL = "original"

_HEADING_LINES = 3


def fits(root: Path) -> bool:
    """Whether `root` is a scene of this layout, or holds some of `SCENES`."""
    return _is_scene(root) or any(_is_scene(root / scene) for scene in SCENES)


def load(
    root: Path, scene: str = "", *, width: int = 1920, height: int = 1080, selection: Selection = EVERYTHING
) -> Scene:
    """Read a scene.

    Args:
        root: the scene's folder, or its parent.
        scene: its name; may be left out where `root` is the scene's folder.
        width, height: size of the images that the focal lengths are for; the files may be smaller.
        selection: see `Selection`; where there are no other lists, the two files are the split. The known
            broken frame of Great Court is left out.
    """
    folder = scene_folder(root, scene, is_scene=_is_scene, scenes=SCENES, looks_for=LOOKS_FOR)
    name = scene or folder_name(folder)
    cameras, distortions = _cameras(folder / "reconstruction.nvm", width=width, height=height)
    train_path, test_path = folder / "dataset_train.txt", folder / "dataset_test.txt"
    train_entries = _listed(train_path)
    test_entries = _listed(test_path) if is_named(test_path) else []
    entries = [*train_entries, *test_entries]
    broken = {entry.name for entry in entries}.intersection(BROKEN_FRAMES.get(name, ()))
    kept = replace(selection, exclude={*selection.exclude, *broken}).present(entries)
    own = OwnSplit(None, {entry.name: entry.where for entry in test_entries}) if test_entries else None
    found = posed_scene(
        folder,
        name,
        kept,
        (Posed(each.content, cameras.get(_stem(each.name))) for each in kept.entries),
        selection=selection,
        rotation="cam_from_world",
        longest=PUBLISHED_QUATERNION_LENGTH,
        notes=_unused_distortion(distortions),
        own=own,
    )
    conditions, notes = _conditions(folder, found.test)
    test_name = ORIGINAL if conditions else "test"
    return replace(found, conditions=conditions, test_name=test_name, notes=(*found.notes, *notes))


def _conditions(
    folder: Path, test: tuple[Frame, ...]
) -> tuple[dict[str, tuple[Frame, ...]], tuple[str, ...]]:
    """The test frames with the images of each condition that there is, and notes where some are missing."""
    found: dict[str, tuple[Frame, ...]] = {}
    notes = []
    for condition in CONDITIONS:
        base = next((folder / n for n in (condition, condition.title()) if is_folder(folder / n)), None)
        if base is None:
            continue
        images = {_stem(path.relative_to(base).as_posix()): path for path in base.rglob("*") if is_file(path)}
        frames = tuple(
            replace(frame, name=images[_stem(frame.name)].relative_to(folder).as_posix(), image=image)
            for frame in test
            if (image := images.get(_stem(frame.name))) is not None
        )
        if not frames:
            raise DatasetError(f"{base} has no test image, such as {test[0].name if test else 'any'}")
        if len(frames) < len(test):
            notes.append(f"{condition} lacks {len(test) - len(frames)} of {len(test)} test images")
        found[condition] = frames
    return found, tuple(notes)


def _is_scene(folder: Path) -> bool:
    return is_file(folder / "dataset_train.txt")


def _listed(path: Path) -> list[Listed[list[float]]]:
    """The images of a list, with position and quaternion."""
    entries = []
    for line in read_lines(path):
        words = line.text.rsplit(maxsplit=7)
        is_heading = not _is_row(words) and not is_image_name(line.text.split()[0])
        if line.number <= _HEADING_LINES and is_heading:
            continue
        if len(words) != 8:
            raise DatasetError(f"{line.where}: a name and 7 numbers are needed: file X Y Z W P Q R")
        numbers = numbers_in(words[1:], line.where)
        entries.append(listed_image(line.where, words[0], path.parent, numbers))
    if not entries:
        raise DatasetError(f"{path} names no frame")
    return entries


def _is_row(words: list[str]) -> bool:
    try:
        return len(numbers_in(words[1:], "")) == 7
    except DatasetError:
        return False


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _unused_distortion(pixels: list[float]) -> list[str]:
    """A note on the ignored distortion: how far it moves the corners of the images."""
    if not pixels or max(pixels) < 1.0:
        return []
    return [
        f"the radial distortion of reconstruction.nvm is not used: it moves the corners of the images by "
        f"{np.median(pixels):.0f} pixels in the median and {max(pixels):.0f} at most"
    ]


def _cameras(path: Path, *, width: int, height: int) -> tuple[dict[str, Camera], list[float]]:
    """Cameras by the image's name without its ending, from the first model of an NVM file.

    The second result is by how many pixels the radial distortion of each moves the corner of the image.
    """
    if not is_named(path):
        return {}, []
    lines = read_lines(path)
    heading, count = next(lines, None), next(lines, None)
    is_counted = count is not None and count.text.isdecimal() and len(count.text) < 10
    if heading is None or not heading.text.startswith("NVM_V3") or count is None or not is_counted:
        raise DatasetError(f"{path} is not a VisualSFM file: NVM_V3 and the number of cameras are needed")
    cameras: dict[str, Camera] = {}
    distortions: list[float] = []
    corner = math.hypot(width, height) / 2
    for _ in range(int(count.text)):
        line = next(lines, None)
        if line is None:
            raise DatasetError(f"{path} has {len(cameras)} cameras, and says that it has {count.text}")
        words = line.text.rsplit(maxsplit=10)
        if len(words) != 11:
            raise DatasetError(f"{line.where}: a name and 10 numbers of a camera are needed")
        fields = {"width": width, "height": height, "fx": numbers_in(words[1:2], line.where)[0]}
        (radial,) = numbers_in(words[9:10], line.where)
        if math.isfinite(radial) and fields["fx"] > 0:
            distortions.append(abs(radial) * (corner / fields["fx"]) ** 2 * corner)
        name = clean_name(words[0], line.where)
        cameras[_stem(name)] = camera_from_fields(fields, model="PINHOLE", where=line.where)
    return cameras, distortions
