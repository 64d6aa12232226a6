"""`Pose`: a rigid motion, or a batch of them. The name of a variable says between which frames.

Motions are named `b_from_a`, so that neighbouring names cancel: `c_from_b @ b_from_a` is
`c_from_a`. camloc stores and returns `world_from_cam` everywhere: its translation is the camera's
centre in the world, and the columns of its rotation are the camera's right, down and forward axes.

The motion between two cameras has two forms in the papers. `reference_from_query` is a rigid motion: its
translation is the query camera's centre in the axes of the reference camera, and the columns of its
rotation are the query's axes in the reference. The code of "Camera Pose Auto-Encoders" (ECCV 2022) uses the
same rotation, but as translation the difference of the centres in world axes: `world_step`.
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

# Largest error in the entries of R R^T for a rotation matrix that was written with four digits.
_ROTATION_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False, repr=False)
class Pose:
    """A rigid motion `b_from_a`, or a batch of them: `x_b = rotation @ x_a + translation`.

    Both parts are NumPy arrays, or both are torch tensors; every method returns the kind and the precision of
    its arguments. The constructor checks shapes; the `from_*` methods also check numbers.

    Attributes:
        rotation: (*batch, 3, 3), proper rotation matrices, or NaN where the orientation is unknown.
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
        """The identity, repeated to the batch shape `shape`, as NumPy arrays in double precision."""
        return cls(np.tile(np.eye(3), (*shape, 1, 1)), np.zeros((*shape, 3)))

    @classmethod
    @undefined_is_nan
    def from_matrix(cls, matrix: Float[Array, "*batch 4 4"]) -> "Pose":
        """Create poses from homogeneous 4x4 matrices.

        A rotation of NaN stands for an unknown orientation.

        Raises:
            ValueError: the last row is not (0, 0, 0, 1), or the upper left 3x3 matrix scales, shears or
                mirrors.
        """
        xp = array_namespace(matrix)
        rotation = matrix[..., :3, :3]
        last_row = xp.asarray([0.0, 0.0, 0.0, 1.0], dtype=matrix.dtype, device=device(matrix))
        if not bool(xp.all(matrix[..., 3, :] == last_row)):
            raise ValueError(
                "the last row of a pose's 4x4 matrix must be 0 0 0 1; transpose matrices of row vectors"
            )
        excess = xp.abs(rotation @ rotation.mT - xp.eye(3, dtype=matrix.dtype, device=device(matrix)))
        mirrors = xp.linalg.det(rotation) < 0
        if bool(xp.any(excess > _ROTATION_TOLERANCE)) or bool(xp.any(mirrors)):
            raise ValueError(
                "the upper left 3x3 matrix of a pose is no proper rotation: it scales, shears or mirrors; "
                "pass it through `nearest_rotation` first"
            )
        return cls(rotation, matrix[..., :3, 3])

    @classmethod
    def from_quaternion_wxyz(
        cls, quaternion_wxyz: Float[Array, "*batch 4"], translation: Float[Array, "*batch 3"]
    ) -> "Pose":
        """Create poses from quaternions (w first, of any length but zero) and translations.

        A quaternion of NaN stands for an unknown orientation.

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
        """Create poses from quaternions (w last, of any length but zero) and translations.

        A quaternion of NaN stands for an unknown orientation.

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
        """The numbers of a single pose; the shape, precision and device of a batch."""
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
        shifted = (self.rotation @ other.translation[..., None])[..., 0]
        return Pose(rotation, shifted + self.translation)

    def inverse(self) -> "Pose":
        """`a_from_b` of `b_from_a`."""
        rotation = self.rotation.mT
        return Pose(rotation, -(rotation @ self.translation[..., None])[..., 0])

    def apply(self, points: Float[Array, "*batch n 3"]) -> Float[Array, "*batch n 3"]:
        """Points (n for each pose) in coordinates of frame a, transformed to frame b."""
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
        """The same motion as NumPy arrays, in the same precision; memory is shared where possible."""
        return Pose(to_numpy(self.rotation), to_numpy(self.translation))

    def tensor(
        self, dtype: "torch.dtype | None" = None, device: "torch.device | str | None" = None
    ) -> "Pose":
        """The same motion as torch tensors.

        Args:
            dtype: precision; None keeps the precision of this pose.
            device: device of the tensors; None keeps the device of this pose.
        """
        import torch

        def as_tensor(part: Array) -> torch.Tensor:
            # NumPy arrays are copied: torch would share their memory, and warns if they are read-only.
            part = part if is_torch_array(part) else torch.tensor(part)
            return torch.as_tensor(part, dtype=dtype, device=device)

        return Pose(as_tensor(self.rotation), as_tensor(self.translation))

    def to(self, target: Any) -> "Pose":
        """The same motion in another precision or on another device; the kind of array does not change.

        Args:
            target: for tensors a torch dtype or device, for NumPy arrays a NumPy dtype.
        """
        if is_torch_array(self.rotation):
            return Pose(self.rotation.to(target), self.translation.to(target))
        return Pose(self.rotation.astype(target), self.translation.astype(target))

    def has_orientation(self) -> Bool[Array, "*batch"]:
        """Whether the orientation is known (finite)."""
        xp = array_namespace(self.rotation)
        return xp.isfinite(self.rotation).all(-1).all(-1)

    def without_orientation(self) -> "Pose":
        """The same positions with unknown orientations (NaN), as GPS gives them."""
        xp = array_namespace(self.rotation)
        return Pose(xp.full_like(self.rotation, xp.nan), self.translation)

    def is_finite(self) -> Bool[Array, "*batch"]:
        """Whether every number of a pose is finite."""
        xp = array_namespace(self.translation)
        return self.has_orientation() & xp.isfinite(self.translation).all(-1)


class PoseError(NamedTuple):
    """Errors of estimated camera poses.

    Attributes:
        meters: (*batch,) distance between the camera centres, in the units of the world.
        degrees: (*batch,) angle between the orientations, within [0, 180].
    """

    meters: Float[Array, "*batch"]
    degrees: Float[Array, "*batch"]


def pose_error(estimate: Pose, truth: Pose) -> PoseError:
    """Position and orientation error between camera poses, both as `world_from_cam`.

    The direction matters: a difference of translations of `cam_from_world` mixes position and orientation
    error. The angle is the same in both directions.
    """
    xp = array_namespace(estimate.translation, truth.translation)
    meters = xp.linalg.vector_norm(estimate.translation - truth.translation, axis=-1)
    return PoseError(meters, xp.rad2deg(rotation_angle(estimate.rotation, truth.rotation)))


def reference_from_query(world_from_reference: Pose, world_from_query: Pose) -> Pose:
    """The pose of the query camera in the axes of the reference camera."""
    return world_from_reference.inverse() @ world_from_query


def world_from_query(world_from_reference: Pose, motion: Pose) -> Pose:
    """The query's pose, from the reference's pose and `motion`, a `reference_from_query`."""
    return world_from_reference @ motion


def world_step(world_from_reference: Pose, motion: Pose) -> Float[Array, "*batch 3"]:
    """The query's centre minus the reference's in world axes, given `reference_from_query` as `motion`."""
    return (world_from_reference.rotation @ motion.translation[..., None])[..., 0]


def motion_of_step(
    world_from_reference: Pose, step: Float[Array, "*batch 3"], rotation: Float[Array, "*batch 3 3"]
) -> Pose:
    """`reference_from_query`, from a step in world axes (`world_step`) and the relative rotation."""
    return Pose(rotation, (world_from_reference.rotation.mT @ step[..., None])[..., 0])
