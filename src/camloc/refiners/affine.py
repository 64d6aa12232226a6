"""How much each of a few neighbours counts, so that their latents together give those of a photograph."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Constraint = Literal["rest", "softmax"]


def affine_weights(
    latent: Float[Tensor, "b d"], neighbours: Float[Tensor, "b k d"], *, ridge: float = 1e-6
) -> Float[Tensor, "b k"]:
    """The weights a, of sum 1, that minimise `|z - sum_i a_i z_i|`, exactly.

    With the Gram matrix G of the differences z_i - z the answer is `G^-1 1 / (1^T G^-1 1)`; weights may be
    negative. `ridge` times the trace of G on its diagonal decides where neighbours do not: equal ones then
    count alike.

    Source: "Camera Pose Auto-Encoders" (ECCV 2022), Eq. 6 and 7, whose released code has no solution.
    """
    away = (neighbours - latent.unsqueeze(1)).double()
    gram = _with_ridge(away @ away.mT, ridge)
    ones = torch.ones_like(gram[..., :1])
    weights: Tensor = torch.linalg.solve(gram, ones).squeeze(-1)
    return weights / weights.sum(-1, keepdim=True)


def descended_weights(
    latent: Float[Tensor, "b d"],
    neighbours: Float[Tensor, "b k d"],
    *,
    iterations: int = 3,
    learning_rate: float = 1e-3,
    constraint: Constraint = "rest",
) -> Float[Tensor, "b k"]:
    """Weights of sum 1 after some steps of AdamW from equal ones, as published (3 steps at 0.001).

    A step moves a weight by no more than the learning rate, so what comes out is nearly the mean.

    Args:
        latent, neighbours: as for `affine_weights`.
        iterations, learning_rate: of AdamW.
        constraint: how the sum stays 1, which the paper leaves open: the last weight is the "rest", or all
            are a "softmax" and never negative.
    """
    batch, count, _ = neighbours.shape
    target, known = latent.detach().double(), neighbours.detach().double()
    start = 1.0 / count if constraint == "rest" else 0.0
    free = known.new_full((batch, count - 1 if constraint == "rest" else count), start)

    def weights() -> Tensor:
        if constraint == "softmax":
            return free.softmax(-1)
        return torch.cat((free, 1.0 - free.sum(-1, keepdim=True)), dim=-1)

    if not free.numel():
        return weights()
    # Also within `torch.inference_mode`, in which photographs are answered.
    with torch.inference_mode(mode=False), torch.enable_grad():
        target, known, free = target.clone(), known.clone(), free.clone().requires_grad_()
        optimizer = torch.optim.AdamW([free], lr=learning_rate)
        for _ in range(iterations):
            optimizer.zero_grad()
            # A sum over pictures, so that each has the gradient that it would have alone.
            left = target - (weights().unsqueeze(1) @ known).squeeze(1)
            torch.linalg.vector_norm(left, dim=-1).sum().backward()
            optimizer.step()
    return weights().detach()


def anchored_weights(
    latent: Float[Tensor, "b d"],
    anchor: Float[Tensor, "b d"],
    neighbours: Float[Tensor, "b k d"],
    *,
    ridge: float,
) -> Float[Tensor, "b k"]:
    """The weights w that minimise `|z - z_0 - sum_i w_i (z_i - z_0)|^2 + ridge (trace / k) |w|^2`.

    z_0 are the latents of the pose that the network itself answered: the sum walks from there towards the
    neighbours, and where they explain little the answer stays where it is. The weights have any sum.
    """
    away = (neighbours - anchor.unsqueeze(1)).double()
    wanted = (latent - anchor).double().unsqueeze(-1)
    gram = away @ away.mT
    damped = _with_ridge(gram, ridge / gram.shape[-1])
    weights: Tensor = torch.linalg.solve(damped, away @ wanted).squeeze(-1)
    return weights


def _with_ridge(gram: Float[Tensor, "b k k"], share: float) -> Float[Tensor, "b k k"]:
    """A Gram matrix with a share of its trace added to the diagonal, so that it has an inverse."""
    damped: Tensor = gram.clone()
    diagonal = damped.diagonal(dim1=-2, dim2=-1)
    diagonal += share * diagonal.sum(-1, keepdim=True) + float(torch.finfo(gram.dtype).tiny) ** 0.5
    return damped
