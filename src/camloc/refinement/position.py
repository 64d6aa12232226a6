"""Refine a position by the training poses nearest to the predicted pose (test-time position refinement).

A pose auto-encoder gives the latents of the nearest training poses. The weights that combine these latents
into those of the image combine the positions of the training poses into the refined position. The
orientation stays the network's.

Source: "Camera Pose Auto-Encoders" (ECCV 2022), section 3.3.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from camloc.errors import RecipeError
from camloc.geometry.pose import Pose
from camloc.geometry.pose_search import PoseIndex
from camloc.refinement.pose_autoencoder import PoseAutoencoder
from camloc.refinement.refiner import Constraint, PositionRefinement, Query, stacked


class PositionRefiner:
    """Combines the positions of the training poses nearest to a predicted pose. It runs on the CPU."""

    def __init__(
        self,
        settings: PositionRefinement,
        training_poses: Sequence[Pose],
        encoder: PoseAutoencoder | None = None,
    ) -> None:
        """Build the search index.

        Args:
            settings: of the refinement.
            training_poses: for each scene (n,) poses with orientations.
            encoder: the pose auto-encoder; the method "neighbours" needs none.

        Raises:
            RecipeError: the method needs an encoder and there is none.
        """
        if encoder is None and settings.method != "neighbours":
            raise RecipeError(
                f"refining by '{settings.method}' needs a pose auto-encoder; train one with camloc autoencode"
            )
        is_shared = encoder is not None and encoder.config.branches == "shared"
        # Shared halves are equal, so that one of them is enough.
        self.settings = replace(settings, latents="position") if is_shared else settings
        self._encoder = None if encoder is None else copy.deepcopy(encoder).cpu().eval()
        self._poses = Pose.cat([poses.to("cpu").to(torch.float64) for poses in training_poses])
        self._indices = tuple(PoseIndex(poses, settings.metric) for poses in training_poses)
        self._firsts = torch.tensor([0, *(len(poses) for poses in training_poses)]).cumsum(0)
        scene = torch.arange(len(training_poses)).repeat_interleave(self._firsts.diff())
        self._inputs = None if self._encoder is None else self._encoder.inputs(self._poses, scene)

    def refined(self, query: Query) -> Pose:
        """(b,) poses with refined positions and unchanged orientations.

        Raises:
            RecipeError: the method compares latents and the query has none.
        """
        known = query.with_poses()
        if not len(known):
            return query.world_from_cam
        rows = self.nearest(known)
        positions = self._poses.translation[rows]
        match self.settings.method:
            case "neighbours":
                refined = positions.mean(1)
            case "anchored":
                own = known.world_from_cam.translation.cpu().double()
                weights = self._weights(known, rows).unsqueeze(-1)
                refined = own + (weights * (positions - own.unsqueeze(1))).sum(1)
            case "affine" | "adamw":
                refined = (self._weights(known, rows).unsqueeze(-1) * positions).sum(1)
        return query.with_positions(refined)

    def neighbours(self, query: Query) -> Pose:
        """(b, k) training poses nearest to the query's poses, nearest first; fewer if a scene has fewer."""
        rows = self.nearest(query)
        return Pose(self._poses.rotation[rows], self._poses.translation[rows])

    def nearest(self, query: Query) -> Int[Tensor, "b k"]:
        """The indices of the nearest training poses; poses are counted through all scenes in order."""
        count = min(self.settings.neighbours, *(len(index) for index in self._indices))
        if len(self._indices) == 1:
            only: Tensor = self._indices[0].nearest(query.world_from_cam, count)[0]
            return only
        rows = torch.empty(len(query), count, dtype=torch.int64)
        scene = query.scene.cpu()
        for number, index in enumerate(self._indices):
            own = scene == number
            found, _ = index.nearest(query.world_from_cam.to("cpu")[own], count)
            rows[own] = found + self._firsts[number]
        return rows

    @torch.no_grad()
    def _weights(self, query: Query, rows: Int[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """The weights of the neighbours' positions, from their latents and those of the image."""
        if query.latents is None:
            raise RecipeError(
                f"refining by '{self.settings.method}' compares latents, which an exported network does not "
                f"give; use the run's folder, or the method 'neighbours'"
            )
        assert self._encoder is not None, "the constructor requires an encoder for these methods"
        assert self._inputs is not None, "the constructor computes them with the encoder"
        settings, scene = self.settings, query.scene.cpu()
        latent = stacked(query.latents, settings.latents).cpu()
        inputs = self._inputs[rows]
        if settings.method == "anchored":  # the predicted pose comes first
            own = self._encoder.inputs(query.world_from_cam, scene).unsqueeze(1)
            inputs = torch.cat((own, inputs), dim=1)
        encoded = self._encoder.encode(inputs.flatten(0, 1), scene.repeat_interleave(inputs.shape[1]))
        neighbours = stacked(encoded, settings.latents).unflatten(0, inputs.shape[:2])
        match settings.method:
            case "affine":
                return affine_weights(latent, neighbours, ridge=settings.ridge)
            case "anchored":
                return anchored_weights(latent, neighbours[:, 0], neighbours[:, 1:], ridge=settings.ridge)
            case _:
                return descended_weights(
                    latent,
                    neighbours,
                    iterations=settings.iterations,
                    learning_rate=settings.learning_rate,
                    constraint=settings.constraint,
                )


def affine_weights(
    latent: Float[Tensor, "b d"], neighbours: Float[Tensor, "b k d"], *, ridge: float = 1e-6
) -> Float[Tensor, "b k"]:
    """The weights a with sum 1 that minimise `|z - sum_i a_i z_i|`, exactly.

    With the Gram matrix G of the differences z_i - z the solution is `G^-1 1 / (1^T G^-1 1)`. Weights may be
    negative. `ridge` times the trace of G is added to its diagonal, so that equal neighbours get equal
    weights.

    Source: "Camera Pose Auto-Encoders" (ECCV 2022), Eq. 6 and 7, whose released code has no solution.
    """
    differences = (neighbours - latent.unsqueeze(1)).double()
    gram = _with_ridge(differences @ differences.mT, ridge)
    ones = torch.ones_like(gram[..., :1])
    weights: Tensor = torch.linalg.solve(gram, ones).squeeze(-1)
    return weights / weights.sum(-1, keepdim=True)


def anchored_weights(
    latent: Float[Tensor, "b d"],
    anchor: Float[Tensor, "b d"],
    neighbours: Float[Tensor, "b k d"],
    *,
    ridge: float,
) -> Float[Tensor, "b k"]:
    """The weights w that minimise `|z - z_0 - sum_i w_i (z_i - z_0)|^2 + ridge (trace / k) |w|^2`.

    z_0 (`anchor`) are the latents of the predicted pose. The weights may have any sum: where the neighbours
    explain little, they are small and the position stays near the predicted one.
    """
    away = (neighbours - anchor.unsqueeze(1)).double()
    target = (latent - anchor).double().unsqueeze(-1)
    gram = away @ away.mT
    damped = _with_ridge(gram, ridge / gram.shape[-1])
    weights: Tensor = torch.linalg.solve(damped, away @ target).squeeze(-1)
    return weights


def _with_ridge(gram: Float[Tensor, "b k k"], share: float) -> Float[Tensor, "b k k"]:
    """A Gram matrix with a share of its trace added to the diagonal, so that it is invertible."""
    damped: Tensor = gram.clone()
    diagonal = damped.diagonal(dim1=-2, dim2=-1)
    diagonal += share * diagonal.sum(-1, keepdim=True) + float(torch.finfo(gram.dtype).tiny) ** 0.5
    return damped


def descended_weights(
    latent: Float[Tensor, "b d"],
    neighbours: Float[Tensor, "b k d"],
    *,
    iterations: int = 3,
    learning_rate: float = 1e-3,
    constraint: Constraint = "rest",
) -> Float[Tensor, "b k"]:
    """Weights with sum 1 after a few steps of AdamW from equal weights, as published (3 steps at 0.001).

    A step changes a weight by at most the learning rate, so the result is close to the mean.

    Args:
        latent, neighbours: as for `affine_weights`.
        iterations, learning_rate: of AdamW.
        constraint: how the sum stays 1, which the paper leaves open: the last weight is the "rest", or the
            weights are a "softmax" and never negative.
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
    # The localizer calls this within `torch.inference_mode`, which has no gradients.
    with torch.inference_mode(mode=False), torch.enable_grad():
        target, known, free = target.clone(), known.clone(), free.clone().requires_grad_()
        optimizer = torch.optim.AdamW([free], lr=learning_rate)
        for _ in range(iterations):
            optimizer.zero_grad()
            # The sum over images gives each image the gradient that it would have alone.
            residual = target - (weights().unsqueeze(1) @ known).squeeze(1)
            torch.linalg.vector_norm(residual, dim=-1).sum().backward()
            optimizer.step()
    return weights().detach()
