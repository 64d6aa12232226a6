"""One file for each paper's model. The name of the file is the name of the model; there is no registry.

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


# Files shared by the models; every other file in this folder is one paper's model.
SHARED = (
    *("base", "checkpoint", "decoding", "losses", "metadata"),
    *("multi_scene", "novelty", "outlier_filters", "regressor"),
)


def model_names() -> tuple[str, ...]:
    """The names of all models, in alphabetical order."""
    files = (entry.name for entry in pkgutil.iter_modules(__path__) if not entry.ispkg)
    return tuple(sorted(name for name in files if name not in SHARED))


def model_class(name: str) -> "type[PoseModel[Any]]":
    """The network in the file `name`.

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
    """The settings dataclass of the network in the file `name`.

    Raises:
        RecipeError: there is no such file.
    """
    found: type = get_type_hints(model_class(name).__init__)["config"]
    return found


def presets(name: str) -> dict[str, Any]:
    """Named settings of a model: the published ones and others.

    Raises:
        RecipeError: there is no such model.
    """
    found: dict[str, Any] = _module(name).PRESETS
    return found


def build_model(name: str, config: Any) -> "PoseModel[Any]":
    """Build a network with newly initialised weights, drawn from torch's global random state."""
    return model_class(name)(config)


def parameter_count(name: str, config: Any) -> int:
    """Number of learned values of a network, without allocating them: presets have up to 364 million."""
    import torch

    with torch.device("meta"):
        return build_model(name, config).parameter_count()


def _module(name: str) -> ModuleType:
    if name not in model_names():
        raise RecipeError(f"there is no model '{name}'; the models are {', '.join(model_names())}")
    return importlib.import_module(f"{__name__}.{name}")
