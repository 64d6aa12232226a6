"""timm, imported without torch's compiler, which takes half of the import's time and is not used.

timm imports torchvision, and torchvision imports `torch._dynamo` for one function, which a single operation
of its detectors calls: here that function imports the compiler when it is called. Some of timm's functions
say that the compiler is to leave them alone: here they say nothing, since camloc compiles nothing.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo"


def _is_compile_supported(device_type: str) -> bool:
    """torch's function of this name."""
    from torch._dynamo.utils import is_compile_supported

    return bool(is_compile_supported(device_type))


def _unchanged(function: Any = None, *_: object, **__: object) -> Any:
    """Stands for the decorator `disable`, with and without arguments."""
    return function if callable(function) else _unchanged


@contextmanager
def _compiler_on_demand() -> Iterator[None]:
    """Inside the block torchvision and timm find these functions, and nothing else of the compiler."""
    if _COMPILER in sys.modules or "torchvision" in sys.modules:
        yield
        return
    package, utils = ModuleType(_COMPILER), ModuleType(f"{_COMPILER}.utils")
    package.__path__ = []
    package.disable = _unchanged  # type: ignore[attr-defined]
    utils.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
    modules = {_COMPILER: package, f"{_COMPILER}.utils": utils}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in modules.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


with _compiler_on_demand():
    import timm
    from timm.layers.drop import DropPath

__all__ = ["DropPath", "timm"]
