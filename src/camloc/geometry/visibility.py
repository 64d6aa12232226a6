"""How much of what one camera sees another one sees too."""

from jaxtyping import Bool, Float

from camloc.geometry.arrays import Array, array_namespace, device
from camloc.geometry.camera import Camera, pixel_grid, unproject
from camloc.geometry.pose import Pose

# A point that another camera's depth image shows nearer than this share of its distance is hidden there.
_HIDDEN_SHARE = 0.1


def points_of_depth(
    depth: Float[Array, "h w"], camera: Camera, world_from_cam: Pose, *, stride: int
) -> Float[Array, "n 3"]:
    """The points of the world that every `stride`-th pixel of a depth image shows, down and across.

    Args:
        depth: metres along z; 0 and numbers that are not finite are unknown.
        camera: of the depth image, in its size; distortion is not undone.
        world_from_cam: a single pose, double precision.
        stride: pixels from one to the next.
    """
    xp = array_namespace(depth)
    rows, columns = depth.shape
    pixels = pixel_grid(columns, rows, like=depth)[stride // 2 :: stride, stride // 2 :: stride]
    seen = xp.astype(depth[stride // 2 :: stride, stride // 2 :: stride], xp.float64)
    known = xp.isfinite(seen) & (seen > 0)
    return world_from_cam.apply(unproject(pixels[known], seen[known], _matrix(camera, depth)))


def points_of_frustum(
    camera: Camera, world_from_cam: Pose, *, depths: Float[Array, "d"], cells: int = 8
) -> Float[Array, "n 3"]:
    """Points that a camera could see: a grid of `cells` x `cells` rays, each at some depths in metres.

    Args:
        camera: without its distortion.
        world_from_cam: a single pose, double precision.
        depths: along z.
        cells: rays across and down.
    """
    xp = array_namespace(depths, world_from_cam.translation)
    cell = xp.asarray([camera.width / cells, camera.height / cells], dtype=xp.float64, device=device(depths))
    pixels = xp.reshape(pixel_grid(cells, cells, like=depths) * cell, (-1, 2))
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
    """Which points of the world lie in the images of (b,) cameras of one kind.

    Args:
        points: of the world.
        camera: of all images, without its distortion.
        world_from_cam: (b,) poses.
        depth: what the one camera with b = 1 sees, in its size; points behind it do not count.
    """
    xp = array_namespace(points, world_from_cam.translation)
    matrix = _matrix(camera, points)
    seen = world_from_cam.inverse().apply(xp.broadcast_to(points[None], (len(world_from_cam), *points.shape)))
    ahead = seen[..., 2] > 1e-6
    flat = seen[..., :2] / xp.where(ahead, seen[..., 2], 1.0)[..., None]
    pixels = flat * xp.linalg.diagonal(matrix)[:2] + matrix[:2, 2]
    size = xp.asarray([camera.width, camera.height], dtype=pixels.dtype, device=device(pixels))
    inside = ahead & (pixels >= 0).all(-1) & (pixels < size).all(-1)
    if depth is None:
        return inside
    column, row = (
        xp.astype(xp.clip(xp.floor(pixels[..., axis]), 0, depth.shape[1 - axis] - 1), xp.int64)
        for axis in range(2)
    )
    shown = xp.astype(depth[row, column], seen.dtype)
    hidden = (shown > 0) & (seen[..., 2] > (1.0 + _HIDDEN_SHARE) * shown)
    return inside & ~hidden


def overlap(
    points: Float[Array, "n 3"],
    camera: Camera,
    world_from_cam: Pose,
    *,
    depth: Float[Array, "h w"] | None = None,
) -> Float[Array, "b"]:
    """The share of one camera's points that each of (b,) others sees; 0 where it has no points."""
    xp = array_namespace(points)
    if not len(points):
        return xp.zeros(len(world_from_cam), dtype=xp.float64, device=device(points))
    return xp.mean(xp.astype(in_view(points, camera, world_from_cam, depth=depth), xp.float64), axis=-1)


def _matrix(camera: Camera, like: Array) -> Float[Array, "3 3"]:
    """The calibration matrix in double precision, in the kind and the scene of an array."""
    xp = array_namespace(like)
    return xp.asarray(camera.matrix(), dtype=xp.float64, device=device(like))
