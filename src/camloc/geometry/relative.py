"""The way from one camera to another, in the two forms that papers use.

`reference_from_query` is the rigid motion that the names say: its translation is the query camera's centre in
the axes of the reference camera, its rotation has the query's axes as columns there. The code of "Camera Pose
Auto-Encoders" (ECCV 2022) has the same rotation, and as translation the step between the centres in the axes
of the world: `world_step`.
"""

from jaxtyping import Float
from torch import Tensor

from camloc.geometry.pose import Pose


def reference_from_query(world_from_reference: Pose, world_from_query: Pose) -> Pose:
    """The query camera's pose as the reference camera sees it."""
    return world_from_reference.inverse() @ world_from_query


def world_from_query(world_from_reference: Pose, motion: Pose) -> Pose:
    """The query's pose, from the reference's and `reference_from_query`."""
    return world_from_reference @ motion


def world_step(world_from_reference: Pose, motion: Pose) -> Float[Tensor, "*batch 3"]:
    """The step from the reference's centre to the query's in axes of the world, of `reference_from_query`."""
    step: Tensor = (world_from_reference.rotation @ motion.translation.unsqueeze(-1)).squeeze(-1)
    return step


def motion_of_step(
    world_from_reference: Pose, step: Float[Tensor, "*batch 3"], rotation: Float[Tensor, "*batch 3 3"]
) -> Pose:
    """`reference_from_query`, from a step in axes of the world and the query's axes in the reference's."""
    translation: Tensor = (world_from_reference.rotation.mT @ step.unsqueeze(-1)).squeeze(-1)
    return Pose(rotation, translation)
