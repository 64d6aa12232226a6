"""How honest covariances are: the share of true poses inside the regions that answers state."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
from numpy.typing import NDArray
from scipy.stats import chi2

from camloc.data.types import Estimate, Located
from camloc.geometry.pose import Pose
from camloc.geometry.rotation import rotation_vector

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.68, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Reliability:
    """Shares of true poses inside the regions of some confidence levels.

    Attributes:
        frames: number of answers with a covariance.
        levels: the stated confidence, from 0 to 1.
        position, orientation: the share of frames whose true centre and whose true orientation are inside
            the region of each level. Of honest covariances they equal the levels.
    """

    frames: int
    levels: tuple[float, ...]
    position: tuple[float, ...]
    orientation: tuple[float, ...]

    def at(self, level: float) -> tuple[float, float]:
        """The shares of position and of orientation at one of the levels."""
        row = self.levels.index(level)
        return self.position[row], self.orientation[row]


def reliability(squares: Float64[NDArray[np.float64], "n 2"]) -> Reliability | None:
    """The shares at `LEVELS` of squared deviations (`squared_deviations`); None where there are none."""
    if not len(squares):
        return None
    limits = chi2.ppf(LEVELS, df=3)
    shares = (squares[:, None] <= limits[:, None]).mean(axis=0)
    position, orientation = (tuple(float(share) for share in column) for column in shares.T)
    return Reliability(len(squares), LEVELS, position, orientation)


def reliability_of(answers: Sequence[Estimate], truth: Pose) -> Reliability | None:
    """The reliability of the answers that have a covariance; None where none has.

    Args:
        answers: n estimates.
        truth: (n,) true poses.
    """
    squares = [
        squared_deviations(true.numpy(), answer.world_from_cam.numpy(), answer.covariance)
        for answer, true in zip(answers, truth, strict=True)
        if isinstance(answer, Located) and answer.covariance is not None
    ]
    return reliability(np.array(squares).reshape(-1, 2))


def squared_deviations(
    truth: Pose, found: Pose, covariance: Float[NDArray[np.float64], "6 6"]
) -> tuple[float, float]:
    """Squared Mahalanobis distances of the true centre and of the true orientation, each of three numbers.

    Args:
        truth, found: poses of NumPy arrays, `world_from_cam`.
        covariance: of `found`, as `Located.covariance` has it.
    """
    turn = rotation_vector(truth.rotation @ found.rotation.T)
    shift = truth.translation - found.translation
    return (
        float(shift @ np.linalg.solve(covariance[3:, 3:], shift)),
        float(turn @ np.linalg.solve(covariance[:3, :3], turn)),
    )
