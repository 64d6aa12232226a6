"""`camloc recipes`: list the training recipes of models and of auxiliary networks."""

import json as json_module
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from camloc.refinement.recipe import StudentRecipe
    from camloc.training.recipe import Recipe

# Recipes of either kind, by name.
Functions = Mapping[str, "Callable[[], Recipe | StudentRecipe]"]

_TRAIN = "camloc train NAME --data FOLDER"
_AUXILIARY = "camloc autoencode RUN --recipe NAME"


def recipes(
    word: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="[WORD]", help_behavior_hint="")]] = "",
    *,
    json: bool = False,
) -> None:
    """List the recipes, grouped by their files; those of camloc autoencode come last.

    Args:
        word: Only list recipes with this word in their name, description or heading, with the numbers that
            their papers report.
        json: Print all settings as JSON.
    """
    from camloc.cli.progress import show_groups
    from camloc.errors import RecipeError
    from camloc.recipes import recipe_functions, student_functions

    trained, auxiliary = _about(recipe_functions(), word), _about(student_functions(), word)
    if not (trained or auxiliary):
        raise RecipeError(
            f"no recipe has '{word}' in its name or description; `camloc recipes` lists them all"
        )
    if json:
        print(json_module.dumps(_whole(trained, "train") | _whole(auxiliary, "autoencode"), indent=2))
        return
    show_groups(
        (
            heading,
            {name: _description(name, function, full=bool(word)) for name, function in functions.items()},
        )
        for heading, functions in _groups(trained, auxiliary)
    )
    hint = (
        (_TRAIN if trained else _AUXILIARY) if word else "camloc recipes WORD shows some with their numbers"
    )
    print(f"{len(trained) + len(auxiliary)} recipes; {hint}")


def _about(functions: Functions, word: str) -> Functions:
    """The recipes whose name, summary or heading contains a word."""
    from camloc.recipes import file_summary, summary

    return {
        name: function
        for name, function in functions.items()
        if word.lower() in f"{name}\n{summary(function)}\n{file_summary(function)}".lower()
    }


def _whole(functions: Functions, command: str) -> dict[str, dict[str, Any]]:
    """All settings of recipes as plain values, and the command that trains them."""
    from camloc.core.config import to_builtins
    from camloc.evaluation.published import published_of
    from camloc.recipes import summary

    return {
        name: {
            "summary": summary(function),
            "command": command,
            **to_builtins(function()),
            "published": to_builtins(published_of(name)),
        }
        for name, function in functions.items()
    }


def _groups(trained: Functions, auxiliary: Functions) -> Iterator[tuple[str, Functions]]:
    """The recipes of models, file by file, then those of auxiliary networks, each group with its heading."""
    from camloc.recipes import file_summary

    for _, file in groupby(trained, key=lambda name: name.split("/")[0]):
        names = list(file)
        yield file_summary(trained[names[0]]), {name: trained[name] for name in names}
    if auxiliary:
        yield f"Auxiliary networks of a finished run: {_AUXILIARY}", auxiliary


def _description(name: str, function: "Callable[[], Recipe | StudentRecipe]", *, full: bool) -> list[str]:
    """A recipe's summary and, if `full`, the numbers that its paper reports."""
    from camloc.evaluation.published import published_of
    from camloc.recipes import summary

    numbers = ", ".join(f"{each.scene} {each.numbers}" for each in published_of(name)) if full else ""
    return [summary(function), *([f"published: {numbers}"] if numbers else [])]
