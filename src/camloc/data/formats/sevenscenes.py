"""7Scenes: folders `seq-01` of images, each with its 4x4 `world_from_cam` matrix.

    chess/TrainSplit.txt                   "sequence1", one a line; or train.txt, test.txt: names of images
    chess/TestSplit.txt
    chess/seq-01/frame-000000.color.png    or .jpg
    chess/seq-01/frame-000000.pose.txt
    chess/seq-01/frame-000000.depth.png    optional; millimetres, of the depth camera

Shotton et al., Scene Coordinate Regression Forests for Camera Relocalization in RGB-D Images, CVPR 2013.
The rotations are a little off from orthogonal; they are projected. Colour and depth are of two cameras
that are not registered to each other: `COLOUR_CAMERA` is for the images. A `camera-intrinsics.txt` with
585 pixels is for the depth maps, and is not read.
"""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from camloc.data.checks import Row, frames_from_matrices
from camloc.data.formats.parts.files import is_named, read_lines
from camloc.data.formats.parts.recordings import POSE, matrix_in, recorded
from camloc.data.splits import Selection, Split, folder_name, scene_folder, split_by_lists
from camloc.data.types import Frame, Scene
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

SCENES = ("chess", "fire", "heads", "office", "pumpkin", "redkitchen", "stairs")
LOOKS_FOR = "folders seq-01, seq-02, ... with files frame-000000.pose.txt (7Scenes)"

COLOUR_CAMERA = Camera(width=640, height=480, fx=525.0, fy=525.0, cx=320.0, cy=240.0)

_SEQUENCE_LINE = re.compile(r"(?:sequence|seq-?)\s*(\d+)", re.IGNORECASE)


def fits(root: Path) -> bool:
    """Whether `root` is a scene of this layout, or holds some of `SCENES`."""
    return _is_scene(root) or any(_is_scene(root / scene) for scene in SCENES)


def load(
    root: Path,
    scene: str = "",
    *,
    camera: Camera | None = COLOUR_CAMERA,
    split: str = "",
    train_list: Path | None = None,
    test_list: Path | None = None,
    exclude: Collection[str] = (),
) -> Scene:
    """Read a scene.

    Args:
        root: the scene's folder, or the folder that it is in.
        scene: its name; may be left out where `root` is the scene's folder.
        camera: intrinsics of the colour images.
        split, train_list, test_list, exclude: see `Selection`; where there are no lists of images, the
            sequences of `TrainSplit.txt` and `TestSplit.txt` are used.

    Raises:
        DatasetError: something is missing, damaged, or contradicts something else.
    """
    folder = scene_folder(root, scene, is_scene=_is_scene, scenes=SCENES, looks_for=LOOKS_FOR)
    selection = Selection(split, train_list, test_list, exclude)
    if selection.lists(folder) == (None, None):
        train, test = _split_by_sequences(folder, camera, selection)
    else:
        frames = _frames(folder, _all_sequences(folder), camera, selection)
        train, test = split_by_lists(frames, folder, selection)
    return Scene(scene or folder_name(folder), train, test)


def _is_scene(folder: Path) -> bool:
    return next(folder.glob(f"seq-*/frame-*{POSE}"), None) is not None


def _split_by_sequences(folder: Path, camera: Camera | None, selection: Selection) -> Split:
    train_path, test_path = folder / "TrainSplit.txt", folder / "TestSplit.txt"
    test = _listed_sequences(test_path) if is_named(test_path) else []
    if is_named(train_path):
        train = _listed_sequences(train_path)
    else:
        train = [sequence for sequence in _all_sequences(folder) if sequence not in test]
    for sequence in test:
        if sequence in train:
            raise DatasetError(f"{test_path} and {train_path.name} both name {sequence}")
    if not train:
        raise DatasetError(f"{test_path} names every sequence of {folder}, so none is left to train on")
    frames = _frames(folder, [*train, *test], camera, selection)
    return (
        tuple(frame for frame in frames if frame.sequence in train),
        tuple(frame for frame in frames if frame.sequence in test),
    )


def _listed_sequences(path: Path) -> list[str]:
    """The folders that the lines `sequence1` (or `seq-01`) of a split name."""
    sequences = []
    for line in read_lines(path):
        match = _SEQUENCE_LINE.fullmatch(line.text)
        if match is None:
            raise DatasetError(f"{line.where}: {line.text[:40]!r} is not a sequence such as 'sequence1'")
        sequence = f"seq-{int(match[1]):02d}"
        if not (path.parent / sequence).is_dir():
            raise DatasetError(f"{line.where}: there is no folder {path.parent / sequence}")
        sequences.append(sequence)
    if not sequences:
        raise DatasetError(f"{path} names no sequence")
    return sequences


def _all_sequences(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("seq-*") if path.is_dir())


def _frames(
    folder: Path, sequences: Sequence[str], camera: Camera | None, selection: Selection
) -> tuple[Frame, ...]:
    rows = [row for sequence in sequences for row in _rows(folder, sequence, camera)]
    return frames_from_matrices(rows, exclude=selection.exclude)


def _rows(folder: Path, sequence: str, camera: Camera | None) -> list[Row]:
    """The frames of a sequence that have a pose, in their order."""
    return [
        Row(
            str(each.pose),
            Frame(f"{sequence}/{each.image_name}", each.image, camera, sequence=sequence, depth=each.depth),
            matrix_in(each.pose),
        )
        for each in recorded(folder / sequence)
    ]
