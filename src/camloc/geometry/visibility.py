"""Overlap of views: the part of one camera's points that another camera sees."""

from jaxtyping import Bool, Float

from camloc.geometry.arrays import Array, array_namespace, device
from camloc.geometry.camera import Camera, pixel_grid, unproject
from camloc.geometry.pose import Pose

# A point is hidden if its depth exceeds the depth image by more than this share.
_HIDDEN_SHARE = 0.1

# Rays of a frustum, across and down.
_RAYS = 8


def points_of_depth(
    depth: Float[Array, "h w"], camera: Camera, world_from_cam: Pose, *, stride: int
) -> Float[Array, "n 3"]:
    """World points of every `stride`-th pixel of a depth image, down and across.

    Args:
        depth: metres along z; 0 and non-finite numbers mean unknown.
        camera: of the depth image, in its size; distortion is ignored.
        world_from_cam: a single pose, double precision.
        stride: distance between the used pixels.
    """
    xp = array_namespace(depth)
    rows, columns = depth.shape
    pixels = pixel_grid(columns, rows, like=depth)[stride // 2 :: stride, stride // 2 :: stride]
    z_depth = xp.astype(depth[stride // 2 :: stride, stride // 2 :: stride], xp.float64)
    known = xp.isfinite(z_depth) & (z_depth > 0)
    return world_from_cam.apply(unproject(pixels[known], z_depth[known], _matrix(camera, depth)))


def points_of_frustum(
    camera: Camera, world_from_cam: Pose, *, depths: Float[Array, "d"]
) -> Float[Array, "n 3"]:
    """Points in the view of a camera: on a grid of 8 x 8 rays, at each of some depths.

    Args:
        camera: distortion is ignored.
        world_from_cam: a single pose, double precision.
        depths: metres along z.
    """
    xp = array_namespace(depths, world_from_cam.translation)
    cell = xp.asarray([camera.width / _RAYS, camera.height / _RAYS], dtype=xp.float64, device=device(depths))
    pixels = xp.reshape(pixel_grid(_RAYS, _RAYS, like=depths) * cell, (-1, 2))
    rays = unproject(pixels, xp.ones_like(pixels[:, 0]), _matrix(camera, depths))
    points = rays[None] * xp.astype(depths, xp.float64)[:, None, None]
    return world_from_cam.apply(xp.reshape(points, (-1, 3)))


def in_view(
    points: Float[Array, "n 3"],
    camera: Camera,
    world_from_cam: Pose,
    *,
    depth: Float[Array, "h w"] | None = None,
) -> Bool[Array, "b n"]:
    """Whether world points lie within the images of (b,) views of one camera.

    Args:
        points: in world coordinates.
        camera: of all images; distortion is ignored.
        world_from_cam: (b,) poses of the views.
        depth: depth image of the view, for b = 1, in the camera's size; points behind it are not in view.
    """
    xp = array_namespace(points, world_from_cam.translation)
    matrix = _matrix(camera, points)
    in_camera = world_from_cam.inverse().apply(
        xp.broadcast_to(points[None], (len(world_from_cam), *points.shape))
    )
    ahead = in_camera[..., 2] > 1e-6
    flat = in_camera[..., :2] / xp.where(ahead, in_camera[..., 2], 1.0)[..., None]
    pixels = flat * xp.linalg.diagonal(matrix)[:2] + matrix[:2, 2]
    size = xp.asarray([camera.width, camera.height], dtype=pixels.dtype, device=device(pixels))
    inside = ahead & (pixels >= 0).all(-1) & (pixels < size).all(-1)
    if depth is None:
        return inside
    column, row = (
        xp.astype(xp.clip(xp.floor(pixels[..., axis]), 0, depth.shape[1 - axis] - 1), xp.int64)
        for axis in range(2)
    )
    shown = xp.astype(depth[row, column], in_camera.dtype)
    hidden = (shown > 0) & (in_camera[..., 2] > (1.0 + _HIDDEN_SHARE) * shown)
    return inside & ~hidden


def overlap(
    points: Float[Array, "n 3"],
    camera: Camera,
    world_from_cam: Pose,
) -> Float[Array, "b"]:
    """The share of points that each of (b,) views of a camera sees; 0 if there are no points."""
    xp = array_namespace(points)
    if not len(points):
        return xp.zeros(len(world_from_cam), dtype=xp.float64, device=device(points))
    return xp.mean(xp.astype(in_view(points, camera, world_from_cam), xp.float64), axis=-1)


def _matrix(camera: Camera, like: Array) -> Float[Array, "3 3"]:
    """The calibration matrix in double precision, as an array of the kind and device of `like`."""
    xp = array_namespace(like)
    return xp.asarray(camera.matrix(), dtype=xp.float64, device=device(like))
