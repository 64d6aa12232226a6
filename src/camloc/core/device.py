"""Where networks run."""

import torch
from torch import Tensor

from camloc.errors import RecipeError

CPU = torch.device("cpu")


def moved(tensor: Tensor, device: torch.device | str) -> Tensor:
    """The tensor on a device, without waiting for what that device is still busy with."""
    device = torch.device(device)
    if device.type == "cuda" and tensor.device.type == "cpu":
        # From ordinary memory, a copy would wait for every step that was queued before it.
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def wait_for(device: torch.device) -> None:
    """Wait until a device has done all that it was asked to do."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def torch_device(name: str) -> torch.device:
    """The device of a name such as "cpu", "cuda", "cuda:1", "mps", or the best there is for "auto".

    Raises:
        RecipeError: there is no such device on this machine.
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
        there = ", ".join(kind for kind, is_present in present.items() if is_present)
        raise RecipeError(f"this machine has no device '{name}' that torch can use; it has {there}")
    return device
