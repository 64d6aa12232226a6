"""Optimisation of a stage: the parameters that train, their optimiser and rates, the average of weights."""

import fnmatch
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from camloc.errors import RecipeError
from camloc.models.base import PoseModel
from camloc.training.recipe import Stage


def start_stage(stage: Stage, model: nn.Module) -> torch.optim.Optimizer:
    """Freeze the parameters that the stage does not train, and build the optimiser of the others.

    Raises:
        RecipeError: a pattern of the stage matches no parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    for pattern in (*stage.trains, *stage.frozen):
        if not fnmatch.filter(names, pattern):
            raise RecipeError(f"the stage names '{pattern}', which matches no parameter of the model")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(_matches(name, stage.trains) and not _matches(name, stage.frozen))
    set_modes(stage, model)
    kind = torch.optim.AdamW if stage.optimizer == "adamw" else torch.optim.Adam
    groups = _parameter_groups(stage, model)
    return kind(groups, lr=stage.learning_rate, betas=stage.betas, eps=stage.epsilon, fused=True)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _parameter_groups(stage: Stage, model: nn.Module) -> list[dict[str, Any]]:
    backbone, loss, rest = [], [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith(PoseModel.LOSS_PREFIX):
            loss.append(parameter)
        elif name.startswith("backbone."):
            backbone.append(parameter)
        else:
            rest.append(parameter)
    groups = (
        {"params": rest, "weight_decay": stage.weight_decay, "rate": 1.0},
        {"params": backbone, "weight_decay": stage.weight_decay, "rate": stage.backbone_rate},
        {"params": loss, "weight_decay": 0.0, "rate": stage.loss_rate},
    )
    return [group for group in groups if group["params"]]


def set_modes(stage: Stage, model: nn.Module) -> None:
    """Put modules with training parameters into training mode, frozen ones into evaluation mode."""
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()
        if stage.batch_norm == "frozen" and isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the rate of every parameter group, each with its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["rate"]


def freeze_known_scenes(stage: Stage, model: nn.Module) -> None:
    """Zero the gradients of the rows of scenes that the stage keeps frozen."""
    if stage.known_scenes:
        for name, parameter in model.named_parameters():
            if name.endswith("_of_scene") and parameter.grad is not None:
                parameter.grad[: stage.known_scenes].zero_()


class WarmedUpAverage(AveragedModel):
    """A copy of a model that follows its weights and buffers when `update_parameters` is called.

    The decay rises from nearly 0 to `decay` with the number of updates, so that the random first weights do
    not linger in the average of a short training. timm's ModelEmaV3 warms up along another curve, does not
    save its number of updates, and copies integer buffers one by one, each a kernel on an accelerator.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average towards the model's weights; integer buffers become the model's.

        torch's own method reads the number of updates from the accelerator and waits for it.
        """
        updates = int(self.n_averaged)  # this counter stays on the CPU
        decay = min(self.decay, (1 + updates) / (10 + updates)) if updates else 0.0
        # One kernel per number format updates all tensors of the format.
        groups: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        for average, current in zip(_tensors(self.module), _tensors(model), strict=True):
            averages, currents = groups.setdefault(average.dtype, ([], []))
            averages.append(average)
            currents.append(current)
        for dtype, (averages, currents) in groups.items():
            if updates and dtype.is_floating_point:
                get_ema_multi_avg_fn(decay)(averages, currents, updates)
            else:
                torch._foreach_copy_(averages, currents)
        self.n_averaged += 1


def _tensors(module: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in chain(module.parameters(), module.buffers())]
