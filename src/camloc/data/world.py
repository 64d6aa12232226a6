"""The unit of a scene's world, the source of its scale, and its position on the earth.

`world.json` beside a model holds it. Without the file a reconstruction from images has no scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from camloc.core.config import from_json, to_json
from camloc.core.files import read_regular, write_atomically
from camloc.data.photos import Place
from camloc.data.types import Unit
from camloc.errors import DatasetError, RecipeError
from camloc.geometry.alignment import Similarity, umeyama

WORLD_FILE = "world.json"

# GPS positions that a world is aligned to, at least, and how many times wider than their own deviation they
# must lie, along their two longest directions, for a scale and for axes.
_FEWEST_PLACES = 5
_WIDER_THAN_ERROR = 5.0

# Positions farther from their aligned cameras than this multiple of the median are left out, round by round.
_OUTLIER, _ROUNDS = 3.0, 5


@dataclass(frozen=True)
class Origin:
    """The place of a world's origin: degrees of WGS84 and metres as GPS gave them.

    `height` is 0 where GPS gave none; heights are then above the mean of the cameras.
    """

    latitude: float
    longitude: float
    height: float = 0.0
    has_height: bool = True


@dataclass(frozen=True)
class World:
    """The unit and the place of a scene's world.

    Attributes:
        unit: of positions.
        scale_from: "known distance", "GPS", or "" without a scale.
        anchor: where the origin is; the axes are then east, north and up. None where that is unknown.
        residual: median distance in metres of GPS positions from their cameras, or 0.
    """

    unit: Unit = "units"
    scale_from: str = ""
    anchor: Origin | None = None
    residual: float = 0.0

    def geodetic(self, positions: Float64[NDArray[np.float64], "n 3"]) -> Float64[NDArray[np.float64], "n 3"]:
        """Latitude and longitude in degrees and height in metres of positions in the world.

        Raises:
            DatasetError: the world has no anchor.
        """
        if self.anchor is None:
            raise DatasetError("this scene has no place on Earth: its photographs had too few GPS positions")
        from camloc.geometry.colmap import pycolmap  # here because loading it takes a while

        anchor = self.anchor
        return np.asarray(
            pycolmap.GPSTransform().enu_to_ellipsoid(
                positions, anchor.latitude, anchor.longitude, anchor.height
            )
        )

    def save(self, folder: Path) -> None:
        """Write `world.json`."""
        write_atomically(folder / WORLD_FILE, to_json(self))


def read_world(folder: Path) -> World:
    """The `world.json` of a scene's folder, or a world without scale.

    Raises:
        DatasetError: the file is damaged.
    """
    path = folder / WORLD_FILE
    try:
        return from_json(read_regular(path), World)
    except FileNotFoundError:
        return World()
    except (OSError, RecipeError) as problem:
        raise DatasetError(
            f"{path} cannot be read: {problem}; remove it, or compute the poses again"
        ) from None


@dataclass(frozen=True, eq=False)
class Georeference:
    """The similarity from a world without scale to metres east, north and up of an anchor.

    Attributes:
        new_from_old: the similarity.
        world: unit and position of the new world.
        used: positions that agree.
    """

    new_from_old: Similarity
    world: World
    used: int


def georeference(
    centers: Float64[NDArray[np.float64], "n 3"], places: Sequence[Place | None]
) -> Georeference | str:
    """Align camera centres with their GPS positions, or say why that is not possible.

    The centres are in a world without scale; cameras may have no position. Positions that do not agree with
    the others are left out.
    """
    known = {row: place for row, place in enumerate(places) if place is not None}
    if len(known) < _FEWEST_PLACES:
        found = f"only {len(known)}" if known else "none"
        return f"{found} of {len(places)} images have a GPS position, and {_FEWEST_PLACES} are needed"
    anchor = _middle([*known.values()])
    target = _east_north_up([*known.values()], anchor)
    source = centers[[*known]]
    kept = np.ones(len(known), dtype=bool)
    for _ in range(_ROUNDS):
        aligned = umeyama(source[kept], target[kept])
        distance = np.linalg.norm(aligned.apply(source) - target, axis=1)
        median = float(np.median(distance[kept]))
        kept = distance <= max(_OUTLIER * median, 1e-6)
    if kept.sum() < max(_FEWEST_PLACES, len(known) / 2):
        return f"the GPS positions of {len(known)} images contradict the path of the camera"
    middle = target[kept] - target[kept].mean(axis=0)
    extent = np.linalg.svd(middle, compute_uv=False) / np.sqrt(len(middle))
    if extent[0] < _WIDER_THAN_ERROR * median:
        return (
            f"the GPS positions lie within {extent[0]:.1f} m and are {median:.1f} m off: too near for a scale"
        )
    if extent[1] < _WIDER_THAN_ERROR * median:
        return "the GPS positions lie on one line, from which it does not follow which way is up"
    return Georeference(aligned, World("m", "GPS", anchor, median), int(kept.sum()))


def _middle(places: Sequence[Place]) -> Origin:
    has_height = all(place.height is not None for place in places)
    heights = [place.height or 0.0 for place in places] if has_height else [0.0]
    return Origin(
        float(np.median([place.latitude for place in places])),
        float(np.median([place.longitude for place in places])),
        float(np.median(heights)),
        has_height,
    )


def _east_north_up(places: Sequence[Place], anchor: Origin) -> Float64[NDArray[np.float64], "n 3"]:
    from camloc.geometry.colmap import pycolmap

    rows = [
        (place.latitude, place.longitude, (place.height or 0.0) if anchor.has_height else anchor.height)
        for place in places
    ]
    return np.asarray(
        pycolmap.GPSTransform().ellipsoid_to_enu(
            np.array(rows), anchor.latitude, anchor.longitude, anchor.height
        )
    )
