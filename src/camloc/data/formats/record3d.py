"""Record3D's export: all poses in one JSON file, poses of ARKit.

    scene/rgb/0.jpg         one image for each pose
    scene/metadata.json     poses: lists qx qy qz qw x y z (world_from_cam); K: 9 numbers, column by column;
                            w, h; perFrameIntrinsicCoeffs: lists fx fy cx cy, optional

The camera axes are ARKit's (right, up, backward), positions are metres.
"""

from pathlib import Path

import numpy as np

from camloc.data.formats.parts.files import is_file, is_folder, read_json
from camloc.data.formats.parts.intrinsics import (
    camera_from_fields,
    fields_of_matrix,
    number_fields,
    refuse_unread_lens,
)
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
    refuse_unread_lens(content, ("K", "perFrameIntrinsicCoeffs"), str(path))
    shared = fields_of_matrix(np.array(k).reshape(3, 3).T, f"{path}, K")
    lenses = content.get("perFrameIntrinsicCoeffs") or [[*shared.values()]] * len(poses)
    if not isinstance(lenses, list) or len(lenses) != len(poses):
        raise DatasetError(f"{path}: perFrameIntrinsicCoeffs must be a list as long as poses")
    images = {each.stem: each.name for each in sorted((root / "rgb").iterdir())} if fits(root) else {}
    listed = []
    for number, pose in enumerate(poses):
        where = f"{path}, pose {number}"
        if not isinstance(pose, list) or len(pose) != 7:
            raise DatasetError(f"{where}: 7 numbers are needed: qx qy qz qw x y z")
        numbers = list(number_fields({f"[{i}]": value for i, value in enumerate(pose)}, where).values())
        lens = lenses[number]
        if not isinstance(lens, list) or len(lens) != 4:
            raise DatasetError(f"{where}: perFrameIntrinsicCoeffs needs 4 numbers: fx fy cx cy")
        own = number_fields(dict(zip(("fx", "fy", "cx", "cy"), lens, strict=True)), where)
        name = f"rgb/{images.get(str(number), f'{number}.jpg')}"
        listed.append(listed_image(where, name, root, (numbers, own)))

    def posed(each: Listed[tuple[list[float], dict[str, float]]]) -> Posed:
        numbers, own = each.content
        fields = {"width": size["w"], "height": size["h"], **own}
        camera = camera_from_fields(fields, model="PINHOLE", where=each.where)
        opengl = matrix_of(rotation_of_xyzw(numbers[:4], each.where), numbers[4:])
        return Posed(opengl @ np.diag([1.0, -1.0, -1.0, 1.0]), camera, sequence="")

    return posed_scene(root, scene, listed, posed, selection=selection)
