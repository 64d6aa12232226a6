"""The rigid motion (and scale) that best carries one set of points onto another, in closed form."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from camloc.geometry.pose import Pose
from camloc.geometry.rotation import nearest_rotation


def weighted_kabsch(
    source: Float[Tensor, "*batch n 3"],
    target: Float[Tensor, "*batch n 3"],
    weights: Float[Tensor, "*batch n"],
) -> Pose:
    """The motion `target_from_source` with the least weighted sum of squared distances.

    Weights are non-negative and of any scale; if all are zero, there is no motion and the pose is NaN.
    Points are finite, also those of weight zero. The covariance is a weighted sum over
    points: no n x n matrix of weights is built. The rotation is always proper, never a reflection.
    Where it is not unique (all points in one scene or on one line) one of the best is returned.

    Source: Kabsch 1976; weights as in "Implicit Learning of Scene Geometry", section III-B.
    """
    share = (weights / weights.sum(-1, keepdim=True)).unsqueeze(-1)
    source_mean = (share * source).sum(-2, keepdim=True)
    target_mean = (share * target).sum(-2, keepdim=True)
    covariance = (share * (target - target_mean)).transpose(-1, -2) @ (source - source_mean)
    rotation = nearest_rotation(covariance)
    translation = target_mean.squeeze(-2) - (rotation @ source_mean.transpose(-1, -2)).squeeze(-1)
    return Pose(rotation, translation)


def alignment_residual(
    target_from_source: Pose,
    source: Float[Tensor, "*batch n 3"],
    target: Float[Tensor, "*batch n 3"],
    weights: Float[Tensor, "*batch n"],
) -> Float[Tensor, "*batch"]:
    """Weighted root mean square distance between the points after the motion, in their units."""
    share = weights / weights.sum(-1, keepdim=True)
    squares = (target - target_from_source.apply(source)).square().sum(-1)
    return (share * squares).sum(-1).sqrt()


class Similarity(NamedTuple):
    """A rigid motion after a change of scale: `x_b = scale * rotation @ x_a + translation`."""

    scale: Float[Tensor, "*batch"]
    motion: Pose


def umeyama(source: Float[Tensor, "*batch n 3"], target: Float[Tensor, "*batch n 3"]) -> Similarity:
    """The similarity `target_from_source` with the least sum of squared distances.

    Where all source points are in one scene there is no scale, and it is NaN.

    Source: Umeyama 1991.
    """
    ones = torch.ones_like(source[..., 0])
    rotation = weighted_kabsch(source, target, ones).rotation
    source_mean, target_mean = source.mean(-2, keepdim=True), target.mean(-2, keepdim=True)
    turned = (source - source_mean) @ rotation.transpose(-1, -2)
    scale = ((target - target_mean) * turned).sum((-1, -2)) / turned.square().sum((-1, -2))
    moved = scale.unsqueeze(-1) * (rotation @ source_mean.transpose(-1, -2)).squeeze(-1)
    return Similarity(scale, Pose(rotation, target_mean.squeeze(-2) - moved))
