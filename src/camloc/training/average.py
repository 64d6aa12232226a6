"""An exponential moving average of a model's weights, which forgets its start."""

from itertools import chain

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class WarmedUpAverage(AveragedModel):
    """A copy of a model that follows its weights and buffers when `update_parameters` is called.

    The decay rises from nearly 0 to `decay` as updates come in, so that the random first weights do
    not linger in the average of a short training.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average towards the model's weights; counts, which have no average, become the model's.

        torch's own would have an accelerator tell how many updates there were, and wait for it.
        """
        updates = int(self.n_averaged)  # a count that stays on the CPU
        decay = min(self.decay, (1 + updates) / (10 + updates)) if updates else 0.0
        # One kernel to a number format does for all tensors of it.
        groups: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        for average, current in zip(_tensors(self.module), _tensors(model), strict=True):
            averages, currents = groups.setdefault(average.dtype, ([], []))
            averages.append(average)
            currents.append(current)
        for kind, (averages, currents) in groups.items():
            if updates and kind.is_floating_point:
                get_ema_multi_avg_fn(decay)(averages, currents, updates)
            else:
                torch._foreach_copy_(averages, currents)
        self.n_averaged += 1


def _tensors(module: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in chain(module.parameters(), module.buffers())]
