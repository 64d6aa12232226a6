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
    number_list,
    refuse_unread_lens,
)
from camloc.data.formats.parts.posed import FLIPPED_AXES, Posed, listed_image, matrix_of_xyzw, posed_scene
from camloc.data.splits import EVERYTHING, Listed, Selection
from camloc.data.types import Scene
from camloc.errors import DatasetError

LOOKS_FOR = "rgb and metadata.json (Record3D)"


def fits(root: Path) -> bool:
    """Whether `root` is an export of this layout."""
    return is_file(root / "metadata.json") and is_folder(root / "rgb")


def load(root: Path, scene: str = "", *, selection: Selection = EVERYTHING) -> Scene:
    """Read an export."""
    path = root / "metadata.json"
    content = read_json(path)
    poses, where = content.get("poses"), str(path)
    if not isinstance(poses, list):
        raise DatasetError(f"{path} needs a list of poses")
    size = number_fields(content, where, ("w", "h"))
    if len(size) != 2:
        raise DatasetError(f"{path} has no w and h, the size of the images")
    refuse_unread_lens(content, ("K", "perFrameIntrinsicCoeffs"), where)
    by_columns = number_list(content.get("K"), 9, "K", where)
    shared = fields_of_matrix(np.array(by_columns).reshape(3, 3).T, f"{path}, K")
    lenses = content.get("perFrameIntrinsicCoeffs") or [[*shared.values()]] * len(poses)
    if not isinstance(lenses, list) or len(lenses) != len(poses):
        raise DatasetError(f"{path}: perFrameIntrinsicCoeffs must be a list as long as poses")
    images = {each.stem: each.name for each in sorted((root / "rgb").iterdir())} if fits(root) else {}
    listed = []
    for number, (pose, lens) in enumerate(zip(poses, lenses, strict=True)):
        where = f"{path}, pose {number}"
        numbers = number_list(pose, 7, "a list qx qy qz qw x y z", where)
        own = dict(
            zip(shared, number_list(lens, 4, "perFrameIntrinsicCoeffs (fx fy cx cy)", where), strict=True)
        )
        name = f"rgb/{images.get(str(number), f'{number}.jpg')}"
        listed.append(listed_image(where, name, root, (numbers, own)))

    def posed(each: Listed[tuple[list[float], dict[str, float]]]) -> Posed:
        numbers, own = each.content
        fields = {"width": size["w"], "height": size["h"], **own}
        camera = camera_from_fields(fields, model="PINHOLE", where=each.where)
        return Posed(matrix_of_xyzw(numbers[:4], numbers[4:], each.where) @ FLIPPED_AXES, camera, sequence="")

    kept = selection.present(listed)
    return posed_scene(root, scene, kept, map(posed, kept.entries), selection=selection)
