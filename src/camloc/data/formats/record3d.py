"""Record3D's export: all poses in one JSON file, poses of ARKit.

    scene/rgb/0.jpg         one image for each pose
    scene/metadata.json     poses: lists qx qy qz qw x y z (world_from_cam); K: 9 numbers, column by column;
    w, h

The camera axes are ARKit's (right, up, backward), positions are metres.
"""

from pathlib import Path

import numpy as np

from camloc.data.formats.parts.files import is_file, is_folder, read_json
from camloc.data.formats.parts.intrinsics import camera_from_fields, number_fields
from camloc.data.formats.parts.posed import Posed, listed_image, matrix_of, posed_scene, rotation_of_xyzw
from camloc.data.splits import EVERYTHING, Listed, Selection
from camloc.data.types import Scene
from camloc.errors import DatasetError

SCENES: tuple[str, ...] = ()
LOOKS_FOR = "rgb and metadata.json (Record3D)"


def fits(root: Path) -> bool:
    """Whether `root` is an export of this layout."""
    return is_file(root / "metadata.json") and is_folder(root / "rgb")


def load(root: Path, scene: str = "", *, selection: Selection = EVERYTHING) -> Scene:
    """Read an export.

    Args:
        root: the export's folder.
        scene: the name to give the scene; the folder's name otherwise.
        selection: see `Selection`.

    Raises:
        DatasetError: something is missing, damaged, or contradicts something else.
    """
    path = root / "metadata.json"
    content = read_json(path)
    poses, matrix = content.get("poses"), content.get("K")
    if not isinstance(poses, list) or not isinstance(matrix, list) or len(matrix) != 9:
        raise DatasetError(f"{path} needs a list of poses and K with 9 numbers")
    k = list(
        number_fields({f"K[{number}]": value for number, value in enumerate(matrix)}, str(path)).values()
    )
    size = number_fields({name: content[name] for name in ("w", "h") if name in content}, str(path))
    if len(size) != 2:
        raise DatasetError(f"{path} has no w and h, the size of the images")
    fields = {"width": size["w"], "height": size["h"], "fx": k[0], "fy": k[4], "cx": k[6], "cy": k[7]}
    camera = camera_from_fields(fields, model="PINHOLE", where=str(path))
    images = {each.stem: each.name for each in sorted((root / "rgb").iterdir())} if fits(root) else {}
    listed = []
    for number, pose in enumerate(poses):
        where = f"{path}, pose {number}"
        if not isinstance(pose, list) or len(pose) != 7:
            raise DatasetError(f"{where}: 7 numbers are needed: qx qy qz qw x y z")
        numbers = list(number_fields({f"[{i}]": value for i, value in enumerate(pose)}, where).values())
        listed.append(listed_image(where, f"rgb/{images.get(str(number), f'{number}.jpg')}", root, numbers))

    def posed(each: Listed[list[float]]) -> Posed:
        opengl = matrix_of(rotation_of_xyzw(each.content[:4], each.where), each.content[4:])
        return Posed(opengl @ np.diag([1.0, -1.0, -1.0, 1.0]), camera, sequence="")

    return posed_scene(root, scene, listed, posed, selection=selection)
