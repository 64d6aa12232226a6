"""12Scenes: one recording for each scene, and a `split.txt` that says where its sequences begin.

    12scenes/apt1/kitchen/info.txt                       size and intrinsics of the colour images
    12scenes/apt1/kitchen/split.txt                      "sequence0 [frames=357] [start=0 ; end=356]", ...
    12scenes/apt1/kitchen/data/frame-000000.color.jpg
    12scenes/apt1/kitchen/data/frame-000000.pose.txt     4x4 `world_from_cam`; infinite where it is unknown
    12scenes/apt1/kitchen/data/frame-000000.depth.png    optional; millimetres, of the depth camera

Valentin et al., Learning to Navigate the Energy Landscape, 3DV 2016. The first sequence is for testing and
the others are for training. Frames without a pose are left out and counted, as in all published results.
"""

import re
from bisect import bisect_right
from pathlib import Path

from camloc.data.formats.parts.files import is_named, numbers_in, read_lines
from camloc.data.formats.parts.intrinsics import camera_from_fields, fields_of_matrix
from camloc.data.formats.parts.posed import Posed, matrix_of_rows, posed_scene
from camloc.data.formats.parts.recordings import POSE, Recorded, listed_moments
from camloc.data.splits import EVERYTHING, OwnSplit, Selection, folder_name, scene_folder
from camloc.data.types import Scene
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

SCENES = (
    *("apt1/kitchen", "apt1/living", "apt2/bed", "apt2/kitchen", "apt2/living", "apt2/luke"),
    *(
        "office1/gates362",
        "office1/gates381",
        "office1/lounge",
        "office1/manolis",
        "office2/5a",
        "office2/5b",
    ),
)
LOOKS_FOR = "info.txt and a folder data with files frame-000000.pose.txt (12Scenes)"

_INFO, _SPLIT, _DATA = "info.txt", "split.txt", "data"
_SEQUENCE = re.compile(r"(\w+)\s*\[frames=(\d+)\]\s*\[start=(\d+)\s*;\s*end=(\d+)\]")
_SIZE = {"m_colorWidth": "width", "m_colorHeight": "height"}
_MATRIX = "m_calibrationColorIntrinsic"


def fits(root: Path) -> bool:
    """Whether `root` is a scene of this layout, or holds some of `SCENES`."""
    return _is_scene(root) or any(_is_scene(root / scene) for scene in SCENES)


def load(
    root: Path, scene: str = "", *, camera: Camera | None = None, selection: Selection = EVERYTHING
) -> Scene:
    """Read a scene.

    Args:
        root: the scene's folder, or a folder above it.
        scene: its name, such as `apt1/kitchen`; may be left out where `root` is the scene's folder.
        camera: intrinsics of the colour images, instead of those of `info.txt`.
        selection: see `Selection`; where there are no lists of images, the sequences of `split.txt` are used.
    """
    folder = scene_folder(root, scene, is_scene=_is_scene, scenes=SCENES, looks_for=LOOKS_FOR)
    sequences = _sequences(folder / _SPLIT) if is_named(folder / _SPLIT) else []
    if len(sequences) < 2 and not selection.split and not selection.has_lists(folder):
        raise DatasetError(
            f"{folder / _SPLIT} names no two sequences, one for testing and others for training; give lists "
            f"of images, or --option split=blocks"
        )
    kept = selection.present(listed_moments(folder, _DATA))
    camera = camera or _camera(folder / _INFO)
    posed = [_posed(each.content, camera, sequences) for each in kept.entries]
    own = None
    if len(sequences) >= 2:
        (_, tested), *_ = sequences
        first = (each.name for each, of in zip(kept.entries, posed, strict=True) if of.sequence == tested)
        own = OwnSplit(None, dict.fromkeys(first, str(folder)))
    return posed_scene(folder, _name(folder, scene), kept, posed, selection=selection, own=own)


def _is_scene(folder: Path) -> bool:
    return (folder / _INFO).is_file() and next((folder / _DATA).glob(f"frame-*{POSE}"), None) is not None


def _name(folder: Path, scene: str) -> str:
    """The name without a slash, because a run's folder has the name of its scene: `apt1-kitchen`."""
    resolved = folder.resolve()
    known = f"{resolved.parent.name}/{resolved.name}"
    is_known = known in SCENES and scene in ("", resolved.name, known)
    return (known if is_known else scene or folder_name(folder)).replace("/", "-")


def _posed(moment: Recorded, camera: Camera, sequences: list[tuple[int, str]]) -> Posed:
    """Pose and camera of a moment, of the last sequence that begins before it."""
    begun = bisect_right([start for start, _ in sequences], moment.number)
    sequence = sequences[begun - 1][1] if begun else ""
    return Posed(moment.matrix(), camera, sequence=sequence, depth=moment.depth)


def _sequences(path: Path) -> list[tuple[int, str]]:
    """Number of the first frame and name of every sequence, in the order of the file."""
    found: list[tuple[int, str]] = []
    for line in read_lines(path):
        match = _SEQUENCE.fullmatch(line.text)
        if match is None:
            raise DatasetError(
                f"{line.where}: {line.text[:60]!r} is not a sequence such as 'sequence0 [frames=357] "
                f"[start=0 ; end=356]'"
            )
        start = int(match[3])
        if found and start <= found[-1][0]:
            raise DatasetError(f"{line.where}: the sequence begins before the one above it")
        found.append((start, match[1]))
    return found


def _camera(path: Path) -> Camera:
    """The camera of the colour images, from `name = value` lines."""
    fields: dict[str, float] = {}
    for line in read_lines(path):
        name, _, value = (part.strip() for part in line.text.partition("="))
        if name in _SIZE:
            (fields[_SIZE[name]],) = numbers_in(value.split(), line.where, count=1)
        elif name == _MATRIX:
            matrix = matrix_of_rows(numbers_in(value.split(), line.where, count=16))
            fields |= fields_of_matrix(matrix, line.where)
        elif "distort" in name.lower() and any(numbers_in(value.split(), line.where)):
            raise DatasetError(f"{line.where}: {name[:40]} is not zero, and 12Scenes has no distortion")
    return camera_from_fields(fields, model="PINHOLE", where=str(path))
