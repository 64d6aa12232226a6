"""ScanNet as its exporter writes it: a 4x4 `world_from_cam` matrix for each image.

    scene0000_00/color/0.jpg
    scene0000_00/pose/0.txt                      infinite where tracking was lost
    scene0000_00/intrinsic/intrinsic_color.txt   4x4
    scene0000_00/depth/0.png                     optional; millimetres, of another size than the images

Dai et al., ScanNet: Richly-annotated 3D Reconstructions of Indoor Scenes, CVPR 2017. Frames without tracking
are left out and counted.
"""

from pathlib import Path

from camloc.data.formats.parts.files import is_file, is_folder
from camloc.data.formats.parts.intrinsics import camera_from_matrix, fields_of_matrix
from camloc.data.formats.parts.posed import Posed, listed_image, posed_scene
from camloc.data.formats.parts.recordings import is_lost, matrix_in
from camloc.data.splits import EVERYTHING, Listed, Selection
from camloc.data.types import Scene
from camloc.errors import DatasetError

LOOKS_FOR = "folders color, pose and intrinsic (ScanNet)"

_INTRINSICS = Path("intrinsic", "intrinsic_color.txt")


def fits(root: Path) -> bool:
    """Whether `root` is a scene of this layout."""
    return is_folder(root / "color") and is_folder(root / "pose") and is_file(root / _INTRINSICS)


def load(root: Path, scene: str = "", *, selection: Selection = EVERYTHING) -> Scene:
    """Read a scene."""
    if not fits(root):
        raise DatasetError(f"{root} is not a folder of ScanNet, which needs {LOOKS_FOR}")
    images = {path.stem: path.name for path in sorted((root / "color").iterdir())}
    poses = sorted((root / "pose").glob("*.txt"), key=lambda path: (len(path.stem), path.stem))
    ending = next((Path(name).suffix for name in images.values()), ".jpg")
    listed: list[Listed[Path]] = []
    lost: list[Listed[Path]] = []
    for path in poses:
        name = f"color/{images.get(path.stem, path.stem + ending)}"
        (lost if is_lost(path) else listed).append(listed_image(str(path), name, root, path))
    if not listed:
        raise DatasetError(f"{root / 'pose'} has no pose that is finite")
    where = str(root / _INTRINSICS)
    fields = fields_of_matrix(matrix_in(root / _INTRINSICS), where)
    kept = selection.present(listed, without_pose={"their pose is infinite": lost})
    posed = (
        Posed(matrix_in(each.content), camera_from_matrix(fields, image=each.image, where=where), sequence="")
        for each in kept.entries
    )
    return posed_scene(root, scene, kept, posed, selection=selection)
