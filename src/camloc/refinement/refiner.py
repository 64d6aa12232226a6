"""Refiners (`Refiner`), their inputs (`Query`), their settings, and their measurements."""

from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from camloc.geometry.pose import Pose
from camloc.geometry.pose_search import PoseMetric
from camloc.models.base import Latents
from camloc.models.multi_scene import latents_in


@dataclass(frozen=True, eq=False)
class Query:
    """Images with the poses that a network predicts for them.

    Attributes:
        world_from_cam: (b,) predicted poses, double precision; NaN where the network has none.
        scene: (b,) numbers of the scenes.
        latents: from which the network regressed the poses, or None for an exported network.
        images: (b, 3, height, width) RGB in [0, 1], the network's input, or None.
    """

    world_from_cam: Pose
    scene: Int[Tensor, "b"]
    latents: Latents | None = None
    images: Float[Tensor, "b 3 h w"] | None = None

    def __len__(self) -> int:
        return len(self.world_from_cam)

    def has_pose(self) -> Bool[Tensor, "b"]:
        """Whether each image has a pose that can be refined."""
        is_finite: Tensor = self.world_from_cam.is_finite()
        return is_finite

    def __getitem__(self, rows: Tensor) -> "Query":
        """Some of the images, by numbers or by a mask."""
        return Query(
            self.world_from_cam[rows],
            self.scene[rows],
            None if self.latents is None else Latents(*(half[rows] for half in self.latents)),
            None if self.images is None else self.images[rows],
        )

    def with_poses(self) -> "Query":
        """The images that have a pose."""
        rows = self.has_pose()
        return self if bool(rows.all()) else self[rows]

    def with_positions(self, positions: Float[Tensor, "a 3"]) -> Pose:
        """(b,) poses: the images of `with_poses()` get these positions, all rotations stay."""
        own, rows = self.world_from_cam, self.has_pose()
        positions = positions.to(own.translation)
        if bool(rows.all()):
            return Pose(own.rotation, positions)
        translation = own.translation.clone()
        translation[rows] = positions
        return Pose(own.rotation, translation)


@runtime_checkable
class Refiner(Protocol):
    """Improves predicted poses."""

    def refined(self, query: Query) -> Pose:
        """(b,) refined poses; images without a pose keep NaN."""


# "neighbours": the mean of the neighbours' positions, a control that needs no latents. "affine": the paper's
# affine combination, solved exactly. "adamw": the same after three steps of AdamW, as published. "anchored":
# from the predicted position towards the neighbours, as far as the latents support it.
RefinementMethod = Literal["neighbours", "affine", "adamw", "anchored"]
REFINEMENT_METHODS: tuple[RefinementMethod, ...] = get_args(RefinementMethod)
LatentHalf = Literal["both", "position", "orientation"]
Constraint = Literal["rest", "softmax"]


@dataclass(frozen=True)
class PositionRefinement:
    """Settings of `camloc.refinement.position.PositionRefiner`; the defaults are the paper's, solved exactly.

    Attributes:
        method: how positions are combined.
        neighbours: number of nearest training poses (the paper's k).
        metric: the distance that defines nearest.
        latents: the latents that are compared; the paper concatenates both.
        ridge: strength of the regularisation; see `affine_weights` and `anchored_weights`.
        iterations, learning_rate, constraint: of "adamw"; see `descended_weights`.
    """

    method: RefinementMethod = "affine"
    neighbours: int = 3
    metric: PoseMetric = field(default_factory=PoseMetric)
    latents: LatentHalf = "both"
    ridge: float = 1e-6
    iterations: int = 3
    learning_rate: float = 1e-3
    constraint: Constraint = "rest"


@dataclass(frozen=True)
class PositionErrors:
    """Position errors on held-out frames, in metres.

    Attributes:
        median, mean: over all frames.
        sure_gain: decrease of the mean error by the refinement, minus three standard errors. A positive
            value is not due to chance; 0 without a refinement, or if the frames are too few for a standard
            error.
    """

    median: float
    mean: float
    sure_gain: float = 0.0


def stacked(latents: Latents, half: LatentHalf) -> Float[Tensor, "b d"]:
    """The position latents, the orientation latents, or both concatenated (the paper's z_p)."""
    halves = {"position": latents[:1], "orientation": latents[1:], "both": tuple(latents)}[half]
    return torch.cat(halves, dim=-1)


def in_one_scene(latents: Latents, scene: Int[Tensor, "b"]) -> Latents:
    """The latents (b, d) and (b, e) of each image in its scene, also from a model of one scene."""
    return latents if latents.position.ndim == 2 else latents_in(latents, scene)
