"""Array types of the renderer: single precision for pixels, double precision for shapes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Vectors = NDArray[np.float64]
Numbers = Sequence[float] | NDArray[np.float64]


def single(values: NDArray[Any] | Sequence[float]) -> FloatArray:
    """Values in single precision."""
    return np.asarray(values, np.float32)
