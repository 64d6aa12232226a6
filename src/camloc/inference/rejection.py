"""Which answers can be believed: not those of blank images or of foreign ones, and not those far from all
that was learned."""

import torch
from jaxtyping import Shaped
from torch import Tensor

from camloc.data.types import ExpectedError
from camloc.geometry.pose import Pose

# An image whose brightness varies less than this (8-bit levels) shows nothing to go by.
BLANK_DEVIATION = 1.5

# An answer farther from every training camera than each of these was not learned: this many spreads of the
# training cameras; where they stand in one spot, this many times the error to expect; and, in units of the
# world, what is little in any scene.
FARTHEST_SPREADS = 3.0
FARTHEST_ERRORS = 10.0
FARTHEST_FLOOR = 0.5


def image_rejection(image: Shaped[Tensor, "3 h w"]) -> str:
    """Why nothing can be said about an 8-bit image, or "" if something can."""
    return "the image is blank" if float(image.float().mean(0).std()) < BLANK_DEVIATION else ""


def novelty_rejection(novelty: float | None, *, within: float | None) -> str:
    """Why an image is taken for one of another scene, or "" if it is not.

    Args:
        novelty: how unlike it is to those that were learned from (`camloc.models.novelty`).
        within: how unlike an image of the scene may be; None of both where that was not learned.
    """
    if novelty is None or within is None or novelty <= within:
        return ""
    return (
        f"the image is unlike all that were learned from: {novelty / within:.1f} times as unlike as is "
        f"believed"
    )


def pose_rejection(pose: Pose, training: Pose, *, expected: ExpectedError | None) -> str:
    """Why an answer is not believed, or "" if it is.

    Args:
        pose: a single answer, double precision.
        training: (n,) poses that were learned from in that scene.
        expected: how far off answers are, or None where that is not known.
    """
    if not bool(pose.is_finite()):
        return "the network's answer is not a number"
    away = float(torch.linalg.vector_norm(training.translation - pose.translation, dim=-1).min())
    error = 0.0 if expected is None else expected.meters
    farthest = max(FARTHEST_SPREADS * _spread(training), FARTHEST_ERRORS * error, FARTHEST_FLOOR)
    if away <= farthest:
        return ""
    return (
        f"the answer lies far from every training camera: {away / farthest:.1f} times the distance that is "
        f"believed"
    )


def _spread(poses: Pose) -> float:
    """Root mean square distance of the camera centres to their mean."""
    centres = poses.translation
    return float((centres - centres.mean(0)).square().sum(-1).mean().sqrt())
