"""From a network's output to camera poses: closed formulas, written once for NumPy arrays and tensors.

`PoseModel.decode` uses them in training, `camloc.inference` for networks of torch and of ONNX Runtime.
Nothing here imports torch.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, get_args

from jaxtyping import Float, Int

from camloc.geometry.alignment import alignment_residual, weighted_kabsch
from camloc.geometry.arrays import Array, array_namespace, device, to_numpy, undefined_is_nan
from camloc.geometry.camera import pixel_grid, unproject
from camloc.geometry.pose import Pose
from camloc.geometry.rotation import nearest_rotation, rotation_from_quaternion_wxyz

# --- Orientation representations ----------------------------------------------------------------------------

# The numbers that a regressor outputs for an orientation. "quaternion": w, x, y, z, compared as unit
# quaternions. "4d_norm": the same four, compared as rotation matrices. "6d": the first two columns of the
# matrix, made orthonormal one after the other (Zhou et al. 2019). "9d": the whole matrix, projected to the
# nearest rotation (Levinson et al. 2020). "log_quaternion": half the rotation vector (MapNet, AtLoc).
# HyperPose 2023 Table 7 compares the first three, HyperPose 2025 supplement Table 7 three of the first four.
OrientationForm = Literal["quaternion", "4d_norm", "6d", "9d", "log_quaternion"]

_SIZES: dict[OrientationForm, int] = {"quaternion": 4, "4d_norm": 4, "6d": 6, "9d": 9, "log_quaternion": 3}


def orientation_size(form: OrientationForm) -> int:
    """How many numbers a representation has."""
    return _SIZES[form]


def rotation_from_values(form: OrientationForm, values: Float[Array, "b k"]) -> Float[Array, "b 3 3"]:
    """Convert a regressor's numbers to rotation matrices."""
    match form:
        case "quaternion" | "4d_norm":
            return rotation_from_quaternion_wxyz(values)
        case "6d":
            return _orthonormal(values[..., :3], values[..., 3:])
        case "9d":
            return nearest_rotation(_unflattened(values, 3, 3).mT)
        case "log_quaternion":
            return rotation_from_quaternion_wxyz(_exponential(values))


def _unflattened(values: Float[Array, "b k"], *shape: int) -> Float[Array, "b _ _"]:
    return array_namespace(values).reshape(values, (*values.shape[:-1], *shape))


@undefined_is_nan
def _orthonormal(first: Float[Array, "b 3"], second: Float[Array, "b 3"]) -> Float[Array, "b 3 3"]:
    """The rotation whose first column has the direction of `first`, and whose second lies in their plane."""
    xp = array_namespace(first, second)
    x = first / xp.linalg.vector_norm(first, axis=-1, keepdims=True)
    y = second - xp.sum(x * second, axis=-1, keepdims=True) * x
    y = y / xp.linalg.vector_norm(y, axis=-1, keepdims=True)
    return xp.stack((x, y, xp.linalg.cross(x, y, axis=-1)), axis=-1)


def _exponential(half_vector: Float[Array, "b 3"]) -> Float[Array, "b 4"]:
    """The quaternion (w first) of a logarithm, which is half the rotation vector."""
    xp = array_namespace(half_vector)
    angle = xp.linalg.vector_norm(half_vector, axis=-1, keepdims=True)
    safe = xp.where(angle > 0, angle, 1.0)
    share = xp.where(angle > 0, xp.sin(safe) / safe, 1.0)
    return xp.concat((xp.cos(angle), share * half_vector), axis=-1)


# --- Outputs and poses --------------------------------------------------------------------------------------


class RegressedPose(NamedTuple):
    """The output of a regressor of one scene.

    Attributes:
        position: (b, 3) camera centre in metres, relative to the centre of `WorldFrame`.
        orientation: (b, k) orientation world_from_cam in its representation; quaternions have w first and any
            length.
    """

    position: Float[Array, "b 3"]
    orientation: Float[Array, "b k"]


class ScenePose(NamedTuple):
    """The output of a multi-scene regressor.

    Attributes:
        position: (b, 3) camera centre in metres, in the most probable scene, relative to that scene's centre.
        orientation: (b, k) orientation world_from_cam in that scene, in its representation.
        scene_logits: (b, s) of all scenes.
        position_latents, orientation_latents: (b, s, d) input of the heads for each scene.
    """

    position: Float[Array, "b 3"]
    orientation: Float[Array, "b k"]
    scene_logits: Float[Array, "b s"]
    position_latents: Float[Array, "b s d"]
    orientation_latents: Float[Array, "b s e"]


class PointMaps(NamedTuple):
    """The output of a model that aligns points, on a grid of (h, w) cells.

    Attributes:
        world: (b, 3, h, w) points in metres, relative to the mean training camera (the paper's G).
        camera: (b, 1, h, w) depths in metres along the cells' rays (the paper's d), or these depths divided
            by the focal length in image widths, or (b, 3, h, w) points in camera axes (the paper's C); see
            `camera_points` and `depths` of `PointDecoding`.
        weight: (b, h, w) weight of a cell in the alignment, within (0, 1) (the paper's w).
    """

    world: Float[Array, "b 3 h w"]
    camera: Float[Array, "b c h w"]
    weight: Float[Array, "b h w"]


class Decoded(NamedTuple):
    """The poses that a network's output represents.

    Attributes:
        world_from_cam: (b,) poses, double precision.
        scene: (b,) indices of the predicted scenes.
        probability: (b,) of the predicted scenes.
        residual: (b,) root mean square distance in metres between the aligned points, for models that align
            points; else None.
    """

    world_from_cam: Pose
    scene: Int[Array, "b"]
    probability: Float[Array, "b"]
    residual: Float[Array, "b"] | None = None


class Correspondences(NamedTuple):
    """2-D to 3-D correspondences: n cells for each of b images.

    Attributes:
        pixels: (b, n, 2) the cell's centre in the network's image.
        camera: (b, n, 3) the point visible in the cell, in camera axes and metres.
        world: (b, n, 3) the same point in the world, relative to the model's centre.
        weight: (b, n) weight of the cell in the alignment, not negative.
    """

    pixels: Float[Array, "b n 2"]
    camera: Float[Array, "b n 3"]
    world: Float[Array, "b n 3"]
    weight: Float[Array, "b n"]

    def double(self) -> "Correspondences":
        """The same in double precision."""
        return Correspondences(*map(double, self))


def double(values: Array) -> Array:
    """The values in double precision."""
    xp = array_namespace(values)
    return xp.astype(values, xp.float64)


def single_scene(world_from_cam: Pose, *, residual: Float[Array, "b"] | None = None) -> Decoded:
    """The decoded poses of a model of one scene: scene 0 with probability 1."""
    translation = world_from_cam.translation
    xp, where = array_namespace(translation), device(translation)
    scene = xp.zeros(len(world_from_cam), dtype=xp.int64, device=where)
    certain = xp.ones(len(world_from_cam), dtype=xp.float64, device=where)
    return Decoded(world_from_cam, scene, certain, residual)


# --- Decoding -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PoseDecoding:
    """Of a regressor of one scene.

    Attributes:
        centers: (1, 3) origin of the regressed positions in the world, double precision.
        orientation: representation of the orientation.
    """

    OUTPUT: ClassVar[type[Any]] = RegressedPose

    centers: Float[Array, "1 3"]
    orientation: OrientationForm = "quaternion"

    def decode(self, output: RegressedPose, *, intrinsics: Float[Array, "b 3 3"] | None = None) -> Decoded:
        """Compute poses; intrinsics are not needed."""
        del intrinsics
        rotation = rotation_from_values(self.orientation, double(output.orientation))
        return single_scene(Pose(rotation, double(output.position) + self.centers[0]))

    def numpy(self) -> "PoseDecoding":
        """The same with NumPy arrays."""
        return replace(self, centers=to_numpy(self.centers))


@dataclass(frozen=True, eq=False)
class ScenePoseDecoding:
    """Of a multi-scene regressor.

    Attributes:
        centers: (s, 3) origin of the regressed positions in each scene's world, double precision.
        orientation: representation of the orientation.
    """

    OUTPUT: ClassVar[type[Any]] = ScenePose

    centers: Float[Array, "s 3"]
    orientation: OrientationForm = "quaternion"

    def decode(self, output: ScenePose, *, intrinsics: Float[Array, "b 3 3"] | None = None) -> Decoded:
        """Compute poses in the most probable scenes; intrinsics are not needed."""
        del intrinsics
        logits = double(output.scene_logits)
        xp = array_namespace(logits)
        scene = xp.argmax(logits, axis=-1)
        shares = xp.exp(logits - xp.max(logits, axis=-1, keepdims=True))
        probability = 1.0 / xp.sum(shares, axis=-1)
        return Decoded(self.in_scenes(output.position, output.orientation, scene), scene, probability)

    def in_scenes(
        self, position: Float[Array, "b 3"], orientation: Float[Array, "b k"], scene: Int[Array, "b"]
    ) -> Pose:
        """Compute poses in the worlds of the given scenes."""
        rotation = rotation_from_values(self.orientation, double(orientation))
        return Pose(rotation, double(position) + self.centers[scene])

    def numpy(self) -> "ScenePoseDecoding":
        """The same with NumPy arrays."""
        return replace(self, centers=to_numpy(self.centers))


CameraPoints = Literal["depth", "direct"]
Depths = Literal["metric", "focal"]


@dataclass(frozen=True, eq=False)
class PointDecoding:
    """Of a model that predicts points in the world and in camera axes, which are aligned to find the pose.

    Attributes:
        centers: (1, 3) origin of the predicted points in the world, double precision.
        stride: side of a cell in pixels of the network's image.
        camera_points: "depth" for depths along the cells' rays, "direct" for points in camera axes.
        depths: "metric", or "focal" for depths in units of the focal length over the image's width.
    """

    OUTPUT: ClassVar[type[Any]] = PointMaps

    centers: Float[Array, "1 3"]
    stride: int
    camera_points: CameraPoints = "depth"
    depths: Depths = "metric"

    def correspondences(self, output: PointMaps, *, intrinsics: Float[Array, "b 3 3"]) -> Correspondences:
        """Read each cell's pixel, point in camera axes, point in the world and weight from the output."""
        xp, like = array_namespace(output.world), output.world
        count, _, height, width = like.shape
        grid = pixel_grid(width, height, stride=self.stride).reshape(1, -1, 2)
        grid = xp.asarray(grid, dtype=like.dtype, device=device(like))
        pixels = xp.broadcast_to(grid, (count, height * width, 2))
        if self.camera_points == "depth":
            intrinsics = xp.astype(intrinsics, like.dtype)
            depths = xp.reshape(output.camera, (count, -1))
            if self.depths == "focal":
                depths = depths * intrinsics[:, :1, 0] / (width * self.stride)
            camera = unproject(pixels, depths, intrinsics)
        else:
            camera = xp.reshape(output.camera, (count, 3, -1)).mT
        world = xp.reshape(output.world, (count, 3, -1)).mT
        return Correspondences(pixels, camera, world, xp.reshape(output.weight, (count, -1)))

    def decode(self, output: PointMaps, *, intrinsics: Float[Array, "b 3 3"] | None = None) -> Decoded:
        """Compute poses by aligning the points in camera axes with the points in the world.

        Raises:
            ValueError: `intrinsics` is None.
        """
        if intrinsics is None:
            raise ValueError("aligning points needs the camera's intrinsics")
        cells = self.correspondences(output, intrinsics=intrinsics).double()
        centered_from_cam = weighted_kabsch(cells.camera, cells.world, cells.weight)
        residual = alignment_residual(centered_from_cam, cells.camera, cells.world, cells.weight)
        return single_scene(self.to_world(centered_from_cam), residual=residual)

    def to_world(self, centered_from_cam: Pose) -> Pose:
        """Move poses relative to the origin of the points to the data set's world."""
        translation = centered_from_cam.translation
        center = array_namespace(translation).astype(self.centers[0], translation.dtype)
        return Pose(centered_from_cam.rotation, translation + center)

    def numpy(self) -> "PointDecoding":
        """The same with NumPy arrays."""
        return replace(self, centers=to_numpy(self.centers))


Decoding = PoseDecoding | ScenePoseDecoding | PointDecoding
DECODINGS: tuple[type[Any], ...] = get_args(Decoding)
