"""The whole state of a training, in one file without pickle, so that it can go on exactly."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from camloc.core.files import write_atomically
from camloc.errors import CheckpointError


@dataclass(frozen=True)
class Position:
    """How far a training has come.

    Attributes:
        fingerprint: digest of everything that decides the outcome; a state is only taken up by the
            training that it belongs to.
        stage: number of the stage.
        epoch: epochs done within it.
        best_score: of the weights kept so far.
        best_epoch: when those were reached, counted over all stages.
        seconds: spent so far.
    """

    fingerprint: str
    stage: int = 0
    epoch: int = 0
    best_score: float = float("inf")
    best_epoch: int = 0
    seconds: float = 0.0


def save_state(
    path: Path,
    position: Position,
    modules: Mapping[str, nn.Module | dict[str, Tensor]],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write everything that the next epoch depends on, all or nothing.

    Random numbers need no place in it: they are drawn from the seed, the stage and the epoch.
    """
    tensors = {
        f"{part}|{name}": tensor.detach().cpu().contiguous().clone()
        for part, module in modules.items()
        for name, tensor in (module if isinstance(module, dict) else module.state_dict()).items()
    }
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {
            f"optimizer|{index}|{key}": value.cpu().contiguous().clone() for key, value in state.items()
        }
    facts = json.dumps(position.__dict__)
    write_atomically(path, save(tensors, metadata={"position": facts}))


def read_position(path: Path) -> Position:
    """How far the training in a state file has come.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return Position(**json.loads(file.metadata()["position"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        raise CheckpointError(f"{path} is damaged; delete it to train from the start") from None


def load_modules(path: Path, modules: dict[str, nn.Module]) -> dict[str, dict[str, Tensor]]:
    """Put saved weights back. Returns all parts of the file, by name."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in load_file(path).items():
        part, _, name = key.partition("|")
        parts.setdefault(part, {})[name] = tensor
    for name, module in modules.items():
        module.load_state_dict(parts[name])
    return parts


def load_state(
    path: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """Put a saved state back. Returns the best weights so far, empty if there are none."""
    parts = load_modules(path, modules)
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in parts.get("optimizer", {}).items():
        index, _, name = key.partition("|")
        state.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return parts.get("best", {})
