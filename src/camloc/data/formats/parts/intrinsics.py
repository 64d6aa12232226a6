"""Cameras from named numbers and from the small files beside images: `camera.json` and `K.txt`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from camloc.data.formats.parts.files import image_size, is_named, numbers_in, read_json, read_lines
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

CAMERA_FILE = "camera.json"
MATRIX_FILE = "K.txt"

_PINHOLE_NAMES = ("f", "fx", "fy", "cx", "cy")


def parameter_names(model: str, where: str) -> tuple[str, ...]:
    """COLMAP's names of a camera model's parameters, in its order: `("fx", "fy", "cx", "cy", "k1", ...)`.

    Raises:
        DatasetError: COLMAP has no such model, or it has no focal length (panoramas).
    """
    known = [
        name for name in pycolmap.CameraModelId.__members__ if name not in ("INVALID", "EQUIRECTANGULAR")
    ]
    if model not in known:
        raise DatasetError(f"{where}: the camera model {model!r} is not known; known are {', '.join(known)}")
    camera = pycolmap.Camera.create_from_model_id(0, pycolmap.CameraModelId.__members__[model], 1.0, 1, 1)
    return tuple(name.strip() for name in camera.params_info.split(","))


def distortion_names(model: str, where: str) -> tuple[str, ...]:
    """COLMAP's names of the parameters of a model that distort, in the order of `Camera.distortion`."""
    return tuple(name for name in parameter_names(model, where) if name not in _PINHOLE_NAMES)


def camera_from_fields(fields: Mapping[str, float], *, model: str, where: str) -> Camera:
    """A camera from numbers with COLMAP's names, and `width` and `height`.

    One focal length (`f` or `fx`) stands for both; without `cx` and `cy` the principal point is the middle
    of the image; distortion that is not given is zero.

    Raises:
        DatasetError: the model is not known, the size or the focal length is missing or not positive, a
            number is not finite, or a model with one focal length is given two.
    """
    names = distortion_names(model, where)
    for needed in ("width", "height"):
        if needed not in fields:
            raise DatasetError(f"{where}: the camera has no {needed}")
    focal = fields.get("fx", fields.get("f"))
    if focal is None:
        raise DatasetError(f"{where}: the camera has no focal length")
    width, height = fields["width"], fields["height"]
    if not (float(width).is_integer() and float(height).is_integer()):
        raise DatasetError(f"{where}: the camera's size {width} x {height} is not in whole pixels")
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


def fields_of(camera: Camera) -> dict[str, float]:
    """The numbers of a camera as `camera_from_fields` reads them, the size among them."""
    sizes = {"width": camera.width, "height": camera.height}
    pinhole = {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy}
    names = distortion_names(camera.model, "camera")
    return {**sizes, **pinhole, **dict(zip(names, camera.distortion, strict=True))}


def camera_beside(folder: Path, *, image: Path) -> Camera | None:
    """The camera that all images of a folder share, from `camera.json` or `K.txt` in it, or None.

    `camera.json` holds `width`, `height`, `fx`, `fy`, `cx`, `cy`, optionally `model` (a COLMAP name, else
    PINHOLE) and its distortion by COLMAP's names. `K.txt` is the 3x3 calibration matrix for images of
    the size of `image`.

    Raises:
        DatasetError: the file cannot be read, or does not hold a camera.
    """
    if is_named(folder / CAMERA_FILE):
        return _camera_from_json(folder / CAMERA_FILE)
    if is_named(folder / MATRIX_FILE):
        return _camera_from_matrix(folder / MATRIX_FILE, image)
    return None


def camera_from_text(text: str) -> Camera:
    """A camera from a file name or from COLMAP's parameters.

    Args:
        text: a `camera.json`, a COLMAP `cameras.txt` with one camera, or "MODEL,WIDTH,HEIGHT,PARAMS...".

    Raises:
        DatasetError: it is neither a file with one camera nor a COLMAP model with its parameters.
    """
    path = Path(text)
    if path.suffix == ".json":
        return _camera_from_json(path)
    if path.suffix == ".txt":
        lines = [line.text.split() for line in read_lines(path) if not line.text.startswith("#")]
        if len(lines) != 1:
            raise DatasetError(f"{path} holds {len(lines)} cameras; write one of them into a file of its own")
        return _camera_from_words(lines[0][1:], str(path))
    return _camera_from_words(text.replace(",", " ").split(), f"the camera {text!r}")


def _camera_from_words(words: list[str], where: str) -> Camera:
    """A camera from COLMAP's model, width, height and parameters."""
    if len(words) < 4:
        raise DatasetError(
            f"{where}: write MODEL,WIDTH,HEIGHT and COLMAP's parameters, or name a camera.json"
        )
    names = parameter_names(words[0], where)
    width, height, *parameters = numbers_in(words[1:], where)
    if len(parameters) != len(names):
        raise DatasetError(
            f"{where}: a {words[0]} camera has the {len(names)} parameters {', '.join(names)}, not "
            f"{len(parameters)}"
        )
    fields = dict(zip(names, parameters, strict=True)) | {"width": width, "height": height}
    return camera_from_fields(fields, model=words[0], where=where)


def camera_text(camera: Camera) -> str:
    """A camera as the text of a `camera.json`."""
    return json.dumps({"model": camera.model, **fields_of(camera)}, indent=2, allow_nan=False) + "\n"


def number_fields(values: Mapping[str, Any], where: str) -> dict[str, float]:
    """Values of a JSON object that must all be numbers.

    Raises:
        DatasetError: one is something else.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e300:
            raise DatasetError(f"{where}: {name} must be a finite number, not {str(value)[:40]!r}")
    return {name: float(value) for name, value in values.items()}


def _camera_from_json(path: Path) -> Camera:
    content = read_json(path)
    where = str(path)
    model = str(content.pop("model", "PINHOLE"))
    known = {"width", "height", *_PINHOLE_NAMES, *distortion_names(model, where)}
    for name in content:
        if name not in known:
            raise DatasetError(f"{path}: a {model} camera has no {name!r}; it has {', '.join(sorted(known))}")
    return camera_from_fields(number_fields(content, where), model=model, where=where)


def _camera_from_matrix(path: Path, image: Path) -> Camera:
    rows = [numbers_in(line.text.replace(",", " ").split(), line.where) for line in read_lines(path)]
    if [len(row) for row in rows] != [3, 3, 3]:
        raise DatasetError(f"{path} does not hold a 3x3 matrix")
    matrix = np.array(rows)
    (fx, skew, cx), (zero, fy, cy) = rows[0], rows[1]
    if not np.isfinite(matrix).all() or abs(skew) > 1e-6 * abs(fx) or zero or rows[2] != [0.0, 0.0, 1.0]:
        raise DatasetError(f"{path} is not a calibration matrix: fx 0 cx, 0 fy cy, 0 0 1 is needed")
    width, height = image_size(image)
    fields = {"width": width, "height": height, "fx": fx, "fy": fy, "cx": cx, "cy": cy}
    return camera_from_fields(fields, model="PINHOLE", where=str(path))
