"""`camloc recipes`: what can be trained."""

import json as json_module


def recipes(*, json: bool = False) -> None:
    """List the recipes, with what the same settings reached in their papers.

    Args:
        json: Print everything as JSON.
    """
    from camloc.apps.listing import show
    from camloc.core.config import to_builtins
    from camloc.recipes.base import recipe_functions, summary

    functions = recipe_functions()
    if json:
        rows = {
            name: {"summary": summary(function), **to_builtins(function())}
            for name, function in functions.items()
        }
        print(json_module.dumps(rows, indent=2))
        return
    published = {
        name: "\n".join(f"{each.scene} {each.meters:g} m {each.degrees:g}°" for each in function().published)
        for name, function in functions.items()
    }
    show(
        ("recipe", "what it trains", "published (median)"),
        [(name, summary(function), published[name] or "-") for name, function in functions.items()],
    )
