"""Which pictures an epoch is made of, where places have different numbers of them."""

import torch
from jaxtyping import Int
from torch import Tensor


def balanced_order(scene: Int[Tensor, "n"], generator: torch.Generator) -> Int[Tensor, "n"]:
    """n rows in which every place comes up equally often, but for a remainder, in random order.

    Rows of a place that has more than its part are left for another epoch, those of one that has fewer come
    up several times: each once before any a second time.

    Args:
        scene: (n,) numbers of the places of all rows.
        generator: of the order.
    """
    places = scene.unique()
    parts = [len(scene) // len(places) + (number < len(scene) % len(places)) for number in range(len(places))]
    chosen = [
        _drawn((scene == place).nonzero().squeeze(1), part, generator)
        for place, part in zip(places, parts, strict=True)
    ]
    together = torch.cat(chosen)
    return together[torch.randperm(len(together), generator=generator)]


def _drawn(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """So many of the rows, in passes over all of them."""
    passes = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(-(-count // len(rows)))]
    return torch.cat(passes)[:count]
