"""`camloc recipes`: what can be trained."""

import json as json_module
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from camloc.recipes.base import RecipeFunction


def recipes(
    word: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="[WORD]", help_behavior_hint="")]] = "",
    *,
    json: bool = False,
) -> None:
    """List the recipes, each file of them under its heading.

    Args:
        word: Show those that have it in their name, their description or their file's heading, with what
            the same settings reached in their papers.
        json: Print them as JSON, whole.
    """
    from camloc.apps.listing import show_groups
    from camloc.core.config import to_builtins
    from camloc.recipes.base import file_summary, recipe_functions, summary

    functions = _named(recipe_functions(), word)
    if json:
        rows = {
            name: {"summary": summary(function), **to_builtins(function())}
            for name, function in functions.items()
        }
        print(json_module.dumps(rows, indent=2))
        return
    files = [list(names) for _, names in groupby(functions, key=lambda name: name.split("/")[0])]
    show_groups(
        (file_summary(functions[names[0]]), {name: _told(functions[name], full=bool(word)) for name in names})
        for names in files
    )
    hint = "camloc train NAME --data FOLDER" if word else "camloc recipes WORD shows some with their numbers"
    print(f"{len(functions)} recipes; {hint}")


def _named(functions: "dict[str, RecipeFunction]", word: str) -> "dict[str, RecipeFunction]":
    """Those that a word is about.

    Raises:
        RecipeError: there are none.
    """
    from camloc.errors import RecipeError
    from camloc.recipes.base import file_summary, summary

    found = {
        name: function
        for name, function in functions.items()
        if word.lower() in f"{name}\n{summary(function)}\n{file_summary(function)}".lower()
    }
    if not found:
        raise RecipeError(
            f"no recipe has '{word}' in its name or description; `camloc recipes` lists them all"
        )
    return found


def _told(function: "RecipeFunction", *, full: bool) -> list[str]:
    """What a recipe trains and, where it is to be told in full, what the same settings reached."""
    from camloc.recipes.base import summary

    published = function().published if full else ()
    numbers = ", ".join(
        f"{each.scene} {'' if each.meters is None else f'{each.meters:g} m '}{each.degrees:g}°"
        for each in published
    )
    return [summary(function), *([f"published: {numbers}"] if numbers else [])]
