"""The z-buffer, and linear forms of the pixel coordinates, evaluated over boxes of pixels."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from market_square.arrays import FloatArray, Vectors

Box = tuple[slice, slice]
"""Rows and columns of a rectangle of the image."""


@runtime_checkable
class Cutouts(Protocol):
    """The holes of textures."""

    @property
    def has_holes(self) -> NDArray[np.bool_]:
        """Whether a texture has holes (n,)."""

    def is_solid(self, texture: int, u: FloatArray, v: FloatArray) -> NDArray[np.bool_]:
        """Whether a texture with holes is solid at u, v (n,)."""


@dataclass(frozen=True, eq=False)
class Visible:
    """The z-buffer.

    `nearness` (h, w) is 1 / z-depth in 1 / metres, `primitive` (h, w) the number of a shape or -1 for none.
    """

    nearness: FloatArray
    primitive: NDArray[np.int32]

    def part(self, box: list[int]) -> tuple[FloatArray, NDArray[np.int32], Box]:
        """Views of both buffers in a box (left, right, top, bottom)."""
        left, right, top, bottom = box
        where = slice(top, bottom), slice(left, right)
        return self.nearness[where], self.primitive[where], where


class LinearForms:
    """Forms a x + b y + c of the pixel (x, y), several for each shape, evaluated over the shape's box.

    Coordinates are counted from the first pixel of the box, so that single precision suffices.
    """

    def __init__(self, coefficients: Vectors, boxes: NDArray[np.intp], visible: Visible) -> None:
        """`coefficients` is (n, forms, 3), `boxes` (n, 4) holds left, right, top, bottom."""
        self.boxes: list[list[int]] = boxes.tolist()
        local = coefficients.copy()
        local[:, :, 2] += np.einsum("nfk,nk->nf", coefficients[:, :, :2], boxes[:, (0, 2)] + 0.5)
        self._forms = local.astype(np.float32)[..., None, None]
        height, width = visible.nearness.shape
        self._columns = np.arange(width, dtype=np.float32)
        self._rows = np.arange(height, dtype=np.float32)[:, None]

    def values(self, index: int) -> FloatArray:
        """The forms (forms, h, w) of one shape over its box."""
        left, right, top, bottom = self.boxes[index]
        form = self._forms[index]
        down = form[:, 1] * self._rows[: bottom - top] + form[:, 2]
        return np.asarray(down + form[:, 0] * self._columns[: right - left])

    @classmethod
    def over_image(cls, coefficients: Vectors, visible: Visible) -> FloatArray:
        """Forms (forms, 3) over the whole image (forms, h, w)."""
        height, width = visible.nearness.shape
        return cls(coefficients[None], np.array([[0, width, 0, height]]), visible).values(0)
