"""Recordings of RGB-D cameras: `frame-000000.color.png`, `.pose.txt` with a 4x4 matrix, and `.depth.png`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from camloc.data.formats.parts.files import existing_image, numbers_in, read_lines
from camloc.errors import DatasetError

POSE = ".pose.txt"

_COLOUR = re.compile(r"(frame-\d+)\.color\.(?:png|jpe?g)", re.IGNORECASE)


@dataclass(frozen=True)
class Recorded:
    """One moment of a recording.

    Attributes:
        number: of the frame, as its name says.
        image: the image, named `image_name`.
        pose: the file of its matrix.
        depth: the depth map, or None where there is none.
    """

    number: int
    image: Path
    pose: Path
    depth: Path | None

    @property
    def image_name(self) -> str:
        """The image's name in its folder."""
        return self.image.name


def recorded(folder: Path) -> Iterator[Recorded]:
    """What a folder holds, in the order of the frames.

    Raises:
        DatasetError: an image has no pose, or a pose has no image.
    """
    names = {path.name for path in folder.iterdir()}
    images = {match[1]: name for name in sorted(names) if (match := _COLOUR.fullmatch(name))}
    for stem, found in images.items():
        if f"{stem}{POSE}" not in names:
            raise DatasetError(f"{folder / found} has no {stem}{POSE} beside it")
    for stem in sorted(name.removesuffix(POSE) for name in names if name.endswith(POSE)):
        pose = folder / f"{stem}{POSE}"
        image = existing_image(folder / images.get(stem, f"{stem}.color.png"), str(pose))
        depth = image.with_name(f"{stem}.depth.png") if f"{stem}.depth.png" in names else None
        yield Recorded(int(re.sub(r"\D", "", stem) or 0), image, pose, depth)


def matrix_in(path: Path) -> list[float]:
    """The 16 numbers of a file with a matrix, row by row.

    Raises:
        DatasetError: they are not 4 rows of 4 numbers.
    """
    rows = []
    for line in read_lines(path):
        rows.append(numbers_in(line.text.split(), line.where))
        if len(rows[-1]) != 4:
            raise DatasetError(f"{line.where}: the matrix has {len(rows[-1])} numbers here, and 4 are needed")
    if len(rows) != 4:
        raise DatasetError(f"{path} holds {len(rows)} rows of numbers, and the 4 of a matrix are needed")
    return [number for row in rows for number in row]
