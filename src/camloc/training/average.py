"""An exponential moving average of a model's weights, which forgets its start."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of the model that follows its weights and buffers when `update_parameters` is called.

    The decay rises from nearly 0 to `decay` as updates come in, so that the random first weights do
    not linger in the average of a short training.
    """
    return AveragedModel(model, multi_avg_fn=_warmed_up(decay), use_buffers=True)


def _warmed_up(decay: float) -> Callable[[Any, Any, Tensor | int], None]:
    @torch.no_grad()
    def update(averages: list[Tensor], currents: list[Tensor], updates: Tensor | int) -> None:
        count = int(updates)
        share = min(decay, (1 + count) / (10 + count))
        for average, current in zip(averages, currents, strict=True):
            if average.is_floating_point():
                average.lerp_(current.to(average.device), 1.0 - share)
            else:
                average.copy_(current)

    return update
