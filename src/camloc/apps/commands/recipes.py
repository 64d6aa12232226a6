"""`camloc recipes`: what can be trained."""

import json as json_module


def recipes(*, json: bool = False) -> None:
    """List the recipes, with what the same settings reached in their papers.

    Args:
        json: Print everything as JSON.
    """
    from rich.console import Console
    from rich.table import Table

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
    table = Table("recipe", "what it trains", "published (median)", box=None, pad_edge=False)
    for name, function in functions.items():
        published = "\n".join(
            f"{number.scene} {number.meters:g} m {number.degrees:g}°" for number in function().published
        )
        table.add_row(name, summary(function), published or "-")
    Console(highlight=False).print(table)
