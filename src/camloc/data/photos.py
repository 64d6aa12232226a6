"""Photographs without poses: image files, camera and GPS position from EXIF, brightness and sharpness."""

import glob
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray
from PIL import ExifTags, Image

from camloc.core.silence import without_warnings
from camloc.data.formats import VIDEO_ENDINGS
from camloc.data.formats.parts.files import IMAGE_ENDINGS
from camloc.data.image_io import exif_orientation, read_image
from camloc.data.video import image_sharpness
from camloc.errors import DatasetError, ImageError

# Diagonal of the 24 x 36 mm that "focal length in 35 mm film" refers to, and millimetres of its units.
_FILM_DIAGONAL = math.hypot(24.0, 36.0)
_MILLIMETRES = {2: 25.4, 3: 10.0, 4: 1.0}

# Side in pixels of the grey image that is measured, and of the thumbnail that copies are found by.
_MEASURED_SIDE, _THUMBNAIL = 480, 16

# Grey levels: an image with less contrast shows nothing; thumbnails of copies differ by less.
_LEAST_CONTRAST, _COPY_DIFFERENCE = 4.0, 2.0


@dataclass(frozen=True)
class Place:
    """A position by GPS: degrees of WGS84, metres above its ellipsoid or above the sea, None if unknown."""

    latitude: float
    longitude: float
    height: float | None = None


@dataclass(frozen=True)
class Photo:
    """An image file without a pose.

    Attributes:
        name: path below its folder, with forward slashes.
        image: the file.
        width, height: of the pixels as stored.
        orientation: by EXIF, 1 (upright) to 8.
        focal: focal length in pixels of the image as stored, or None where EXIF has none.
        device: maker, model and lens by EXIF, or "".
        place: where it was taken by GPS, or None.
        sequence: its folder.
    """

    name: str
    image: Path
    width: int
    height: int
    orientation: int = 1
    focal: float | None = None
    device: str = ""
    place: Place | None = None
    sequence: str = ""


@dataclass(frozen=True)
class PhotoList:
    """The photographs of a folder in the order of their names, and why other files were not taken."""

    photos: tuple[Photo, ...]
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Look:
    """Numbers that describe an image's content.

    Attributes:
        sharpness: see `image_sharpness`; compare images of one scene.
        contrast: standard deviation of its grey levels, 0 to 127.
        thumbnail: (16, 16) mean grey levels.
    """

    sharpness: float
    contrast: float
    thumbnail: Float32[np.ndarray, "16 16"]


def is_video(path: Path) -> bool:
    """Whether a path is that of a video, by its ending."""
    return path.suffix.lower() in VIDEO_ENDINGS


def list_photos(source: Path | str) -> PhotoList:
    """The photographs in a folder and below it, or of a pattern such as `photos/*.jpg`.

    Raises:
        DatasetError: there are none.
    """
    root, files = _files(source)
    photos, refused = [], {}
    for path in sorted(files, key=lambda path: natural_order(path.relative_to(root).as_posix())):
        name = path.relative_to(root).as_posix()
        if not name.isprintable() or name.encode(errors="replace") != name.encode(errors="ignore"):
            refused[ascii(name)] = "its name has signs that cannot be printed"
            continue
        try:
            photos.append(read_photo(path, name))
        except ImageError as problem:
            refused[name] = str(problem)
    if not photos:
        found = f"; {next(iter(refused.values()))}" if refused else ""
        raise DatasetError(f"{source} holds no image that can be read{found}")
    return PhotoList(tuple(photos), refused)


def image_files(folder: Path) -> list[Path]:
    """The image files in a folder and below it, without hidden ones, in the order of their numbers."""
    shown = (path for path in folder.rglob("*") if "/." not in f"/{path.relative_to(folder).as_posix()}")
    found = (path for path in shown if path.suffix.lower() in IMAGE_ENDINGS and path.is_file())
    return sorted(found, key=lambda path: natural_order(str(path)))


def read_photo(path: Path, name: str) -> Photo:
    """A photograph by its header; its pixels are not decoded.

    Raises:
        ImageError: the file is not an image.
    """
    try:
        with without_warnings, Image.open(path) as image:
            width, height = image.size
            orientation = exif_orientation(image)
            tags = _exif(image)
    except Exception:  # decoders of damaged files raise anything
        raise ImageError(f"{path} is not an image in a format that can be read") from None
    device = " ".join(str(tags.get(tag, "")).strip("\0 ") for tag in ("Make", "Model", "LensModel")).strip()
    focal, place, folder = _focal(tags, width, height), _place(tags.get("GPS")), name.rpartition("/")[0]
    return Photo(name, path, width, height, orientation, focal, device, place, folder)


def look_of(image: UInt8[NDArray[np.uint8], "h w 3"]) -> Look:
    """Sharpness, contrast and a thumbnail of an image."""
    grey = Image.fromarray(image).convert("L")
    scale = min(1.0, _MEASURED_SIDE / max(grey.size))
    size = max(16, round(grey.width * scale)), max(16, round(grey.height * scale))
    measured = np.asarray(grey.resize(size, Image.Resampling.BOX), dtype=np.float32)
    small = Image.fromarray(measured).resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    return Look(image_sharpness(measured), float(measured.std()), np.asarray(small, dtype=np.float32))


def looked_at(photo: Photo) -> tuple[UInt8[NDArray[np.uint8], "h w 3"], Look]:
    """The pixels of a photograph as stored, and its `Look`.

    Raises:
        ImageError: the file cannot be decoded, or shows nothing.
    """
    image = read_image(photo.image, upright=False)
    look = look_of(image)
    if look.contrast < _LEAST_CONTRAST:
        mean = float(look.thumbnail.mean())
        shade = "black" if mean < 40 else "white" if mean > 215 else "grey"
        raise ImageError(f"{photo.name} shows nothing: it is evenly {shade}")
    return image, look


def copies(looks: dict[str, Look]) -> dict[str, str]:
    """Images that equal an earlier one except for compression: the copy's name to the earlier one's."""
    found: dict[str, str] = {}
    kept: list[str] = []
    thumbnails = np.zeros((len(looks), _THUMBNAIL * _THUMBNAIL), dtype=np.float32)
    for name, look in looks.items():
        own = look.thumbnail.ravel()
        differences = np.abs(thumbnails[: len(kept)] - own).max(axis=1, initial=0.0)
        alike = np.flatnonzero(differences < _COPY_DIFFERENCE)
        if len(alike):
            found[name] = kept[int(alike[0])]
        else:
            thumbnails[len(kept)] = own
            kept.append(name)
    return found


def natural_order(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts numbers in names by their value: IMG_2 before IMG_10."""
    return [
        (0, int(part), "") if part.isdigit() and part.isascii() else (1, 0, part)
        for part in re.split(r"(\d+)", name)
    ]


def _files(source: Path | str) -> tuple[Path, Sequence[Path]]:
    """The folder of the images, and the files with an image's ending: the others are side files."""
    root = Path(source)
    if root.is_dir():
        return root, image_files(root)
    if not any(sign in str(source) for sign in "*?["):
        if root.is_file():
            raise DatasetError(f"{source} is a single file; name a folder of images, a pattern, or a video")
        raise DatasetError(f"{source} does not exist")
    inside = [Path(path) for path in glob.glob(str(source), recursive=True)]  # noqa: PTH207 - absolute
    if not inside:
        raise DatasetError(f"no file matches {source}; quote the pattern and check its folder")
    root = Path(os.path.commonpath([path.parent for path in inside]))
    return root, [path for path in inside if path.is_file() and path.suffix.lower() in IMAGE_ENDINGS]


def _exif(image: Image.Image) -> dict[str, object]:
    """The tags that say something of camera and place, by name; damaged EXIF has none."""
    try:
        exif = image.getexif()
        tags = {**dict(exif), **exif.get_ifd(ExifTags.IFD.Exif)}
        named: dict[str, object] = {ExifTags.TAGS.get(tag, str(tag)): value for tag, value in tags.items()}
        named["GPS"] = dict(exif.get_ifd(ExifTags.IFD.GPSInfo))
    except Exception:  # damaged EXIF beside a sound image
        return {}
    return named


def _focal(tags: dict[str, object], width: int, height: int) -> float | None:
    """The focal length in pixels, by its length on film or by the size of the sensor's pixels."""
    film = _number(tags.get("FocalLengthIn35mmFilm"))
    if film and 5.0 < film < 1000.0:
        return film / _FILM_DIAGONAL * math.hypot(width, height)
    focal, pixels = _number(tags.get("FocalLength")), _number(tags.get("FocalPlaneXResolution"))
    unit = _MILLIMETRES.get(int(_number(tags.get("FocalPlaneResolutionUnit")) or 2))
    across = _number(tags.get("ExifImageWidth")) or width
    if not (focal and pixels and unit):
        return None
    found = focal * pixels / unit * max(width, height) / max(across, 1.0)
    return found if 0.3 < found / max(width, height) < 30.0 else None


def _place(gps: object) -> Place | None:
    if not isinstance(gps, dict):
        return None
    latitude, longitude = _angle(gps.get(2), gps.get(1), "S"), _angle(gps.get(4), gps.get(3), "W")
    if latitude is None or longitude is None or abs(latitude) > 90.0 or abs(longitude) > 180.0:
        return None
    if latitude == 0.0 and longitude == 0.0:  # what cameras write before they know
        return None
    height = _number(gps.get(6))
    below = gps.get(5) in (1, b"\x01")
    return Place(latitude, longitude, None if height is None else -height if below else height)


def _angle(parts: object, side: object, negative: str) -> float | None:
    if not isinstance(parts, (tuple, list)) or len(parts) != 3:
        return None
    degrees, minutes, seconds = map(_number, parts)
    if degrees is None or minutes is None or seconds is None:
        return None
    value = degrees + minutes / 60.0 + seconds / 3600.0
    return -value if str(side).strip("\0 ").upper() == negative else value


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) else None
