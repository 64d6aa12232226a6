"""A better position from the training poses around an answer: the test-time refinement, and its controls.

The network's answer says which training poses are near. Their latents, as a pose auto-encoder gives them,
are held against those of the photograph, and positions are combined as latents combine. The orientation
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
from camloc.geometry.pose_index import PoseIndex, PoseMetric
from camloc.refiners.affine import Constraint, affine_weights, anchored_weights, descended_weights
from camloc.refiners.pose_autoencoder import PoseAutoencoder
from camloc.refiners.query import Query, replace_answered, stacked

# "neighbours": the mean of the neighbours' positions, for comparison; no latents are looked at. "affine": the
# paper's affine combination, exactly. "adamw": the same after three steps of AdamW, as published. "anchored":
# from the network's answer towards the neighbours, as far as latents tell.
Way = Literal["neighbours", "affine", "adamw", "anchored"]
WAYS: tuple[Way, ...] = get_args(Way)
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

    way: Way = "affine"
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
            training_poses: for each place the (n,) poses that may be neighbours, all with orientations.
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
        asked = query.among(answered)
        if not len(asked):
            return query.world_from_cam
        rows = self.nearest(asked)
        places = self._poses.translation[rows]
        match self.settings.way:
            case "neighbours":
                positions = places.mean(1)
            case "anchored":
                own = asked.world_from_cam.translation.cpu().double()
                weights = self._weights(asked, rows).unsqueeze(-1)
                positions = own + (weights * (places - own.unsqueeze(1))).sum(1)
            case "affine" | "adamw":
                positions = (self._weights(asked, rows).unsqueeze(-1) * places).sum(1)
        return replace_answered(query, answered, positions)

    def neighbours(self, asked: Query) -> Pose:
        """(b, k) nearest training poses of answers, nearest first; fewer where fewer are known."""
        rows = self.nearest(asked)
        return Pose(self._poses.rotation[rows], self._poses.translation[rows])

    def nearest(self, asked: Query) -> Int[Tensor, "b k"]:
        """The numbers of the training poses nearest to answers, counted place after place."""
        count = min(self.settings.neighbours, *(len(index) for index in self._indices))
        if len(self._indices) == 1:
            return self._indices[0].nearest(asked.world_from_cam, count)[0]
        rows = torch.empty(len(asked), count, dtype=torch.int64)
        scene = asked.scene.cpu()
        for number, index in enumerate(self._indices):
            own = scene == number
            found, _ = index.nearest(asked.world_from_cam.to("cpu")[own], count)
            rows[own] = found + self._firsts[number]
        return rows

    @torch.no_grad()
    def _weights(self, asked: Query, rows: Int[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        if asked.latents is None:
            raise RecipeError(
                f"refining by '{self.settings.way}' compares latents, which an exported network does not "
                f"give; use the run's folder, or the way 'neighbours'"
            )
        assert self._encoder is not None, "a way that compares latents is only made with an encoder"
        assert self._numbers is not None, "and with what it reads of training poses"
        settings, scene = self.settings, asked.scene.cpu()
        latent = stacked(asked.latents, settings.latents).cpu()
        read = self._numbers[rows]
        if settings.way == "anchored":  # the answers themselves come first
            read = torch.cat((self._encoder.numbers(asked.world_from_cam, scene).unsqueeze(1), read), dim=1)
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
