"""7Scenes: folders `seq-01` of images, each with its 4x4 `world_from_cam` matrix.

    chess/TrainSplit.txt                   "sequence1", one a line; or train.txt, test.txt: names of images
    chess/TestSplit.txt
    chess/seq-01/frame-000000.color.png    or .jpg
    chess/seq-01/frame-000000.pose.txt
    chess/seq-01/frame-000000.depth.png    optional; millimetres, of the depth camera
    chess/camera.json, K.txt or camera-intrinsics.txt    optional; the camera of one's own recordings

Shotton et al., Scene Coordinate Regression Forests for Camera Relocalization in RGB-D Images, CVPR 2013.
The rotations are a little off from orthogonal; they are projected. Colour and depth are of two cameras
that are not registered to each other: `COLOUR_CAMERA` is for the images. A `camera-intrinsics.txt` with the
depth camera's 585 pixels is not used.
"""

import re
from pathlib import Path

from camloc.data.formats.parts.files import image_sizes, is_named, read_lines
from camloc.data.formats.parts.intrinsics import (
    MATRIX_FILES,
    camera_beside,
    matrix_in_file,
    unread_calibration,
)
from camloc.data.formats.parts.posed import Posed, posed_scene
from camloc.data.formats.parts.recordings import POSE, listed_moments
from camloc.data.splits import EVERYTHING, OwnSplit, Selection, left_out, scene_folder
from camloc.data.types import Scene
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

SCENES = ("chess", "fire", "heads", "office", "pumpkin", "redkitchen", "stairs")
LOOKS_FOR = "folders seq-01, seq-02, ... with files frame-000000.pose.txt (7Scenes)"

COLOUR_CAMERA = Camera(width=640, height=480, fx=525.0, fy=525.0, cx=320.0, cy=240.0)

# Of the data set's depth camera, which its camera-intrinsics.txt describes.
_DEPTH_CAMERA = {"fx": 585.0, "fy": 585.0, "cx": 320.0, "cy": 240.0}

_SEQUENCE_LINE = re.compile(r"(?:sequence|seq-?)\s*(\d{1,9})", re.IGNORECASE)


def fits(root: Path) -> bool:
    """Whether `root` is a scene of this layout, or holds some of `SCENES`."""
    return _is_scene(root) or any(_is_scene(root / scene) for scene in SCENES)


def load(
    root: Path, scene: str = "", *, camera: Camera | None = None, selection: Selection = EVERYTHING
) -> Scene:
    """Read a scene.

    Args:
        root: the scene's folder, or its parent.
        scene: its name; may be left out where `root` is the scene's folder.
        camera: intrinsics of the colour images; otherwise a calibration file in the scene's folder, or
            `COLOUR_CAMERA`.
        selection: see `Selection`; where there are no lists of images, the sequences of `TrainSplit.txt` and
            `TestSplit.txt` are used.
    """
    folder = scene_folder(root, scene, is_scene=_is_scene, scenes=SCENES, looks_for=LOOKS_FOR)
    everything = _all_sequences(folder)
    by_sequence = None if selection.has_lists(folder) else _listed_split(folder, everything)
    sequences = everything if by_sequence is None else [*by_sequence[0], *by_sequence[1]]
    kept = selection.present([each for sequence in sequences for each in listed_moments(folder, sequence)])
    notes: list[str] = []
    if camera is None and kept.entries:
        camera, notes = _camera(folder, kept.entries[0].image)
    own = None
    if by_sequence is not None:
        unused = len(set(everything) - set(sequences))
        notes += left_out("neither list names them", unused, len(everything), "sequences")
        test = [each.name for each in kept.entries if each.name.partition("/")[0] in by_sequence[1]]
        own = OwnSplit(None, dict.fromkeys(test, str(folder))) if by_sequence[1] else None
    posed = (
        Posed(each.content.matrix(), camera, sequence=each.name.partition("/")[0], depth=each.content.depth)
        for each in kept.entries
    )
    return posed_scene(folder, scene, kept, posed, selection=selection, notes=notes, own=own)


def _is_scene(folder: Path) -> bool:
    return next(folder.glob(f"seq-*/frame-*{POSE}"), None) is not None


def _camera(folder: Path, image: Path) -> tuple[Camera, list[str]]:
    """The camera of a scene, and a note where it is assumed."""
    matrix = next((folder / name for name in MATRIX_FILES if is_named(folder / name)), None)
    is_of_depth = matrix is not None and matrix.name != "K.txt" and matrix_in_file(matrix) == _DEPTH_CAMERA
    if not is_of_depth or is_named(folder / "camera.json"):
        found = camera_beside(folder, image=image)
        if found is not None:
            return found, []
    if folder.resolve().name in SCENES:
        return COLOUR_CAMERA, []
    try:
        (width, height), _ = image_sizes(image)
    except DatasetError:  # the commands that open images name it
        return COLOUR_CAMERA, []
    if width * COLOUR_CAMERA.height != height * COLOUR_CAMERA.width:
        raise DatasetError(
            f"{folder} has images of {width} x {height} pixels and no camera.json or K.txt, so these are not "
            f"the images of 7Scenes; give their camera, for example --option "
            f"camera=PINHOLE,{width},{height},FX,FY,CX,CY"
        )
    other = unread_calibration(folder)
    if other:
        raise DatasetError(
            f"{folder} has no camera.json or K.txt, and {other} looks like a calibration; name it K.txt if "
            f"it holds a 3x3 matrix, or give --option camera=PINHOLE,{width},{height},FX,FY,CX,CY"
        )
    note = (
        f"no camera.json or K.txt: the camera of 7Scenes is assumed, 525 pixels of focal length for "
        f"640 x 480 ({525 * width / 640:.4g} for {width} x {height})"
    )
    return COLOUR_CAMERA, [note]


def _listed_split(folder: Path, everything: list[str]) -> tuple[list[str], list[str]]:
    """The sequences for training and for testing; without lists, all are for training."""
    train_path, test_path = folder / "TrainSplit.txt", folder / "TestSplit.txt"
    test = _listed_sequences(test_path) if is_named(test_path) else []
    if is_named(train_path):
        train = _listed_sequences(train_path)
    else:
        train = [sequence for sequence in everything if sequence not in test]
    for sequence in test:
        if sequence in train:
            raise DatasetError(f"{test_path} and {train_path.name} both name {sequence}")
    if not train:
        raise DatasetError(f"{test_path} names every sequence of {folder}, so none is left to train on")
    return train, test


def _listed_sequences(path: Path) -> list[str]:
    """The folders that the lines `sequence1` (or `seq-01`) of a split name."""
    sequences: list[str] = []
    for line in read_lines(path):
        match = _SEQUENCE_LINE.fullmatch(line.text)
        if match is None:
            raise DatasetError(f"{line.where}: {line.text[:40]!r} is not a sequence such as 'sequence1'")
        sequence = f"seq-{int(match[1]):02d}"
        if not (path.parent / sequence).is_dir():
            raise DatasetError(f"{line.where}: there is no folder {path.parent / sequence}")
        if sequence in sequences:
            raise DatasetError(f"{line.where}: {sequence} is there for the second time; remove one of them")
        sequences.append(sequence)
    if not sequences:
        raise DatasetError(f"{path} names no sequence")
    return sequences


def _all_sequences(folder: Path) -> list[str]:
    """The folders `seq-01`, ..., and others that hold poses of frames."""
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.is_dir() and (path.name.startswith("seq-") or any(path.glob(f"frame-*{POSE}")))
    )
