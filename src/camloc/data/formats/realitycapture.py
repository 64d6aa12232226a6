"""RealityCapture (RealityScan): the CSV export "Internal/External camera parameters".

    scene/cameras.csv        #name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2
    scene/images/0001.jpg    named by the table

Angles are degrees: the camera looks along a heading clockwise from the y axis (north), with pitch and roll;
the z axis is up. The focal length is that of a 35 mm film, 36 mm wide, whatever the side; px and py are
divided by the same. Radial coefficients k1 to k3 are read; k4, t1 and t2 are refused unless they are zero.
"""

from pathlib import Path

from scipy.spatial.transform import Rotation

from camloc.data.formats.parts.files import (
    csv_records,
    image_sizes,
    is_file,
    is_folder,
    is_or_has,
    matching_files,
    numbers_in,
    read_lines,
)
from camloc.data.formats.parts.intrinsics import camera_with_lens, refuse_unread_lens
from camloc.data.formats.parts.posed import FLIPPED_AXES, Posed, listed_image, matrix_of, posed_scene
from camloc.data.splits import EVERYTHING, Listed, Selection
from camloc.data.types import Scene, Unit
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

LOOKS_FOR = "a .csv file with the columns #name, x, y, alt, heading, pitch, roll (RealityCapture)"

_POSE = ("x", "y", "alt", "heading", "pitch", "roll")
_LENS = ("f", "px", "py", "k1", "k2", "k3", "k4", "t1", "t2")
_FILM = 36.0


def fits(root: Path) -> bool:
    """Whether `root` is an export of this layout, or a folder with one."""
    return is_or_has(root, "*.csv", _is_export)


def load(root: Path, scene: str = "", *, unit: Unit = "units", selection: Selection = EVERYTHING) -> Scene:
    """Read an export.

    Args:
        unit: of positions: "m" where the component was scaled to metres.
    """
    exports = matching_files(root, "*.csv", _is_export)
    if len(exports) != 1:
        raise DatasetError(f"{root} has {len(exports)} exports of RealityCapture; name the one to read")
    (path,) = exports
    folder = path.parent
    listed = []
    for where, row in csv_records(path, needed=("name", *_POSE)):
        refuse_unread_lens(row, _LENS, where, write=", ".join(_LENS))
        wanted = [name for name in (*_POSE, *_LENS) if name in row]
        numbers = dict(zip(wanted, numbers_in([row[name] for name in wanted], where), strict=True))
        prefix = "" if is_file(folder / row["name"]) or not is_folder(folder / "images") else "images/"
        listed.append(listed_image(where, prefix + row["name"], folder, numbers))
    if not listed:
        raise DatasetError(f"{path} has no row below its heading")
    kept = selection.present(listed)
    return posed_scene(folder, scene, kept, map(_posed, kept.entries), selection=selection, unit=unit)


def _is_export(path: Path) -> bool:
    try:
        first = next(iter(read_lines(path, comments=True)), None)
    except DatasetError:
        return False
    text = "" if first is None else first.text[:400].lower()
    words = [word.strip().lstrip("#") for word in text.split(",")]
    return words[:1] == ["name"] and set(_POSE) <= set(words)


def _posed(each: Listed[dict[str, float]]) -> Posed:
    n = each.content
    turn = Rotation.from_euler("ZXY", [-n["heading"], n["pitch"], n["roll"]], degrees=True)
    # The turned camera has OpenGL's axes: it looks down where all angles are zero.
    pose = matrix_of(turn.as_matrix(), (n["x"], n["y"], n["alt"])) @ FLIPPED_AXES
    return Posed(pose, _camera(each))


def _camera(each: Listed[dict[str, float]]) -> Camera | None:
    n = each.content
    if "f" not in n:
        return None
    unread = [name for name in ("k4", "t1", "t2") if n.get(name)]
    if unread:
        raise DatasetError(
            f"{each.where}: {', '.join(unread)} of the lens are not zero, and only k1 to k3 are read"
        )
    (width, height), _ = image_sizes(each.image)
    side = max(width, height)
    fields = {
        "width": float(width),
        "height": float(height),
        "fx": n["f"] * side / _FILM,
        "cx": width / 2 + n.get("px", 0.0) * side / _FILM,
        "cy": height / 2 + n.get("py", 0.0) * side / _FILM,
    }
    lens = {name: n.get(name, 0.0) for name in ("k1", "k2", "k3")}
    return camera_with_lens(fields, lens, model="OPENCV", where=each.where)
