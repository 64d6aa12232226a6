"""The two kinds of arrays that the geometry takes, and what one kind answers compared with the other."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from camloc.geometry import Pose

KINDS = ("numpy", "torch")
each_kind = pytest.mark.parametrize("kind", KINDS)


def of_kind(kind: str, value: Any) -> Any:
    """A tensor, an array, a pose, or a tuple of these with arrays of one kind; anything else is itself."""
    match value:
        case Pose():
            return value.numpy() if kind == "numpy" else value.tensor()
        case torch.Tensor():
            return value.numpy() if kind == "numpy" else value
        case np.ndarray() | np.generic():
            return value if kind == "numpy" else torch.from_numpy(np.array(value))
        case tuple():
            return tuple(of_kind(kind, item) for item in value)
    return value


def kind_of(value: Any) -> set[str]:
    """The kinds of the arrays that a result is made of."""
    match value:
        case Pose():
            return kind_of((value.rotation, value.translation))
        case torch.Tensor():
            return {"torch"}
        case np.ndarray() | np.generic():
            return {"numpy"}
        case tuple():
            return set().union(*(kind_of(item) for item in value))
    return set()


def assert_alike(first: Any, second: Any, *, atol: float) -> None:
    """Two results of one kind have the same shapes, the same precision and nearly the same numbers."""
    assert kind_of(first) == kind_of(second)
    for one, other in zip(_tensors(first), _tensors(second), strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=atol, equal_nan=True)


def on_both_kinds(function: Callable[..., Any], *, atol: float = 1e-12) -> Callable[..., Any]:
    """The function for tensors, which is called with NumPy arrays too and must say the same with both."""

    def both(*arguments: Any, **options: Any) -> Any:
        result = function(*of_kind("torch", arguments), **options)
        plain = function(*of_kind("numpy", arguments), **options)
        assert kind_of(result) == {"torch"}
        assert kind_of(plain) == {"numpy"}
        assert_alike(of_kind("torch", plain), result, atol=atol)
        return result

    return both


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, Pose):
        return _tensors((value.rotation, value.translation))
    if isinstance(value, tuple):
        return [tensor for item in value for tensor in _tensors(item)]
    return [value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value))]
