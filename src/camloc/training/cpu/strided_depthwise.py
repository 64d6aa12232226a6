"""Depthwise convolutions that skip pixels, kept out of bfloat16 on a CPU."""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn


def keep_single(model: nn.Module) -> nn.Module:
    """Make a model's strided depthwise convolutions compute in single precision. Returns the model.

    For their gradients in bfloat16 oneDNN has no fast path: one such layer of MobileNetV2 then takes longer
    than everything else that learns.
    """
    for module in model.modules():
        if (
            isinstance(module, nn.Conv2d)
            and module.groups == module.in_channels > 1
            and max(module.stride) > 1
        ):
            module.forward = partial(_forward, module)  # type: ignore[method-assign]
    return model


def _forward(module: nn.Conv2d, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c _ _"]:
    with torch.autocast(images.device.type, enabled=False):
        found: Tensor = type(module).forward(module, images.float())
    return found.to(images.dtype)
