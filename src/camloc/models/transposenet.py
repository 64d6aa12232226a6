"""TransPoseNet: attention over two feature maps of a CNN, one for each half of the pose.

One Transformer encoder reads the cells of a coarse map for the position, another the cells of a finer map for
the orientation. A learned token precedes the cells; the head of each half reads the encoder's output for it.

Source: Shavit, Ferens and Keller, "Paying Attention to Activation Maps in Camera Pose Regression", 2021,
section 3. `docs/models/transposenet.md` lists where the released code differs.
"""

from dataclasses import dataclass, replace

from camloc.models.base import FeatureMaps, Latents
from camloc.models.decoding import RegressedPose
from camloc.models.layers.backbone import (
    EFFICIENTNET_B0_RELEASED,
    MOBILENETV2_TENSORFLOW,
    Backbone,
    BackboneConfig,
)
from camloc.models.layers.transformer import MapEncoder, PositionCodesConfig, TransformerConfig
from camloc.models.losses import PoseLossConfig
from camloc.models.regressor import RegressionConfig, RegressionHead, SingleSceneRegressor


@dataclass(frozen=True)
class TransPoseNetConfig:
    """Settings of `TransPoseNet`.

    Attributes:
        backbone: the network in front.
        position_tap, orientation_tap: the backbone's stages whose maps the two encoders read (timm's
            numbering, 0 = stride 2). For EfficientNet-B0 at 224 x 224, stage 3 has 14 x 14 cells and stage 2
            has 28 x 28: the paper's m_rdct4 and m_rdct3 (Table 8).
        encoder: of both maps (Tables 6 and 7).
        codes: position codes of the cells.
        hidden: width of the heads' hidden layer.
        orientation_prior: whether the orientation head also reads the position's latent vector, as in the
            paper outdoors from the second phase on. The prior's weights start at zero.
        regression: how the pose is regressed.
    """

    backbone: BackboneConfig = BackboneConfig()
    position_tap: int = 3
    orientation_tap: int = 2
    encoder: TransformerConfig = TransformerConfig()
    codes: PositionCodesConfig = PositionCodesConfig()
    hidden: int = 1024
    orientation_prior: bool = False
    regression: RegressionConfig = RegressionConfig(pose_loss=PoseLossConfig(-3.0, -6.5))


_RELEASED = TransPoseNetConfig(
    EFFICIENTNET_B0_RELEASED, encoder=TransformerConfig(heads=8), codes=PositionCodesConfig("shared")
)

PRESETS = {
    "paper": TransPoseNetConfig(EFFICIENTNET_B0_RELEASED),
    "paper-outdoors": TransPoseNetConfig(EFFICIENTNET_B0_RELEASED, orientation_prior=True),
    "released": _RELEASED,
    "released-prior": replace(_RELEASED, orientation_prior=True),
    "mobilenetv2-tensorflow": TransPoseNetConfig(MOBILENETV2_TENSORFLOW),
}


class TransPoseNet(SingleSceneRegressor):
    """A CNN cut after its second tap, and an encoder and a head for each half of the pose."""

    def __init__(self, config: TransPoseNetConfig) -> None:
        super().__init__(config.regression)
        self.backbone = Backbone(config.backbone, taps=(config.position_tap, config.orientation_tap))
        width, (position_stride, orientation_stride) = config.encoder.width, self.backbone.strides
        position_channels, orientation_channels = self.backbone.channels
        self.codes = config.codes.shared(width, stride=min(self.backbone.strides))
        self.position_encoder = MapEncoder(
            position_channels, config.encoder, config.codes.own(width, stride=position_stride)
        )
        self.orientation_encoder = MapEncoder(
            orientation_channels, config.encoder, config.codes.own(width, stride=orientation_stride)
        )
        activation = config.encoder.activation
        self.position_head = RegressionHead(width, 3, hidden=config.hidden, activation=activation)
        self.orientation_head = RegressionHead(
            width,
            config.regression.orientation_size,
            hidden=config.hidden,
            activation=activation,
            prior=width if config.orientation_prior else 0,
        )

    def describe(self, feature_maps: FeatureMaps) -> Latents:
        """Compute the two encoders' outputs for their tokens."""
        position_map, orientation_map = feature_maps
        return Latents(
            self.position_encoder(position_map, self.codes),
            self.orientation_encoder(orientation_map, self.codes),
        )

    def regress(self, latents: Latents) -> RegressedPose:
        """Compute position and orientation, each from its token."""
        position = self.position_head(latents.position)
        orientation = self.orientation_head(latents.orientation, latents.position)
        return self.world(position, orientation)  # type: ignore[no-any-return]
