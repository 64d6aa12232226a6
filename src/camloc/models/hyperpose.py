"""HyperPose, single scene: a baseline regressor, and the same with a hypernetwork beside its heads.

The hypernetwork generates the weights of a second pair of heads from each picture, so that how
features are read can follow the light, the season and what stands in the way. Its pose is added to
that of the ordinary heads.

Source: Ferens and Keller, "HyperPose: Hypernetwork-Infused Camera Pose Localization and an Extended
Cambridge Landmarks Dataset", 2025, supplement sections 1.2, 3, 4 and 8 (baseline APR with and without
hypernetwork). Structure as released: one generated layer for each half of the pose.
"""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.core.model import Latents
from camloc.models.parts.backbone import MOBILENETV2_TENSORFLOW, Backbone, BackboneConfig
from camloc.models.parts.balance import BalanceConfig
from camloc.models.parts.dropout import BatchDropout
from camloc.models.parts.hyper import HyperHead
from camloc.models.parts.hypernetwork import HypernetworkConfig
from camloc.models.parts.regression import RegressedPose, RegressionConfig, SingleSceneRegressor


@dataclass(frozen=True)
class HyperPoseConfig:
    """Settings of `HyperPose`.

    Attributes:
        backbone: the network in front.
        grid: (rows, columns) that the final map is averaged to; (1, 1) is the published global
            average, a finer grid keeps where in the picture a feature is.
        hidden: width of the ordinary heads' shared layer.
        dropout: rate after it.
        hypernetwork: None for the baseline regressor without one.
        regression: how the pose is regressed.
    """

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    grid: tuple[int, int] = (1, 1)
    hidden: int = 1024
    dropout: float = 0.1
    hypernetwork: HypernetworkConfig | None = field(default_factory=HypernetworkConfig)
    regression: RegressionConfig = RegressionConfig(balance=BalanceConfig(0.0, 0.0))


PRESETS = {
    "baseline": HyperPoseConfig(hypernetwork=None),
    "hypernetwork": HyperPoseConfig(),
    "baseline-mobilenetv2-tensorflow": HyperPoseConfig(MOBILENETV2_TENSORFLOW, hypernetwork=None),
    "hypernetwork-mobilenetv2-tensorflow": HyperPoseConfig(MOBILENETV2_TENSORFLOW),
}


class HyperPose(SingleSceneRegressor):
    """A CNN with an ordinary pair of heads and, beside it, a generated one."""

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
        self.position_hyper: HyperHead | None = None
        self.orientation_hyper: HyperHead | None = None
        if config.hypernetwork is not None:
            hyper, orientation_size = config.hypernetwork, config.regression.orientation_size
            self.position_hyper = HyperHead(features, 3, width=hyper.position, generator=hyper.generator)
            self.orientation_hyper = HyperHead(
                features, orientation_size, width=hyper.orientation, generator=hyper.generator
            )

    def encode(self, images: Float[Tensor, "b 3 h w"]) -> Latents:
        """Pooled features; both halves of the pose read the same ones."""
        maps = self.backbone(images)[-1]
        if maps.shape[-2:] != self.grid:  # pooling cells one by one would cost a tenth of a small network
            maps = F.adaptive_avg_pool2d(maps, self.grid)
        features = maps.flatten(1)
        return Latents(features, features)

    def regress(self, latents: Latents) -> RegressedPose:
        """The ordinary heads' pose plus the generated heads' pose."""
        hidden = self.dropout(F.relu(self.hidden(latents.position)))
        position, orientation = self.position_head(hidden), self.orientation_head(hidden)
        if self.position_hyper is not None:
            position = position + self.position_hyper(latents.position)
        if self.orientation_hyper is not None:
            orientation = orientation + self.orientation_hyper(latents.orientation)
        return self.world(position, orientation)  # type: ignore[no-any-return]
