"""Recordings of RGB-D cameras.

frame-000000.color.png    or .jpg
frame-000000.pose.txt     4x4 matrix
frame-000000.depth.png    optional
"""

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from camloc.data.formats.parts.files import numbers_in, read_lines
from camloc.data.splits import Listed
from camloc.errors import DatasetError

Matrix = NDArray[np.float64]

POSE = ".pose.txt"

_COLOUR = re.compile(r"(frame-\d+)\.color\.(?:png|jpe?g|bmp|webp|tiff?|ppm)", re.IGNORECASE)


@dataclass(frozen=True)
class Recorded:
    """One moment of a recording.

    Attributes:
        number: of the frame, as its name says.
        pose: the file of its matrix.
        depth: the depth map, or None.
    """

    number: int
    pose: Path
    depth: Path | None

    def matrix(self) -> Matrix | None:
        """The 4x4 matrix `world_from_cam`, or None where tracking was lost."""
        return None if is_lost(self.pose) else matrix_in(self.pose)


def listed_moments(root: Path, name: str) -> list[Listed[Recorded]]:
    """The moments in a folder of a scene that have a pose, in the order of their numbers.

    Raises:
        DatasetError: an image has no pose, or the folder cannot be read.
    """
    folder = root / name
    try:
        names = {path.name for path in folder.iterdir()}
    except OSError as problem:
        raise DatasetError(f"{folder} cannot be read: {problem.strerror or problem}") from None
    images: dict[str, str] = {}
    for file in sorted(names):
        match = _COLOUR.fullmatch(file)
        if match is not None and images.setdefault(match[1], file) != file:
            raise DatasetError(f"{folder / file} and {images[match[1]]} are of the same frame; remove one")
    for stem, found in images.items():
        if f"{stem}{POSE}" not in names:
            raise DatasetError(f"{folder / found} has no {stem}{POSE} beside it; add it, or remove the image")
    # A missing image has the ending of the others.
    ending = next((file.partition(".color.")[2] for file in images.values()), "png")
    listed = []
    for stem in sorted(file.removesuffix(POSE) for file in names if file.endswith(POSE)):
        image = images.get(stem, f"{stem}.color.{ending}")
        pose, depth = folder / f"{stem}{POSE}", f"{stem}.depth.png"
        number = int(re.sub(r"\D", "", stem)[:18] or 0)
        moment = Recorded(number, pose, folder / depth if depth in names else None)
        listed.append(Listed(str(pose), f"{name}/{image}", folder / image, moment, root))
    return listed


def matrix_in(path: Path) -> Matrix:
    """The 4x4 matrix in a file.

    Raises:
        DatasetError: the file does not hold 4 rows of 4 numbers.
    """
    lines = islice(read_lines(path), 5)
    rows = [numbers_in(line.text.split(), line.where, count=4, of="a row of the matrix") for line in lines]
    if len(rows) != 4:
        raise DatasetError(f"{path} holds {len(rows)} rows of numbers, and the 4 of a matrix are needed")
    return np.array(rows)


def is_lost(path: Path) -> bool:
    """Whether tracking was lost: the whole pose is infinite or NaN, in any words ("-1.#INF")."""
    words = [word.upper() for line in islice(read_lines(path), 3) for word in line.text.split()]
    return bool(words) and all("INF" in word or "NAN" in word or "#IND" in word for word in words)
