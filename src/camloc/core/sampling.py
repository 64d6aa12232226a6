"""Some of many, evenly spaced."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

T = TypeVar("T")


def even_rows(count: int, most: int) -> Int64[NDArray[np.int64], "n"]:
    """At most `most` of the rows 0 to count - 1: ascending, evenly spaced, with the first and the last."""
    rows: Int64[NDArray[np.int64], n] = np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
    return rows


def even_items(items: Sequence[T], most: int) -> list[T]:
    """At most `most` of the items, evenly spaced, with the first and the last."""
    return [items[row] for row in even_rows(len(items), most).tolist()]
