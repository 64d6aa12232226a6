"""What no learning at all would give, printed beside every result.

The nearest training pose is an oracle: it is looked up with the true pose of the test frame, which
nobody has in use, so it bounds what copying the pose of the best training photograph can reach.
There are two of it, since near in position and near in orientation are two things:

* `nearest_pose` minimises `meters + meters_per_degree * degrees`, with the weight of
  `balance_of(training)`. This is the baseline that "the nearest training pose" means in camloc.
* `nearest_position` minimises metres alone and takes the orientation as it comes. Position errors
  below it are better than any training camera's place; where people walked to and fro its
  orientation may be anything.

The mean pose is what a model says that has learned the place but not to look at the photograph.
"""

from typing import NamedTuple

from camloc.errors import DatasetError
from camloc.geometry.neighbours import mean_pose, nearest_pose
from camloc.geometry.pose import Pose, PoseError, pose_error

# Pairs of poses that are compared at once; nine numbers a pair, and a few copies of them.
_PAIRS = 500_000

# Below these a training set does not move, or does not turn, but for rounding.
_STILL_METERS, _STILL_DEGREES = 1e-9, 1e-6


class BaselineErrors(NamedTuple):
    """Errors, (n,) each, of three answers that need no learning.

    Attributes:
        nearest_pose: the training pose that is nearest in position and orientation together.
        nearest_position: the training pose with the nearest camera centre.
        mean_pose: the mean of the training poses.
    """

    nearest_pose: PoseError
    nearest_position: PoseError
    mean_pose: PoseError


def balance_of(training: Pose) -> float:
    """How many metres one degree weighs in a place: the spread of its positions over that of its angles.

    Both spreads are the mean error of the training poses' own mean pose. A turn of one degree moves
    a photograph's content as far as a step of about depth x tan(1 degree) does, and places whose
    cameras spread over more metres are seen from farther; the ratio stands in for that depth, which
    is not known. It scales with the world, so that the choice is the same in any unit.

    Args:
        training: (n,) poses.
    """
    error = pose_error(training, mean_pose(training))
    meters, degrees = error.meters.mean().item(), error.degrees.mean().item()
    if degrees < _STILL_DEGREES:
        return 0.0
    return meters / degrees if meters > _STILL_METERS else 1.0


def nearest_training_pose(truth: Pose, training: Pose, *, meters_per_degree: float) -> Pose:
    """For each of (n,) true poses the training pose with the least weighted error: (n,) poses."""
    chunk = max(1, _PAIRS // len(training))
    index, _ = nearest_pose(truth, training, meters_per_degree=meters_per_degree, chunk=chunk)
    return training[index]


def baseline_errors(truth: Pose, training: Pose) -> BaselineErrors:
    """Errors of the baselines on (n,) true poses, given the (m,) training poses of the same world.

    Raises:
        DatasetError: there are no test poses or no training poses.
    """
    if not len(truth) or not len(training):
        raise DatasetError(
            f"baselines need training and test poses, not {len(training)} and {len(truth)}; "
            f"evaluate on a scene that has both"
        )
    jointly = nearest_training_pose(truth, training, meters_per_degree=balance_of(training))
    by_position = nearest_training_pose(truth, training, meters_per_degree=0.0)
    return BaselineErrors(
        nearest_pose=pose_error(jointly, truth),
        nearest_position=pose_error(by_position, truth),
        mean_pose=pose_error(mean_pose(training), truth),
    )
