"""Which known pose is nearest, and what poses are on average: the baselines of every result."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from camloc.geometry.pose import Pose, pose_error
from camloc.geometry.rotation import nearest_rotation


def nearest_pose(
    queries: Pose, references: Pose, *, meters_per_degree: float, chunk: int = 1024
) -> tuple[Int[Tensor, "q"], Float[Tensor, "q"]]:
    """For each query the index of the nearest reference, and that distance.

    The distance is `meters + meters_per_degree * degrees`: a pose is far when its centre is far or
    when it looks elsewhere. With `meters_per_degree=0` only the centres count.

    Args:
        queries: (q,) poses, as `world_from_cam`.
        references: (r,) poses in the same world.
        meters_per_degree: how many metres one degree weighs.
        chunk: queries that are compared at once, which bounds memory at `chunk` x r.

    Raises:
        ValueError: there are no references.
    """
    if len(references) == 0:
        raise ValueError("there are no reference poses that could be nearest")
    nearest, distances = [], []
    for start in range(0, max(len(queries), 1), chunk):
        block = queries[start : start + chunk]
        rows = Pose(block.rotation[:, None], block.translation[:, None])
        columns = Pose(references.rotation[None], references.translation[None])
        error = pose_error(rows, columns)
        # Without a weight, orientations need not be known.
        distance = error.meters + meters_per_degree * error.degrees if meters_per_degree else error.meters
        best = distance.min(dim=1)
        nearest.append(best.indices)
        distances.append(best.values)
    return torch.cat(nearest), torch.cat(distances)


def mean_pose(poses: Pose) -> Pose:
    """One pose in the middle of a batch: the mean centre, and the chordal mean of the rotations.

    Rotations that are not known do not count; where none is, neither is their mean.
    """
    rotation = poses.rotation[poses.has_orientation()].mean(0)
    return Pose(nearest_rotation(rotation), poses.translation.mean(0))
