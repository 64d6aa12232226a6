"""The rigid motion (and scale) that best carries one set of points onto another, in closed form."""

from typing import NamedTuple

from jaxtyping import Float

from camloc.geometry.arrays import Array, array_namespace, mean_over, sum_of_rows, undefined_is_nan
from camloc.geometry.pose import Pose
from camloc.geometry.rotation import nearest_rotation


@undefined_is_nan
def weighted_kabsch(
    source: Float[Array, "*batch n 3"],
    target: Float[Array, "*batch n 3"],
    weights: Float[Array, "*batch n"],
) -> Pose:
    """The motion `target_from_source` with the least weighted sum of squared distances.

    Weights are non-negative and of any scale; if all are zero, the pose is NaN. All points must be finite,
    also those of weight zero. The covariance is a weighted sum over points, without an n x n matrix of
    weights. The rotation is always proper, never a reflection. Where the best rotation is not unique (all
    points coincide or lie on one line), one of the best is returned.

    Source: Kabsch 1976; weights as in "Implicit Learning of Scene Geometry", section III-B.
    """
    xp = array_namespace(source, target, weights)
    share = (weights / xp.sum(weights, axis=-1, keepdims=True))[..., None]
    source_mean = sum_of_rows(share * source)
    target_mean = sum_of_rows(share * target)
    covariance = (share * (target - target_mean)).mT @ (source - source_mean)
    rotation = nearest_rotation(covariance)
    translation = target_mean[..., 0, :] - (rotation @ source_mean.mT)[..., 0]
    return Pose(rotation, translation)


@undefined_is_nan
def alignment_residual(
    target_from_source: Pose,
    source: Float[Array, "*batch n 3"],
    target: Float[Array, "*batch n 3"],
    weights: Float[Array, "*batch n"],
) -> Float[Array, "*batch"]:
    """Weighted root mean square distance between the points after the motion, in their units."""
    xp = array_namespace(source, target, weights)
    share = weights / xp.sum(weights, axis=-1, keepdims=True)
    squares = xp.sum(xp.square(target - target_from_source.apply(source)), axis=-1)
    return xp.sqrt(xp.sum(share * squares, axis=-1))


class Similarity(NamedTuple):
    """A rigid motion after a change of scale: `x_b = scale * rotation @ x_a + translation`."""

    scale: Float[Array, "*batch"]
    motion: Pose

    def apply(self, points: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
        """Move points by a single similarity."""
        return self.scale * (points @ self.motion.rotation.mT) + self.motion.translation


@undefined_is_nan
def umeyama(source: Float[Array, "*batch n 3"], target: Float[Array, "*batch n 3"]) -> Similarity:
    """The similarity `target_from_source` with the least sum of squared distances.

    If all source points coincide, the scale is NaN.

    Source: Umeyama 1991.
    """
    xp = array_namespace(source, target)
    rotation = weighted_kabsch(source, target, xp.ones_like(source[..., 0])).rotation
    source_mean = mean_over(source, axis=-2, keepdims=True)
    target_mean = mean_over(target, axis=-2, keepdims=True)
    rotated = (source - source_mean) @ rotation.mT
    products, squares = (target - target_mean) * rotated, xp.square(rotated)
    scale = xp.sum(products, axis=(-1, -2)) / xp.sum(squares, axis=(-1, -2))
    shift = scale[..., None] * (rotation @ source_mean.mT)[..., 0]
    return Similarity(scale, Pose(rotation, target_mean[..., 0, :] - shift))
