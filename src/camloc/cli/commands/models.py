"""`camloc models`: list the networks and their sizes."""

import json as json_module
from typing import Any


def models(*, json: bool = False) -> None:
    """List the models and their presets, with their numbers of parameters.

    Args:
        json: Print all settings as JSON.
    """
    from camloc.cli.progress import show
    from camloc.core.config import to_builtins
    from camloc.models import model_class, model_names, parameter_count, presets

    rows: list[dict[str, Any]] = [
        {
            "model": name,
            "preset": preset,
            "parameters": parameter_count(name, config),
            "summary": (model_class(name).__doc__ or "").split("\n")[0],
            "config": to_builtins(config),
        }
        for name in model_names()
        for preset, config in presets(name).items()
    ]
    if json:
        print(json_module.dumps(rows, indent=2))
        return
    show(
        ("model", "preset", "weights", "description"),
        [(row["model"], row["preset"], f"{row['parameters']:,}", row["summary"]) for row in rows],
        names=3,
    )
