"""Some of many, evenly spaced."""

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray


def even_rows(count: int, most: int) -> Int64[NDArray[np.int64], "n"]:
    """At most `most` of the rows 0 to count - 1: ascending, evenly spaced, with the first and the last."""
    rows: Int64[NDArray[np.int64], n] = np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
    return rows
