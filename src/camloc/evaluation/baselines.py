"""Errors of answers that need no learning, printed beside every result.

The nearest training pose is an oracle: it is looked up with the true pose of the test frame, which is unknown
in use, so it bounds what copying the pose of the best training image can reach. There are two of it, since
near in position and near in orientation are two things:

* `nearest_pose` minimises `meters + meters_per_degree * degrees`, with the weight of
  `meters_per_degree_of(training)`. This is the baseline that "the nearest training pose" means in camloc.
* `nearest_position` minimises metres alone, whatever the orientation. A position error below it is smaller
  than the distance to any training camera; where people walked to and fro its orientation may be anything.

The mean pose is the answer of a model that has learned the scene but ignores the image.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from camloc.errors import DatasetError
from camloc.geometry.pose import Pose, PoseError, pose_error
from camloc.geometry.pose_search import mean_pose

# Pairs of poses that are compared at once, which bounds memory.
_PAIRS = 2_000_000

# Below these a training set does not move, or does not turn, except by rounding.
_NO_METERS, _NO_DEGREES = 1e-9, 1e-6


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


def meters_per_degree_of(training: Pose) -> float:
    """How many metres one degree weighs in a scene: the mean error of the mean pose in metres over degrees.

    A turn of one degree moves an image's content as far as a step of about depth x tan(1 degree) does, and
    scenes whose cameras cover more metres are seen from farther; the ratio replaces that depth, which is not
    known. It scales with the world, so that the choice is the same in any unit.

    Args:
        training: (n,) poses.
    """
    training = training.numpy()
    error = pose_error(training, mean_pose(training))
    meters, degrees = float(error.meters.mean()), float(error.degrees.mean())
    if degrees < _NO_DEGREES:
        return 0.0
    return meters / degrees if meters > _NO_METERS else 1.0


def nearest_training_pose(truth: Pose, training: Pose, *, meters_per_degree: float) -> Pose:
    """For each of (n,) true poses the training pose with the least weighted error: (n,) poses.

    Angles come from the distance of unit quaternions, `4 asin(distance / 2)` to the nearer of the two
    signs, which is as exact as `pose_error` and compares millions of pairs in a second.
    """
    truth, training = (poses.numpy().to(np.float64) for poses in (truth, training))
    centres, quaternions = training.translation, training.quaternion_wxyz()
    nearest = []
    for start in range(0, len(truth), rows := max(1, _PAIRS // len(training))):
        block = truth[start : start + rows]
        cost = cdist(block.translation, centres)
        if meters_per_degree:
            turned = block.quaternion_wxyz()
            chord = np.minimum(cdist(turned, quaternions), cdist(turned, -quaternions))
            cost += meters_per_degree * np.rad2deg(4.0 * np.arcsin(np.minimum(chord / 2.0, 1.0)))
        nearest.append(cost.argmin(axis=1))
    return training[np.concatenate(nearest)]


def baseline_errors(truth: Pose, training: Pose, *, meters_per_degree: float | None = None) -> BaselineErrors:
    """Errors of the baselines.

    Args:
        truth: (n,) true poses of test frames.
        training: (m,) poses of the training frames of the same world.
        meters_per_degree: `meters_per_degree_of(training)`, where it is known already.

    Raises:
        DatasetError: there are no test poses or no training poses.
    """
    if not len(truth) or not len(training):
        raise DatasetError(
            f"baselines need training and test poses, not {len(training)} and {len(truth)}; "
            f"evaluate on a scene that has both"
        )
    truth, training = truth.numpy(), training.numpy()
    if meters_per_degree is None:
        meters_per_degree = meters_per_degree_of(training)
    jointly = nearest_training_pose(truth, training, meters_per_degree=meters_per_degree)
    by_position = nearest_training_pose(truth, training, meters_per_degree=0.0)
    return BaselineErrors(
        nearest_pose=pose_error(jointly, truth),
        nearest_position=pose_error(by_position, truth),
        mean_pose=pose_error(mean_pose(training), truth),
    )
