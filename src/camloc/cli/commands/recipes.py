"""`camloc recipes`: what can be trained, and what can be taught beside it."""

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
_TEACH = "camloc autoencode RUN --recipe NAME"


def recipes(
    word: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="[WORD]", help_behavior_hint="")]] = "",
    *,
    json: bool = False,
) -> None:
    """List the recipes, each file of them under its heading, and those of camloc autoencode under one more.

    Args:
        word: Show those that have it in their name, their description or their file's heading, with what
            the same settings reached in their papers.
        json: Print them as JSON, whole.
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
        (heading, {name: _told(function, full=bool(word)) for name, function in functions.items()})
        for heading, functions in _groups(trained, auxiliary)
    )
    hint = (_TRAIN if trained else _TEACH) if word else "camloc recipes WORD shows some with their numbers"
    print(f"{len(trained) + len(auxiliary)} recipes; {hint}")


def _about(functions: Functions, word: str) -> Functions:
    """Those that a word is about."""
    from camloc.recipes import file_summary, summary

    return {
        name: function
        for name, function in functions.items()
        if word.lower() in f"{name}\n{summary(function)}\n{file_summary(function)}".lower()
    }


def _whole(functions: Functions, command: str) -> dict[str, dict[str, Any]]:
    """All that recipes say, and the command that takes them."""
    from camloc.core.config import to_builtins
    from camloc.recipes import summary

    return {
        name: {"summary": summary(function), "command": command, **to_builtins(function())}
        for name, function in functions.items()
    }


def _groups(trained: Functions, auxiliary: Functions) -> Iterator[tuple[str, Functions]]:
    """What is trained file by file, then all that is taught beside it, under their headings."""
    from camloc.recipes import file_summary

    for _, file in groupby(trained, key=lambda name: name.split("/")[0]):
        names = list(file)
        yield file_summary(trained[names[0]]), {name: trained[name] for name in names}
    if auxiliary:
        yield f"Pose auto-encoders, taught by a finished run: {_TEACH}", auxiliary


def _told(function: "Callable[[], Recipe | StudentRecipe]", *, full: bool) -> list[str]:
    """What a recipe trains and, where it is to be told in full, what the same settings reached."""
    from camloc.recipes import summary

    published = function().published if full else ()
    numbers = ", ".join(
        f"{each.scene} {'' if each.meters is None else f'{each.meters:g} m '}{each.degrees:g}°"
        for each in published
    )
    return [summary(function), *([f"published: {numbers}"] if numbers else [])]
