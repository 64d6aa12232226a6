"""Batch statistics over all processes on CPUs.

torch's SyncBatchNorm refuses tensors on CPUs. With it on GPUs, or with this on CPUs, two processes that share
a batch normalise it as one process would. Measured in double precision: the loss curves of one process and of
two agree to nine digits (docs/decisions/0005-randomness-of-the-whole-batch.md); without, each process would
normalise half a batch by itself.
"""

from functools import partial
from typing import Any, cast

import torch
import torch.distributed
from jaxtyping import Float
from torch import Tensor, nn


def synchronise_batch_norm(model: nn.Module) -> nn.Module:
    """Make every batch norm of a model use statistics over all processes. Returns the model."""
    if torch.cuda.is_available() and any(parameter.is_cuda for parameter in model.parameters()):
        from timm.layers.norm_act import convert_sync_batchnorm

        converted: nn.Module = convert_sync_batchnorm(model)
        return converted
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.forward = partial(_forward, module)  # type: ignore[method-assign]
    return model


def _forward(module: nn.BatchNorm2d, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    if not module.training:
        return type(module).forward(module, images)
    # Half precision is too coarse for sums over a batch.
    values = images.float() if images.dtype in (torch.float16, torch.bfloat16) else images
    count = values.new_tensor([values.numel() / values.shape[1]])
    sums = _SumOverProcesses.apply(torch.cat((values.sum((0, 2, 3)), count)))
    total = sums[-1].detach()
    mean = sums[:-1] / total
    # Squares of the centred values: those of the values themselves would cancel where the mean is large.
    centered = values - mean[:, None, None]
    variance = _SumOverProcesses.apply(centered.square().sum((0, 2, 3))) / total
    _update_running_statistics(module, mean.detach(), variance.detach() * total / (total - 1))
    scale = torch.rsqrt(variance + module.eps)
    if module.affine:
        normalised = centered * (scale * module.weight)[:, None, None] + module.bias[:, None, None]
    else:
        normalised = centered * scale[:, None, None]
    normalised = normalised.to(images.dtype)
    # timm's norms carry the activation that follows them.
    for following in ("drop", "act"):
        if hasattr(module, following):
            normalised = getattr(module, following)(normalised)
    return cast(Tensor, normalised)


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of the gradients of all processes."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        """Sum of `values` over all processes."""
        del context
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        """Sum of the gradients over all processes."""
        del context
        total = gradients[0].clone()
        torch.distributed.all_reduce(total)
        return total


@torch.no_grad()
def _update_running_statistics(module: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    if module.running_mean is None or module.running_var is None or module.num_batches_tracked is None:
        return
    module.num_batches_tracked.add_(1)
    momentum = module.momentum
    share = 1.0 / float(module.num_batches_tracked) if momentum is None else momentum
    module.running_mean.lerp_(mean, share)
    module.running_var.lerp_(variance, share)
