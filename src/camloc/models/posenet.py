"""PoseNet-like absolute pose regressor: a CNN, a latent vector for each half of the pose, two heads.

The teacher of the camera pose auto-encoders, after PoseNet (Kendall, Grimes and Cipolla 2015).

Source: Shavit and Keller, "Camera Pose Auto-Encoders for Improving Pose Regression", ECCV 2022,
section 3.1 and 4 (MobileNet, ResNet-50 and EfficientNet-B0 teachers). Structure as released: pooled
features -> two parallel layers of 256 with ReLU -> dropout -> 3 and 4 numbers.
"""

from dataclasses import dataclass

from torch import nn
from torch.nn import functional as F

from camloc.models.base import FeatureMaps, Latents
from camloc.models.decoding import RegressedPose
from camloc.models.layers.backbone import (
    EFFICIENTNET_B0_RELEASED,
    MOBILENETV2_TENSORFLOW,
    Backbone,
    BackboneConfig,
)
from camloc.models.layers.transformer import BatchDropout
from camloc.models.losses import PoseLossConfig
from camloc.models.regressor import RegressionConfig, SingleSceneRegressor


@dataclass(frozen=True)
class PoseNetConfig:
    """Settings of `PoseNet`.

    Attributes:
        backbone: the network in front.
        latent: size of each of the two latent vectors (the paper's d).
        dropout: rate before the heads.
        regression: how the pose is regressed.
        grid: (rows, columns) that the final map is averaged to; (1, 1) is the published global average, a
            finer grid preserves where in the image a feature is.
    """

    backbone: BackboneConfig = BackboneConfig("mobilenetv2_100")
    latent: int = 256
    dropout: float = 0.1
    regression: RegressionConfig = RegressionConfig(pose_loss=PoseLossConfig(-3.0, -6.5))
    grid: tuple[int, int] = (1, 1)


PRESETS = {
    "mobilenetv2": PoseNetConfig(),
    "mobilenetv2-tensorflow": PoseNetConfig(MOBILENETV2_TENSORFLOW),
    "resnet50": PoseNetConfig(BackboneConfig("resnet50")),
    "efficientnet-b0": PoseNetConfig(BackboneConfig("efficientnet_b0")),
    "released-efficientnet-b0": PoseNetConfig(EFFICIENTNET_B0_RELEASED),
}


class PoseNet(SingleSceneRegressor):
    """A CNN, a latent vector for each half of the pose, and two linear heads."""

    def __init__(self, config: PoseNetConfig) -> None:
        super().__init__(config.regression)
        self.backbone = Backbone(config.backbone)
        self.grid = config.grid
        features = self.backbone.channels[-1] * config.grid[0] * config.grid[1]
        self.position_latent = nn.Linear(features, config.latent)
        self.orientation_latent = nn.Linear(features, config.latent)
        self.dropout = BatchDropout(config.dropout)
        self.position_head = nn.Linear(config.latent, 3)
        self.orientation_head = nn.Linear(config.latent, config.regression.orientation_size)
        for layer in (
            self.position_latent,
            self.orientation_latent,
            self.position_head,
            self.orientation_head,
        ):
            nn.init.kaiming_normal_(layer.weight)

    def describe(self, feature_maps: FeatureMaps) -> Latents:
        """Compute the paper's z_x and z_q."""
        (final,) = feature_maps
        if final.shape[-2:] != self.grid:
            final = F.adaptive_avg_pool2d(final, self.grid)
        features = final.flatten(1)
        return Latents(F.relu(self.position_latent(features)), F.relu(self.orientation_latent(features)))

    def regress(self, latents: Latents) -> RegressedPose:
        """Compute position and orientation, each from its latent vector."""
        position = self.position_head(self.dropout(latents.position))
        orientation = self.orientation_head(self.dropout(latents.orientation))
        return self.world(position, orientation)  # type: ignore[no-any-return]
