"""Images that a map must not verify: of other scenes, of noise, and its own ones mirrored or inverted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from camloc.core.sampling import even_items
from camloc.data.image_io import assign_camera, read_with_camera
from camloc.data.types import Frame
from camloc.geometry.camera import Camera

NOISE, MIRRORED, INVERTED = "noise", "mirrored", "inverted colours"

# Images of noise, and own images of each kind at most; those of other scenes fill up to the total.
_NOISE, _MOST_OWN = 50, 60


@dataclass(frozen=True, eq=False)
class ForeignImage:
    """An image in memory.

    Attributes:
        kind: of what it shows.
        image: its pixels.
        camera: the camera that a user's image of this size would be assigned to, or None.
    """

    kind: str
    image: UInt8[np.ndarray, "h w 3"]
    camera: Camera | None


def foreign_images(
    own: Sequence[Frame], others: Mapping[str, Sequence[Frame]], cameras: Sequence[Camera], *, total: int
) -> Iterator[ForeignImage]:
    """`total` images: own ones mirrored and with inverted colours, noise, and those of other scenes.

    Args:
        own: test frames of the scene of the map.
        others: frames of other scenes by their name, none of which is seen in the map.
        cameras: of the map.
        total: number of images.
    """
    chosen = even_items(own, _MOST_OWN)
    for frame in chosen:
        pillow, camera = read_with_camera(frame)
        image = np.asarray(pillow)
        yield ForeignImage(MIRRORED, np.ascontiguousarray(image[:, ::-1]), camera)
        yield ForeignImage(INVERTED, 255 - image, camera)
    rng = np.random.default_rng(0)
    size = cameras[0]
    for number in range(_NOISE):
        yield ForeignImage(NOISE, _noise(rng, size.width, size.height, grain=number % 5), size)
    left = total - 2 * len(chosen) - _NOISE
    for name, count in shares({name: len(frames) for name, frames in others.items()}, left).items():
        for frame in even_items(others[name], count):
            pillow, _ = read_with_camera(frame)
            yield ForeignImage(name, np.asarray(pillow), _assigned(frame, cameras))


def shares(available: Mapping[str, int], total: int) -> dict[str, int]:
    """How many of each kind make the total, as equal as what is available allows."""
    counts: dict[str, int] = {}
    left = total
    for number, name in enumerate(sorted(available, key=lambda name: (available[name], name))):
        counts[name] = min(available[name], left // (len(available) - number))
        left -= counts[name]
    return {name: counts[name] for name in available}


def _assigned(frame: Frame, cameras: Sequence[Camera]) -> Camera | None:
    """The camera that `Localizer` would take, at the size of the image."""
    assigned = assign_camera(frame.image, cameras)
    if assigned is None:
        return None
    _, camera = read_with_camera(Frame(frame.name, frame.image, assigned))
    return camera


def _noise(rng: np.random.Generator, width: int, height: int, *, grain: int) -> UInt8[np.ndarray, "h w 3"]:
    """Random pixels, smoothed over `grain` neighbours to each side and stretched to full contrast."""
    pixels = rng.random((height, width, 3))
    for axis in (0, 1):
        pixels = np.sum([np.roll(pixels, step, axis) for step in range(-grain, grain + 1)], axis=0)
    low, high = pixels.min(), pixels.max()
    return np.asarray((pixels - low) / (high - low) * 255, dtype=np.uint8)
