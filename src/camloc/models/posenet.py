"""PoseNet-like absolute pose regressor: a CNN, a latent vector for each half of the pose, two heads.

The teacher of the camera pose auto-encoders, after PoseNet (Kendall, Grimes and Cipolla 2015).

Source: Shavit and Keller, "Camera Pose Auto-Encoders for Improving Pose Regression", ECCV 2022,
section 3.1 and 4 (MobileNet, ResNet-50 and EfficientNet-B0 teachers). Structure as released: pooled
features -> two parallel layers of 256 with ReLU -> dropout -> 3 and 4 numbers.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.core.model import Decoded, Latents, Regressor
from camloc.core.types import Batch
from camloc.geometry.pose import Pose
from camloc.models.parts.backbone import MOBILENETV2_TENSORFLOW, Backbone, BackboneConfig
from camloc.models.parts.dropout import BatchDropout
from camloc.models.parts.regression import (
    BalanceConfig,
    LearnedBalance,
    Positions,
    RegressedPose,
    WorldFrame,
    regression_losses,
)


@dataclass(frozen=True)
class PoseNetConfig:
    """Settings of `PoseNet`.

    Attributes:
        backbone: the network in front.
        latent: size of each of the two latent vectors (the paper's d).
        dropout: rate before the heads.
        positions: regress world coordinates as they are (published) or standardised ones.
        balance: initial loss weights.
    """

    backbone: BackboneConfig = BackboneConfig("mobilenetv2_100")
    latent: int = 256
    dropout: float = 0.1
    positions: Positions = "raw"
    balance: BalanceConfig = BalanceConfig(position=-3.0, orientation=-6.5)


PRESETS = {
    "mobilenetv2": PoseNetConfig(),
    "mobilenetv2-tensorflow": PoseNetConfig(MOBILENETV2_TENSORFLOW),
    "resnet50": PoseNetConfig(BackboneConfig("resnet50")),
    "efficientnet-b0": PoseNetConfig(BackboneConfig("efficientnet_b0")),
}


class PoseNet(Regressor[RegressedPose]):
    """A CNN whose pooled features give a position latent and an orientation latent."""

    def __init__(self, config: PoseNetConfig) -> None:
        super().__init__()
        self.backbone = Backbone(config.backbone)
        features = self.backbone.channels[-1]
        self.position_latent = nn.Linear(features, config.latent)
        self.orientation_latent = nn.Linear(features, config.latent)
        self.dropout = BatchDropout(config.dropout)
        self.position_head = nn.Linear(config.latent, 3)
        self.orientation_head = nn.Linear(config.latent, 4)
        for layer in (
            self.position_latent,
            self.orientation_latent,
            self.position_head,
            self.orientation_head,
        ):
            nn.init.kaiming_normal_(layer.weight)
        self.world = WorldFrame(config.positions)
        self.balance = LearnedBalance(config.balance)

    def encode(self, images: Float[Tensor, "b 3 h w"]) -> Latents:
        """The paper's z_x and z_q."""
        features = self.backbone(images)[-1].mean((-2, -1))
        return Latents(F.relu(self.position_latent(features)), F.relu(self.orientation_latent(features)))

    def regress(self, latents: Latents) -> RegressedPose:
        """Position and quaternion from the two latents."""
        position = self.position_head(self.dropout(latents.position))
        quaternion_wxyz = self.orientation_head(self.dropout(latents.orientation))
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
