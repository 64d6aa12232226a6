"""Oxford RobotCar: drives of the same route, with the pose of the car's INS at other times than the images.

    root/2014-06-26-09-24-58/stereo.timestamps                    microseconds and chunk of each image
    root/2014-06-26-09-24-58/stereo/centre_processed/TIME.png     or stereo/centre: raw, as a Bayer mosaic
    root/2014-06-26-09-24-58/gps/ins.csv                          status, position, roll, pitch, yaw
    root/extrinsics/ins.txt                                       of the SDK; for `frame=camera`
    root/camera.json                                              optional; intrinsics of all images

Maddern et al., 1 Year, 1000 km, IJRR 2017. The scenes are the splits of the "HyperPose" supplement (2025),
Table 2. The world is north, east, down from `ORIGIN`, because double digits of metres are lost in UTM
otherwise. A pose is interpolated between the INS solutions before and after the image; images outside of
them (13 of 2014-06-23-15-41-25) are left out and counted.

The code of AtLoc, MapNet and HyperPose gives the images other poses: the interpolation of the data set's
tools adds the first time to the caller's list, so image i has the pose of image i + 1 in the first drive of
a list and of image i + 2 in the second. `shift=published` does the same, for the published numbers; by
default each image has its own pose.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import convolve, map_coordinates
from scipy.spatial.transform import Rotation

from camloc.data.formats.parts.files import (
    csv_records,
    is_file,
    is_folder,
    numbers_in,
    numbers_of_file,
    open_regular,
    read_lines,
)
from camloc.data.formats.parts.posed import Matrix, Posed, between, listed_image, matrix_of, posed_scene
from camloc.data.image_io import read_image
from camloc.data.splits import EVERYTHING, Listed, OwnSplit, Selection, left_out
from camloc.data.types import Scene
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

# Drives for training and for testing.
SPLITS = {
    "loop": (("2014-06-26-09-24-58", "2014-06-26-08-53-56"), ("2014-06-23-15-41-25", "2014-06-23-15-36-04")),
    "full": (("2014-11-28-12-07-13", "2014-12-02-15-30-08"), ("2014-12-09-13-21-02", "2014-12-12-10-45-15")),
}
SCENES = tuple(SPLITS)
LOOKS_FOR = "folders of drives with stereo.timestamps and gps/ins.csv (RobotCar)"

# Northing, easting and down of the world's origin.
ORIGIN = (5_735_000.0, 620_000.0, 0.0)

# The INS body has x forward, y right, z down; a camera has x right, y down, z forward.
_BODY_FROM_CAMERA_AXES = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])

_COLUMNS = ("northing", "easting", "down", "roll", "pitch", "yaw")
_GOOD = "INS_SOLUTION_GOOD"

# Bytes of a table of 1280 x 960 pixels are 20 million.
_LARGEST_TABLE = 2**30


def fits(root: Path) -> bool:
    """Whether `root` holds drives of this layout."""
    return bool(_drives(root))


def load(
    root: Path,
    scene: str = "",
    *,
    train_drives: str = "",
    test_drives: str = "",
    frame: Literal["ins", "camera"] = "ins",
    shift: Literal["none", "published"] = "none",
    images: str = "",
    camera: Camera | None = None,
    most_seconds: float = 0.5,
    selection: Selection = EVERYTHING,
) -> Scene:
    """Read drives.

    Args:
        root: the folder of the drives.
        scene: "loop" or "full" for the published splits, of which all drives must be there; otherwise the
            name to give the scene.
        train_drives, test_drives: names of drives between commas, instead of a published split; without
            either, the drives of a published split that are there, or all drives for training.
        frame: "ins": positions of the INS, whose axes are named as a camera's (right, down, forward);
            "camera": of the stereo camera, by `extrinsics/ins.txt`.
        shift: "published" gives images the poses that the authors' code gives them.
        images: folder of the images in a drive; "stereo/centre_processed" where it is there, or
            "stereo/centre".
        camera: intrinsics of all images; otherwise a calibration file in `root`, or unknown.
        most_seconds: between two INS solutions that a pose is interpolated from.

    Raises:
        DatasetError: a drive is missing, or a file is missing, damaged, or contradicts another.
    """
    train, test = _split(root, scene, train_drives, test_drives)
    mounted = _ins_from_camera(root, frame)
    listed: list[Listed[Posed]] = []
    without_pose: list[Listed[None]] = []
    notes = [
        f"poses are of the {'INS' if frame == 'ins' else 'stereo camera'}, north, east, down from {ORIGIN}"
    ]
    tested: dict[str, str] = {}
    for side in (train, test):
        for number, drive in enumerate(side):
            steps = number + 1 if shift == "published" else 0
            found, left = _of_drive(root, drive, images, mounted, camera, most_seconds, steps)
            listed += found
            without_pose += left
            reason = "no INS solutions are around them"
            notes += [f"{drive}: {note}" for note in left_out(reason, len(left), len(left) + len(found))]
            if side is test:
                tested |= {each.name: each.where for each in found}
    if any("/stereo/centre/" in each.name for each in listed[:1]):
        notes.append("images are raw; `camloc import ROOT NEW --demosaic` writes them in colour")
    if shift == "published":
        notes.append("shift=published: images have the poses of later images, as in the authors' code")
    if not listed:
        raise DatasetError(f"{root}: no image is between two INS solutions")
    kept = selection.present(listed, without_pose={"": without_pose})
    return posed_scene(
        root,
        scene,
        kept,
        (each.content for each in kept.entries),
        selection=selection,
        calibration=root,
        notes=notes,
        own=OwnSplit(None, tested) if tested else None,
    )


def _drives(root: Path) -> tuple[str, ...]:
    if not is_folder(root):
        return ()
    stamps = root.glob("*/stereo.timestamps")
    drives = (path.parent for path in stamps if is_file(path.parent / "gps" / "ins.csv"))
    return tuple(sorted(drive.name for drive in drives))


def _split(root: Path, scene: str, train: str, test: str) -> tuple[Sequence[str], Sequence[str]]:
    there = _drives(root)
    if train or test:
        sides = tuple(tuple(w.strip() for w in text.split(",") if w.strip()) for text in (train, test))
    elif scene in SPLITS:
        sides = SPLITS[scene]
    else:
        parts = [tuple(tuple(d for d in side if d in there) for side in split) for split in SPLITS.values()]
        sides = next((part for part in parts if part[0]), (there, ()))
    for drive in (*sides[0], *sides[1]):
        if drive not in there:
            raise DatasetError(
                f"{root} has no drive {drive} with stereo.timestamps and gps/ins.csv; there are "
                f"{', '.join(there) or 'none'}"
            )
    if not sides[0]:
        raise DatasetError(f"{root}: no drive is for training; name some with --option train_drives=")
    return sides[0], sides[1]


def _ins_from_camera(root: Path, frame: str) -> Matrix:
    axes = matrix_of(_BODY_FROM_CAMERA_AXES, (0.0, 0.0, 0.0))
    if frame == "ins":
        return axes
    path = root / "extrinsics" / "ins.txt"
    *center, roll, pitch, yaw = numbers_of_file(path, "x y z roll pitch yaw")
    # The vehicle's frame is the stereo camera, with x forward; the file says where the INS is in it.
    vehicle_from_ins = matrix_of(Rotation.from_euler("ZYX", [yaw, pitch, roll]).as_matrix(), center)
    return np.asarray(np.linalg.inv(vehicle_from_ins) @ axes)


def _of_drive(
    root: Path,
    drive: str,
    images: str,
    ins_from_camera: Matrix,
    camera: Camera | None,
    most_seconds: float,
    shift: int,
) -> tuple[list[Listed[Posed]], list[Listed[None]]]:
    """The images of a drive with their poses, and those without a pose."""
    folder = root / drive
    if not images:
        images = "stereo/centre_processed"
        images = images if is_folder(folder / images) else "stereo/centre"
    stamps = []
    for line in read_lines(folder / "stereo.timestamps"):
        word = line.text.split()[0]
        if not word.isdecimal() or len(word) > 20:
            raise DatasetError(f"{line.where}: a time in microseconds is needed")
        stamps.append((line.where, int(word)))
    times, matrices = _solutions(folder / "gps" / "ins.csv")
    origin = stamps[0][1] if stamps else 0
    at = np.array([(stamp - origin) * 1e-6 for _, stamp in stamps])
    poses, known = between(np.asarray((times - origin) * 1e-6, np.float64), matrices, at, most=most_seconds)
    listed, left = [], []
    for of, (where, stamp) in enumerate(stamps, start=shift):
        name = f"{drive}/{images}/{stamp}.png"
        if of < len(stamps) and known[of]:
            posed = Posed(poses[of] @ ins_from_camera, camera, stamp * 1e-6, drive)
            listed.append(listed_image(where, name, root, posed))
        else:
            left.append(listed_image(where, name, root, None))
    return listed, left


def _solutions(path: Path) -> tuple[NDArray[np.int64], Matrix]:
    """Times in microseconds and `world_from_ins` of the good solutions, in the order of time."""
    rows: dict[int, list[float]] = {}
    for where, row in csv_records(path, needed=("timestamp", "ins_status", *_COLUMNS)):
        if row["ins_status"] == _GOOD and row["timestamp"].isdecimal():
            rows[int(row["timestamp"])] = numbers_in([row[name] for name in _COLUMNS], where)
    if len(rows) < 2:
        raise DatasetError(f"{path} has {len(rows)} solutions with the status {_GOOD}, and 2 are needed")
    times = np.array(sorted(rows), dtype=np.int64)
    table = np.array([rows[time] for time in times.tolist()])
    if not np.isfinite(table).all():
        raise DatasetError(f"{path} holds NaN or infinity in a solution with the status {_GOOD}")
    matrices = np.tile(np.eye(4), (len(table), 1, 1))
    matrices[:, :3, 3] = table[:, :3] - np.array(ORIGIN)
    matrices[:, :3, :3] = Rotation.from_euler("ZYX", table[:, [5, 4, 3]]).as_matrix()
    return times, matrices


def developer(*, demosaic: bool, table: Path | None) -> Callable[[Path], Image.Image]:
    """Returns a function that converts an image file to a colour image, undistorted if a table is given.

    Args:
        demosaic: whether the files are raw.
        table: of the SDK, `stereo_narrow_left_distortion_lut.bin` for the centre camera: for each pixel,
            first all columns and then all rows of where it is in the distorted image, in double precision.

    Raises:
        DatasetError: the table cannot be read; or, when the function is called, is of another size.
        ImageError: when the function is called: an image cannot be read.
    """
    places = None
    if table is not None:
        with open_regular(table, largest=_LARGEST_TABLE) as file:
            data = file.read()
        if len(data) % 16:
            raise DatasetError(f"{table} is not a table of pairs of numbers in double precision")
        places = np.frombuffer(data, dtype=np.float64).reshape(2, -1)

    def develop(path: Path) -> Image.Image:
        pixels = read_image(path)
        if demosaic:
            pixels = demosaiced(pixels[..., 0])
        if places is not None:
            height, width = pixels.shape[:2]
            if places.shape[1] != height * width:
                raise DatasetError(f"{table} has {places.shape[1]} places, {path} {width} x {height} pixels")
            rows_columns = places[::-1].reshape(2, height, width)
            planes = [map_coordinates(pixels[..., channel], rows_columns, order=1) for channel in range(3)]
            pixels = np.stack(planes, axis=2)
        return Image.fromarray(pixels)

    return develop


def demosaiced(mosaic: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """The colours of a raw image with the mosaic GBRG, by bilinear interpolation."""
    planes = np.zeros((*mosaic.shape, 3), dtype=np.float32)
    weights = np.zeros_like(planes)
    for row, column, channel in ((0, 0, 1), (0, 1, 2), (1, 0, 0), (1, 1, 1)):
        planes[row::2, column::2, channel] = mosaic[row::2, column::2]
        weights[row::2, column::2, channel] = 1.0
    kernel = np.outer((0.5, 1.0, 0.5), (0.5, 1.0, 0.5))[..., None]
    colours = convolve(planes, kernel, mode="constant") / convolve(weights, kernel, mode="constant")
    return np.asarray(np.rint(colours).clip(0, 255), dtype=np.uint8)
