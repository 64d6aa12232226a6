"""A better position from the training poses around an answer: the test-time refinement, and its controls.

The network's answer says which training poses are near. Their latents, as a pose auto-encoder gives them,
are held against those of the image, and positions are combined as latents combine. The orientation
stays the network's.

Source: "Camera Pose Auto-Encoders" (ECCV 2022), section 3.3.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from camloc.errors import RecipeError
from camloc.geometry.pose import Pose
from camloc.geometry.pose_search import PoseIndex, PoseMetric
from camloc.refinement.pose_autoencoder import PoseAutoencoder
from camloc.refinement.query import Query, replace_answered, stacked

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
    # Also within `torch.inference_mode`, in which images are answered.
    with torch.inference_mode(mode=False), torch.enable_grad():
        target, known, free = target.clone(), known.clone(), free.clone().requires_grad_()
        optimizer = torch.optim.AdamW([free], lr=learning_rate)
        for _ in range(iterations):
            optimizer.zero_grad()
            # A sum over images, so that each has the gradient that it would have alone.
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


# "neighbours": the mean of the neighbours' positions, for comparison; no latents are looked at. "affine": the
# paper's affine combination, exactly. "adamw": the same after three steps of AdamW, as published. "anchored":
# from the network's answer towards the neighbours, as far as latents tell.
RefinementMethod = Literal["neighbours", "affine", "adamw", "anchored"]
REFINEMENT_METHODS: tuple[RefinementMethod, ...] = get_args(RefinementMethod)
LatentHalf = Literal["both", "position", "orientation"]


@dataclass(frozen=True)
class PositionRefinement:
    """Settings of `PositionRefiner`; the defaults are the paper's, solved exactly.

    Attributes:
        way: how positions are combined; see `Way`.
        neighbours: how many training poses are (the paper's k).
        metric: which of them are near.
        latents: which latents are compared; both as one vector in the paper.
        ridge: how much is left to no latent; see `affine_weights` and `anchored_weights`.
        iterations, learning_rate, constraint: of "adamw"; see `descended_weights`.
    """

    way: RefinementMethod = "affine"
    neighbours: int = 3
    metric: PoseMetric = field(default_factory=PoseMetric)
    latents: LatentHalf = "both"
    ridge: float = 1e-6
    iterations: int = 3
    learning_rate: float = 1e-3
    constraint: Constraint = "rest"


class PositionRefiner:
    """Combines the positions of training poses near an answer. It runs on the CPU."""

    def __init__(
        self,
        settings: PositionRefinement,
        training_poses: Sequence[Pose],
        encoder: PoseAutoencoder | None = None,
    ) -> None:
        """Prepare the search.

        Args:
            settings: how to refine.
            training_poses: for each scene the (n,) poses that may be neighbours, all with orientations.
            encoder: of poses; only the mean of the neighbours does without one.

        Raises:
            RecipeError: the encoder is needed and missing.
        """
        if encoder is None and settings.way != "neighbours":
            raise RecipeError(f"refining by '{settings.way}' needs a pose auto-encoder; teach one first")
        is_shared = encoder is not None and encoder.config.branches == "shared"
        # Halves that are one say the same twice.
        self.settings = replace(settings, latents="position") if is_shared else settings
        self._encoder = None if encoder is None else copy.deepcopy(encoder).cpu().eval()
        self._poses = Pose.cat([poses.to("cpu").to(torch.float64) for poses in training_poses])
        self._indices = tuple(PoseIndex(poses, settings.metric) for poses in training_poses)
        self._firsts = torch.tensor([0, *(len(poses) for poses in training_poses)]).cumsum(0)
        scene = torch.arange(len(training_poses)).repeat_interleave(self._firsts.diff())
        self._numbers = None if self._encoder is None else self._encoder.numbers(self._poses, scene)

    def refined(self, query: Query) -> Pose:
        """The answers with better positions; orientations are untouched.

        Raises:
            RecipeError: latents are needed, and the network gave none.
        """
        answered = query.answered()
        predict = query.among(answered)
        if not len(predict):
            return query.world_from_cam
        rows = self.nearest(predict)
        scenes = self._poses.translation[rows]
        match self.settings.way:
            case "neighbours":
                positions = scenes.mean(1)
            case "anchored":
                own = predict.world_from_cam.translation.cpu().double()
                weights = self._weights(predict, rows).unsqueeze(-1)
                positions = own + (weights * (scenes - own.unsqueeze(1))).sum(1)
            case "affine" | "adamw":
                positions = (self._weights(predict, rows).unsqueeze(-1) * scenes).sum(1)
        return replace_answered(query, answered, positions)

    def neighbours(self, predict: Query) -> Pose:
        """(b, k) nearest training poses of answers, nearest first; fewer where fewer are known."""
        rows = self.nearest(predict)
        return Pose(self._poses.rotation[rows], self._poses.translation[rows])

    def nearest(self, predict: Query) -> Int[Tensor, "b k"]:
        """The numbers of the training poses nearest to answers, counted scene after scene."""
        count = min(self.settings.neighbours, *(len(index) for index in self._indices))
        if len(self._indices) == 1:
            only: Tensor = self._indices[0].nearest(predict.world_from_cam, count)[0]
            return only
        rows = torch.empty(len(predict), count, dtype=torch.int64)
        scene = predict.scene.cpu()
        for number, index in enumerate(self._indices):
            own = scene == number
            found, _ = index.nearest(predict.world_from_cam.to("cpu")[own], count)
            rows[own] = found + self._firsts[number]
        return rows

    @torch.no_grad()
    def _weights(self, predict: Query, rows: Int[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        if predict.latents is None:
            raise RecipeError(
                f"refining by '{self.settings.way}' compares latents, which an exported network does not "
                f"give; use the run's folder, or the way 'neighbours'"
            )
        assert self._encoder is not None, "a way that compares latents is only made with an encoder"
        assert self._numbers is not None, "and with what it reads of training poses"
        settings, scene = self.settings, predict.scene.cpu()
        latent = stacked(predict.latents, settings.latents).cpu()
        read = self._numbers[rows]
        if settings.way == "anchored":  # the answers themselves come first
            read = torch.cat((self._encoder.numbers(predict.world_from_cam, scene).unsqueeze(1), read), dim=1)
        known = self._encoder.encode(read.flatten(0, 1), scene.repeat_interleave(read.shape[1]))
        around = stacked(known, settings.latents).unflatten(0, read.shape[:2])
        match settings.way:
            case "affine":
                return affine_weights(latent, around, ridge=settings.ridge)
            case "anchored":
                return anchored_weights(latent, around[:, 0], around[:, 1:], ridge=settings.ridge)
            case _:
                return descended_weights(
                    latent,
                    around,
                    iterations=settings.iterations,
                    learning_rate=settings.learning_rate,
                    constraint=settings.constraint,
                )
