"""A stage of training: what trains, for how long, and how fast."""

import fnmatch
import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor, nn

from camloc.core.model import PoseModel
from camloc.errors import RecipeError
from camloc.geometry.pose import Pose

Schedule = Literal["constant", "step", "cosine", "one_cycle"]
LearnsFrom = Literal["all", "full", "positions"]


@dataclass(frozen=True)
class Stage:
    """One phase of a recipe.

    Attributes:
        epochs: passes over the training frames that it learns from.
        learning_rate: at its highest.
        trains: shell patterns of parameter names, such as "orientation_*"; what matches none stands
            still, in evaluation mode.
        holds: patterns of what stands still all the same.
        optimizer: "adam" adds the decay to the gradient, "adamw" applies it apart.
        betas, epsilon: of either.
        weight_decay: on everything that trains but the loss's own weights.
        backbone_rate: learning rate of the backbone relative to the rest.
        balance_rate: learning rate of the loss's own weights relative to the rest.
        schedule: how the learning rate moves; "step" multiplies it by `step_factor` every
            `step_epochs`, "cosine" lowers it to zero, "one_cycle" first raises it over the first
            `warm_up` of the steps.
        batch_norm: "train" updates running statistics, "frozen" keeps them as they were loaded.
        average: decay of an exponential moving average of the weights, which is then what is
            validated and kept; 0 for none.
        gradient_clip: largest norm of the gradient; 0 for no limit.
        loss_weights: factors of the loss terms by name; a term not named counts fully.
        known_places: of parameters with a row for every place (their names end in "_of_place"), the rows of
            so many first places stand still.
        learns_from: all training frames, or those whose full pose is known, or those of which only the
            position is known.
    """

    epochs: int
    learning_rate: float
    trains: tuple[str, ...] = ("*",)
    holds: tuple[str, ...] = ()
    optimizer: Literal["adam", "adamw"] = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    backbone_rate: float = 1.0
    balance_rate: float = 1.0
    schedule: Schedule = "constant"
    step_epochs: int = 20
    step_factor: float = 0.1
    warm_up: float = 0.1
    batch_norm: Literal["train", "frozen"] = "train"
    average: float = 0.0
    gradient_clip: float = 0.0
    loss_weights: dict[str, float] | None = None
    known_places: int = 0
    learns_from: LearnsFrom = "all"

    def rate_factor(self, step: int, *, steps: int, epoch: int) -> float:
        """The learning rate at a step of the stage, as a share of its highest."""
        match self.schedule:
            case "constant":
                return 1.0
            case "step":
                return self.step_factor ** (epoch // self.step_epochs)
            case "cosine":
                return 0.5 * (1.0 + math.cos(math.pi * step / steps))
            case "one_cycle":
                rise = max(1, round(self.warm_up * steps))
                if step < rise:
                    return 0.04 + 0.96 * (step + 1) / rise
                return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def learned_rows(stage: Stage, world_from_cam: Pose) -> Int[Tensor, "m"]:
    """The numbers of the training frames that a stage learns from, of (n,) poses.

    Raises:
        RecipeError: there are none.
    """
    has_orientation = world_from_cam.has_orientation()
    match stage.learns_from:
        case "all":
            rows = torch.arange(len(world_from_cam))
        case "full":
            rows = has_orientation.nonzero().squeeze(1)
        case "positions":
            rows = (~has_orientation).nonzero().squeeze(1)
    if not len(rows):
        wanted = {"all": "", "full": " with an orientation", "positions": " with a position alone"}
        raise RecipeError(
            f"a stage learns from training frames{wanted[stage.learns_from]}, and there are none; give some"
        )
    return rows


def start(stage: Stage, model: nn.Module) -> torch.optim.Optimizer:
    """Let what the stage names of a network train and nothing else, and build its optimiser.

    Raises:
        RecipeError: a pattern matches no parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    for pattern in (*stage.trains, *stage.holds):
        if not fnmatch.filter(names, pattern):
            raise RecipeError(f"the stage names '{pattern}', which matches no parameter of the model")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(_matches(name, stage.trains) and not _matches(name, stage.holds))
    set_modes(stage, model)
    kind = torch.optim.AdamW if stage.optimizer == "adamw" else torch.optim.Adam
    groups = _parameter_groups(stage, model)
    return kind(groups, lr=stage.learning_rate, betas=stage.betas, eps=stage.epsilon, fused=True)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def set_modes(stage: Stage, model: nn.Module) -> None:
    """Training mode for what trains, evaluation mode for modules that stand still."""
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()
        if stage.batch_norm == "frozen" and isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def hold_known_places(stage: Stage, model: nn.Module) -> None:
    """Take the gradient away from the rows of places that stand still."""
    if stage.known_places:
        for name, parameter in model.named_parameters():
            if name.endswith("_of_place") and parameter.grad is not None:
                parameter.grad[: stage.known_places].zero_()


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the rate of every parameter group, each with its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["rate"]


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
        {"params": loss, "weight_decay": 0.0, "rate": stage.balance_rate},
    )
    return [group for group in groups if group["params"]]
