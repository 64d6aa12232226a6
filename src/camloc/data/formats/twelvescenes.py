"""12Scenes: one recording to a scene, of which `split.txt` says where its sequences begin.

    12scenes/apt1/kitchen/info.txt                       size and intrinsics of the colour images
    12scenes/apt1/kitchen/split.txt                      "sequence0 [frames=357] [start=0 ; end=356]", ...
    12scenes/apt1/kitchen/data/frame-000000.color.jpg
    12scenes/apt1/kitchen/data/frame-000000.pose.txt     4x4 `world_from_cam`; infinite where it was lost
    12scenes/apt1/kitchen/data/frame-000000.depth.png    optional; millimetres, of the depth camera

Valentin et al., Learning to Navigate the Energy Landscape, 3DV 2016. The first sequence is for testing and
the others are for training. Frames without a pose are left out, as everybody does.
"""

import re
from bisect import bisect_right
from collections.abc import Collection
from pathlib import Path

from camloc.data.checks import Row, frames_from_matrices
from camloc.data.formats.parts.files import Line, is_named, numbers_in, read_lines
from camloc.data.formats.parts.intrinsics import camera_from_fields
from camloc.data.formats.parts.recordings import POSE, matrix_in, recorded
from camloc.data.splits import Selection, folder_name, scene_folder, split_by_lists
from camloc.data.types import Frame, Scene
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

SCENES = (
    "apt1/kitchen",
    "apt1/living",
    "apt2/bed",
    "apt2/kitchen",
    "apt2/living",
    "apt2/luke",
    "office1/gates362",
    "office1/gates381",
    "office1/lounge",
    "office1/manolis",
    "office2/5a",
    "office2/5b",
)
LOOKS_FOR = "info.txt and a folder data with files frame-000000.pose.txt (12Scenes)"

_INFO, _SPLIT, _DATA = "info.txt", "split.txt", "data"
_SEQUENCE = re.compile(r"(\w+)\s*\[frames=(\d+)\]\s*\[start=(\d+)\s*;\s*end=(\d+)\]")
_SIZE = {"m_colorWidth": "width", "m_colorHeight": "height"}
_MATRIX = "m_calibrationColorIntrinsic"

# Where the numbers that are used stand in the 4 x 4 matrix of `_MATRIX`.
_IN_MATRIX = {"fx": 0, "fy": 5, "cx": 2, "cy": 6}


def fits(root: Path) -> bool:
    """Whether `root` is a scene of this layout, or holds some of `SCENES`."""
    return _is_scene(root) or any(_is_scene(root / scene) for scene in SCENES)


def load(
    root: Path,
    scene: str = "",
    *,
    camera: Camera | None = None,
    split: str = "",
    train_list: Path | None = None,
    test_list: Path | None = None,
    exclude: Collection[str] = (),
) -> Scene:
    """Read a scene.

    Args:
        root: the scene's folder, or the folder that it is in.
        scene: its name, such as `apt1/kitchen`; may be left out where `root` is the scene's folder.
        camera: intrinsics of the colour images, instead of those of `info.txt`.
        split, train_list, test_list, exclude: see `Selection`; where there are no lists of images, the
            sequences of `split.txt` are used.

    Raises:
        DatasetError: something is missing, damaged, or contradicts something else.
    """
    folder = scene_folder(root, scene, is_scene=_is_scene, scenes=SCENES, looks_for=LOOKS_FOR)
    selection = Selection(split, train_list, test_list, exclude)
    sequences = _sequences(folder / _SPLIT) if is_named(folder / _SPLIT) else []
    frames = frames_from_matrices(
        _rows(folder, camera or _camera(folder / _INFO), sequences), exclude=exclude
    )
    name = _name(folder, scene)
    if selection.lists(folder) != (None, None):
        return Scene(name, *split_by_lists(frames, folder, selection))
    if len(sequences) < 2:
        raise DatasetError(
            f"{folder / _SPLIT} names no two sequences, one for testing and others for training; give lists "
            f"of images"
        )
    (_, tested), *_ = sequences
    return Scene(
        name,
        train=tuple(frame for frame in frames if frame.sequence != tested),
        test=tuple(frame for frame in frames if frame.sequence == tested),
    )


def _is_scene(folder: Path) -> bool:
    return (folder / _INFO).is_file() and next((folder / _DATA).glob(f"frame-*{POSE}"), None) is not None


def _name(folder: Path, scene: str) -> str:
    """Without a stroke, for names of scenes are names of folders too: `apt1-kitchen`."""
    resolved = folder.resolve()
    known = f"{resolved.parent.name}/{resolved.name}"
    is_known = known in SCENES and scene in ("", resolved.name, known)
    return (known if is_known else scene or folder_name(folder)).replace("/", "-")


def _rows(folder: Path, camera: Camera, sequences: list[tuple[int, str]]) -> list[Row]:
    """The frames that have a pose, in their order, each of the last sequence that begins before it."""
    starts = [start for start, _ in sequences]
    rows = []
    for each in recorded(folder / _DATA):
        if _is_lost(each.pose):
            continue
        begun = bisect_right(starts, each.number)
        sequence = sequences[begun - 1][1] if begun else ""
        name = f"{_DATA}/{each.image_name}"
        frame = Frame(name, each.image, camera, sequence=sequence, depth=each.depth)
        rows.append(Row(str(each.pose), frame, matrix_in(each.pose)))
    return rows


def _is_lost(pose: Path) -> bool:
    """Whether tracking was lost: the recorder wrote infinities, in its system's words ("-1.#INF")."""
    return any("INF" in line.text.upper() for line in read_lines(pose))


def _sequences(path: Path) -> list[tuple[int, str]]:
    """The first frame of every sequence, and its name, in the order of the file."""
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
    """Of the colour images, from `name = value` lines."""
    fields: dict[str, float] = {}
    for line in read_lines(path):
        name, _, value = (part.strip() for part in line.text.partition("="))
        if name in _SIZE:
            (fields[_SIZE[name]],) = _numbers(value, 1, line)
        elif name == _MATRIX:
            matrix = _numbers(value, 16, line)
            fields |= {field: matrix[scene] for field, scene in _IN_MATRIX.items()}
    return camera_from_fields(fields, model="PINHOLE", where=str(path))


def _numbers(text: str, count: int, line: Line) -> list[float]:
    numbers = numbers_in(text.split(), line.where)
    if len(numbers) != count:
        raise DatasetError(f"{line.where}: {len(numbers)} numbers are here, and {count} are needed")
    return numbers
