"""HyperPose, single scene: a baseline regressor, and the same with a hypernetwork beside its heads.

The hypernetwork generates the weights of a second pair of heads from each image, so that the regression can
adapt to light, season and occlusion. Its pose is added to that of the ordinary heads.

Source: Ferens and Keller, "HyperPose: Hypernetwork-Infused Camera Pose Localization and an Extended Cambridge
Landmarks Dataset", 2025, supplement sections 1.2, 3, 4 and 8 (baseline APR with and without hypernetwork).
Structure as released: one generated layer for each half of the pose. The ablations of section 4, which the
paper makes with its multi-scene network, are settings here in their single-scene form.
"""

from dataclasses import dataclass, field
from typing import Literal

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
from camloc.models.layers.hypernetwork import GeneratorConfig, HyperHead, HypernetworkConfig
from camloc.models.layers.transformer import BatchDropout
from camloc.models.losses import PoseLossConfig
from camloc.models.regressor import RegressionConfig, SingleSceneRegressor

# "residual": the generated heads have an input layer of their own, and the two poses are added. "one_layer":
# the generated heads have the same input as the ordinary ones. "two_layers": the hidden layer before them has
# a generated twin too, whose output is added before the activation. Supplement Table 4.
Infusion = Literal["residual", "one_layer", "two_layers"]


@dataclass(frozen=True)
class HyperPoseConfig:
    """Settings of `HyperPose`.

    Attributes:
        backbone: the network in front.
        grid: (rows, columns) that the final map is averaged to; (1, 1) is the published global average, a
            finer grid preserves where in the image a feature is.
        hidden: width of the ordinary heads' shared layer.
        dropout: rate after that layer.
        hypernetwork: None for the baseline regressor without one.
        infusion: how the generated layers are combined with the ordinary ones. A twin of the hidden layer has
            a million weights; only the compact generator generates them with few weights.
        regression: how the pose is regressed.
    """

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    grid: tuple[int, int] = (1, 1)
    hidden: int = 1024
    dropout: float = 0.1
    hypernetwork: HypernetworkConfig | None = field(default_factory=HypernetworkConfig)
    infusion: Infusion = "residual"
    regression: RegressionConfig = RegressionConfig(pose_loss=PoseLossConfig(0.0, 0.0))


_COMPACT = HypernetworkConfig(generator=GeneratorConfig("compact"))

PRESETS = {
    "baseline": HyperPoseConfig(hypernetwork=None),
    "hypernetwork": HyperPoseConfig(),
    "hypernetwork-256-256": HyperPoseConfig(hypernetwork=HypernetworkConfig(256, 256)),
    "hypernetwork-256-1024": HyperPoseConfig(hypernetwork=HypernetworkConfig(256, 1024)),
    "released": HyperPoseConfig(EFFICIENTNET_B0_RELEASED),
    "released-baseline": HyperPoseConfig(EFFICIENTNET_B0_RELEASED, hypernetwork=None),
    "compact": HyperPoseConfig(hypernetwork=_COMPACT),
    "one-integrated-layer": HyperPoseConfig(infusion="one_layer"),
    "two-integrated-layers": HyperPoseConfig(hypernetwork=_COMPACT, infusion="two_layers"),
    "baseline-mobilenetv2-tensorflow": HyperPoseConfig(MOBILENETV2_TENSORFLOW, hypernetwork=None),
    "hypernetwork-mobilenetv2-tensorflow": HyperPoseConfig(MOBILENETV2_TENSORFLOW),
}


class HyperPose(SingleSceneRegressor):
    """A CNN with an ordinary pair of heads and, beside it, a generated pair."""

    def __init__(self, config: HyperPoseConfig) -> None:
        super().__init__(config.regression)
        self.backbone = Backbone(config.backbone)
        self.grid = config.grid
        features = self.backbone.channels[-1] * config.grid[0] * config.grid[1]
        self.hidden = nn.Linear(features, config.hidden)
        self.dropout = BatchDropout(config.dropout)
        self.position_head = nn.Linear(config.hidden, 3)
        self.orientation_head = nn.Linear(config.hidden, config.regression.orientation_size)
        for linear in (self.hidden, self.position_head, self.orientation_head):
            nn.init.kaiming_normal_(linear.weight)
        self.hidden_hyper: HyperHead | None = None
        self.position_hyper: HyperHead | None = None
        self.orientation_hyper: HyperHead | None = None
        if config.hypernetwork is not None:
            hyper, inputs = config.hypernetwork, None if config.infusion == "residual" else config.hidden
            self.position_hyper, self.orientation_hyper = (
                HyperHead(features, outputs, width=width, generator=hyper.generator, inputs=inputs)
                for outputs, width in (
                    (3, hyper.position),
                    (config.regression.orientation_size, hyper.orientation),
                )
            )
            if config.infusion == "two_layers":
                self.hidden_hyper = HyperHead(
                    features, config.hidden, width=hyper.position, generator=hyper.generator, inputs=features
                )

    def describe(self, feature_maps: FeatureMaps) -> Latents:
        """Compute the pooled features, which both halves of the pose read."""
        (final,) = feature_maps
        if final.shape[-2:] != self.grid:  # pooling to the same size would cost a tenth of a small network
            final = F.adaptive_avg_pool2d(final, self.grid)
        features = final.flatten(1)
        return Latents(features, features)

    def regress(self, latents: Latents) -> RegressedPose:
        """Add the outputs of ordinary and generated heads."""
        hidden = self.hidden(latents.position)
        if self.hidden_hyper is not None:
            hidden = hidden + self.hidden_hyper(latents.position, latents.position)
        hidden = self.dropout(F.relu(hidden))
        position, orientation = self.position_head(hidden), self.orientation_head(hidden)
        if self.position_hyper is not None:
            position = position + self.position_hyper(latents.position, hidden)
        if self.orientation_hyper is not None:
            orientation = orientation + self.orientation_hyper(latents.orientation, hidden)
        return self.world(position, orientation)  # type: ignore[no-any-return]
