"""Cameras by the names that `transforms.json` has for their numbers, and back."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camloc.data.formats.parts.files import image_size
from camloc.data.formats.parts.intrinsics import camera_from_fields, number_fields
from camloc.data.types import Frame
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

_INTRINSICS = ("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x", "camera_angle_y")
_DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
_RENAMED = {"fl_x": "fx", "fl_y": "fy", "w": "width", "h": "height"}

# COLMAP models that are the same curve as one of the file's, and that one's names of their distortion.
_WRITTEN_AS: dict[str, tuple[str, tuple[str, ...]]] = {
    "SIMPLE_PINHOLE": ("PINHOLE", ()),
    "PINHOLE": ("PINHOLE", ()),
    "SIMPLE_RADIAL": ("OPENCV", ("k1",)),
    "RADIAL": ("OPENCV", ("k1", "k2")),
    "OPENCV": ("OPENCV", ("k1", "k2", "p1", "p2")),
    "FULL_OPENCV": ("OPENCV", ("k1", "k2", "p1", "p2", "k3")),
    "SIMPLE_FISHEYE": ("OPENCV_FISHEYE", ()),
    "FISHEYE": ("OPENCV_FISHEYE", ()),
    "SIMPLE_RADIAL_FISHEYE": ("OPENCV_FISHEYE", ("k1",)),
    "RADIAL_FISHEYE": ("OPENCV_FISHEYE", ("k1", "k2")),
    "OPENCV_FISHEYE": ("OPENCV_FISHEYE", ("k1", "k2", "k3", "k4")),
}


def camera_from_values(values: Mapping[str, Any], where: str, *, image: Path) -> Camera | None:
    """The camera of a frame by the file's names of its intrinsics, or None where there is no focal length.

    Raises:
        DatasetError: the camera model is not known, or does not fit its numbers.
    """
    numbers = number_fields({name: values[name] for name in _INTRINSICS if name in values}, where)
    lens = number_fields({name: values[name] for name in _DISTORTION if name in values}, where)
    if "fl_x" not in numbers and "camera_angle_x" not in numbers:
        return None
    if "w" not in numbers or "h" not in numbers:
        numbers["w"], numbers["h"] = image_size(image)
    for focal, angle, size in (("fl_x", "camera_angle_x", "w"), ("fl_y", "camera_angle_y", "h")):
        if focal not in numbers and angle in numbers:
            if not 0 < numbers[angle] < math.pi:
                raise DatasetError(
                    f"{where}: {angle} is {numbers[angle]:.4g}, and an angle below pi is needed"
                )
            numbers[focal] = numbers[size] / 2 / math.tan(numbers[angle] / 2)
    fields = {_RENAMED.get(name, name): number for name, number in numbers.items() if "angle" not in name}
    return camera_from_fields({**fields, **lens}, model=_model(values, lens, where), where=where)


def _model(values: Mapping[str, Any], lens: Mapping[str, float], where: str) -> str:
    """COLMAP's name of a frame's camera model."""
    bent = any(lens.values())
    fallback = "OPENCV_FISHEYE" if values.get("is_fisheye") else "OPENCV" if bent else "PINHOLE"
    match values.get("camera_model", fallback):
        case "OPENCV" | "RADIAL" | "SIMPLE_RADIAL" if lens.get("k4"):
            raise DatasetError(f"{where}: k4 of a lens that is not a fisheye is not understood")
        case "OPENCV" | "RADIAL" | "SIMPLE_RADIAL":
            return "FULL_OPENCV" if lens.get("k3") else "OPENCV"
        case "OPENCV_FISHEYE":
            return "OPENCV_FISHEYE"
        case "PINHOLE" | "SIMPLE_PINHOLE" if bent:
            raise DatasetError(
                f"{where}: a pinhole camera has no distortion, and here k1 or others are not zero"
            )
        case "PINHOLE" | "SIMPLE_PINHOLE":
            return "PINHOLE"
        case other:
            raise DatasetError(
                f"{where}: the camera model {str(other)[:40]!r} is not known; known are OPENCV, "
                f"OPENCV_FISHEYE, PINHOLE, RADIAL, SIMPLE_PINHOLE and SIMPLE_RADIAL"
            )


def values_from_camera(frame: Frame) -> dict[str, Any]:
    """A frame's camera by the file's names; nothing where it is unknown.

    Raises:
        DatasetError: the file's names do not describe this lens.
    """
    camera = frame.camera
    if camera is None:
        return {}
    written = _WRITTEN_AS.get(camera.model)
    if written is None or any(camera.distortion[len(written[1]) :]):
        raise DatasetError(f"{frame.name}: transforms.json has no name for this {camera.model} lens")
    size = {"w": camera.width, "h": camera.height}
    pinhole = {"fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx, "cy": camera.cy}
    model, names = written
    return {"camera_model": model, **size, **pinhole, **dict(zip(names, camera.distortion, strict=False))}
