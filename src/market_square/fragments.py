"""Anti-aliasing: the samples of a pixel that hit the same shape are shaded once, as one fragment."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from market_square.arrays import FloatArray
from market_square.raster import Visible

Scalar = TypeVar("Scalar", bound=np.generic)

SAMPLES_PER_SIDE = 2
"""A pixel has SAMPLES_PER_SIDE x SAMPLES_PER_SIDE samples."""


@dataclass(frozen=True, eq=False)
class Fragments:
    """Parts of pixels that show one shape each; all arrays (n,).

    `pixel` is the row-major number of the pixel, `primitive` the number of the shape or -1, `x` and `y` the
    mean position of the samples in pixels, `share` the covered part of the pixel. Nearness is linear on a
    plane, so the mean nearness of the samples is the nearness at their mean position.
    """

    pixel: NDArray[np.intp]
    primitive: NDArray[np.int32]
    x: FloatArray
    y: FloatArray
    nearness: FloatArray
    share: FloatArray

    def select(self, which: NDArray[np.bool_]) -> "Fragments":
        """The fragments where `which` (n,) is true."""
        return Fragments(
            self.pixel[which],
            self.primitive[which],
            self.x[which],
            self.y[which],
            self.nearness[which],
            self.share[which],
        )


def gather_fragments(visible: Visible) -> Fragments:
    """Fragments of an image from samples (h * SAMPLES_PER_SIDE, w * SAMPLES_PER_SIDE)."""
    primitive, nearness = _samples_by_pixel(visible.primitive), _samples_by_pixel(visible.nearness)
    count = len(primitive)
    columns = visible.primitive.shape[1] // SAMPLES_PER_SIDE
    parts = []
    for sample in range(count):
        is_same = primitive == primitive[sample]
        is_first = ~is_same[:sample].any(axis=0)
        pixel = np.flatnonzero(is_first)
        same = is_same[:, pixel].astype(np.float32)
        samples = same.sum(axis=0)
        middles = [np.einsum("sn,s->n", same, offset) / samples for offset in _offsets()]
        parts.append(
            Fragments(
                pixel=pixel,
                primitive=primitive[sample, pixel],
                x=(pixel % columns).astype(np.float32) + middles[0],
                y=(pixel // columns).astype(np.float32) + middles[1],
                nearness=(same * nearness[:, pixel]).sum(axis=0) / samples,
                share=samples / np.float32(count),
            )
        )
    names = ("pixel", "primitive", "x", "y", "nearness", "share")
    return Fragments(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def blend(fragments: Fragments, colors: FloatArray, *, pixels: int) -> FloatArray:
    """Colours (pixels, 3): the mean of the fragments' colours (n, 3), weighted by their covered part."""
    weighted = colors * fragments.share[:, None]
    channels = [np.bincount(fragments.pixel, weighted[:, channel], minlength=pixels) for channel in range(3)]
    return np.stack(channels, axis=1).astype(np.float32)


def of_main_fragment(fragments: Fragments, values: NDArray[Scalar], *, pixels: int) -> NDArray[Scalar]:
    """For each pixel (pixels,), the value of the fragment that covers most of it; the nearest of equals."""
    order = np.lexsort((fragments.nearness, fragments.share))
    result = np.zeros(pixels, values.dtype)
    # NumPy keeps the last of several values that are assigned to one element.
    result[fragments.pixel[order]] = values[order]
    return result


def _samples_by_pixel(samples: NDArray[Scalar]) -> NDArray[Scalar]:
    side = SAMPLES_PER_SIDE
    height, width = samples.shape[0] // side, samples.shape[1] // side
    blocks = samples.reshape(height, side, width, side).transpose(1, 3, 0, 2)
    return np.ascontiguousarray(blocks).reshape(side * side, height * width)


def _offsets() -> tuple[FloatArray, FloatArray]:
    centers = (np.arange(SAMPLES_PER_SIDE, dtype=np.float32) + np.float32(0.5)) / np.float32(SAMPLES_PER_SIDE)
    return np.tile(centers, SAMPLES_PER_SIDE), np.repeat(centers, SAMPLES_PER_SIDE)
