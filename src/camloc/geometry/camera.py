"""`Camera`: the intrinsics for one image size; the pixel grid; projection and unprojection.

Pixels follow COLMAP: x to the right, y down, the centre of the top left pixel at (0.5, 0.5). pycolmap
computes distortion, so that every camera model of COLMAP is supported. The differentiable functions
`project` and `unproject` are pinhole: images are undistorted, or their rays unprojected once, before a
network uses them.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float64
from numpy.typing import NDArray

from camloc.geometry.arrays import Array, array_namespace, device, to_numpy, undefined_is_nan

if TYPE_CHECKING:
    import pycolmap

_PINHOLE_MODELS = ("PINHOLE", "SIMPLE_PINHOLE")

# Models that are a pinhole when every distortion parameter is zero; fisheye models never are.
_POLYNOMIAL_MODELS = ("SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV")


@dataclass(frozen=True)
class Camera:
    """Intrinsics of a camera for images of `width` x `height` pixels.

    Attributes:
        width, height: size of the image in pixels.
        fx, fy: focal lengths in pixels.
        cx, cy: principal point in pixels; the centre of the top left pixel is (0.5, 0.5).
        model: the COLMAP name of the distortion model, such as "PINHOLE" or "OPENCV".
        distortion: the model's parameters except focal lengths and principal point. They act on coordinates
            divided by depth, so resizing and cropping do not change them.

    Raises:
        ValueError: a number is not finite, a size or focal length not positive, the model unknown or
            a panorama, or the number of distortion parameters not the model's.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    model: str = "PINHOLE"
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        numbers = (self.fx, self.fy, self.cx, self.cy, *self.distortion)
        if not all(np.isfinite(numbers)):
            raise ValueError(f"camera intrinsics are not finite: {numbers}")
        if self.width < 1 or self.height < 1 or self.fx <= 0 or self.fy <= 0:
            raise ValueError(
                f"a camera needs a positive size and focal length, not {self.width} x {self.height} "
                f"pixels with focal lengths {self.fx} and {self.fy}"
            )
        expected = _distortion_size(self.model)
        if len(self.distortion) != expected:
            raise ValueError(
                f"a {self.model} camera has {expected} distortion parameters, not {len(self.distortion)}"
            )

    @classmethod
    def from_colmap(cls, camera: "pycolmap.Camera") -> "Camera":
        """Create the camera from a COLMAP camera of any model with a focal length.

        Raises:
            ValueError: the intrinsics are not finite or not positive, or the model has no focal
                length (panoramas).
        """
        if not camera.focal_length_idxs():
            raise ValueError(f"a {camera.model.name} camera has no focal length")
        extra = tuple(float(camera.params[index]) for index in camera.extra_params_idxs())
        return cls(
            width=int(camera.width),
            height=int(camera.height),
            fx=float(camera.params[camera.focal_length_idxs()[0]]),
            fy=float(camera.params[camera.focal_length_idxs()[-1]]),
            cx=float(camera.principal_point_x),
            cy=float(camera.principal_point_y),
            model=camera.model.name,
            distortion=extra,
        )

    def to_colmap(self) -> "pycolmap.Camera":
        """The camera as a COLMAP camera; a model with one focal length needs fx == fy.

        Raises:
            ValueError: the model has one focal length and this camera two.
        """
        camera = _colmap_camera(self.model, self.width, self.height)
        focal_indices = list(camera.focal_length_idxs())
        if len(focal_indices) == 1 and not np.isclose(self.fx, self.fy, rtol=1e-9):
            raise ValueError(f"{self.model} has one focal length, this camera two: {self.fx} and {self.fy}")
        params = np.zeros(len(camera.params))
        params[focal_indices] = (self.fx, self.fy)[: len(focal_indices)]
        params[list(camera.principal_point_idxs())] = (self.cx, self.cy)
        params[list(camera.extra_params_idxs())] = self.distortion
        camera.params = params.tolist()
        return camera

    @property
    def is_pinhole(self) -> bool:
        """Whether the camera has no distortion, or distortion parameters that are all zero."""
        if self.model in _PINHOLE_MODELS:
            return True
        return self.model in _POLYNOMIAL_MODELS and not any(self.distortion)

    def matrix(self) -> Float64[NDArray[np.float64], "3 3"]:
        """The calibration matrix K."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def resized(self, *, width: int, height: int) -> "Camera":
        """The same camera for the image resized to `width` x `height`."""
        across, down = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * across,
            fy=self.fy * down,
            cx=self.cx * across,
            cy=self.cy * down,
        )

    def cropped(self, *, left: int, top: int, width: int, height: int) -> "Camera":
        """The same camera for a rectangle of the image whose corner is at `left` and `top`, in pixels."""
        return replace(self, width=width, height=height, cx=self.cx - left, cy=self.cy - top)

    def undistorted(self) -> "Camera":
        """The pinhole camera with the same size, focal lengths and principal point."""
        return replace(self, model="PINHOLE", distortion=())

    @undefined_is_nan
    def project(self, points: Float[Array, "n 3"]) -> Float[Array, "n 2"]:
        """Pixels of points in camera axes, with distortion; NaN for points behind the camera."""
        xp = array_namespace(points)
        flat = points[:, :2] / points[:, 2:]
        if not self.is_pinhole:
            unit = _unit_camera(self.model, self.distortion)
            flat = _like(points, unit.img_from_cam(to_numpy(points).astype(np.float64)))
        pixels = flat * _like(points, [self.fx, self.fy]) + _like(points, [self.cx, self.cy])
        return xp.where(points[:, 2:] > 0, pixels, xp.nan)

    def unproject(self, pixels: Float[Array, "n 2"]) -> Float[Array, "n 3"]:
        """Points at depth 1, in camera axes, that project to `pixels`; the inverse of `project`.

        NaN for pixels that no ray reaches through the distortion model.
        """
        xp = array_namespace(pixels)
        flat = (pixels - _like(pixels, [self.cx, self.cy])) / _like(pixels, [self.fx, self.fy])
        if not self.is_pinhole:
            unit = _unit_camera(self.model, self.distortion)
            flat = _like(pixels, unit.cam_from_img(to_numpy(flat).astype(np.float64)))
        return xp.concat((flat, xp.ones_like(flat[:, :1])), axis=1)


def _like(array: Array, values: object) -> Array:
    """Numbers as an array of the kind, precision and device of `array`."""
    numbers = np.array(values, dtype=np.float64)
    return array_namespace(array).asarray(numbers, dtype=array.dtype, device=device(array))


def _colmap_camera(model: str, width: int, height: int) -> "pycolmap.Camera":
    # Imported only where it is needed, since most cameras are pinholes.
    from camloc.geometry.colmap import pycolmap

    if model not in pycolmap.CameraModelId.__members__ or model == "INVALID":
        raise ValueError(f"'{model}' is not a COLMAP camera model")
    model_id = pycolmap.CameraModelId.__members__[model]
    return pycolmap.Camera.create_from_model_id(0, model_id, 1.0, width, height)


@cache
def _distortion_size(model: str) -> int:
    """Number of parameters of a COLMAP model other than focal lengths and principal point."""
    if model in _PINHOLE_MODELS:
        return 0
    camera = _colmap_camera(model, 1, 1)
    if not camera.focal_length_idxs():
        raise ValueError(f"a {model} camera has no focal length")
    return len(camera.extra_params_idxs())


def _unit_camera(model: str, distortion: tuple[float, ...]) -> "pycolmap.Camera":
    """A camera with pixel coordinates equal to coordinates divided by depth, so that it only distorts."""
    return Camera(1, 1, 1.0, 1.0, 0.0, 0.0, model, distortion).to_colmap()


def pixel_grid(
    width: int, height: int, *, stride: int = 1, like: Array | None = None
) -> Float64[Array, "height width 2"]:
    """Pixel coordinates (x, y) of the centres of the cells of a grid over an image.

    Args:
        width, height: number of cells across and down.
        stride: side of a cell in pixels; the first centre is at (stride / 2, stride / 2).
        like: an array whose kind and device the grid gets; None for NumPy. The grid is always in double
            precision.
    """
    kind = np.empty(0) if like is None else like
    xp = array_namespace(kind)
    across, down = (
        (xp.arange(count, dtype=xp.float64, device=device(kind)) + 0.5) * stride for count in (width, height)
    )
    y, x = xp.meshgrid(down, across, indexing="ij")
    return xp.stack((x, y), axis=-1)


def unproject(
    pixels: Float[Array, "*batch n 2"],
    depth: Float[Array, "*batch n"],
    intrinsics: Float[Array, "*batch 3 3"],
) -> Float[Array, "*batch n 3"]:
    """Points in camera axes at z-depth `depth` along the rays of `pixels` (pinhole, differentiable)."""
    xp = array_namespace(pixels, depth, intrinsics)
    focal = xp.stack((intrinsics[..., 0, 0], intrinsics[..., 1, 1]), axis=-1)[..., None, :]
    flat = (pixels - intrinsics[..., :2, 2][..., None, :]) / focal
    return xp.concat((flat, xp.ones_like(flat[..., :1])), axis=-1) * depth[..., None]


def project(
    points: Float[Array, "*batch n 3"],
    intrinsics: Float[Array, "*batch 3 3"],
    *,
    nearest: float = 1e-3,
) -> Float[Array, "*batch n 2"]:
    """Pixels of points in camera axes (pinhole, differentiable).

    A depth below `nearest` counts as `nearest`, so that points at or behind the camera stay finite.
    """
    xp = array_namespace(points, intrinsics)
    focal = xp.stack((intrinsics[..., 0, 0], intrinsics[..., 1, 1]), axis=-1)[..., None, :]
    flat = points[..., :2] / xp.clip(points[..., 2:], nearest, None)
    return flat * focal + intrinsics[..., :2, 2][..., None, :]
