"""`Array`: a NumPy array or a torch tensor. The geometry is written once for both, with array-api-compat.

Nothing here imports torch. A tensor can only be an argument where torch is loaded already, and
`array_namespace` refuses a mixture of the two kinds.
"""

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array, is_torch_array
from numpy.typing import NDArray

__all__ = [
    "Array",
    "array_namespace",
    "device",
    "is_torch_array",
    "mean_over",
    "sum_over",
    "to_numpy",
    "undefined_is_nan",
]

if TYPE_CHECKING:
    # A union would be of no use: a type checker accepts hardly any operator for both of its members.
    Array: TypeAlias = Any
else:

    class _EitherKind(type):
        """Instances are found by name, without an import of torch."""

        def __instancecheck__(cls, value: object) -> bool:
            return is_numpy_array(value) or is_torch_array(value)

    class Array(metaclass=_EitherKind):
        """A NumPy array or a torch tensor, for annotations: `Float[Array, "n 3"]`."""


# As a decorator: 0 / 0 is NaN for NumPy as it is for torch, without a warning.
undefined_is_nan = np.errstate(divide="ignore", invalid="ignore")


def to_numpy(array: Array) -> NDArray[Any]:
    """The array for NumPy: itself, or the detached content of a tensor in main memory."""
    return np.asarray(array.detach().cpu().numpy() if is_torch_array(array) else array)


def sum_over(array: Array, *, axis: int, keepdims: bool = False) -> Array:
    """The sum along an axis, of which single precision loses no more for NumPy than for torch.

    Along any axis but the last NumPy adds row after row, and the sum of some thousand large numbers in
    single precision is wrong in its fifth digit. So it adds in double precision.
    """
    if is_torch_array(array):
        return array_namespace(array).sum(array, axis=axis, keepdims=keepdims)
    return np.sum(array, axis=axis, keepdims=keepdims, dtype=np.float64).astype(array.dtype)


def mean_over(array: Array, *, axis: int, keepdims: bool = False) -> Array:
    """The mean along an axis, as `sum_over` adds."""
    if is_torch_array(array):
        return array_namespace(array).mean(array, axis=axis, keepdims=keepdims)
    return np.mean(array, axis=axis, keepdims=keepdims, dtype=np.float64).astype(array.dtype)
