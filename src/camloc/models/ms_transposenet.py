"""Multi-scene TransPoseNet: a scene classifier, and tokens that depend on the scene.

The network of `transposenet` with two additions. A linear layer on the backbone's pooled final map classifies
the scene. Each scene has a learned vector for each half of the pose, which is added to the token of that
half's encoder.

Source: the code, as of 2022, of Shavit, Ferens and Keller, "Paying Attention to Activation Maps in Camera
Pose Regression", 2021; the paper has one scene. Ours (`docs/models/ms_transposenet.md`): the scene's vector
is added before the last layer, so that all earlier layers are computed once for all scenes.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.models.base import FeatureMaps, Latents
from camloc.models.decoding import RegressedPose
from camloc.models.layers.backbone import FINAL, MOBILENETV2_TENSORFLOW, Backbone, BackboneConfig
from camloc.models.layers.transformer import PositionCodesConfig, SceneMapEncoder, TransformerConfig
from camloc.models.losses import PoseLossConfig
from camloc.models.multi_scene import LaterHeads, MultiSceneRegressor, group_sizes
from camloc.models.regressor import RegressionConfig, RegressionHead


@dataclass(frozen=True)
class MSTransPoseNetConfig:
    """Settings of `MSTransPoseNet`.

    Attributes:
        scenes: number of scenes.
        groups: number of scenes in each group, if some were added later (`multi_scene`); () for one group.
        backbone: the network in front.
        position_tap, orientation_tap: the backbone's stages whose maps the two encoders read (timm's
            numbering, 0 = stride 2). For EfficientNet-B0 at 224 x 224, stage 3 has 14 x 14 cells and stage 2
            has 28 x 28.
        encoder: of both maps.
        codes: position codes of the cells.
        hidden: width of the heads' hidden layer.
        regression: how the pose is regressed.
    """

    scenes: int = 7
    groups: tuple[int, ...] = ()
    backbone: BackboneConfig = BackboneConfig()
    position_tap: int = 3
    orientation_tap: int = 2
    encoder: TransformerConfig = TransformerConfig()
    codes: PositionCodesConfig = PositionCodesConfig("shared")
    hidden: int = 1024
    regression: RegressionConfig = RegressionConfig(pose_loss=PoseLossConfig(0.0, -3.0))


_RELEASED = MSTransPoseNetConfig(encoder=TransformerConfig(heads=8))
_OUTDOORS = RegressionConfig(pose_loss=PoseLossConfig(-3.0, -6.5))

PRESETS = {
    "sevenscenes": _RELEASED,
    "cambridge": replace(_RELEASED, scenes=4, regression=_OUTDOORS),
    "mobilenetv2-tensorflow": MSTransPoseNetConfig(backbone=MOBILENETV2_TENSORFLOW),
}


class SceneClassifier(nn.Module):
    """A linear layer with a row for each scene."""

    def __init__(self, channels: int, scenes: int) -> None:
        super().__init__()
        linear = nn.Linear(channels, scenes)
        self.weight_of_scene = nn.Parameter(linear.weight.detach())
        self.bias_of_scene = nn.Parameter(linear.bias.detach())

    def forward(self, features: Float[Tensor, "b c"]) -> Float[Tensor, "b s"]:
        """Compute the logarithm of each scene's probability."""
        return F.linear(features, self.weight_of_scene, self.bias_of_scene).log_softmax(-1)


class MSTransPoseNet(MultiSceneRegressor):
    """A CNN, a scene classifier, and for each half of the pose an encoder of scene tokens and a head."""

    def __init__(self, config: MSTransPoseNetConfig) -> None:
        super().__init__(config.regression, config.scenes)
        groups = group_sizes(config.scenes, config.groups)
        taps = (config.position_tap, config.orientation_tap, FINAL)
        self.backbone = Backbone(config.backbone, taps=taps)
        width, strides = config.encoder.width, self.backbone.strides
        *tap_channels, final_channels = self.backbone.channels
        self.codes = config.codes.shared(width, stride=min(strides))
        self.position_encoder, self.orientation_encoder = (
            SceneMapEncoder(channels, config.encoder, config.codes.own(width, stride=stride), groups=groups)
            for channels, stride in zip(tap_channels, strides, strict=True)
        )
        self.scene = SceneClassifier(final_channels, config.scenes)
        sizes, activation = (3, config.regression.orientation_size), config.encoder.activation
        self.position_head, self.orientation_head = (
            RegressionHead(width, outputs, hidden=config.hidden, activation=activation) for outputs in sizes
        )
        self.position_heads_later, self.orientation_heads_later = (
            LaterHeads(groups, width, outputs, hidden=config.hidden) for outputs in sizes
        )

    def describe(self, feature_maps: FeatureMaps) -> Latents:
        """Compute each scene's two tokens; its log probability is appended to the position's token."""
        position_map, orientation_map, final = feature_maps
        log_probability = self.scene(final.mean((-2, -1))).unsqueeze(-1)
        position = self.position_encoder(position_map, self.codes)
        return Latents(
            torch.cat((position, log_probability), dim=-1),
            self.orientation_encoder(orientation_map, self.codes),
        )

    def scene_logits(self, latents: Latents) -> Float[Tensor, "b s"]:
        """Read the classifier's log probabilities from the latents."""
        return latents.position[..., -1]

    def regress_in(self, latents: Latents, scene: Int[Tensor, "b"]) -> RegressedPose:
        """Compute position and orientation, each from its token."""
        position_token, orientation_token = latents.position[:, :-1], latents.orientation
        position = self.position_heads_later(self.position_head(position_token), position_token, scene)
        orientation = self.orientation_head(orientation_token)
        orientation = self.orientation_heads_later(orientation, orientation_token, scene)
        return self.world(position, orientation, scene)  # type: ignore[no-any-return]
