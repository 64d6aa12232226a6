"""Depthwise convolutions whose gradients are slow in bfloat16, kept in single precision on a CPU."""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn


def keep_single(model: nn.Module) -> nn.Module:
    """Make strided and large depthwise convolutions compute in single precision. Returns the model.

    oneDNN has no fast path for their gradients in bfloat16. Measured, forward and backward pass on one
    thread: the second strided layer of MobileNetV2 (144 channels, 16 maps of 80 x 60 cells) takes 0.93 s in
    bfloat16 and 0.05 s in single precision, more than everything else that trains behind it; a layer of 5 x 5
    of EfficientNet-B0 (672 channels, 8 maps of 14 x 14 cells) 0.033 and 0.013 s. Layers of 3 x 3 without
    stride take less in bfloat16.
    """
    for module in model.modules():
        if (
            isinstance(module, nn.Conv2d)
            and module.groups == module.in_channels > 1
            and (max(module.stride) > 1 or max(module.kernel_size) > 3)
        ):
            module.forward = partial(_forward, module)  # type: ignore[method-assign]
    return model


def _forward(module: nn.Conv2d, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c _ _"]:
    with torch.autocast(images.device.type, enabled=False):
        found: Tensor = type(module).forward(module, images.float())
    return found.to(images.dtype)
