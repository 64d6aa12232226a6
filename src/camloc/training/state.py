"""The state of a training in one file without pickle, from which the training resumes to the bit."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from camloc.core.config import from_builtins
from camloc.core.files import write_atomically
from camloc.core.sealed import PLACEHOLDER, SealError, check_own_checksum, with_own_checksum
from camloc.errors import CheckpointError, RecipeError

# Largest share of the time for writing states, where writing one takes longer than `SHORT` seconds: the state
# of a network with a hundred million weights has gigabytes.
WRITING_SHARE = 0.1
SHORT = 1.0

# State that Adam and AdamW keep for each parameter.
_ADAM_STATE = {"step", "exp_avg", "exp_avg_sq"}


@dataclass(frozen=True)
class Position:
    """How far a training has come.

    Attributes:
        fingerprint: digest of everything that decides the outcome; only the same training resumes a state.
        stage: number of the stage.
        epoch: finished epochs of the stage.
        best_score: score of the best weights so far.
        best_epoch: epoch of these weights, counted over all stages.
        seconds: training time so far.
    """

    fingerprint: str
    stage: int = 0
    epoch: int = 0
    best_score: float = float("inf")
    best_epoch: int = 0
    seconds: float = 0.0


class Saving:
    """When to write the state of a training: after every epoch, but less often where writing takes long."""

    def __init__(self) -> None:
        self._took, self._last = 0.0, -math.inf

    def is_due(self) -> bool:
        """Whether enough time has passed since the last state was written."""
        passed = time.monotonic() - self._last
        return self._took < SHORT or self._took < WRITING_SHARE * (passed + self._took)

    def save(
        self,
        path: Path,
        position: Position,
        modules: Mapping[str, nn.Module | dict[str, Tensor]],
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Write the state with `save_state`, and note how long that takes."""
        started = time.monotonic()
        save_state(path, position, modules, optimizer)
        self._last = time.monotonic()
        self._took = self._last - started


def save_state(
    path: Path,
    position: Position,
    modules: Mapping[str, nn.Module | dict[str, Tensor]],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write everything that the next epoch depends on, all or nothing, with its checksum.

    The state of random generators is not part of it: each epoch seeds them from seed, stage and epoch.
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
    metadata = json.dumps(position.__dict__)
    content = save(tensors, metadata={"position": metadata, "checksum": PLACEHOLDER})
    write_atomically(path, with_own_checksum(content))


def read_position(path: Path) -> Position:
    """Read how far the training of a state file has come.

    Raises:
        CheckpointError: the file is damaged.
    """
    _check_whole(path)
    try:
        with safe_open(path, framework="pt") as file:
            return from_builtins(json.loads(file.metadata()["position"]), Position)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError, RecipeError):
        raise _damaged(path, "it does not say how far the training has come") from None


def load_modules(path: Path, modules: dict[str, nn.Module]) -> dict[str, dict[str, Tensor]]:
    """Load saved weights into modules. Returns all parts of the file, by name.

    Raises:
        CheckpointError: the file is damaged, or lacks weights that fit.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    _check_whole(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError):
        raise _damaged(path, "it cannot be read") from None
    for key, tensor in tensors.items():
        part, _, name = key.partition("|")
        parts.setdefault(part, {})[name] = tensor
    for name, module in modules.items():
        try:
            module.load_state_dict(parts.get(name, {}))
        except RuntimeError:
            raise _damaged(path, f"the weights of its part '{name}' are missing or do not fit") from None
    return parts


def load_state(
    path: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """Load a saved state. Returns the best weights so far, empty if there are none.

    Args:
        path: of the file, written after an epoch.
        modules: modules with weights by name, "model" among them.
        optimizer: an Adam over the same parameters as when the file was written.

    Raises:
        CheckpointError: the file is damaged, or lacks something that fits.
    """
    parts = load_modules(path, modules)
    state = _optimizer_state(path, parts.get("optimizer", {}), optimizer)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    best = parts.get("best", {})
    shapes = {name: value.shape for name, value in modules["model"].state_dict().items()}
    is_missing = not best and math.isfinite(read_position(path).best_score)
    if is_missing or (best and {name: value.shape for name, value in best.items()} != shapes):
        raise _damaged(path, "its best weights are missing or do not fit")
    return best


def _optimizer_state(
    path: Path, stored: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
) -> dict[int, dict[str, Tensor]]:
    """The state of the optimiser for each parameter, by the parameter's number."""
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    numbers = {str(number): number for number in range(len(trained))}
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in stored.items():
        index, _, name = key.partition("|")
        if index not in numbers:
            raise _damaged(path, f"its optimiser has no parameter {index[:20]!r}")
        like = trained[numbers[index]]
        if tensor.shape != (() if name == "step" else like.shape):
            raise _damaged(path, f"the optimiser state of parameter {index} does not fit")
        if tensor.shape == like.shape:
            # Fused optimisers go through memory in order, so it must be the order of the parameter.
            tensor = torch.empty_like(like).copy_(tensor)
        state.setdefault(numbers[index], {})[name] = tensor
    if not state or any(set(entry) != _ADAM_STATE for entry in state.values()):
        raise _damaged(path, "it lacks optimiser state of Adam")
    return state


def _check_whole(path: Path) -> None:
    """Raise CheckpointError if the file does not have the checksum that it holds."""
    try:
        check_own_checksum(path, near="start")
    except SealError as problem:
        raise CheckpointError(f"{path} {problem}; {_FROM_THE_START}") from None


_FROM_THE_START = "delete it to train from the start"


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{path} is damaged: {what}; {_FROM_THE_START}")
