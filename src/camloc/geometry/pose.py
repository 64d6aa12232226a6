"""`Pose`: a rigid motion, or a batch of them. The name of a variable says between which frames.

Motions are written `b_from_a`, so that neighbouring names cancel: `c_from_b @ b_from_a` is
`c_from_a`. camloc stores and returns `world_from_cam` everywhere: its translation is the camera's
centre in the world, its rotation's columns are the camera's right, down and forward axes.

The motion from one camera to another has two forms in the papers. `reference_from_query` is the rigid
motion that the names say: its translation is the query camera's centre in the axes of the reference
camera, its rotation has the query's axes as columns there. The code of "Camera Pose Auto-Encoders"
(ECCV 2022) has the same rotation, and as translation the step between the centres in the axes of the
world: `world_step`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from camloc.geometry.arrays import Array, array_namespace, device, is_torch_array, to_numpy, undefined_is_nan
from camloc.geometry.rotation import (
    quaternion_wxyz_from_rotation,
    rotation_angle,
    rotation_from_quaternion_wxyz,
)

if TYPE_CHECKING:
    import torch

# Entries of a rotation matrix that was written with four digits are this far from those of a rotation.
_ROTATION_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False, repr=False)
class Pose:
    """A rigid motion `b_from_a`, or a batch of them: `x_b = rotation @ x_a + translation`.

    Both parts are NumPy arrays, or both are torch tensors; every method answers in the kind and the
    precision that it is given. The constructor checks shapes; the `from_*` methods check numbers too.

    Attributes:
        rotation: (*batch, 3, 3), proper rotation matrices, or NaN where the orientation is not known.
        translation: (*batch, 3), in the units of the world (metres).

    Raises:
        ValueError: the shapes do not fit.
        TypeError: one part is a NumPy array and the other a tensor.
    """

    rotation: Float[Array, "*batch 3 3"]
    translation: Float[Array, "*batch 3"]

    def __post_init__(self) -> None:
        array_namespace(self.rotation, self.translation)
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
    def identity(cls, *shape: int) -> "Pose":
        """The motion that moves nothing, repeated to the batch shape `shape`: NumPy, double precision."""
        return cls(np.tile(np.eye(3), (*shape, 1, 1)), np.zeros((*shape, 3)))

    @classmethod
    @undefined_is_nan
    def from_matrix(cls, matrix: Float[Array, "*batch 4 4"]) -> "Pose":
        """From homogeneous 4x4 matrices.

        A rotation that is NaN is one that is not known.

        Raises:
            ValueError: the last row is not (0, 0, 0, 1), or the upper left 3x3 matrix is no proper
                rotation: it scales, shears or mirrors.
        """
        xp = array_namespace(matrix)
        rotation = matrix[..., :3, :3]
        last_row = xp.asarray([0.0, 0.0, 0.0, 1.0], dtype=matrix.dtype, device=device(matrix))
        if not bool(xp.all(matrix[..., 3, :] == last_row)):
            raise ValueError(
                "the last row of a pose's 4x4 matrix is 0 0 0 1; transpose matrices of row vectors"
            )
        excess = xp.abs(rotation @ rotation.mT - xp.eye(3, dtype=matrix.dtype, device=device(matrix)))
        mirrors = xp.linalg.det(rotation) < 0
        if bool(xp.any(excess > _ROTATION_TOLERANCE)) or bool(xp.any(mirrors)):
            raise ValueError(
                "the upper left 3x3 matrix of a pose is no proper rotation: it scales, shears or mirrors; "
                "`nearest_rotation` makes one of it"
            )
        return cls(rotation, matrix[..., :3, 3])

    @classmethod
    def from_quaternion_wxyz(
        cls, quaternion_wxyz: Float[Array, "*batch 4"], translation: Float[Array, "*batch 3"]
    ) -> "Pose":
        """From quaternions (w first, of any length but zero) and translations.

        A quaternion that is NaN is an orientation that is not known.

        Raises:
            ValueError: a quaternion is zero, which is no rotation.
        """
        xp = array_namespace(quaternion_wxyz, translation)
        if bool(xp.any(xp.all(quaternion_wxyz == 0, axis=-1))):
            raise ValueError(
                "a quaternion of a pose is zero, which is no rotation; give NaN where it is unknown"
            )
        return cls(rotation_from_quaternion_wxyz(quaternion_wxyz), translation)

    @classmethod
    def from_quaternion_xyzw(
        cls, quaternion_xyzw: Float[Array, "*batch 4"], translation: Float[Array, "*batch 3"]
    ) -> "Pose":
        """From quaternions (w last, of any length but zero) and translations.

        A quaternion that is NaN is an orientation that is not known.

        Raises:
            ValueError: a quaternion is zero, which is no rotation.
        """
        xp = array_namespace(quaternion_xyzw)
        quaternion_wxyz = xp.concat((quaternion_xyzw[..., 3:], quaternion_xyzw[..., :3]), axis=-1)
        return cls.from_quaternion_wxyz(quaternion_wxyz, translation)

    @classmethod
    def stack(cls, poses: "Sequence[Pose]") -> "Pose":
        """A batch from single poses (or from batches of equal shape), along a new first axis."""
        xp = array_namespace(*(pose.translation for pose in poses))
        return cls(
            xp.stack([pose.rotation for pose in poses]), xp.stack([pose.translation for pose in poses])
        )

    @classmethod
    def cat(cls, poses: "Sequence[Pose]") -> "Pose":
        """One batch from several, along their first axis."""
        xp = array_namespace(*(pose.translation for pose in poses))
        return cls(
            xp.concat([pose.rotation for pose in poses]), xp.concat([pose.translation for pose in poses])
        )

    def __repr__(self) -> str:
        """The numbers of a single pose; of a batch its shape, precision and scene."""
        if not self.shape:
            position = ", ".join(f"{number:.4g}" for number in to_numpy(self.translation))
            quaternion = ", ".join(f"{number:.4f}" for number in to_numpy(self.quaternion_wxyz()))
            return f"Pose(translation=[{position}], quaternion_wxyz=[{quaternion}])"
        kind = f"torch, {self.translation.device}" if is_torch_array(self.translation) else "numpy"
        precision = str(self.translation.dtype).removeprefix("torch.")
        return f"Pose(shape={self.shape}, {precision}, {kind})"

    @property
    def shape(self) -> tuple[int, ...]:
        """The batch shape: empty for a single pose."""
        return tuple(self.translation.shape[:-1])

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a single pose has no length")
        return self.shape[0]

    def __getitem__(self, index: int | slice | Array) -> "Pose":
        if not self.shape:
            raise TypeError("a single pose cannot be indexed")
        return Pose(self.rotation[index], self.translation[index])

    def __iter__(self) -> "Iterator[Pose]":
        return (self[index] for index in range(len(self)))

    def __matmul__(self, other: "Pose") -> "Pose":
        """`c_from_b @ b_from_a` is `c_from_a`."""
        rotation = self.rotation @ other.rotation
        moved = (self.rotation @ other.translation[..., None])[..., 0]
        return Pose(rotation, moved + self.translation)

    def inverse(self) -> "Pose":
        """`a_from_b` of `b_from_a`."""
        rotation = self.rotation.mT
        return Pose(rotation, -(rotation @ self.translation[..., None])[..., 0])

    def apply(self, points: Float[Array, "*batch n 3"]) -> Float[Array, "*batch n 3"]:
        """Points (n to each pose) of frame a, given in frame b."""
        array_namespace(points, self.translation)
        return points @ self.rotation.mT + self.translation[..., None, :]

    def matrix(self) -> Float[Array, "*batch 4 4"]:
        """Homogeneous 4x4 matrices."""
        xp = array_namespace(self.rotation)
        matrix = xp.zeros((*self.shape, 4, 4), dtype=self.rotation.dtype, device=device(self.rotation))
        matrix[..., :3, :3] = self.rotation
        matrix[..., :3, 3] = self.translation
        matrix[..., 3, 3] = 1.0
        return matrix

    def quaternion_wxyz(self) -> Float[Array, "*batch 4"]:
        """Unit quaternions, w first and not negative."""
        return quaternion_wxyz_from_rotation(self.rotation)

    def quaternion_xyzw(self) -> Float[Array, "*batch 4"]:
        """Unit quaternions, w last and not negative."""
        quaternion_wxyz = self.quaternion_wxyz()
        xp = array_namespace(quaternion_wxyz)
        return xp.concat((quaternion_wxyz[..., 1:], quaternion_wxyz[..., :1]), axis=-1)

    def numpy(self) -> "Pose":
        """The same motion as NumPy arrays, in the same precision; memory is shared where it can be."""
        return Pose(to_numpy(self.rotation), to_numpy(self.translation))

    def tensor(
        self, dtype: "torch.dtype | None" = None, device: "torch.device | str | None" = None
    ) -> "Pose":
        """The same motion as torch tensors, in the same precision unless another one is asked for.

        Args:
            dtype: precision, or None for that of this pose.
            device: where the tensors are, or None for where this pose is.
        """
        import torch

        def as_tensor(part: Array) -> torch.Tensor:
            # NumPy arrays are copied: torch would share them, and warns where they are read-only.
            part = part if is_torch_array(part) else torch.tensor(part)
            return torch.as_tensor(part, dtype=dtype, device=device)

        return Pose(as_tensor(self.rotation), as_tensor(self.translation))

    def to(self, target: Any) -> "Pose":
        """The same motion in another precision or on another device; the kind of array stays.

        Args:
            target: for tensors a torch dtype or device, for NumPy arrays a NumPy dtype.
        """
        if is_torch_array(self.rotation):
            return Pose(self.rotation.to(target), self.translation.to(target))
        return Pose(self.rotation.astype(target), self.translation.astype(target))

    def has_orientation(self) -> Bool[Array, "*batch"]:
        """Whether a pose is more than a position: its rotation is known."""
        xp = array_namespace(self.rotation)
        return xp.isfinite(self.rotation).all(-1).all(-1)

    def without_orientation(self) -> "Pose":
        """The positions alone, as GPS gives them: rotations that are not known."""
        xp = array_namespace(self.rotation)
        return Pose(xp.full_like(self.rotation, xp.nan), self.translation)

    def is_finite(self) -> Bool[Array, "*batch"]:
        """Whether every number of a pose is finite."""
        xp = array_namespace(self.translation)
        return self.has_orientation() & xp.isfinite(self.translation).all(-1)


class PoseError(NamedTuple):
    """How far estimates are from the truth.

    Attributes:
        meters: (*batch,) distance between the camera centres, in the units of the world.
        degrees: (*batch,) angle between the orientations, within [0, 180].
    """

    meters: Float[Array, "*batch"]
    degrees: Float[Array, "*batch"]


def pose_error(estimate: Pose, truth: Pose) -> PoseError:
    """Position and orientation error between camera poses, both as `world_from_cam`.

    Position is only an error of the camera's centre in this direction: for `cam_from_world` the
    difference of translations mixes the two, while the angle is the same either way.
    """
    xp = array_namespace(estimate.translation, truth.translation)
    meters = xp.linalg.vector_norm(estimate.translation - truth.translation, axis=-1)
    return PoseError(meters, xp.rad2deg(rotation_angle(estimate.rotation, truth.rotation)))


def reference_from_query(world_from_reference: Pose, world_from_query: Pose) -> Pose:
    """The query camera's pose as the reference camera sees it."""
    return world_from_reference.inverse() @ world_from_query


def world_from_query(world_from_reference: Pose, motion: Pose) -> Pose:
    """The query's pose, from the reference's and `reference_from_query`."""
    return world_from_reference @ motion


def world_step(world_from_reference: Pose, motion: Pose) -> Float[Array, "*batch 3"]:
    """The step from the reference's centre to the query's in axes of the world, of `reference_from_query`."""
    return (world_from_reference.rotation @ motion.translation[..., None])[..., 0]


def motion_of_step(
    world_from_reference: Pose, step: Float[Array, "*batch 3"], rotation: Float[Array, "*batch 3 3"]
) -> Pose:
    """`reference_from_query`, from a step in axes of the world and the query's axes in the reference's."""
    return Pose(rotation, (world_from_reference.rotation.mT @ step[..., None])[..., 0])
