"""Polycam's raw data: a JSON file for each keyframe, poses of ARKit.

    scene/keyframes/images/1636152354.jpg      or corrected_images and corrected_cameras
    scene/keyframes/cameras/1636152354.json    t_00 to t_23 (world_from_cam), fx, fy, cx, cy, width, height

The camera axes are ARKit's (right, up, backward), the world's y axis is up, positions are metres.
`corrected_cameras`, which Polycam optimized afterwards, are read where they are there.
"""

from pathlib import Path
from typing import Any

from camloc.data.formats.parts.files import is_folder, read_json
from camloc.data.formats.parts.intrinsics import camera_from_fields, number_fields, refuse_unread_lens
from camloc.data.formats.parts.posed import FLIPPED_AXES, Posed, listed_image, matrix_of_rows, posed_scene
from camloc.data.splits import EVERYTHING, Listed, Selection
from camloc.data.types import Scene
from camloc.errors import DatasetError

LOOKS_FOR = "folders keyframes/images and keyframes/cameras (Polycam)"

_ENTRIES = tuple(f"t_{row}{column}" for row in range(3) for column in range(4))
_CAMERA = ("fx", "fy", "cx", "cy", "width", "height")


def fits(root: Path) -> bool:
    """Whether `root` is a capture of this layout."""
    return _folder(root / "keyframes") is not None


def load(root: Path, scene: str = "", *, selection: Selection = EVERYTHING) -> Scene:
    """Read a capture."""
    prefix = _folder(root / "keyframes")
    if prefix is None:
        raise DatasetError(f"{root} is not a capture of Polycam, which needs {LOOKS_FOR}")
    folder = root / "keyframes" / f"{prefix}cameras"
    images = {path.stem: path.name for path in sorted((root / "keyframes" / f"{prefix}images").iterdir())}
    listed: list[Listed[dict[str, Any]]] = []
    for path in sorted(folder.glob("*.json")):
        name = f"keyframes/{prefix}images/{images.get(path.stem, f'{path.stem}.jpg')}"
        listed.append(listed_image(str(path), name, root, read_json(path)))
    if not listed:
        raise DatasetError(f"{folder} has no camera")
    kept = selection.present(listed)
    return posed_scene(root, scene, kept, map(_posed, kept.entries), selection=selection)


def _folder(keyframes: Path) -> str | None:
    for prefix in ("corrected_", ""):
        if is_folder(keyframes / f"{prefix}images") and is_folder(keyframes / f"{prefix}cameras"):
            return prefix
    return None


def _posed(each: Listed[dict[str, Any]]) -> Posed:
    missing = [name for name in (*_ENTRIES, *_CAMERA) if name not in each.content]
    if missing:
        raise DatasetError(f"{each.where}: there is no {missing[0]}")
    refuse_unread_lens(each.content, _CAMERA, each.where, write=", ".join(_CAMERA))
    entries = number_fields(each.content, each.where, _ENTRIES)
    fields = number_fields(each.content, each.where, _CAMERA)
    camera = camera_from_fields(fields, model="PINHOLE", where=each.where)
    return Posed(matrix_of_rows([*entries.values()]) @ FLIPPED_AXES, camera, sequence="")
