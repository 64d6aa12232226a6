"""Sessions of ARKit as the 3D Scanner App exports them ("all data"): a JSON file beside each image.

scene/frame_00000.jpg     images in the orientation of the sensor; not every frame has one
scene/frame_00000.json    cameraPoseARFrame: 4x4 row by row, world_from_cam with OpenGL's axes, metres;
                          intrinsics: 3x3 row by row, for the image; time in seconds
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from camloc.data.formats.parts.files import is_folder, read_json
from camloc.data.formats.parts.intrinsics import (
    camera_from_matrix,
    fields_of_matrix,
    number_list,
    refuse_unread_lens,
)
from camloc.data.formats.parts.posed import FLIPPED_AXES, Posed, listed_image, matrix_of_rows, posed_scene
from camloc.data.splits import EVERYTHING, Listed, Selection
from camloc.data.types import Scene
from camloc.errors import DatasetError

LOOKS_FOR = "files frame_00000.json beside frame_00000.jpg (3D Scanner App)"

_FRAME = re.compile(r"frame_\d+\.(?:jpe?g|png)", re.IGNORECASE)


def fits(root: Path) -> bool:
    """Whether `root` is a session of this layout."""
    return is_folder(root) and bool(_images(root))


def load(root: Path, scene: str = "", *, selection: Selection = EVERYTHING) -> Scene:
    """Read a session."""
    images = _images(root) if is_folder(root) else []
    if not images:
        raise DatasetError(f"{root} is not a session of the 3D Scanner App, which needs {LOOKS_FOR}")
    listed = [
        listed_image(str(path.with_suffix(".json")), path.name, root, read_json(path.with_suffix(".json")))
        for path in images
    ]
    kept = selection.present(listed)
    return posed_scene(root, scene, kept, map(_posed, kept.entries), selection=selection)


def _images(root: Path) -> list[Path]:
    try:
        names = {path.name for path in root.iterdir()}
    except OSError:
        return []
    return [
        root / name for name in sorted(names) if _FRAME.fullmatch(name) and f"{Path(name).stem}.json" in names
    ]


def _posed(each: Listed[dict[str, Any]]) -> Posed:
    content, where = each.content, each.where
    pose = number_list(content.get("cameraPoseARFrame"), 16, "cameraPoseARFrame", where)
    matrix = number_list(content.get("intrinsics"), 9, "intrinsics", where)
    refuse_unread_lens(content, ("intrinsics",), where)
    fields = fields_of_matrix(np.array(matrix).reshape(3, 3), f"{where}, intrinsics")
    camera = camera_from_matrix(fields, image=each.image, where=where)
    time = content.get("time")
    seconds = float(time) if isinstance(time, (int, float)) else None
    return Posed(matrix_of_rows(pose) @ FLIPPED_AXES, camera, seconds, sequence="")
