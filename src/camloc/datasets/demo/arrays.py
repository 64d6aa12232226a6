"""The arrays that pictures are computed with: single precision per pixel, double precision per shape."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float32]
Vectors = NDArray[np.float64]


def single(values: ArrayLike) -> FloatArray:
    """Values in single precision."""
    return np.asarray(values, np.float32)
