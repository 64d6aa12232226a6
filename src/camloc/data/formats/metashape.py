"""Agisoft Metashape: "Export Cameras" as XML.

    scene/cameras.xml          or any one .xml file that starts with <document
    scene/images/0001.jpg      named by the labels of the cameras, with or without their ending

A camera's `transform` is world_from_cam of its chunk in OpenCV axes; the transform (rotation, translation,
scale) of its component, or else of the chunk, leads to the world, geocentric where the project has
coordinates. Calibrations with the coefficients f, cx, cy, b1, k1 to k3, p1 and p2 are read, the adjusted one
where there are several; others (k4, b2) are refused unless they are zero. Cameras that are not aligned have
no transform; they are left out and counted, and so are those of components that have no place in the world.
"""

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np

from camloc.data.formats.parts.files import is_file, is_or_has, matching_files, numbers_in, open_regular
from camloc.data.formats.parts.intrinsics import camera_with_lens
from camloc.data.formats.parts.posed import (
    Matrix,
    Posed,
    listed_image,
    matrix_of,
    matrix_of_rows,
    posed_scene,
)
from camloc.data.splits import EVERYTHING, Listed, Selection
from camloc.data.types import Scene, Unit
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

LOOKS_FOR = "an .xml file of cameras (Metashape)"

_ENDINGS = (".jpg", ".JPG", ".jpeg", ".JPEG", ".png", ".PNG", ".tif", ".TIF")
_COEFFICIENTS = ("f", "cx", "cy", "b1", "k1", "k2", "k3", "p1", "p2")
_LARGEST = 256 * 2**20
_HEAD = 400


def fits(root: Path) -> bool:
    """Whether `root` is a project file of this layout, or a folder with one."""
    return is_or_has(root, "*.xml", _is_document)


def load(
    root: Path, scene: str = "", *, images: str = "", unit: Unit = "units", selection: Selection = EVERYTHING
) -> Scene:
    """Read the cameras of a project.

    Args:
        images: folder of the images below that of the file; "images" or the file's own otherwise.
        unit: of positions: "m" where the chunk was scaled to metres.
    """
    documents = matching_files(root, "*.xml", _is_document)
    if len(documents) != 1:
        raise DatasetError(f"{root} has {len(documents)} XML files of cameras; name the one to read")
    (path,) = documents
    folder = path.parent
    chunks = _parsed(path).findall("chunk")
    if len(chunks) != 1:
        raise DatasetError(f"{path} has {len(chunks)} chunks, and one is needed; export them one by one")
    (chunk,) = chunks
    worlds = _worlds(chunk, path)
    cameras = {sensor.get("id", ""): sensor for sensor in chunk.iter("sensor")}
    known: dict[str, Camera] = {}
    listed: list[Listed[Posed]] = []
    unaligned: list[Listed[None]] = []
    apart: list[Listed[None]] = []
    name_of = _namer(folder, images)
    for element in chunk.iter("camera"):
        label, sensor = element.get("label", ""), element.get("sensor_id", "")
        where, name = f"{path}, camera {label!r}", name_of(label)
        text, component = element.findtext("transform"), element.get("component_id", "")
        if text is None or component not in worlds:
            (unaligned if text is None else apart).append(listed_image(where, name, folder, None))
            continue
        if sensor not in known:
            if sensor not in cameras:
                raise DatasetError(f"{where}: there is no sensor {sensor!r}")
            known[sensor] = _camera(cameras[sensor], f"{path}, sensor {sensor}")
        pose = matrix_of_rows(numbers_in(text.split(), f"{where}, transform", count=16))
        world_from_chunk, scale = worlds[component]
        pose[:3, 3] *= scale
        listed.append(listed_image(where, name, folder, Posed(world_from_chunk @ pose, known[sensor])))
    if not listed:
        raise DatasetError(f"{path} has no camera that is aligned")
    without_pose = {
        "they are not aligned": unaligned,
        "they are of components without a place in the world": apart,
    }
    kept = selection.present(listed, without_pose=without_pose)
    posed = (each.content for each in kept.entries)
    return posed_scene(folder, scene, kept, posed, selection=selection, unit=unit)


def _is_document(path: Path) -> bool:
    if path.suffix.lower() != ".xml" or not is_file(path):
        return False
    with open_regular(path) as file:
        head = file.read(_HEAD)
    return b"<document" in head


def _parsed(path: Path) -> ElementTree.Element:
    with open_regular(path, largest=_LARGEST) as file:
        data = file.read()
    # Entities can blow a small file up to gigabytes, or name files of this machine; cameras need none.
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise DatasetError(f"{path} declares a document type, which files of Metashape do not")
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as problem:
        raise DatasetError(f"{path} is not XML: {problem}") from None


def _worlds(chunk: ElementTree.Element, path: Path) -> dict[str, tuple[Matrix, float]]:
    """The motion to the world, and the scale before it, by the number of the component; "" is no component.

    Components are not joined to each other, and each may have a transform of its own. Where none has, the one
    with the most cameras is in the chunk's world.
    """
    own = _transform(chunk.find("transform"), path)
    placed = {
        component.get("id", ""): _transform(component.find("transform"), path)
        for component in chunk.iterfind("components/component")
        if component.find("transform") is not None
    }
    aligned = (camera for camera in chunk.iter("camera") if camera.find("transform") is not None)
    counts = Counter(camera.get("component_id", "") for camera in aligned)
    largest = {} if placed else {number: own for number, _ in counts.most_common(1)}
    return {"": own, **largest, **placed}


def _transform(element: ElementTree.Element | None, path: Path) -> tuple[Matrix, float]:
    """The rigid motion of a transform, which follows the scale; and that scale."""
    if element is None:
        return np.eye(4), 1.0

    def numbers(name: str, default: str) -> list[float]:
        words = (element.findtext(name) or default).split()
        return numbers_in(words, f"{path}, {name} of a transform", count=len(default.split()))

    rotation, centre = numbers("rotation", "1 0 0 0 1 0 0 0 1"), numbers("translation", "0 0 0")
    (scale,) = numbers("scale", "1")
    if not scale > 0:
        raise DatasetError(f"{path}: the scale of a transform is {scale:g}, and it must be positive")
    return matrix_of(np.array(rotation).reshape(3, 3), centre), scale


def _namer(folder: Path, images: str) -> Callable[[str], str]:
    """A function from labels, which may lack their ending, to names of images in a folder below `folder`.

    A missing image has the folder and the ending of the others.
    """
    bases = [images] if images else ["images", "."]
    there = ((base, path.suffix) for base in bases for path in sorted((folder / base).glob("*")))
    usual = next((each for each in there if each[1] in _ENDINGS), (bases[0], ""))

    def name(label: str) -> str:
        possible = [*product(bases, ("", *_ENDINGS)), usual]
        names = [f"{base}/{label}{ending}" for base, ending in possible]
        return next((name for name in names if is_file(folder / name)), names[-1])

    return name


def _is_number(text: str | None) -> bool:
    """Whether an element of a calibration holds a number other than zero."""
    try:
        return float(text or "0") != 0
    except ValueError:  # a date, or further elements
        return False


def _camera(sensor: ElementTree.Element, where: str) -> Camera:
    found = sorted(sensor.findall("calibration"), key=lambda each: each.get("class") != "adjusted")
    if not found or any(each.get("type", "frame") != "frame" for each in (sensor, found[0])):
        raise DatasetError(f"{where}: no calibration is of type frame; let Metashape undistort the photos")
    calibration = found[0]
    resolutions = [each for part in (calibration, sensor) for each in part.findall("resolution")]
    if not resolutions:
        raise DatasetError(f"{where}: it has no resolution")
    width, height = numbers_in([resolutions[0].get(side, "") for side in ("width", "height")], where)
    read = [each for each in calibration if each.tag in _COEFFICIENTS]
    given = dict.fromkeys(_COEFFICIENTS, 0.0)
    given |= {each.tag: numbers_in([each.text or ""], where)[0] for each in read}
    unread = [each.tag for each in calibration if each.tag not in _COEFFICIENTS and _is_number(each.text)]
    if unread or "f" not in [each.tag for each in read]:
        raise DatasetError(
            f"{where}: {', '.join(unread) or 'no f'}; only {', '.join(_COEFFICIENTS)} are read"
        )
    fields = {
        "width": width,
        "height": height,
        "fx": given["f"] + given["b1"],
        "fy": given["f"],
        "cx": width / 2 + given["cx"],
        "cy": height / 2 + given["cy"],
    }
    # Metashape's p1 is OpenCV's p2, and the other way round.
    lens = {name: given[name] for name in ("k1", "k2", "k3")} | {"p1": given["p2"], "p2": given["p1"]}
    return camera_with_lens(fields, lens, model="OPENCV", where=where)
