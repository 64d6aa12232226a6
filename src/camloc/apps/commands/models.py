"""`camloc models`: the networks."""

import json as json_module
from typing import Any


def models(*, json: bool = False) -> None:
    """List the models and their presets, with the number of weights of each.

    Args:
        json: Print everything as JSON, settings included.
    """
    import torch

    from camloc.apps.listing import show
    from camloc.core.config import to_builtins
    from camloc.models import build_model, model_class, model_names, presets

    def weights(name: str, config: Any) -> int:
        with torch.device("meta"):  # counted without being made: some presets have hundreds of millions
            return build_model(name, config).parameter_count()

    rows: list[dict[str, Any]] = [
        {
            "model": name,
            "preset": preset,
            "parameters": weights(name, config),
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
        ("model", "preset", "weights", "what it is"),
        [(row["model"], row["preset"], f"{row['parameters']:,}", row["summary"]) for row in rows],
        names=3,
    )
