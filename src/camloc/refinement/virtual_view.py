"""Virtual relative pose regression: a position from what a remembered pose would look like.

    answer -> nearest training pose -> encoding -> decoded image -> relative pose -> position

No image of the scene is kept. The later form of the method encodes the answer itself instead of a
training pose, and repeats.

Source: "Camera Pose Auto-Encoders" (ECCV 2022), section 3.3, Fig. 5; the iterated form is in its code.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from camloc.errors import RecipeError
from camloc.geometry.pose import Pose, world_from_query
from camloc.geometry.pose_search import PoseMetric
from camloc.models.base import Latents
from camloc.refinement.image_decoder import ImageDecoder
from camloc.refinement.pose_autoencoder import PoseAutoencoder
from camloc.refinement.position import PositionRefinement, PositionRefiner
from camloc.refinement.query import Query, replace_answered
from camloc.refinement.relative_pose import RelativePoseRegressor


@dataclass(frozen=True)
class VirtualView:
    """Settings of `VirtualViewRefiner`; the defaults are the paper's.

    Attributes:
        reference: "nearest": the training pose nearest to the answer. "answer": the answer itself.
        neighbours: training poses that are references; the mean of what they say counts.
        iterations: how often, each from the last one's answer, orientation included.
        share: how far towards the regressed position the answer moves; 1 all the way.
        metric: which training poses are near.
    """

    reference: Literal["nearest", "answer"] = "nearest"
    neighbours: int = 1
    iterations: int = 1
    share: float = 1.0
    metric: PoseMetric = field(default_factory=PoseMetric)


class VirtualViewRefiner:
    """Regresses positions relative to remembered poses. It runs where its networks are."""

    def __init__(
        self,
        settings: VirtualView,
        training_poses: Sequence[Pose],
        encoder: PoseAutoencoder,
        regressor: RelativePoseRegressor,
        decoder: ImageDecoder | None = None,
    ) -> None:
        """Prepare the search.

        Args:
            settings: how to refine.
            training_poses: for each scene the (n,) poses that may be references.
            encoder: of poses.
            regressor: of relative poses.
            decoder: of encodings, for a regressor that sees images.

        Raises:
            RecipeError: a regressor that sees images has no decoder.
        """
        if decoder is None and regressor.config.sees == "images":
            raise RecipeError(
                "a relative pose regressor that sees images needs an image decoder; teach one first"
            )
        self.settings = settings
        self._encoder = copy.deepcopy(encoder).eval()
        self._regressor, self._decoder = regressor.eval(), None if decoder is None else decoder.eval()
        nearest = PositionRefinement("neighbours", neighbours=settings.neighbours, metric=settings.metric)
        self._search = PositionRefiner(nearest, training_poses)

    @torch.no_grad()
    def refined(self, query: Query) -> Pose:
        """The answers with better positions; orientations are the network's own.

        Raises:
            RecipeError: images or latents are needed and missing.
        """
        answered = query.answered()
        predict = query.among(answered)
        if not len(predict):
            return query.world_from_cam
        current = predict.world_from_cam.to("cpu").to(torch.float64)
        for _ in range(self.settings.iterations):
            current = self._regressed(predict, current)
        own = predict.world_from_cam.translation.cpu().double()
        moved = own + self.settings.share * (current.translation - own)
        return replace_answered(query, answered, moved)

    def _regressed(self, predict: Query, current: Pose) -> Pose:
        """What references around `current` say: the mean of the scenes, and the nearest one's direction."""
        references = self._references(predict, current)
        batch, count = references.shape
        flat = Pose(references.rotation.flatten(0, 1), references.translation.flatten(0, 1))
        scene = predict.scene.cpu().repeat_interleave(count)
        encodings = self._encoder(flat, scene.to(self._device))
        seen = self._seen(predict, count)
        output = self._regressor(seen, self._reference(encodings, seen))
        motion = self._regressor.motion(output, flat).to("cpu").to(torch.float64)
        found = world_from_query(flat, motion)
        scenes = found.translation.unflatten(0, (batch, count)).mean(1)
        return Pose(found.rotation.unflatten(0, (batch, count))[:, 0], scenes)

    def _references(self, predict: Query, current: Pose) -> Pose:
        if self.settings.reference == "answer":
            return Pose(current.rotation.unsqueeze(1), current.translation.unsqueeze(1))
        return self._search.neighbours(Query(current, predict.scene))

    def _seen(self, predict: Query, count: int) -> Float[Tensor, "b 3 h w"] | Latents:
        """What the regressor sees of the images, once for each reference."""
        if self._regressor.config.sees == "latents":
            if predict.latents is None:
                raise RecipeError("an exported network gives no latents; refine from the run's folder")
            return Latents(*(half.to(self._device).repeat_interleave(count, 0) for half in predict.latents))
        if predict.images is None:
            raise RecipeError("virtual relative pose regression looks at images, and was given none")
        return predict.images.to(self._device).repeat_interleave(count, 0)

    def _reference(
        self, encodings: Latents, seen: Float[Tensor, "b 3 h w"] | Latents
    ) -> Float[Tensor, "b 3 h w"] | Latents:
        if self._decoder is None or isinstance(seen, tuple) or self._regressor.config.sees != "images":
            return encodings
        height, width = seen.shape[-2:]
        return enlarged(self._decoder(encodings), width=width, height=height)

    @property
    def _device(self) -> torch.device:
        return self._regressor.get_buffer("scale").device


def enlarged(images: Float[Tensor, "b 3 _ _"], *, width: int, height: int) -> Float[Tensor, "b 3 h w"]:
    """Small images in the size of others."""
    return F.interpolate(images, (height, width), mode="bilinear", align_corners=False)
