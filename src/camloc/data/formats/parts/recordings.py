"""Recordings of RGB-D cameras.

frame-000000.color.png    or .jpg
frame-000000.pose.txt     4x4 matrix
frame-000000.depth.png    optional
"""

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from camloc.data.formats.parts.files import numbers_in, read_lines
from camloc.errors import DatasetError

POSE = ".pose.txt"

_COLOUR = re.compile(r"(frame-\d+)\.color\.(?:png|jpe?g|bmp|webp|tiff?|ppm)", re.IGNORECASE)


@dataclass(frozen=True)
class Recorded:
    """One moment of a recording.

    Attributes:
        number: of the frame, as its name says.
        image: the image, which may be missing.
        pose: the file of its matrix.
        depth: the depth map, or None.
    """

    number: int
    image: Path
    pose: Path
    depth: Path | None


def recorded(folder: Path) -> list[Recorded]:
    """The moments in a folder that have a pose, in the order of their numbers.

    Raises:
        DatasetError: an image has no pose, or the folder cannot be read.
    """
    try:
        names = {path.name for path in folder.iterdir()}
    except OSError as problem:
        raise DatasetError(f"{folder} cannot be read: {problem.strerror}") from None
    images: dict[str, str] = {}
    for name in sorted(names):
        if (match := _COLOUR.fullmatch(name)) is None:
            continue
        if images.setdefault(match[1], name) != name:
            raise DatasetError(
                f"{folder / name} and {images[match[1]]} are of the same frame; remove one of them"
            )
    for stem, found in images.items():
        if f"{stem}{POSE}" not in names:
            raise DatasetError(
                f"{folder / found} has no {stem}{POSE} beside it; add the pose, or remove the image"
            )
    # A missing image has the ending of the others.
    ending = next((name.partition(".color.")[2] for name in images.values()), "png")
    moments = []
    for stem in sorted(name.removesuffix(POSE) for name in names if name.endswith(POSE)):
        depth = f"{stem}.depth.png"
        moments.append(
            Recorded(
                number=int(re.sub(r"\D", "", stem)[:18] or 0),
                image=folder / images.get(stem, f"{stem}.color.{ending}"),
                pose=folder / f"{stem}{POSE}",
                depth=folder / depth if depth in names else None,
            )
        )
    return moments


def matrix_in(path: Path) -> list[float]:
    """The 16 numbers of a file with a 4x4 matrix, row by row.

    Raises:
        DatasetError: they are not 4 rows of 4 numbers.
    """
    rows = []
    for line in read_lines(path):
        rows.append(numbers_in(line.text.split(), line.where))
        if len(rows[-1]) != 4:
            raise DatasetError(f"{line.where}: the matrix has {len(rows[-1])} numbers here, and 4 are needed")
        if len(rows) > 4:
            break
    if len(rows) != 4:
        raise DatasetError(f"{path} holds {len(rows)} rows of numbers, and the 4 of a matrix are needed")
    return [number for row in rows for number in row]


def is_lost(path: Path) -> bool:
    """Whether tracking was lost: the whole pose is infinite or NaN, in any words ("-1.#INF")."""
    words = [word.upper() for line in islice(read_lines(path), 3) for word in line.text.split()]
    return bool(words) and all("INF" in word or "NAN" in word or "#IND" in word for word in words)
