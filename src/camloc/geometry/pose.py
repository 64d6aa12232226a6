"""`Pose`: a rigid motion, or a batch of them. The name of a variable says between which frames.

Motions are written `b_from_a`, so that neighbouring names cancel: `c_from_b @ b_from_a` is
`c_from_a`. camloc stores and returns `world_from_cam` everywhere: its translation is the camera's
centre in the world, its rotation's columns are the camera's right, down and forward axes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from camloc.geometry.rotation import (
    quaternion_wxyz_from_rotation,
    rotation_angle,
    rotation_from_quaternion_wxyz,
)


@dataclass(frozen=True, eq=False)
class Pose:
    """A rigid motion `b_from_a`, or a batch of them: `x_b = rotation @ x_a + translation`.

    Attributes:
        rotation: (*batch, 3, 3), proper rotation matrices, or NaN where the orientation is not known.
        translation: (*batch, 3), in the units of the world (metres).
    """

    rotation: Float[Tensor, "*batch 3 3"]
    translation: Float[Tensor, "*batch 3"]

    def __post_init__(self) -> None:
        if self.rotation.shape[-2:] != (3, 3) or self.translation.shape[-1:] != (3,):
            raise ValueError(
                f"a pose needs a (*, 3, 3) rotation and a (*, 3) translation, not "
                f"{tuple(self.rotation.shape)} and {tuple(self.translation.shape)}"
            )
        if self.rotation.shape[:-2] != self.translation.shape[:-1]:
            raise ValueError(
                f"rotation and translation have different batch shapes: "
                f"{tuple(self.rotation.shape[:-2])} and {tuple(self.translation.shape[:-1])}"
            )

    @classmethod
    def identity(cls, *shape: int, dtype: torch.dtype = torch.float64) -> "Pose":
        """The motion that moves nothing, repeated to the batch shape `shape`."""
        return cls(torch.eye(3, dtype=dtype).expand(*shape, 3, 3), torch.zeros(*shape, 3, dtype=dtype))

    @classmethod
    def from_matrix(cls, matrix: Float[Tensor, "*batch 4 4"]) -> "Pose":
        """From homogeneous 4x4 matrices; the last row is not read."""
        return cls(matrix[..., :3, :3], matrix[..., :3, 3])

    @classmethod
    def from_quaternion_wxyz(
        cls, quaternion_wxyz: Float[Tensor, "*batch 4"], translation: Float[Tensor, "*batch 3"]
    ) -> "Pose":
        """From quaternions (w first, of any length but zero) and translations."""
        return cls(rotation_from_quaternion_wxyz(quaternion_wxyz), translation)

    @classmethod
    def stack(cls, poses: "Sequence[Pose]") -> "Pose":
        """A batch from single poses (or from batches of equal shape), along a new first axis."""
        return cls(
            torch.stack([pose.rotation for pose in poses]),
            torch.stack([pose.translation for pose in poses]),
        )

    @classmethod
    def cat(cls, poses: "Sequence[Pose]") -> "Pose":
        """One batch from several, along their first axis."""
        return cls(
            torch.cat([pose.rotation for pose in poses]), torch.cat([pose.translation for pose in poses])
        )

    @property
    def shape(self) -> torch.Size:
        """The batch shape: empty for a single pose."""
        return self.translation.shape[:-1]

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a single pose has no length")
        return self.shape[0]

    def __getitem__(self, index: int | slice | Tensor) -> "Pose":
        if not self.shape:
            raise TypeError("a single pose cannot be indexed")
        return Pose(self.rotation[index], self.translation[index])

    def __iter__(self) -> "Iterator[Pose]":
        return (self[index] for index in range(len(self)))

    def __matmul__(self, other: "Pose") -> "Pose":
        """`c_from_b @ b_from_a` is `c_from_a`."""
        rotation = self.rotation @ other.rotation
        moved = (self.rotation @ other.translation.unsqueeze(-1)).squeeze(-1)
        return Pose(rotation, moved + self.translation)

    def inverse(self) -> "Pose":
        """`a_from_b` of `b_from_a`."""
        rotation = self.rotation.transpose(-1, -2)
        return Pose(rotation, -(rotation @ self.translation.unsqueeze(-1)).squeeze(-1))

    def apply(self, points: Float[Tensor, "*batch n 3"]) -> Float[Tensor, "*batch n 3"]:
        """Points (n to each pose) of frame a, given in frame b."""
        return points @ self.rotation.transpose(-1, -2) + self.translation.unsqueeze(-2)

    def matrix(self) -> Float[Tensor, "*batch 4 4"]:
        """Homogeneous 4x4 matrices."""
        matrix = self.rotation.new_zeros(*self.shape, 4, 4)
        matrix[..., :3, :3] = self.rotation
        matrix[..., :3, 3] = self.translation
        matrix[..., 3, 3] = 1.0
        return matrix

    def quaternion_wxyz(self) -> Float[Tensor, "*batch 4"]:
        """Unit quaternions, w first and not negative."""
        return quaternion_wxyz_from_rotation(self.rotation)

    def to(self, target: torch.dtype | torch.device | str) -> "Pose":
        """The same motion in another precision or on another device."""
        return Pose(self.rotation.to(target), self.translation.to(target))

    def has_orientation(self) -> Tensor:
        """(*batch,) whether a pose is more than a position: its rotation is known."""
        return self.rotation.isfinite().all(-1).all(-1)

    def without_orientation(self) -> "Pose":
        """The positions alone, as GPS gives them: rotations that are not known."""
        return Pose(torch.full_like(self.rotation, torch.nan), self.translation)

    def is_finite(self) -> Tensor:
        """(*batch,) whether every number of a pose is finite."""
        return self.rotation.isfinite().all(-1).all(-1) & self.translation.isfinite().all(-1)


class PoseError(NamedTuple):
    """How far estimates are from the truth.

    Attributes:
        meters: (*batch,) distance between the camera centres, in the units of the world.
        degrees: (*batch,) angle between the orientations, within [0, 180].
    """

    meters: Float[Tensor, "*batch"]
    degrees: Float[Tensor, "*batch"]


def pose_error(estimate: Pose, truth: Pose) -> PoseError:
    """Position and orientation error between camera poses, both as `world_from_cam`.

    Position is only an error of the camera's centre in this direction: for `cam_from_world` the
    difference of translations mixes the two, while the angle is the same either way.
    """
    meters = torch.linalg.vector_norm(estimate.translation - truth.translation, dim=-1)
    return PoseError(meters, torch.rad2deg(rotation_angle(estimate.rotation, truth.rotation)))
