"""Devices of tensors."""

from typing import Any

import torch
from torch import Tensor

from camloc.errors import RecipeError

CPU = torch.device("cpu")


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """The tensor on a device, without waiting for queued work on that device."""
    device = torch.device(device)
    if device.type == "cuda" and tensor.device.type == "cpu":
        # A copy from ordinary memory would wait for all queued work.
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def wait_for(device: torch.device) -> None:
    """Wait until a device has finished all queued work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def torch_device(name: str) -> torch.device:
    """The device of a name such as "cpu", "cuda", "cuda:1" or "mps"; "auto" is the best available device.

    Raises:
        RecipeError: this machine has no such device.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, is_present in present.items() if is_present)
    try:
        device = torch.device(name)
    except RuntimeError:
        raise RecipeError(f"there is no device '{name}'; choose cpu, cuda, mps or auto") from None
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if not present.get(device.type, False) or (device.index or 0) >= count:
        available = ", ".join(kind for kind, is_present in present.items() if is_present)
        raise RecipeError(
            f"this machine has no device '{name}' that torch can use, only {available}; choose one of these"
        )
    return device


def cpu_multiplies_bfloat16() -> bool:
    """Whether this processor has instructions that multiply bfloat16 (AVX512-BF16, or AMX on top of it)."""
    capabilities: Any = getattr(torch.cpu, "get_capabilities", None)  # not in all versions of torch
    return capabilities is not None and bool(capabilities().get("avx512_bf16", False))
