"""Draws true images above decoded ones, as one PNG (Fig. 6 of "Camera Pose Auto-Encoders")."""

from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from camloc.geometry.arrays import Array, to_numpy

_SCALE = 3
_GAP = 6


def side_by_side(true: UInt8[Array, "n 3 h w"], decoded: UInt8[Array, "n 3 h w"]) -> bytes:
    """A PNG with one column for each image: the true one above, the decoded one below."""
    count, _, height, width = true.shape
    rows, columns = height * _SCALE, width * _SCALE
    shape = (2 * rows + 3 * _GAP, count * columns + (count + 1) * _GAP, 3)
    sheet = np.full(shape, 255, np.uint8)
    for column, pair in enumerate(zip(true, decoded, strict=True)):
        for row, image in enumerate(pair):
            shown = to_numpy(image).transpose(1, 2, 0).repeat(_SCALE, 0).repeat(_SCALE, 1)
            top, left = _GAP + row * (rows + _GAP), _GAP + column * (columns + _GAP)
            sheet[top : top + rows, left : left + columns] = shown
    data = BytesIO()
    Image.fromarray(sheet).save(data, format="PNG")
    return data.getvalue()
