"""How much of what one camera sees another one sees too."""

import torch
from jaxtyping import Float
from torch import Tensor

from camloc.geometry.camera import Camera, pixel_grid, unproject
from camloc.geometry.pose import Pose

# A point that another camera's depth image shows nearer than this share of its distance is hidden there.
_HIDDEN_SHARE = 0.1


def points_of_depth(
    depth: Float[Tensor, "h w"], camera: Camera, world_from_cam: Pose, *, stride: int
) -> Float[Tensor, "n 3"]:
    """The points of the world that every `stride`-th pixel of a depth image shows, down and across.

    Args:
        depth: metres along z; 0 and numbers that are not finite are unknown.
        camera: of the depth image, in its size; distortion is not undone.
        world_from_cam: a single pose.
        stride: pixels from one to the next.
    """
    rows, columns = depth.shape
    pixels = pixel_grid(columns, rows)[stride // 2 :: stride, stride // 2 :: stride].flatten(0, 1)
    known = depth[stride // 2 :: stride, stride // 2 :: stride].flatten().double()
    points = unproject(pixels, known, camera.matrix())
    return world_from_cam.apply(points[known.isfinite() & (known > 0)])


def points_of_frustum(
    camera: Camera, world_from_cam: Pose, *, depths: Float[Tensor, "d"], cells: int = 8
) -> Float[Tensor, "n 3"]:
    """Points that a camera could see: a grid of `cells` x `cells` rays, each at some depths in metres."""
    pixels = pixel_grid(cells, cells) * torch.tensor([camera.width / cells, camera.height / cells])
    rays = unproject(pixels.flatten(0, 1), torch.ones(cells * cells, dtype=torch.float64), camera.matrix())
    return world_from_cam.apply((rays.unsqueeze(0) * depths.double()[:, None, None]).flatten(0, 1))


def in_view(
    points: Float[Tensor, "n 3"], camera: Camera, world_from_cam: Pose, *, depth: Tensor | None = None
) -> Tensor:
    """(b, n) which points of the world lie in the images of (b,) cameras of one kind.

    Args:
        points: of the world.
        camera: of all images, without its distortion.
        world_from_cam: (b,) poses.
        depth: (h, w) what the one camera with b = 1 sees, in its size; points behind it do not count.
    """
    matrix = camera.matrix()
    seen = world_from_cam.inverse().apply(points.unsqueeze(0).expand(len(world_from_cam), -1, -1))
    ahead = seen[..., 2] > 1e-6
    flat = seen[..., :2] / torch.where(ahead, seen[..., 2], 1.0).unsqueeze(-1)
    pixels = flat * matrix.diagonal()[:2] + matrix[:2, 2]
    size = torch.tensor([camera.width, camera.height], dtype=pixels.dtype)
    inside = ahead & (pixels >= 0).all(-1) & (pixels < size).all(-1)
    if depth is None:
        return inside
    column, row = pixels.floor().long().unbind(-1)
    shown = depth[row.clamp(0, depth.shape[0] - 1), column.clamp(0, depth.shape[1] - 1)].to(seen)
    hidden = (shown > 0) & (seen[..., 2] > (1.0 + _HIDDEN_SHARE) * shown)
    return inside & ~hidden


def overlap(
    points: Float[Tensor, "n 3"], camera: Camera, world_from_cam: Pose, *, depth: Tensor | None = None
) -> Float[Tensor, "b"]:
    """The share of one camera's points that each of (b,) others sees; 0 where it has no points."""
    if not len(points):
        return torch.zeros(len(world_from_cam), dtype=torch.float64)
    return in_view(points, camera, world_from_cam, depth=depth).double().mean(-1)
