"""One paper a file. A file's name is its model's name; nothing is registered.

`model_names()` lists them without importing torch; `model_class("hyperpose")` and
`config_class("hyperpose")` find the network and its settings.
"""

import importlib
import pkgutil
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_type_hints

from camloc.errors import RecipeError

if TYPE_CHECKING:
    from camloc.models.base import PoseModel


# What the papers' files share; every other file in this folder is one paper's network.
SHARED = ("base", "checkpoint", "losses", "multi_scene", "novelty", "outlier_filters", "regressor")


def model_names() -> tuple[str, ...]:
    """The names of all models, in alphabetical order."""
    files = (entry.name for entry in pkgutil.iter_modules(__path__) if not entry.ispkg)
    return tuple(sorted(name for name in files if name not in SHARED))


def model_class(name: str) -> "type[PoseModel[Any]]":
    """The network that the file `name` holds.

    Raises:
        RecipeError: there is no such file.
    """
    from camloc.models.base import PoseModel

    module = _module(name)
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, PoseModel) and value.__module__ == module.__name__
    )
    return found


def config_class(name: str) -> type:
    """The settings of the network that the file `name` holds.

    Raises:
        RecipeError: there is no such file.
    """
    found: type = get_type_hints(model_class(name).__init__)["config"]
    return found


def presets(name: str) -> dict[str, Any]:
    """Named settings of a model, as published or otherwise of use.

    Raises:
        RecipeError: there is no such model.
    """
    found: dict[str, Any] = _module(name).PRESETS
    return found


def build_model(name: str, config: Any) -> "PoseModel[Any]":
    """A network with fresh weights (from torch's own random state)."""
    return model_class(name)(config)


def parameter_count(name: str, config: Any) -> int:
    """Number of learned values of a network, without making it: some presets have hundreds of millions."""
    import torch

    with torch.device("meta"):
        return build_model(name, config).parameter_count()


def _module(name: str) -> ModuleType:
    if name not in model_names():
        raise RecipeError(f"there is no model '{name}'; the models are {', '.join(model_names())}")
    return importlib.import_module(f"{__name__}.{name}")
