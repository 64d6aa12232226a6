"""From the errors of frames to the numbers of a table. A lost frame is infinitely wrong.

A quantile is the smallest error that at least that share of the frames does not exceed (the inverse
of the empirical distribution, Hyndman and Fan 1996, definition 1). It is always the error of some
frame, so "half of the frames are within the median" is exactly true, and infinities never meet an
interpolation, where they would turn into NaN. With an even number of frames the median is the lower
of the middle two, where the papers average both.

An infinite number is written as None (`null` in JSON, which knows no infinity). The mean is None as
soon as one frame is lost, a quantile when too many are.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from camloc.errors import DatasetError
from camloc.geometry.pose import PoseError

# Bounds in metres and degrees: 7Scenes, visuallocalization.net's three classes, and between them.
RECALL_BOUNDS = ((0.05, 5.0), (0.1, 1.0), (0.25, 2.0), (0.5, 5.0), (5.0, 10.0))


@dataclass(frozen=True)
class ErrorSummary:
    """Position errors in metres or orientation errors in degrees; None stands for infinity.

    Attributes:
        median: half of the frames are within it.
        mean: the average of all frames; infinite as soon as one is lost.
        quantile_90: nine of ten frames are within it.
        maximum: all frames are within it.
    """

    median: float | None
    mean: float | None
    quantile_90: float | None
    maximum: float | None


@dataclass(frozen=True)
class Recall:
    """The share of all frames, within [0, 1], whose error is at most `meters` and at most `degrees`."""

    meters: float
    degrees: float
    share: float


@dataclass(frozen=True)
class ErrorStatistics:
    """The errors of a number of frames in a few numbers.

    Attributes:
        frames: how many frames there are, lost ones included.
        lost: how many of them have no pose.
        meters: of the camera centres, in the units of the world.
        degrees: of the orientations.
        recalls: the shares of frames within `RECALL_BOUNDS`, in that order.
    """

    frames: int
    lost: int
    meters: ErrorSummary
    degrees: ErrorSummary
    recalls: tuple[Recall, ...]

    def recall(self, meters: float, degrees: float) -> float:
        """The share of frames within one of `RECALL_BOUNDS`."""
        for recall in self.recalls:
            if (recall.meters, recall.degrees) == (meters, degrees):
                return recall.share
        raise KeyError(f"no recall was counted at {meters} m and {degrees} degrees")


def error_statistics(error: PoseError) -> ErrorStatistics:
    """The statistics of (n,) errors, infinite where a frame is lost.

    Raises:
        DatasetError: there are no frames.
        ValueError: an error is NaN or negative.
    """
    meters, degrees = error.meters.double(), error.degrees.double()
    if not len(meters):
        raise DatasetError("there are no frames to evaluate; name a test set that has some")
    if not bool(((meters >= 0) & (degrees >= 0)).all()):
        raise ValueError("an error is not a number or negative, which no comparison of two poses gives")
    lost = meters.isinf() | degrees.isinf()
    return ErrorStatistics(
        frames=len(meters),
        lost=int(lost.sum()),
        meters=_summary(meters.masked_fill(lost, torch.inf)),
        degrees=_summary(degrees.masked_fill(lost, torch.inf)),
        recalls=tuple(
            Recall(far, turned, ((meters <= far) & (degrees <= turned)).double().mean().item())
            for far, turned in RECALL_BOUNDS
        ),
    )


def empirical_quantile(values: Float[Tensor, "n"], share: float) -> float:
    """The smallest of the values that at least `share` of them do not exceed; may be infinite."""
    return float(np.quantile(values.double().numpy(), share, method="inverted_cdf"))


def _summary(values: Float[Tensor, "n"]) -> ErrorSummary:
    return ErrorSummary(
        median=_finite(empirical_quantile(values, 0.5)),
        mean=_finite(values.mean().item()),
        quantile_90=_finite(empirical_quantile(values, 0.9)),
        maximum=_finite(values.max().item()),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
