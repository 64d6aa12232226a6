"""Implicit scene geometry: point maps and weights, learned from poses alone and aligned in closed form.

For every cell of a grid over the image, the network predicts a point in the world, a depth along the cell's
ray and a weight. The pose is the rigid motion that best aligns the points in camera axes with the points in
the world.

Source: Altillawi, Li, Prakhya, Liu and Serrat, "Implicit Learning of Scene Geometry from Poses for Global
Localization", RA-L 2023. `docs/models/scene_geometry.md` lists what the paper leaves open and the choices
made here.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from camloc.data.batch import Batch
from camloc.geometry.pose import Pose
from camloc.geometry.pose_search import camera_radius
from camloc.models.base import FeatureMaps, GeometryModel
from camloc.models.decoding import CameraPoints, Depths, PointDecoding, PointMaps
from camloc.models.layers.backbone import MOBILENETV2_TENSORFLOW, Backbone, BackboneConfig
from camloc.models.layers.point_maps import CellNetwork, Cells, cell_head, on_one_grid, suggested_points
from camloc.models.losses import GeometryLossConfig, geometry_losses, map_loss


@dataclass(frozen=True)
class SceneGeometryConfig:
    """Settings of `SceneGeometry`.

    Attributes:
        backbone: the network in front.
        taps: the backbone's stages (timm's numbering, 0 = stride 2) whose maps the heads read. The paper
            reads the last one, with strides replaced by dilation (`{"output_stride": 8}`).
        stride: side of a cell in pixels of the network's image.
        hidden: width of the heads.
        blocks: residual blocks of 1 x 1 convolutions that the heads share; the paper has none.
        context: rows and columns of a description of the whole image, if there are blocks: it is added to
            every cell and gives a first guess of the world points (`layers.point_maps.ImageContext`). None as
            published: a cell then depends on its surroundings alone.
        dropout: rate of feature channels that are dropped in training, if there are blocks.
        camera_points: "depth" predicts the depth along a cell's ray, "direct" a point in camera axes (Table
            II).
        depths: "metric" as published; "focal" in units of the focal length over the image's width, so that a
            zoomed image, in which everything looks nearer, does not need other depths.
        weights: "learned", or all "alike" (Table III, "no filtering").
        depth_range: nearest and farthest depth in metres: (0.1, 10) indoors, (0.1, 600) outdoors; None
            derives it from the camera radius of the training cameras.
        losses: weights and form of the loss terms.
    """

    backbone: BackboneConfig = BackboneConfig("mobilenetv3_large_100", {"output_stride": 8})
    taps: tuple[int, ...] = (4,)
    stride: int = 8
    hidden: int = 256
    blocks: int = 0
    context: tuple[int, int] | None = None
    dropout: float = 0.0
    camera_points: CameraPoints = "depth"
    depths: Depths = "metric"
    weights: Literal["learned", "alike"] = "learned"
    depth_range: tuple[float, float] | None = (0.1, 10.0)
    losses: GeometryLossConfig = GeometryLossConfig()


def _published(name: str) -> SceneGeometryConfig:
    return SceneGeometryConfig(BackboneConfig(name, {"output_stride": 8}))


PRESETS = {
    "indoor": _published("mobilenetv3_large_100"),
    "outdoor": SceneGeometryConfig(depth_range=(0.1, 600.0)),
    "resnet34": _published("resnet34"),
    "densenet121": SceneGeometryConfig(BackboneConfig("densenet121"), taps=(2, 3, 4)),
    "hrnet": SceneGeometryConfig(BackboneConfig("hrnet_w18"), taps=(1, 2, 3, 4)),
    "mobilenetv2": SceneGeometryConfig(MOBILENETV2_TENSORFLOW, taps=(2, 3, 4), blocks=2, depth_range=None),
}

# The depth range derived from the training cameras: the farthest depth in camera radii, its lower bound in
# metres, and the nearest depth as a share of the farthest. A camera radius of up to 2 m gives the
# published indoor range.
FARTHEST_RADII = 5.0
FARTHEST_AT_LEAST = 10.0
NEAREST_SHARE = 0.01


class SceneGeometry(GeometryModel[PointMaps]):
    """A CNN with a world point, a depth and a weight for every cell."""

    def __init__(self, config: SceneGeometryConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone, taps=config.taps)
        channels = sum(self.backbone.channels)
        self.cells: CellNetwork | None = None
        if config.blocks:
            self.cells = CellNetwork(
                channels,
                config.hidden,
                blocks=config.blocks,
                dropout=config.dropout,
                context=config.context,
            )
            channels = config.hidden
        self.world_head = cell_head(channels, config.hidden, 3)
        self.camera_head = cell_head(channels, config.hidden, 1 if config.camera_points == "depth" else 3)
        if config.weights == "learned":
            self.weight_head = cell_head(channels, config.hidden, 1)
        self.register_buffer("center", torch.zeros(3, dtype=torch.float64))
        near, far = config.depth_range or (NEAREST_SHARE * FARTHEST_AT_LEAST, FARTHEST_AT_LEAST)
        self.register_buffer("depth_range", torch.tensor([near, far], dtype=torch.float64))

    @property
    def feature_settings(self) -> tuple[object, ...]:
        """Backbone, taps and stride."""
        return (self.config.backbone, self.config.taps, self.config.stride)

    def grid_features(
        self, feature_maps: FeatureMaps, *, width: int, height: int
    ) -> Float[Tensor, "b c rows columns"]:
        """Bring the backbone's maps to the grid of cells."""
        return on_one_grid(feature_maps, height // self.config.stride, width // self.config.stride)

    def from_grid(self, features: Float[Tensor, "b c rows columns"]) -> PointMaps:
        """Compute world points, depths and weights on the grid."""
        cells, suggestion = Cells(features, None) if self.cells is None else self.cells(features)
        near, far = self.get_buffer("depth_range").to(cells.dtype)
        camera = self.camera_head(cells)
        if self.config.camera_points == "depth":
            camera = near + (far - near) * torch.sigmoid(camera)
        else:
            # Predicted points start in front of the camera, where visible points are.
            camera = camera + torch.stack((far * 0, far * 0, near + 0.2 * far)).view(3, 1, 1)
        world = self.world_head(cells)
        if suggestion is not None:
            world = world + suggested_points(suggestion, camera[:, -1:])
        if self.config.weights == "learned":
            weight = torch.sigmoid(self.weight_head(cells)).squeeze(1)
        else:
            weight = torch.ones_like(world[:, 0])
        return PointMaps(world, camera, weight)

    @property
    def decoding(self) -> PointDecoding:
        """The decoding of the predicted points into poses."""
        config = self.config
        return PointDecoding(
            self.get_buffer("center")[None], config.stride, config.camera_points, config.depths
        )

    def losses(self, output: PointMaps, batch: Batch) -> dict[str, Tensor]:
        """Compute the pose, consistency and reprojection terms (Eq. 2 to 8), and that of a map's points."""
        assert batch.intrinsics is not None, "training needs intrinsics"
        cells = self.correspondences(output, intrinsics=batch.intrinsics)
        inside = None if batch.inside is None else self._cells_inside(batch.inside, output.weight.shape[1:])
        truth = Pose(
            batch.world_from_cam.rotation,
            batch.world_from_cam.translation - self.get_buffer("center"),
        ).to(cells.world.dtype)
        (rows, columns), stride = output.weight.shape[1:], self.config.stride
        intrinsics = batch.intrinsics.to(cells.world)
        terms = geometry_losses(
            self.config.losses,
            cells,
            truth,
            intrinsics=intrinsics,
            inside=inside,
            image_height=rows * stride,
        )
        if self.config.losses.map and batch.map_points is not None:
            terms["map"] = map_loss(
                self.config.losses,
                cells,
                truth,
                (batch.map_points - self.get_buffer("center")).to(cells.world.dtype),
                intrinsics=intrinsics,
                inside=inside,
                grid=(rows, columns),
                stride=stride,
            )
        return terms

    def _cells_inside(self, inside: Tensor, grid: torch.Size) -> Float[Tensor, "b n"]:
        """1 for cells whose centre is inside the image, 0 for those beyond its edge."""
        half, step = self.config.stride // 2, self.config.stride
        cells = inside if inside.shape[1:] == grid else inside[:, half::step, half::step]
        return cells.flatten(1).float()

    def observe(self, world_from_cam: Pose) -> None:
        """Record the mean of the training cameras and, if `depth_range` is None, set the depth range."""
        centers = world_from_cam.translation.double()
        self.get_buffer("center").copy_(centers.mean(0))
        if self.config.depth_range is None:
            radius = camera_radius(Pose(world_from_cam.rotation, centers))
            far = (FARTHEST_RADII * radius).clamp_min(FARTHEST_AT_LEAST)
            self.get_buffer("depth_range").copy_(torch.stack((NEAREST_SHARE * far, far)))
