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

from camloc.core.model import Decoded, Latents, Regressor
from camloc.core.types import Batch
from camloc.geometry.pose import Pose
from camloc.models.parts.backbone import MOBILENETV2_TENSORFLOW, Backbone, BackboneConfig
from camloc.models.parts.dropout import BatchDropout
from camloc.models.parts.hyper import HyperLinear
from camloc.models.parts.regression import (
    BalanceConfig,
    LearnedBalance,
    Positions,
    RegressedPose,
    WorldFrame,
    regression_losses,
)


@dataclass(frozen=True)
class HypernetworkConfig:
    """Sizes of the hypernetwork's two branches (the papers' theta_h), supplement Table 6.

    Attributes:
        position: width of the branch that generates the position head.
        orientation: width of the branch that generates the orientation head.
    """

    position: int = 256
    orientation: int = 512


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
        positions: regress world coordinates as they are (published) or standardised ones.
        balance: initial loss weights.
    """

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    grid: tuple[int, int] = (1, 1)
    hidden: int = 1024
    dropout: float = 0.1
    hypernetwork: HypernetworkConfig | None = field(default_factory=HypernetworkConfig)
    positions: Positions = "raw"
    balance: BalanceConfig = BalanceConfig(position=0.0, orientation=0.0)


PRESETS = {
    "baseline": HyperPoseConfig(hypernetwork=None),
    "hypernetwork": HyperPoseConfig(),
    "baseline-mobilenetv2-tensorflow": HyperPoseConfig(MOBILENETV2_TENSORFLOW, hypernetwork=None),
    "hypernetwork-mobilenetv2-tensorflow": HyperPoseConfig(MOBILENETV2_TENSORFLOW),
}


class HyperHead(nn.Module):
    """One half of the pose through a linear layer that is generated for each picture.

    The condition passes through two adjacent linear layers before the activation, as released.
    """

    def __init__(self, features: int, outputs: int, *, width: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(features, width)
        self.condition = nn.Linear(width, width)
        self.input = nn.Linear(features, width)
        self.layer = HyperLinear(width, outputs, condition=width)
        for linear in (self.embedding, self.condition, self.input):
            nn.init.kaiming_normal_(linear.weight)

    def forward(self, features: Float[Tensor, "b features"]) -> Float[Tensor, "b outputs"]:
        """What is added to the ordinary head's output."""
        condition = F.silu(self.condition(self.embedding(features)))
        return self.layer(self.input(features), condition)  # type: ignore[no-any-return]


class HyperPose(Regressor[RegressedPose]):
    """A CNN with an ordinary pair of heads and, beside it, a generated one."""

    def __init__(self, config: HyperPoseConfig) -> None:
        super().__init__()
        self.backbone = Backbone(config.backbone)
        self.grid = config.grid
        features = self.backbone.channels[-1] * config.grid[0] * config.grid[1]
        self.hidden = nn.Linear(features, config.hidden)
        self.dropout = BatchDropout(config.dropout)
        self.position_head = nn.Linear(config.hidden, 3)
        self.orientation_head = nn.Linear(config.hidden, 4)
        for linear in (self.hidden, self.position_head, self.orientation_head):
            nn.init.kaiming_normal_(linear.weight)
        self.position_hyper: HyperHead | None = None
        self.orientation_hyper: HyperHead | None = None
        if config.hypernetwork is not None:
            self.position_hyper = HyperHead(features, 3, width=config.hypernetwork.position)
            self.orientation_hyper = HyperHead(features, 4, width=config.hypernetwork.orientation)
        self.world = WorldFrame(config.positions)
        self.balance = LearnedBalance(config.balance)

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
        position, quaternion_wxyz = self.position_head(hidden), self.orientation_head(hidden)
        if self.position_hyper is not None:
            position = position + self.position_hyper(latents.position)
        if self.orientation_hyper is not None:
            quaternion_wxyz = quaternion_wxyz + self.orientation_hyper(latents.orientation)
        return self.world(position, quaternion_wxyz)  # type: ignore[no-any-return]

    def decode(self, output: RegressedPose, *, intrinsics: Float[Tensor, "b 3 3"] | None = None) -> Decoded:
        """Poses; intrinsics are not needed."""
        del intrinsics
        return self.world.decode(output)

    def losses(self, output: RegressedPose, batch: Batch) -> dict[str, Tensor]:
        """Position and orientation terms with learned balance."""
        return regression_losses(self.balance, self.world, output, batch)

    def observe(self, world_from_cam: Pose) -> None:
        """Note the centre and spread of the training positions."""
        self.world.observe(world_from_cam)
