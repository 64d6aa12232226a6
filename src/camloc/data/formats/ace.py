"""ACE and DSAC*: folders `train` and `test` of images, poses and calibrations with matching names.

    scene/train/rgb/frame-000000.color.png                      or any other name
    scene/train/poses/frame-000000.pose.txt                     4x4 `world_from_cam`; infinite if unknown
    scene/train/calibration/frame-000000.calibration.txt        focal length in pixels, or a 3x3 matrix
    scene/test/rgb/..., test/poses/..., test/calibration/...    optional

Brachmann et al., Accelerated Coordinate Encoding, CVPR 2023, whose data loader also reads the folders that
DSAC*'s scripts make of 7Scenes, 12Scenes and Cambridge Landmarks. A single number is the focal length, with
the principal point in the middle. An image belongs to the pose and the calibration whose names are the same
up to their endings. Scene coordinates, eye coordinates and depth maps are not used.
"""

from pathlib import Path
from typing import NamedTuple

from camloc.data.formats.parts.files import is_folder, is_named, numbers_in, read_lines
from camloc.data.formats.parts.intrinsics import (
    camera_from_fields,
    camera_from_matrix,
    matrix_in_file,
    size_for_intrinsics,
)
from camloc.data.formats.parts.posed import Posed, posed_scene
from camloc.data.formats.parts.recordings import is_lost, matrix_in
from camloc.data.splits import EVERYTHING, Listed, OwnSplit, Selection
from camloc.data.types import Scene
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

LOOKS_FOR = "folders train/rgb and train/poses (ACE, DSAC*)"

_SIDES = ("train", "test")

# Endings that are removed from a file's name, in this order, to find its pose and calibration.
_ENDINGS = (".color", ".pose", ".calibration", ".rgb")


class _Files(NamedTuple):
    """The files that describe an image."""

    pose: Path
    calibration: Path | None


def fits(root: Path) -> bool:
    """Whether `root` is a folder of this layout."""
    return is_folder(root / "train" / "rgb") and is_folder(root / "train" / "poses")


def load(
    root: Path, scene: str = "", *, camera: Camera | None = None, selection: Selection = EVERYTHING
) -> Scene:
    """Read a scene.

    Args:
        camera: intrinsics of all images, instead of their calibrations.
        selection: see `Selection`; without lists, the two folders are the split.
    """
    if not fits(root):
        raise DatasetError(f"{root} is not a folder of ACE, which needs {LOOKS_FOR}")
    listed = [each for side in _SIDES if is_named(root / side) for each in _listed_frames(root, side)]
    kept = selection.present(listed)
    test = {each.name: str(root / "test") for each in listed if each.name.startswith("test/")}
    return posed_scene(
        root,
        scene,
        kept,
        (_posed(each, camera) for each in kept.entries),
        selection=selection,
        calibration=root,
        own=OwnSplit(None, test) if test else None,
    )


def _listed_frames(root: Path, side: str) -> list[Listed[_Files]]:
    images, poses, calibrations = (_by_stem(root / side / name) for name in ("rgb", "poses", "calibration"))
    for stem, image in images.items():
        if stem not in poses:
            raise DatasetError(
                f"{image} has no pose {root / side / 'poses' / stem}.txt; add it, or remove the image"
            )
        if calibrations and stem not in calibrations:
            raise DatasetError(f"{image} has no calibration {root / side / 'calibration' / stem}.txt")
    # A missing image has the ending of the others.
    ending = next((image.name.removeprefix(stem) for stem, image in images.items()), ".png")
    listed = []
    for stem, pose in poses.items():
        image = images.get(stem, root / side / "rgb" / f"{stem}{ending}")
        name = f"{side}/rgb/{image.name}"
        listed.append(Listed(str(pose), name, image, _Files(pose, calibrations.get(stem)), root))
    if not listed:
        raise DatasetError(f"{root / side / 'poses'} has no pose")
    return listed


def _by_stem(folder: Path) -> dict[str, Path]:
    """The files of a folder by their names without endings, in alphabetical order."""
    if not folder.is_dir():
        return {}
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        stem = path.stem
        for ending in _ENDINGS:
            stem = stem.removesuffix(ending)
        if stem in found:
            raise DatasetError(f"{path} and {found[stem].name} are of the same frame; remove one of them")
        found[stem] = path
    return found


def _posed(listed: Listed[_Files], given: Camera | None) -> Posed:
    """The pose of an image and its camera: the given one, or that of its own calibration, or None."""
    files = listed.content
    pose = None if is_lost(files.pose) else matrix_in(files.pose)
    if given is None and files.calibration is not None and pose is not None:
        given = _camera(files.calibration, listed.image)
    stem = Path(listed.name).name
    sequence = stem.partition("-frame-")[0] if "-frame-" in stem else ""
    return Posed(pose, given, sequence=sequence)


def _camera(path: Path, image: Path) -> Camera:
    """A single focal length, or a matrix."""
    words = [(word, line.where) for line in read_lines(path) for word in line.text.replace(",", " ").split()]
    if len(words) != 1:
        return camera_from_matrix(matrix_in_file(path), image=image, where=str(path))
    (focal,) = numbers_in([words[0][0]], words[0][1])
    width, height = size_for_intrinsics(image, {}, str(path))
    fields = {"width": width, "height": height, "fx": focal}
    return camera_from_fields(fields, model="PINHOLE", where=str(path))
