"""MapNet: a plain regressor whose loss includes the relative poses of frames.

A linear layer expands the pooled features of a ResNet-34 to 2,048 channels, and two linear heads output
position and log quaternion. The loss compares the poses of three frames of a recording, and the differences
between them, with the truth. At test time the input is a single image. Without the relative term it is the
PoseNet that the paper compares with.

Source: Brahmbhatt et al., "Geometry-Aware Learning of Maps for Camera Localization", CVPR 2018, section 3,
and the authors' code. Not here: fine-tuning on unlabelled video (MapNet+) and pose graphs (MapNet+PGO).
"""

from dataclasses import dataclass, replace

from torch import nn
from torch.nn import functional as F

from camloc.models.base import FeatureMaps, Latents
from camloc.models.decoding import RegressedPose
from camloc.models.layers.backbone import Backbone, BackboneConfig
from camloc.models.layers.transformer import BatchDropout
from camloc.models.losses import PoseLossConfig
from camloc.models.regressor import RegressionConfig, SingleSceneRegressor

# Mean absolute errors, log quaternions with the label's sign, and the initial learned weights.
_LOSS = PoseLossConfig(position=0.0, orientation=-3.0, hemisphere_safe=False, distance="absolute")


@dataclass(frozen=True)
class MapNetConfig:
    """Settings of `MapNet`.

    Attributes:
        backbone: the network in front; the authors normalise images with the statistics of their scene.
        features: width of the vector that the heads read.
        dropout: rate before the heads.
        regression: how the pose is regressed; without `relative`, a PoseNet.
    """

    backbone: BackboneConfig = BackboneConfig("resnet34")
    features: int = 2048
    dropout: float = 0.5
    regression: RegressionConfig = RegressionConfig(
        orientation="log_quaternion", pose_loss=_LOSS, relative=_LOSS
    )


PRESETS = {
    "paper": MapNetConfig(),
    "posenet": MapNetConfig(regression=replace(MapNetConfig().regression, relative=None)),
}


class MapNet(SingleSceneRegressor):
    """A CNN, one wide layer and two linear heads."""

    def __init__(self, config: MapNetConfig) -> None:
        super().__init__(config.regression)
        self.backbone = Backbone(config.backbone)
        self.expand = nn.Linear(self.backbone.channels[-1], config.features)
        self.dropout = BatchDropout(config.dropout)
        self.position_head = nn.Linear(config.features, 3)
        self.orientation_head = nn.Linear(config.features, config.regression.orientation_size)
        for linear in (self.expand, self.position_head, self.orientation_head):
            nn.init.kaiming_normal_(linear.weight)
            nn.init.zeros_(linear.bias)

    def describe(self, feature_maps: FeatureMaps) -> Latents:
        """Compute the vector that both heads read."""
        (final,) = feature_maps
        features = F.relu(self.expand(final.mean((-2, -1))))
        return Latents(features, features)

    def regress(self, latents: Latents) -> RegressedPose:
        """Compute position and orientation, each by a linear head."""
        position = self.position_head(self.dropout(latents.position))
        orientation = self.orientation_head(self.dropout(latents.orientation))
        return self.world(position, orientation)  # type: ignore[no-any-return]
