"""The points that a model predicts for images: of one image, as one coloured cloud, and as a PLY file."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray

from camloc.data.masks import mask_at
from camloc.geometry.arrays import to_numpy
from camloc.geometry.pose import Pose
from camloc.models.decoding import Correspondences, PointDecoding

CLOUD_NAME = "points.ply"

# Points farther from the median point than this many times the median distance are guesses about sky, windows
# and walls without features; they would shrink everything else to a dot.
FARTHEST_MEDIANS = 5.0

# A range of values excludes this share of them at either end.
RANGE_TAIL = 0.02


@dataclass(frozen=True, eq=False)
class MappedView:
    """The preprocessed image and the predictions of a grid of (h, w) cells.

    Attributes:
        image: RGB, 8 bits.
        pixels: the cells' centres (x, y) in the image.
        world: the point that each cell shows, in the data set's world, double precision.
        depth: its distance in front of the camera, in units of the world, double precision.
        weight: weight of the cell, not negative, double precision.
    """

    image: UInt8[np.ndarray, "height width 3"]
    pixels: Float[np.ndarray, "h w 2"]
    world: Float[np.ndarray, "h w 3"]
    depth: Float[np.ndarray, "h w"]
    weight: Float[np.ndarray, "h w"]

    @classmethod
    def of_cells(
        cls,
        image: UInt8[np.ndarray, "height width 3"],
        cells: Correspondences,
        *,
        world_from_centered: Pose,
    ) -> "MappedView":
        """The view of the correspondences of one image, b = 1, whose cells are row by row.

        Args:
            image: the preprocessed image.
            cells: its correspondences.
            world_from_centered: a single motion, from the frame of the cells' world points.
        """
        pixels, camera, world, weight = (to_numpy(value[0]) for value in cells.double())
        width = int((pixels[:, 1] == pixels[0, 1]).sum())
        placed = world_from_centered.numpy().apply(world)
        return cls(
            image,
            pixels.reshape(-1, width, 2),
            placed.reshape(-1, width, 3),
            camera[:, 2].reshape(-1, width),
            weight.reshape(-1, width),
        )

    def colors(self) -> UInt8[np.ndarray, "h w 3"]:
        """The colour of the image at the centre of each cell."""
        height, width, _ = self.image.shape
        columns, rows = np.moveaxis(self.pixels.astype(np.int64), -1, 0)
        return np.asarray(self.image[rows.clip(0, height - 1), columns.clip(0, width - 1)])


def mapped_view(
    decoding: PointDecoding,
    output: Any,
    image: UInt8[np.ndarray, "height width 3"],
    *,
    intrinsics: Float[np.ndarray, "1 3 3"],
    mask: Bool[np.ndarray, "height width"] | None = None,
) -> MappedView:
    """The predicted points of one image, from the model's output for it; masked cells have no weight."""
    cells = decoding.correspondences(output, intrinsics=intrinsics)
    if mask is not None:
        cells = cells._replace(weight=cells.weight * mask_at(mask[None], cells.pixels))
    return MappedView.of_cells(image, cells, world_from_centered=decoding.to_world(Pose.identity(1))[0])


class PointCloud(NamedTuple):
    """Points and their colours.

    Attributes:
        points: (n, 3) in the data set's world, double precision.
        colors: (n, 3) RGB, 8 bits.
    """

    points: Float[NDArray[np.float64], "n 3"]
    colors: UInt8[NDArray[np.uint8], "n 3"]


def point_cloud(views: Iterable[MappedView]) -> PointCloud:
    """The points of the half of each image's cells that has the larger weights, without stray points."""
    points, colors = [np.zeros((0, 3))], [np.zeros((0, 3), dtype=np.uint8)]
    for view in views:
        counts = (view.weight >= _median(view.weight)) & (view.weight > 0)
        counts &= np.isfinite(view.world).all(-1)
        points.append(view.world[counts])
        colors.append(view.colors()[counts])
    cloud = PointCloud(np.concatenate(points), np.concatenate(colors))
    if not len(cloud.points):
        return cloud
    away = np.linalg.norm(cloud.points - _median(cloud.points, axis=0), axis=-1)
    near = away <= FARTHEST_MEDIANS * _median(away)
    return PointCloud(cloud.points[near], cloud.colors[near])


def _median(values: NDArray[np.float64], *, axis: int | None = None) -> Any:
    """The lower median: always one of the values."""
    return np.quantile(values, 0.5, axis=axis, method="inverted_cdf")


def middle_range(
    values: Float[NDArray[np.float64], "n *d"],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper bound of n > 0 values without the tails of `RANGE_TAIL`, for each column."""
    rows = np.sort(values, axis=0)
    last = len(rows) - 1
    low, high = rows[round(RANGE_TAIL * last)], rows[round((1 - RANGE_TAIL) * last)]
    return np.asarray(low), np.asarray(high)


def ply(cloud: PointCloud) -> bytes:
    """The cloud as binary PLY: `x`, `y`, `z` in double precision, `red`, `green`, `blue` as bytes.

    Single precision would round positions in worlds whose origin is far away, such as those of maps.
    """
    rows = np.empty(len(cloud.points), dtype=[("point", "<f8", 3), ("color", "u1", 3)])
    rows["point"], rows["color"] = cloud.points, cloud.colors
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment points of a scene predicted by camloc, in the world of its data set",
        f"element vertex {len(rows)}",
        *(f"property double {name}" for name in ("x", "y", "z")),
        *(f"property uchar {name}" for name in ("red", "green", "blue")),
        "end_header\n",
    ]
    return "\n".join(header).encode("ascii") + rows.tobytes()
