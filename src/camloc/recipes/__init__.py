"""Recipes: functions that return the settings of one row of a table, one file a paper, found by their names.

The name of a recipe is `<file>/<function>` with hyphens for underscores, such as `room/scene-geometry`. A
function is a recipe when it is public, takes no argument, and its annotation says that it returns a `Recipe`
(trained by `camloc train`) or a `StudentRecipe` (trained beside a finished run by `camloc autoencode`).
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, TypeVar

from camloc.errors import UsageError
from camloc.refinement.recipe import StudentRecipe
from camloc.training.recipe import Recipe

Kind = TypeVar("Kind")


def recipe_functions() -> dict[str, Callable[[], Recipe]]:
    """All recipes of runs by name, in the order of the files."""
    return _functions_returning(Recipe)


def student_functions() -> dict[str, Callable[[], StudentRecipe]]:
    """All recipes of pose auto-encoders by name, in the order of the files."""
    return _functions_returning(StudentRecipe)


def find_recipe(name: str) -> Recipe:
    """The recipe of a run with this name.

    Raises:
        UsageError: no recipe has the name.
    """
    return _call(recipe_functions(), name)


def find_student(name: str) -> StudentRecipe:
    """The recipe of a pose auto-encoder with this name.

    Raises:
        UsageError: no recipe has the name.
    """
    return _call(student_functions(), name)


def summary(function: Callable[[], Any]) -> str:
    """The first line of a recipe's docstring."""
    return (inspect.getdoc(function) or "").split("\n")[0]


def file_summary(function: Callable[[], Any]) -> str:
    """The first line of the docstring of the file that a recipe is in."""
    return (inspect.getdoc(importlib.import_module(function.__module__)) or "").split("\n")[0]


def _functions_returning(kind: type[Kind]) -> dict[str, Callable[[], Kind]]:
    found: dict[str, Callable[[], Kind]] = {}
    for entry in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{entry.name}")
        for name, function in vars(module).items():
            is_own = inspect.isfunction(function) and function.__module__ == module.__name__
            if is_own and not name.startswith("_") and function.__annotations__ == {"return": kind}:
                found[f"{entry.name}/{name.replace('_', '-')}"] = function
    return found


def _call(functions: dict[str, Callable[[], Kind]], name: str) -> Kind:
    if name not in functions:
        near = get_close_matches(name, functions, n=4, cutoff=0.3) or list(functions)[:4]
        raise UsageError(f"there is no recipe '{name}'; did you mean {' or '.join(near)}?")
    return functions[name]()
