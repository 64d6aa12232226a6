"""Cameras from named numbers, from a word on the command line, and from calibration files beside images.

camera.json              {"width": 640, "height": 480, "fx": 525, ..., "model": "OPENCV", "k1": 0.1}
K.txt                    the 3x3 calibration matrix for images of the size that they have
camera-intrinsics.txt    the same, as 7Scenes and KinectFusion name it
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camloc.data.formats.parts.files import image_sizes, is_file, is_named, numbers_in, read_json, read_lines
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera
from camloc.geometry.colmap import pycolmap

Matrix = NDArray[np.float64]

CAMERA_FILE = "camera.json"
MATRIX_FILES = ("K.txt", "camera-intrinsics.txt")

# Sides in pixels beyond which a size is a mistake.
LARGEST_SIDE = 1_000_000

# Greatest difference between a focal length and an angle of view, relatively; files round them.
FOCAL_AGREEMENT = 0.03

_PINHOLE_NAMES = ("f", "fx", "fy", "cx", "cy")

# Names of files that hold a calibration and are not read.
_CALIBRATION = re.compile(r"(.*(calib|intrinsic).*|cameras?)\.(txt|json|ya?ml|xml|csv|npy)", re.IGNORECASE)

# Names of numbers and kinds of a lens, in small letters and without signs between the words: k1, flx, fovx.
_LENS = re.compile(
    r"(camera|cam|lens|colou?r|rgb|sensor)*("
    r"[kpsbd]\d+|k|f|fl?[xy]|fl|[cp][xy]|pp[xy]|[uv]0|xi|alpha|skew|aspect(ratio)?|[hvxyd]?fov[hvxyd]?|fov.*|"
    r"kappa\d+|(radial|tan|tangential)\d*|[dk]?(coeffs?|coefficients?)\d*|dist(?!ance).*|k(matrix|mat))|"
    r"(camera|cam|lens)(matrix|mat|params?|parameters)|"
    r"(camera|cam|lens|projection|distortion)+(model|type|kind|projection)|projection|"
    r".*((?<!un)distort|fisheye|equidistant|intrinsic|calib(?!rated)|principal|focal|radialdist).*"
)

# Names of a size in pixels, written alike.
_SIZE = re.compile(
    r"(images?|img|cam(era)?|colou?r|rgb|frame)?(w|h|width|height|size|resolution|dimensions?)"
)

# Values of a name of the kind of a lens that say nothing more than that it is a pinhole.
_PINHOLE_WORDS = ("", "none", "pinhole", "perspective", "simple_pinhole", "rectilinear", "false")


def parameter_names(model: str, where: str) -> tuple[str, ...]:
    """COLMAP's names of a camera model's parameters, in its order: `("fx", "fy", "cx", "cy", "k1", ...)`.

    Raises:
        DatasetError: COLMAP has no such model, or it has no focal length (panoramas).
    """
    known = _parameter_names_by_model()
    if model not in known:
        raise DatasetError(
            f"{where}: the camera model {model[:40]!r} is not known; known are {', '.join(known)}"
        )
    return known[model]


@cache
def _parameter_names_by_model() -> dict[str, tuple[str, ...]]:
    names = {}
    for model, number in pycolmap.CameraModelId.__members__.items():
        if model not in ("INVALID", "EQUIRECTANGULAR"):
            camera = pycolmap.Camera.create_from_model_id(0, number, 1.0, 1, 1)
            names[model] = tuple(name.strip() for name in camera.params_info.split(","))
    return names


def distortion_names(model: str, where: str) -> tuple[str, ...]:
    """COLMAP's names of a model's distortion parameters, in the order of `Camera.distortion`."""
    return tuple(name for name in parameter_names(model, where) if name not in _PINHOLE_NAMES)


def camera_from_fields(fields: Mapping[str, float], *, model: str, where: str) -> Camera:
    """A camera from numbers with COLMAP's names, and `width` and `height`.

    One focal length (`f` or `fx`) stands for both; without `cx` and `cy` the principal point is the middle
    of the image; missing distortion parameters are zero. A `k1` of a model whose parameter COLMAP calls `k`
    is that parameter.

    Raises:
        DatasetError: the model is not known, the size or the focal length is missing or not positive, a
            number is not finite, a model with one focal length is given two, or a number other than zero has
            no parameter in this model.
    """
    names = distortion_names(model, where)
    fields = dict(fields)
    if "k" in names and "k1" in fields:
        fields.setdefault("k", fields.pop("k1"))
    for needed in ("width", "height"):
        if needed not in fields:
            raise DatasetError(f"{where}: the camera has no {needed}")
    focal = fields.get("fx", fields.get("f"))
    if focal is None:
        raise DatasetError(f"{where}: the camera has no focal length")
    width, height = fields["width"], fields["height"]
    if not (float(width).is_integer() and float(height).is_integer()):
        raise DatasetError(f"{where}: the camera's size {width} x {height} is not in whole pixels")
    if max(width, height) > LARGEST_SIDE:
        raise DatasetError(
            f"{where}: the camera's size {width:.6g} x {height:.6g} is beyond {LARGEST_SIDE:,} pixels"
        )
    unused = [name for name in fields if name not in ("width", "height", *_PINHOLE_NAMES, *names)]
    for name in unused:
        if fields[name] != 0:
            raise DatasetError(
                f"{where}: {name} is {fields[name]:g}, and a {model} camera has no {name}; its distortion is "
                f"{', '.join(names) or 'none'}"
            )
    try:
        camera = Camera(
            width=int(width),
            height=int(height),
            fx=focal,
            fy=fields.get("fy", focal),
            cx=fields.get("cx", width / 2),
            cy=fields.get("cy", height / 2),
            model=model,
            distortion=tuple(fields.get(name, 0.0) for name in names),
        )
        camera.to_colmap()
    except ValueError as problem:
        raise DatasetError(f"{where}: {problem}") from None
    return camera


def camera_with_lens(
    fields: Mapping[str, float], lens: Mapping[str, float], *, model: str, where: str
) -> Camera:
    """A camera of the simplest model that has its distortion: a pinhole, `model`, or for OPENCV FULL_OPENCV.

    Raises:
        DatasetError: as `camera_from_fields`.
    """
    if not any(lens.values()) and "FISHEYE" not in model:
        return camera_from_fields(fields, model="PINHOLE", where=where)
    if model == "OPENCV" and any(
        value for name, value in lens.items() if name not in ("k1", "k2", "p1", "p2")
    ):
        model = "FULL_OPENCV"
    return camera_from_fields({**fields, **lens}, model=model, where=where)


def refuse_contradiction(focal: float, other: float, name: str, where: str) -> None:
    """Refuse a focal length in pixels that differs from the one that another value of the file gives.

    Raises:
        DatasetError: they differ by more than rounding; the message names the other value.
    """
    if not abs(other / focal - 1.0 if focal else 1.0) <= FOCAL_AGREEMENT:
        raise DatasetError(
            f"{where}: the focal length is {focal:g} pixels, and by {name} it is {other:g}; remove the wrong "
            f"one, or give the size that they are for"
        )


def fields_of(camera: Camera) -> dict[str, float]:
    """The numbers of a camera as `camera_from_fields` reads them, with its size."""
    sizes = {"width": camera.width, "height": camera.height}
    pinhole = {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy}
    names = distortion_names(camera.model, "camera")
    return {**sizes, **pinhole, **dict(zip(names, camera.distortion, strict=True))}


def camera_beside(folder: Path, *, image: Path) -> Camera | None:
    """The camera that all images of a folder share, from a calibration file in it, or None.

    `camera.json` goes before `K.txt`, which goes before `camera-intrinsics.txt`. A matrix is for the size of
    `image`, one of the images.

    Raises:
        DatasetError: the file cannot be read, or is not a calibration.
    """
    if is_named(folder / CAMERA_FILE):
        return camera_from_json(folder / CAMERA_FILE)
    path = next((folder / name for name in MATRIX_FILES if is_named(folder / name)), None)
    if path is None:
        return None
    return camera_from_matrix(matrix_in_file(path), image=image, where=str(path))


def unread_calibration(folder: Path) -> str:
    """The name of a file in a folder that looks like a calibration and is not read, or ""."""
    names = sorted(path.name for path in folder.iterdir() if path.name not in (CAMERA_FILE, *MATRIX_FILES))
    return next(filter(_CALIBRATION.fullmatch, names), "")


def camera_from_text(text: str, name: str) -> Camera:
    """A camera from one word: a `camera.json`, or `MODEL,width,height,` and COLMAP's parameters.

    Raises:
        DatasetError: the word is neither.
    """
    if is_file(Path(text)):
        return camera_from_json(Path(text))
    model, *words = (word.strip() for word in text.split(","))
    if len(words) < 3:
        raise DatasetError(
            f"{name} is a file such as camera.json, or a model, a size and its parameters as in "
            f"PINHOLE,640,480,525,525,320,240, and not {text[:80]!r}"
        )
    return camera_from_numbers(model.upper(), numbers_in(words, name), name)


def camera_from_numbers(model: str, numbers: Sequence[float], where: str) -> Camera:
    """A camera from its width and height and all parameters of its model, in COLMAP's order.

    Raises:
        DatasetError: the model is not known, there are more or fewer numbers, or they are not a camera.
    """
    names = ("width", "height", *parameter_names(model, where))
    if len(numbers) != len(names):
        raise DatasetError(
            f"{where}: a {model} camera needs {', '.join(names)}, which are {len(names)} numbers, and "
            f"{len(numbers)} are given"
        )
    return camera_from_fields(dict(zip(names, numbers, strict=True)), model=model, where=where)


def camera_from_json(path: Path) -> Camera:
    """The camera in a `camera.json`, whose distortion has COLMAP's names; PINHOLE where no model is named.

    Raises:
        DatasetError: the file cannot be read, or is not a camera.
    """
    content = read_json(path)
    where = str(path)
    model = str(content.pop("model", "PINHOLE"))
    known = {"width", "height", *_PINHOLE_NAMES, *distortion_names(model, where)}
    for name in content:
        if name not in known:
            raise DatasetError(
                f"{path}: a {model} camera has no {name[:40]!r}; it has {', '.join(sorted(known))}"
            )
    return camera_from_fields(number_fields(content, where), model=model, where=where)


def camera_text(camera: Camera) -> str:
    """A camera as the text of a `camera.json`."""
    return json.dumps({"model": camera.model, **fields_of(camera)}, indent=2, allow_nan=False) + "\n"


def number_fields(
    values: Mapping[str, Any], where: str, names: Iterable[str] | None = None
) -> dict[str, float]:
    """Values of a JSON object that must be numbers: all, or those whose names are in `names`.

    Raises:
        DatasetError: one is something else.
    """
    found = values if names is None else {name: values[name] for name in names if name in values}
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e300:
            raise DatasetError(f"{where}: {name} must be a finite number, not {str(value)[:40]!r}")
    return {name: float(value) for name, value in found.items()}


def number_list(values: Any, count: int, name: str, where: str) -> list[float]:
    """The numbers of a list in a JSON file.

    Raises:
        DatasetError: it is no list of `count` numbers.
    """
    if not isinstance(values, list) or len(values) != count:
        raise DatasetError(f"{where}: {name} with {count} numbers is needed")
    return list(number_fields({f"{name}[{i}]": value for i, value in enumerate(values)}, where).values())


def is_lens_name(name: str) -> bool:
    """Whether the name of a key or column belongs to a lens: `k1`, `FL_X`, `distCoeffs`, `focal_length`."""
    return name == "D" or _LENS.fullmatch(_plain(name)) is not None  # OpenCV's D; a column d may be anything


def is_size_name(name: str) -> bool:
    """Whether the name of a key belongs to an image size: `w`, `image_width`, `resolution`."""
    return _SIZE.fullmatch(_plain(name)) is not None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


def says_something(value: Any) -> bool:
    """Whether a value of a lens matters: it is not empty, not all zeros, and not the name of a pinhole."""
    if isinstance(value, str):
        text = value.strip().lower()
        try:
            return float(text) != 0
        except ValueError:
            return text not in _PINHOLE_WORDS
    if isinstance(value, Mapping):
        return any(says_something(each) for each in value.values())
    if isinstance(value, list):
        return any(says_something(each) for each in value)
    return value not in (0, 0.0, None, False)


def refuse_unread_lens(
    values: Mapping[str, Any], read: Collection[str], where: str, *, write: str = "a camera without it"
) -> None:
    """Refuse keys of a lens that are not read although their values matter.

    Args:
        values: of a file or of a camera; objects in it are looked into.
        read: the keys that are read.
        where: the file and the camera, for messages.
        write: the advice of the message: a camera that the file may hold instead.

    Raises:
        DatasetError: there is such a key.
    """
    for name, value in values.items():
        if name in read:
            continue
        if is_lens_name(name) and says_something(value):
            raise DatasetError(
                f"{where}: the key {name[:40]!r} of the lens is not understood; write {write}, or remove it"
            )
        for part in value if isinstance(value, list) else (value,):
            if isinstance(part, dict):
                refuse_unread_lens(part, (), f"{where}, {name[:40]}", write=write)


def matrix_in_file(path: Path) -> dict[str, float]:
    """`fx fy cx cy` of the 3x3 calibration matrix in a file.

    Raises:
        DatasetError: the file cannot be read, or its numbers are not such a matrix.
    """
    rows = [numbers_in(line.text.replace(",", " ").split(), line.where) for line in read_lines(path)]
    if [len(row) for row in rows] != [3, 3, 3]:
        raise DatasetError(f"{path} is not a 3x3 matrix of three lines with three numbers")
    return fields_of_matrix(np.array(rows), str(path))


def fields_of_matrix(matrix: Matrix, where: str) -> dict[str, float]:
    """`fx fy cx cy` of a calibration matrix, 3x3 or the first rows and columns of 3x4 and 4x4.

    Raises:
        DatasetError: it is not a calibration matrix, or has a skew.
    """
    (fx, skew, cx), (zero, fy, cy), last = matrix[:3, :3].tolist()
    if not np.isfinite(matrix).all() or zero or last != [0.0, 0.0, 1.0] or abs(skew) > 1e-6 * abs(fx):
        reason = f" (its skew is {skew:g})" if skew and not zero and last == [0.0, 0.0, 1.0] else ""
        raise DatasetError(f"{where} is not a calibration matrix{reason}: fx 0 cx, 0 fy cy, 0 0 1 is needed")
    return {"fx": fx, "fy": fy, "cx": cx, "cy": cy}


def camera_from_matrix(fields: Mapping[str, float], *, image: Path, where: str) -> Camera:
    """A pinhole camera with the size of an image.

    Raises:
        DatasetError: the image has no size, or the numbers are not a camera.
    """
    width, height = size_for_intrinsics(image, fields, where)
    return camera_from_fields({"width": width, "height": height, **fields}, model="PINHOLE", where=where)


def size_for_intrinsics(image: Path, fields: Mapping[str, float], where: str) -> tuple[int, int]:
    """The image size that intrinsics without a size belong to: the stored or the upright one.

    The two differ for photographs that a phone stored sideways; the principal point says which of them it is.

    Raises:
        DatasetError: the image has no size, or the two differ and there is no principal point.
    """
    stored, upright = image_sizes(image)
    if stored == upright:
        return stored
    if "cx" not in fields or "cy" not in fields:
        raise DatasetError(
            f"{where}: {image.name} is stored sideways, and the intrinsics do not say whether they are for "
            f"{stored[0]} x {stored[1]} or {upright[0]} x {upright[1]} pixels; give the size"
        )

    def off_centre(size: tuple[int, int]) -> float:
        return abs(fields["cx"] / size[0] - 0.5) + abs(fields["cy"] / size[1] - 0.5)

    return min((stored, upright), key=off_centre)
