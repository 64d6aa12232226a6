"""`Array`: a NumPy array or a torch tensor. The geometry is written once for both, with array-api-compat.

This module does not import torch: whoever passes a tensor has imported torch already. `array_namespace`
refuses a mixture of the two kinds.
"""

from typing import TYPE_CHECKING, Any, TypeAlias

import array_api_compat
import numpy as np
from array_api_compat import device, is_numpy_array, is_torch_array
from numpy.typing import NDArray

__all__ = [
    "Array",
    "array_namespace",
    "device",
    "is_torch_array",
    "mean_over",
    "sum_of_rows",
    "to_numpy",
    "undefined_is_nan",
]

if TYPE_CHECKING:
    # A union would be of no use: a type checker accepts hardly any operator for both of its members.
    Array: TypeAlias = Any
else:

    class _EitherKind(type):
        """Recognises instances by name, without an import of torch."""

        def __instancecheck__(cls, value: object) -> bool:
            return is_numpy_array(value) or is_torch_array(value)

    class Array(metaclass=_EitherKind):
        """A NumPy array or a torch tensor, for annotations: `Float[Array, "n 3"]`."""


def array_namespace(*arrays: Array) -> Any:
    """The functions of the array standard for arrays of one kind.

    For NumPy arrays this is NumPy itself, which has them since 2.1: array-api-compat's copy of it imports all
    of NumPy, which takes a fifth of the time that `camloc locate` needs to start.

    Raises:
        TypeError: the arrays are of both kinds.
    """
    if all(map(is_numpy_array, arrays)):
        return np
    return array_api_compat.array_namespace(*arrays)


# As a decorator: 0 / 0 is NaN for NumPy as it is for torch, without a warning.
undefined_is_nan = np.errstate(divide="ignore", invalid="ignore")


def to_numpy(array: Array) -> NDArray[Any]:
    """The array as a NumPy array; a tensor is detached and copied to main memory if necessary."""
    return np.asarray(array.detach().cpu().numpy() if is_torch_array(array) else array)


def sum_of_rows(array: Array) -> Array:
    """The sum along the second-last axis, which is kept, as accurate for NumPy as for torch.

    Along any axis but the last, NumPy adds row after row, so that a sum of some thousand large numbers in
    single precision is wrong in its fifth digit. NumPy arrays are therefore added in double precision.
    """
    if is_torch_array(array):
        return array_namespace(array).sum(array, axis=-2, keepdims=True)
    return np.sum(array, axis=-2, keepdims=True, dtype=np.float64).astype(array.dtype)


def mean_over(array: Array, *, axis: int, keepdims: bool = False) -> Array:
    """The mean along an axis, with the accuracy of `sum_of_rows`."""
    if is_torch_array(array):
        return array_namespace(array).mean(array, axis=axis, keepdims=keepdims)
    return np.mean(array, axis=axis, keepdims=keepdims, dtype=np.float64).astype(array.dtype)
