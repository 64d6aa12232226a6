"""LLFF: all poses, sizes and focal lengths in one array, `poses_bounds.npy`.

    scene/poses_bounds.npy    (n, 17): a 3x5 matrix [rotation | centre | height, width, focal], two depths
    scene/images/0001.jpg     n images; in the order of their names

Mildenhall et al., Local Light Field Fusion, 2019. The camera axes are down, right, backward; the frames have
right, down, forward. The scale is a reconstruction's. Files that hold Python objects are refused.
"""

from pathlib import Path

import numpy as np

from camloc.data.formats.parts.files import is_file, open_regular
from camloc.data.formats.parts.intrinsics import camera_from_fields
from camloc.data.formats.parts.posed import Matrix, Posed, listed_image, matrix_of, posed_scene
from camloc.data.splits import EVERYTHING, Listed, Selection
from camloc.data.types import Scene, Unit
from camloc.errors import DatasetError, one_line

LOOKS_FOR = "poses_bounds.npy (LLFF)"

_FILE = "poses_bounds.npy"
_ENDINGS = (".jpg", ".jpeg", ".png")
_LARGEST = 2**30


def fits(root: Path) -> bool:
    """Whether `root` is a scene of this layout."""
    return is_file(root / _FILE)


def load(
    root: Path,
    scene: str = "",
    *,
    images: str = "images",
    unit: Unit = "units",
    selection: Selection = EVERYTHING,
) -> Scene:
    """Read a scene.

    Args:
        images: folder of the images below `root`, which may be smaller ones than the focal lengths are for.
        unit: of positions: "m" where the reconstruction was scaled to metres.
    """
    path = root / _FILE
    with open_regular(path, largest=_LARGEST) as file:
        try:
            table = np.load(file, allow_pickle=False)
        except Exception as problem:  # the parser of a damaged header raises anything
            raise DatasetError(f"{path} is not an array of numbers: {one_line(problem)[:120]}") from None
    if not isinstance(table, np.ndarray) or table.shape[1:] != (17,) or table.dtype.kind != "f":
        raise DatasetError(f"{path} is not an (n, 17) array of numbers")
    table = table.astype(np.float64)
    names = sorted(each.name for each in (root / images).glob("*") if each.suffix.lower() in _ENDINGS)
    if len(names) != len(table):
        raise DatasetError(
            f"{path} has {len(table)} poses, and {root / images} has {len(names)} images; name the folder "
            f"of all its images with --option images=FOLDER"
        )
    listed = [
        listed_image(f"{path}, row {number} ({name})", f"{images}/{name}", root, row)
        for number, (name, row) in enumerate(zip(names, table, strict=True))
    ]

    def posed(each: Listed[Matrix]) -> Posed:
        block = each.content[:15].reshape(3, 5)
        height, width, focal = block[:, 4].tolist()
        fields = {"width": width, "height": height, "fx": focal}
        down, right, backward = block[:, 0], block[:, 1], block[:, 2]
        matrix = matrix_of(np.stack([right, down, -backward], axis=1), block[:, 3])
        return Posed(matrix, camera_from_fields(fields, model="PINHOLE", where=each.where), sequence="")

    kept = selection.present(listed)
    return posed_scene(root, scene, kept, map(posed, kept.entries), selection=selection, unit=unit)
