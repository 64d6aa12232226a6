"""Implicit scene geometry: two point maps and weights, aligned in closed form, from pose labels alone.

Every cell of a grid over the image gets a point in the world, a depth along its ray and a weight. The
rigid motion that best carries the points seen by the camera onto the points in the world is the pose.

Source: Altillawi, Li, Prakhya, Liu and Serrat, "Implicit Learning of Scene Geometry from Poses for Global
Localization", RA-L 2023. `docs/models/scene_geometry.md` lists what the paper leaves open.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from camloc.data.batch import Batch
from camloc.geometry.alignment import alignment_residual, weighted_kabsch
from camloc.geometry.camera import pixel_grid, unproject
from camloc.geometry.pose import Pose
from camloc.models.base import Correspondences, Decoded, GeometryModel, single_scene
from camloc.models.layers.backbone import MOBILENETV2_TENSORFLOW, Backbone, BackboneConfig
from camloc.models.layers.point_maps import CellNetwork, Cells, cell_head, on_one_grid, suggested_points
from camloc.models.losses import GeometryLossConfig, geometry_losses


class PointMaps(NamedTuple):
    """The network's output, on a grid of (h, w) cells.

    Attributes:
        world: (b, 3, h, w) points in metres, relative to the mean training camera (the paper's G).
        camera: (b, 1, h, w) depths in metres along the cells' rays (the paper's d), or these over the
            focal length in images' widths, or (b, 3, h, w) points in camera axes (the paper's C):
            see `SceneGeometryConfig`.
        weight: (b, h, w) how much a cell counts, within (0, 1) (the paper's w).
    """

    world: Float[Tensor, "b 3 h w"]
    camera: Float[Tensor, "b c h w"]
    weight: Float[Tensor, "b h w"]


@dataclass(frozen=True)
class SceneGeometryConfig:
    """Settings of `SceneGeometry`.

    Attributes:
        backbone: the network in front.
        taps: stages of it (timm's numbering, 0 = stride 2) whose maps a cell sees. The paper has the
            last one, with strides exchanged for dilation (`{"output_stride": 8}`).
        stride: side of a cell in pixels of the network's image.
        hidden: width of the heads.
        blocks: residual blocks of 1 x 1 convolutions that the heads share; the paper has none.
        context: rows and columns on which the whole image is summed up, where there are blocks: every
            cell knows of it, and world points start from where it suggests them; None as published, where
            a cell knows its surroundings alone.
        dropout: share of the feature channels that an image loses in training, where there are blocks.
        camera_points: the depth along a cell's ray, or directly a point in camera axes (Table II).
        depths: "metric" as published; "focal": in units of the focal length over the image's width, so
            that a zoomed image, in which all looks nearer, does not ask for the same depths.
        weights: learned, or all alike (Table III, "no filtering").
        depth_range: nearest and farthest depth in metres: (0.1, 10) indoors, (0.1, 600) outdoors; None
            takes it from the spread of the training cameras.
        losses: what is minimised.
    """

    backbone: BackboneConfig = BackboneConfig("mobilenetv3_large_100", {"output_stride": 8})
    taps: tuple[int, ...] = (4,)
    stride: int = 8
    hidden: int = 256
    blocks: int = 0
    context: tuple[int, int] | None = None
    dropout: float = 0.0
    camera_points: Literal["depth", "direct"] = "depth"
    depths: Literal["metric", "focal"] = "metric"
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

# Where the depth range is the scene's own: the farthest in spreads of the training cameras, its least,
# and the nearest as a share of it. A room of 0.5 m spread gets the published range of rooms.
FARTHEST_SPREADS = 5.0
FARTHEST_AT_LEAST = 10.0
NEAREST_SHARE = 0.01


class SceneGeometry(GeometryModel[PointMaps]):
    """A CNN whose every cell gives a world point, a depth and a weight."""

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

    def features_of(
        self, maps: list[Float[Tensor, "b _ _ _"]], *, width: int, height: int
    ) -> Float[Tensor, "b c h w"]:
        """What the heads see: the backbone's maps on the grid."""
        return on_one_grid(maps, height // self.config.stride, width // self.config.stride)

    def from_features(self, features: Float[Tensor, "b c h w"]) -> PointMaps:
        """World points, depths and weights on the grid."""
        cells, suggestion = Cells(features, None) if self.cells is None else self.cells(features)
        near, far = self.get_buffer("depth_range").to(cells.dtype)
        camera = self.camera_head(cells)
        if self.config.camera_points == "depth":
            camera = near + (far - near) * torch.sigmoid(camera)
        else:
            # Points start in front of the camera, where those that it sees are.
            camera = camera + torch.stack((far * 0, far * 0, near + 0.2 * far)).view(3, 1, 1)
        world = self.world_head(cells)
        if suggestion is not None:
            world = world + suggested_points(suggestion, camera[:, -1:])
        if self.config.weights == "learned":
            weight = torch.sigmoid(self.weight_head(cells)).squeeze(1)
        else:
            weight = torch.ones_like(world[:, 0])
        return PointMaps(world, camera, weight)

    def correspondences(self, output: PointMaps, *, intrinsics: Float[Tensor, "b 3 3"]) -> Correspondences:
        """Each cell's pixel, its point in camera axes, its point in the world and its weight."""
        height, width = output.weight.shape[-2:]
        grid = torch.from_numpy(pixel_grid(width, height, stride=self.config.stride)).reshape(-1, 2)
        pixels = grid.to(output.world).expand(output.world.shape[0], -1, -1)
        if self.config.camera_points == "depth":
            depths = output.camera.flatten(1)
            if self.config.depths == "focal":
                depths = depths * intrinsics[:, :1, 0].to(depths) / (width * self.config.stride)
            camera = unproject(pixels, depths, intrinsics.to(pixels))
        else:
            camera = output.camera.flatten(2).transpose(-1, -2)
        return Correspondences(
            pixels, camera, output.world.flatten(2).transpose(-1, -2), output.weight.flatten(1)
        )

    def decode(self, output: PointMaps, *, intrinsics: Float[Tensor, "b 3 3"] | None = None) -> Decoded:
        """Poses, by aligning the points seen with the points in the world.

        Raises:
            ValueError: there are no intrinsics.
        """
        if intrinsics is None:
            raise ValueError("aligning points needs the camera's intrinsics")
        cells = self.correspondences(output, intrinsics=intrinsics).double()
        world_from_cam = weighted_kabsch(cells.camera, cells.world, cells.weight)
        residual = alignment_residual(world_from_cam, cells.camera, cells.world, cells.weight)
        return single_scene(self.placed(world_from_cam), residual=residual)

    def losses(self, output: PointMaps, batch: Batch) -> dict[str, Tensor]:
        """Pose, consistency and reprojection terms (Eqs. 2 to 8)."""
        assert batch.intrinsics is not None, "training needs intrinsics"
        cells = self.correspondences(output, intrinsics=batch.intrinsics)
        inside = None if batch.inside is None else self._cells_inside(batch.inside, output.weight.shape[1:])
        truth = Pose(
            batch.world_from_cam.rotation,
            batch.world_from_cam.translation - self.get_buffer("center"),
        ).to(cells.world.dtype)
        image_height = output.weight.shape[-2] * self.config.stride
        return geometry_losses(
            self.config.losses,
            cells,
            truth,
            intrinsics=batch.intrinsics.to(cells.world),
            inside=inside,
            image_height=image_height,
        )

    def _cells_inside(self, inside: Tensor, grid: torch.Size) -> Float[Tensor, "b n"]:
        """1 for cells whose centre shows the image, 0 for those beyond its edge."""
        half, step = self.config.stride // 2, self.config.stride
        cells = inside if inside.shape[1:] == grid else inside[:, half::step, half::step]
        return cells.flatten(1).float()

    def observe(self, world_from_cam: Pose) -> None:
        """Note the mean of the training cameras and, if the range is the scene's own, their spread."""
        centers = world_from_cam.translation.double()
        self.get_buffer("center").copy_(centers.mean(0))
        if self.config.depth_range is None:
            spread = (centers - centers.mean(0)).square().sum(-1).mean().sqrt()
            far = (FARTHEST_SPREADS * spread).clamp_min(FARTHEST_AT_LEAST)
            self.get_buffer("depth_range").copy_(torch.stack((NEAREST_SHARE * far, far)))

    def placed(self, centered_from_cam: Pose) -> Pose:
        """Poses in the data set's world, of poses relative to the mean training camera."""
        center = self.get_buffer("center").to(centered_from_cam.translation)
        return Pose(centered_from_cam.rotation, centered_from_cam.translation + center)
