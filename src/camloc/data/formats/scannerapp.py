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
    number_fields,
    refuse_unread_lens,
)
from camloc.data.formats.parts.posed import Posed, listed_image, posed_scene
from camloc.data.splits import EVERYTHING, Listed, Selection
from camloc.data.types import Scene
from camloc.errors import DatasetError

SCENES: tuple[str, ...] = ()
LOOKS_FOR = "files frame_00000.json beside frame_00000.jpg (3D Scanner App)"

_FRAME = re.compile(r"frame_\d+\.(?:jpe?g|png)", re.IGNORECASE)


def fits(root: Path) -> bool:
    """Whether `root` is a session of this layout."""
    return is_folder(root) and bool(_images(root))


def load(root: Path, scene: str = "", *, selection: Selection = EVERYTHING) -> Scene:
    """Read a session.

    Args:
        root: its folder.
        scene: the name to give the scene; the folder's name otherwise.
        selection: see `Selection`.

    Raises:
        DatasetError: something is missing, damaged, or contradicts something else.
    """
    images = _images(root) if is_folder(root) else []
    if not images:
        raise DatasetError(f"{root} is not a session of the 3D Scanner App, which needs {LOOKS_FOR}")
    listed = [
        listed_image(str(path.with_suffix(".json")), path.name, root, read_json(path.with_suffix(".json")))
        for path in images
    ]
    return posed_scene(root, scene, listed, _posed, selection=selection)


def _images(root: Path) -> list[Path]:
    try:
        names = {path.name for path in root.iterdir()}
    except OSError:
        return []
    return [
        root / name for name in sorted(names) if _FRAME.fullmatch(name) and f"{Path(name).stem}.json" in names
    ]


def _posed(each: Listed[dict[str, Any]]) -> Posed:
    pose = _numbers(each.content, "cameraPoseARFrame", 16, each.where)
    k = _numbers(each.content, "intrinsics", 9, each.where)
    refuse_unread_lens(each.content, ("intrinsics",), each.where)
    fields = fields_of_matrix(np.array(k).reshape(3, 3), f"{each.where}, intrinsics")
    camera = camera_from_matrix(fields, image=each.image, where=each.where)
    matrix = np.array(pose).reshape(4, 4) @ np.diag([1.0, -1.0, -1.0, 1.0])
    time = each.content.get("time")
    return Posed(matrix, camera, float(time) if isinstance(time, (int, float)) else None, sequence="")


def _numbers(content: dict[str, Any], name: str, count: int, where: str) -> list[float]:
    values = content.get(name)
    if not isinstance(values, list) or len(values) != count:
        raise DatasetError(f"{where} needs {name} with {count} numbers")
    return list(number_fields({f"{name}[{i}]": value for i, value in enumerate(values)}, where).values())
