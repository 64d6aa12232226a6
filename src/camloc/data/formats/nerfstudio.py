"""nerfstudio and instant-ngp: `transforms.json`, `world_from_cam` matrices with OpenGL axes.

    scene/transforms.json    or transforms_train.json with transforms_test.json, as Blender's exporters write
    scene/images/0001.jpg    named by `file_path`, whose ending may be missing

OpenGL's camera looks along -z with y up; the frames have OpenCV's axes, z forward and y down. Intrinsics are
those of the frame, or else of the file: `fl_x fl_y cx cy w h`, or an angle of view (`camera_angle_x`,
`camera_angle_y` in radians, `x_fov`, `y_fov` in degrees); where both are there, they must agree. The
distortion model is `camera_model` (OPENCV where it is missing and `k1` or others are given). Keys of a lens
that are not understood are refused unless they are zero. `applied_transform` and `applied_scale`, with which
nerfstudio notes how it moved the world, are not undone: the frames are in the file's own world.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from camloc.core.files import write_atomically
from camloc.data.formats.parts.files import clean_name, is_file, read_json, seconds_of_times
from camloc.data.formats.parts.intrinsics import (
    camera_from_fields,
    is_size_name,
    number_fields,
    refuse_contradiction,
    refuse_unread_lens,
    size_for_intrinsics,
)
from camloc.data.formats.parts.posed import FLIPPED_AXES, Posed, posed_scene, whole_poses
from camloc.data.splits import EVERYTHING, Listed, OwnSplit, Selection, own_split
from camloc.data.types import Frame, Scene, Unit
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

LOOKS_FOR = "transforms.json or transforms_train.json (nerfstudio, instant-ngp)"

_ENDINGS = (".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG")

_FOCAL_AND_CENTRE = ("fl_x", "fl_y", "cx", "cy")
_PINHOLE = {"fl_x": "fx", "fl_y": "fy", "cx": "cx", "cy": "cy", "w": "width", "h": "height"}
_DISTORTION = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")

# Keys of an angle of view, the focal length and the side that it is for, and the degrees of its unit.
_ANGLES = {
    "camera_angle_x": ("fx", "width", 180 / math.pi),
    "camera_angle_y": ("fy", "height", 180 / math.pi),
    "x_fov": ("fx", "width", 1.0),
    "y_fov": ("fy", "height", 1.0),
}

# nerfstudio's order of a list `distortion_params`.
_PARAMETERS = ("k1", "k2", "k3", "k4", "p1", "p2")

# Keys that are read, and the list of frames, which has keys of its own.
_READ = (*_PINHOLE, *_DISTORTION, *_ANGLES, "distortion_params", "camera_model", "is_fisheye", "frames")

# Further names of a focal length, which say nothing new where it is known in pixels.
_FOCAL = re.compile(r"fl?_?[xy]?|focal.*|.*fov.*", re.IGNORECASE)

# Names under which files say which axes their cameras have.
_CONVENTION = re.compile(r".*(convention|coordinate_?(system|frame)|axes)", re.IGNORECASE)

# COLMAP's names of the file's camera models, all parameters of which may be given.
_MODELS = {
    "FULL_OPENCV": "FULL_OPENCV",
    "OPENCV": "OPENCV",
    "OPENCV_FISHEYE": "OPENCV_FISHEYE",
    "PINHOLE": "PINHOLE",
    "RADIAL": "OPENCV",
    "SIMPLE_PINHOLE": "PINHOLE",
    "SIMPLE_RADIAL": "OPENCV",
}

# The file's models with COLMAP's models of the same curve, and the file's names of their distortion in order.
_WRITTEN_AS = {
    "PINHOLE": (("SIMPLE_PINHOLE", "PINHOLE"), ()),
    "OPENCV": (("SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV"), ("k1", "k2", "p1", "p2", "k3")),
    "OPENCV_FISHEYE": (
        ("SIMPLE_FISHEYE", "FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "OPENCV_FISHEYE"),
        ("k1", "k2", "k3", "k4"),
    ),
}


class _Entry(NamedTuple):
    """A frame of a file, and the file's shared values."""

    frame: Mapping[str, Any]
    shared: Mapping[str, Any]


def fits(root: Path) -> bool:
    """Whether `root` is a file of this layout, or a folder with one."""
    return root.suffix == ".json" if is_file(root) else bool(_files(root))


def load(
    root: Path,
    scene: str = "",
    *,
    images: Path | None = None,
    unit: Unit = "units",
    selection: Selection = EVERYTHING,
) -> Scene:
    """Read a `transforms.json`.

    Args:
        images: the folder that `file_path` is relative to; the file's own otherwise.
        unit: of positions: "m" where the file has its true scale, which the format does not say.
        selection: see `Selection`; where there are no lists, the file's `train_filenames` and
            `test_filenames`, or the two files, split the frames.
    """
    files = [root] if is_file(root) else _files(root)
    if not files:
        raise DatasetError(f"{root} is not a nerfstudio data set, which needs {LOOKS_FOR}")
    folder = files[0].parent
    image_folder = folder if images is None else images
    contents = [(path, read_json(path)) for path in files]
    listed = [_listed(path, content, image_folder) for path, content in contents]
    kept = selection.present([each for part in listed for each in part])
    _refuse_partial(kept.entries)
    cameras: dict[str, Camera | None] = {}
    posed = (
        Posed(_matrix(each.content.frame.get("transform_matrix"), each.where), _camera(each, cameras), time)
        for each, time in zip(kept.entries, _times(kept.entries), strict=True)
    )
    unread = sorted(path.name for path in folder.glob("transforms*.json") if path not in files)
    return posed_scene(
        folder,
        scene,
        kept,
        posed,
        selection=selection,
        notes=[f"not read: {', '.join(unread)}"] if unread and not is_file(root) else [],
        own=_own_split(listed, *contents[0], image_folder),
        unit=unit,
    )


def write(scene: Scene, path: Path) -> None:
    """Write a scene as a `transforms.json`; the inverse of `load` with `images` the folder of the images.

    Camera models come back under another name where two are the same curve. Points, sequences and depth
    are not written.

    Raises:
        DatasetError: a frame has no pose, or a lens that the format has no name for.
        CamlocError: the file cannot be written.
    """
    frames = (*scene.train, *scene.test)
    cameras = {frame.camera for frame in frames}
    shared = _values_of(frames[0]) if len(cameras) == 1 else {}
    content: dict[str, Any] = {**shared, "frames": []}
    opengl = whole_poses(frames, path.name).matrix() @ FLIPPED_AXES
    for frame, matrix in zip(frames, opengl.tolist(), strict=True):
        values: dict[str, Any] = {"file_path": frame.name, **({} if shared else _values_of(frame))}
        if frame.time is not None:
            values["time"] = frame.time
        content["frames"].append({**values, "transform_matrix": matrix})
    content["train_filenames"] = [frame.name for frame in scene.train]
    if scene.test:
        content["test_filenames"] = [frame.name for frame in scene.test]
    write_atomically(path, json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def _files(folder: Path) -> list[Path]:
    if is_file(folder / "transforms.json"):
        return [folder / "transforms.json"]
    names = ("transforms_train.json", "transforms_test.json")
    files = [folder / name for name in names if is_file(folder / name)]
    return files if files and files[0].name == names[0] else []


def _listed(path: Path, content: Mapping[str, Any], image_folder: Path) -> list[Listed[_Entry]]:
    entries = content.get("frames")
    if not isinstance(entries, list) or not entries:
        raise DatasetError(f"{path} has no list of frames with something in it")
    listed = []
    for number, entry in enumerate(entries):
        where = f"{path}, frame {number}"
        if not isinstance(entry, dict):
            raise DatasetError(f"{where}: an object with file_path and transform_matrix is needed")
        name = _image_name(entry.get("file_path"), where, image_folder)
        content_of = _Entry(entry, content)
        listed.append(Listed(f"{where} ({name})", name, image_folder / name, content_of, image_folder))
    return listed


# Keys of a frame that say nothing of its camera.
_OF_FRAMES_ALONE = ("file_path", "transform_matrix", "time", "colmap_im_id", "depth_file_path", "mask_path")


def _camera(listed: Listed[_Entry], known: dict[str, Camera | None]) -> Camera | None:
    """A frame's camera; `known` has the cameras of earlier frames with a size, by the frames' own values."""
    frame, shared = listed.content
    own = {name: value for name, value in frame.items() if name not in _OF_FRAMES_ALONE}
    key = f"{id(shared)} {own!r}"
    if key in known:
        return known[key]
    values = {**shared, **frame}
    camera = camera_from_values(values, listed.where, image=listed.image)
    if "w" in values and "h" in values:  # otherwise it depends on the image
        known[key] = camera
    return camera


def _refuse_partial(listed: Sequence[Listed[_Entry]]) -> None:
    """Refuse frames that lack a part of the intrinsics that other frames have; all of them may be missing."""
    first: dict[frozenset[str], str] = {}
    for each in listed:
        frame, shared = each.content
        names = frozenset(name for name in _FOCAL_AND_CENTRE if name in frame or name in shared)
        if names:
            first.setdefault(names, each.where)
    every = frozenset(name for names in first for name in names)
    for names, where in first.items():
        if names != every:
            raise DatasetError(
                f"{where}: {', '.join(sorted(every - names))} is missing, and other frames have it; add it, "
                f"or remove the other intrinsics of this frame"
            )


def _times(listed: Sequence[Listed[_Entry]]) -> Sequence[float | None]:
    """The times in seconds, where every frame has one."""
    times = [number_fields(each.content.frame, each.where, ["time"]).get("time") for each in listed]
    known = [time for time in times if time is not None]
    return seconds_of_times(known) if len(known) == len(times) else [None] * len(times)


def _image_name(text: Any, where: str, image_folder: Path) -> str:
    """The name with its ending, which Blender's exporters leave out."""
    if not isinstance(text, str):
        raise DatasetError(f"{where}: there is no file_path")
    name = clean_name(text, where, root=image_folder)
    if is_file(image_folder / name):
        return name
    return next((name + ending for ending in _ENDINGS if is_file(image_folder / (name + ending))), name)


def _matrix(rows: Any, where: str) -> list[float]:
    """The 16 numbers of a pose with OpenCV's axes."""
    is_4x4 = isinstance(rows, list) and [isinstance(row, list) and len(row) for row in rows] == [4] * 4
    numbers: list[Any] = [number for row in rows for number in row] if is_4x4 else [None]
    if any(isinstance(number, bool) or not isinstance(number, (int, float)) for number in numbers):
        raise DatasetError(f"{where}: transform_matrix must be 4 lists of 4 numbers")
    try:
        matrix = [float(number) for number in numbers]
    except OverflowError:  # an integer of hundreds of digits; the checks refuse infinity
        return [math.inf] * 16
    # OpenGL's y and z axes of the camera are OpenCV's, reversed.
    return [-number if index % 4 in (1, 2) and index < 12 else number for index, number in enumerate(matrix)]


def _own_split(
    listed: list[list[Listed[_Entry]]], path: Path, content: Mapping[str, Any], image_folder: Path
) -> OwnSplit | None:
    """The split of the two files, or of the lists in one; None where there is neither."""
    if len(listed) == 2:
        return OwnSplit(*({each.name: each.where for each in part} for part in listed))
    if any("split" in each.content.frame for each in listed[0]):
        return own_split((each, str(each.content.frame.get("split")), "split") for each in listed[0])
    # A list writes names as `file_path` does, or with their ending.
    found = {each.content.frame["file_path"]: each.name for each in listed[0]}
    sides: list[dict[str, str] | None] = []
    for key in ("train_filenames", "test_filenames"):
        names, where = content.get(key), f"{path}, {key}"
        if not isinstance(names, list | None):
            raise DatasetError(f"{where}: a list of names is needed")
        known = [found.get(name) if isinstance(name, str) else None for name in names or ()]
        pairs = zip(known, names or (), strict=True)
        side = {each or _image_name(name, where, image_folder): where for each, name in pairs}
        sides.append(None if names is None else side)
    train, test = sides
    return None if train is test is None else OwnSplit(train, test or {})


def camera_from_values(values: Mapping[str, Any], where: str, *, image: Path) -> Camera | None:
    """The camera of a frame by the file's names of its intrinsics, or None where there is no focal length.

    The size of `image` counts where the values have none.

    Raises:
        DatasetError: the camera model is not known, does not fit its numbers, or a key of a lens is not
            understood.
    """
    pinhole = number_fields(values, where, _PINHOLE)
    fields = {_PINHOLE[name]: number for name, number in pinhole.items()}
    angles = number_fields(values, where, _ANGLES)
    lens = _distortion(values, where)
    if "fx" not in fields and not angles and "fy" not in fields:
        _refuse_unread(values, where, is_pinhole_known=False)
        return None
    _refuse_unread(values, where, is_pinhole_known=True)
    model = _model(values, lens, where)
    if "width" not in fields or "height" not in fields:
        fields["width"], fields["height"] = size_for_intrinsics(image, fields, where)
    for name, angle in angles.items():
        focal, side, degrees_per_unit = _ANGLES[name]
        half = math.radians(angle * degrees_per_unit) / 2
        if not 0 < half < math.pi / 2:
            raise DatasetError(f"{where}: {name} is {angle:.4g}, and must be below 180°")
        pixels = fields[side] / 2 / math.tan(half)
        if "FISHEYE" not in model:
            refuse_contradiction(fields.get(focal, pixels), pixels, name, where)
        fields.setdefault(focal, pixels)
    for name, focal in (("fx", "fx"), ("fy", "fy"), ("f_x", "fx"), ("f_y", "fy")):
        if focal in fields and isinstance(values.get(name), int | float):
            refuse_contradiction(fields[focal], float(values[name]), name, where)
    fields.setdefault("fx", fields.get("fy", 0.0))
    return camera_from_fields({**fields, **lens}, model=model, where=where)


def _distortion(values: Mapping[str, Any], where: str) -> dict[str, float]:
    """The distortion by the names `k1` to `k6`, `p1` and `p2`, or of a list `distortion_params`.

    nerfstudio's list has six numbers, k1 to k4 and then p1 and p2; OpenCV's four are k1, k2, p1, p2, which
    is the same list only where the last two are zero.
    """
    lens = number_fields(values, where, _DISTORTION)
    listed = values.get("distortion_params")
    if listed is None:
        return lens
    if not isinstance(listed, list) or len(listed) not in (4, 6):
        raise DatasetError(f"{where}: distortion_params must be a list of 4 or 6 numbers")
    numbers = number_fields({f"distortion_params[{i}]": number for i, number in enumerate(listed)}, where)
    parameters = dict(zip(_PARAMETERS, numbers.values(), strict=False))
    is_fisheye = values.get("camera_model") == "OPENCV_FISHEYE" or _is_fisheye(values, where)
    if len(listed) == 4 and not is_fisheye and (parameters["k3"] or parameters["k4"]):
        raise DatasetError(
            f"{where}: distortion_params of 4 numbers may be k1 k2 p1 p2 or k1 k2 k3 k4; write them "
            f"under these names"
        )
    for name, number in parameters.items():
        if lens.setdefault(name, number) != number:
            raise DatasetError(f"{where}: distortion_params and {name} contradict each other")
    return lens


def _refuse_unread(values: Mapping[str, Any], where: str, *, is_pinhole_known: bool) -> None:
    """Refuse keys of a lens and of a size that are not read, and cameras whose axes are not OpenGL's."""
    known = [name for name in values if name in _READ or (is_pinhole_known and _FOCAL.fullmatch(name))]
    refuse_unread_lens(values, known, where, write="fl_x, fl_y, cx, cy, w, h, k1 to k6, p1 and p2")
    sizes = [name for name in values if is_size_name(name)]
    if is_pinhole_known and not {"w", "h"} <= values.keys() and sizes:
        raise DatasetError(f"{where}: the size {sizes[0][:40]!r} is not understood; write both w and h")
    for name, value in values.items():
        if _CONVENTION.fullmatch(name) and re.search("opencv|colmap", str(value)[:80], re.IGNORECASE):
            raise DatasetError(
                f"{where}: by {name[:40]!r} the cameras have the axes of {str(value)[:40]}, and those of a "
                f"transforms.json are OpenGL's; multiply the second and third columns of the matrices by -1, "
                f"and remove the key"
            )


def _model(values: Mapping[str, Any], lens: Mapping[str, float], where: str) -> str:
    """COLMAP's name of a frame's camera model."""
    is_distorted, is_fisheye = any(lens.values()), _is_fisheye(values, where)
    fallback = "OPENCV_FISHEYE" if is_fisheye else "OPENCV" if is_distorted else "PINHOLE"
    model = str(values.get("camera_model", fallback))
    if is_fisheye and "FISHEYE" not in model:
        raise DatasetError(f"{where}: is_fisheye contradicts the camera model {model[:40]!r}; remove one")
    if model not in _MODELS:
        raise DatasetError(
            f"{where}: the camera model {model[:40]!r} is not known; known are {', '.join(_MODELS)}"
        )
    if _MODELS[model] == "PINHOLE" and is_distorted:
        raise DatasetError(f"{where}: a pinhole camera has no distortion, and here k1 or others are not zero")
    if _MODELS[model] == "OPENCV" and lens.get("k4"):
        raise DatasetError(f"{where}: k4 of a lens that is not a fisheye is not understood")
    return "FULL_OPENCV" if _MODELS[model] == "OPENCV" and lens.get("k3") else _MODELS[model]


def _is_fisheye(values: Mapping[str, Any], where: str) -> bool:
    value = values.get("is_fisheye", False)
    if not isinstance(value, bool | int):
        raise DatasetError(f"{where}: is_fisheye must be true or false, not {str(value)[:40]!r}")
    return bool(value)


def _values_of(frame: Frame) -> dict[str, Any]:
    """The camera of a frame under the key names of the file; empty where it is unknown."""
    camera = frame.camera
    if camera is None:
        return {}
    for model, (models, names) in _WRITTEN_AS.items():
        if camera.model in models and not any(camera.distortion[len(names) :]):
            size = {"w": camera.width, "h": camera.height}
            pinhole = {"fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx, "cy": camera.cy}
            lens = dict(zip(names, camera.distortion, strict=False))
            return {"camera_model": model, **size, **pinhole, **lens}
    raise DatasetError(f"{frame.name}: transforms.json has no name for this {camera.model} lens")
