"""What a refiner is told of images, and what it is."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from camloc.geometry.pose import Pose
from camloc.models.base import Latents
from camloc.models.multi_scene import latents_in


@dataclass(frozen=True, eq=False)
class Query:
    """Images that a network has answered.

    Attributes:
        world_from_cam: (b,) its answers, double precision; NaN where it has none.
        scene: (b,) numbers of the scenes.
        latents: what it regressed them from, or None of a network that tells nothing but poses.
        images: (b, 3, height, width) RGB in [0, 1], as it saw them, or None.
    """

    world_from_cam: Pose
    scene: Int[Tensor, "b"]
    latents: Latents | None = None
    images: Float[Tensor, "b 3 h w"] | None = None

    def __len__(self) -> int:
        return len(self.world_from_cam)

    def answered(self) -> Bool[Tensor, "b"]:
        """Whether there is an answer that could be refined."""
        is_finite: Tensor = self.world_from_cam.is_finite()
        return is_finite

    def among(self, chosen: Bool[Tensor, "b"]) -> "Query":
        """The images that are chosen."""
        return self if bool(chosen.all()) else self[chosen]

    def __getitem__(self, rows: Tensor) -> "Query":
        """Some of the images."""
        return Query(
            self.world_from_cam[rows],
            self.scene[rows],
            None if self.latents is None else Latents(*(half[rows] for half in self.latents)),
            None if self.images is None else self.images[rows],
        )


@runtime_checkable
class Refiner(Protocol):
    """Something that improves answers after the network."""

    def refined(self, query: Query) -> Pose:
        """(b,) better poses; those of images without an answer stay as they are."""


def replace_answered(query: Query, answered: Bool[Tensor, "b"], better: Float[Tensor, "a 3"]) -> Pose:
    """The answers, with the positions of those that are `answered` replaced by the (a,) better ones."""
    own = query.world_from_cam
    better = better.to(own.translation)
    if bool(answered.all()):
        return Pose(own.rotation, better)
    translation = own.translation.clone()
    translation[answered] = better
    return Pose(own.rotation, translation)


def stacked(latents: Latents, which: str) -> Float[Tensor, "b d"]:
    """The latents of one half, or of both as one vector (the paper's z_p)."""
    halves = {"position": latents[:1], "orientation": latents[1:], "both": tuple(latents)}[which]
    return torch.cat(halves, dim=-1)


def in_one_scene(latents: Latents, scene: Int[Tensor, "b"]) -> Latents:
    """The latents (b, d) and (b, e) of one scene for each image; as they are where there is one scene."""
    return latents if latents.position.ndim == 2 else latents_in(latents, scene)
