"""Steps of training with Adam, ours and of a published structure, and the memory that they hold."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from camloc.data.batch import Batch
from camloc.geometry.pose import Pose
from camloc.models.base import PoseModel

# Images to a step, as the papers have it.
BATCH = 8


def random_batch(scenes: int, side: int, device: str) -> Batch:
    """Images of noise, of `side` x `side`, in all scenes in turn."""
    generator = torch.Generator().manual_seed(1)
    turns = torch.randn(BATCH, 4, generator=generator)
    return Batch(
        images=torch.rand(BATCH, 3, side, side, generator=generator),
        world_from_cam=Pose.from_quaternion_wxyz(turns, torch.randn(BATCH, 3, generator=generator)),
        intrinsics=None,
        scene=torch.arange(BATCH) % scenes,
    ).to(device)


def step_of_ours(model: PoseModel[Any], batch: Batch) -> Callable[[], None]:
    """A step as `training.fit` does it."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6, fused=True)

    def step() -> None:
        model.train()
        optimizer.zero_grad()
        torch.stack(list(model.losses(model(batch.images), batch).values())).sum().backward()
        optimizer.step()

    return step


def step_of_plain(model: nn.Module, batch: Batch) -> Callable[[], None]:
    """A step as published: of a structure whose outputs are position, quaternion, log-probabilities."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6)
    position, quaternion = batch.world_from_cam.translation, batch.world_from_cam.quaternion_wxyz()

    def step() -> None:
        model.train()
        optimizer.zero_grad()
        found, turned, chances = model(batch.images)
        far = torch.linalg.vector_norm(found - position, dim=-1).mean()
        angle = torch.linalg.vector_norm(F.normalize(turned, dim=-1) - quaternion, dim=-1).mean()
        (far + angle + F.nll_loss(chances, batch.scene)).backward()
        optimizer.step()

    return step


def peak_megabytes(model: nn.Module, step: Callable[[], None], device: str) -> float:
    """The most memory that a step holds beside weights and the optimiser's: what it computes, and gradients.

    On a CPU of all that torch allocates and frees, as its profiler sees it.
    """
    for parameter in model.parameters():
        parameter.grad = None
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    assert seen.profiler is not None
    assert seen.profiler.kineto_results is not None
    events = [each for each in seen.profiler.kineto_results.events() if each.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda each: each.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most / 1e6
