"""MS-Transformer: a multi-scene regressor with a learned query for each scene.

For each half of the pose, a Transformer encoder reads a feature map of a CNN, and a decoder computes an
output for the query of each scene. A linear layer classifies the scene from the outputs of all scenes; the
heads read the output of the most probable scene. With a single scene it is the MS-Trans-1S of later tables.

Source: Shavit, Ferens and Keller, "Learning Multi-Scene Absolute Pose Regression with Transformers", ICCV
2021; teacher of Shavit and Keller, "Camera Pose Auto-Encoders", ECCV 2022, section 4. Structure as released.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from camloc.models.base import FeatureMaps, Latents
from camloc.models.decoding import RegressedPose
from camloc.models.layers.backbone import (
    EFFICIENTNET_B0_RELEASED,
    MOBILENETV2_TENSORFLOW,
    Backbone,
    BackboneConfig,
)
from camloc.models.layers.transformer import PositionCodesConfig, TransformerConfig
from camloc.models.losses import PoseLossConfig
from camloc.models.multi_scene import (
    Heads,
    LaterHeads,
    LaterLogits,
    MultiSceneRegressor,
    SceneTransformer,
    group_sizes,
    scene_heads,
)
from camloc.models.regressor import RegressionConfig


@dataclass(frozen=True)
class MSTransformerConfig:
    """Settings of `MSTransformer`.

    Attributes:
        scenes: number of scenes.
        groups: number of scenes in each group, if some were added later (`multi_scene`); () for one group.
        backbone: the network in front.
        position_tap, orientation_tap: the backbone's stages whose maps are read (timm's numbering, 0 = stride
            2). For EfficientNet-B0 at 224 x 224, stage 3 has 14 x 14 cells and stage 2 has 28 x 28.
        transformer: sizes of both halves' encoders and decoders, except for the number of layers.
        layers: number of layers of the position's encoder and decoder, and of the orientation's.
        codes: position codes of the cells.
        heads: one pair for all scenes ("shared"), or one for each scene ("own").
        hidden: width of the heads' hidden layer.
        regression: how the pose is regressed.
    """

    scenes: int = 7
    groups: tuple[int, ...] = ()
    backbone: BackboneConfig = BackboneConfig()
    position_tap: int = 3
    orientation_tap: int = 2
    transformer: TransformerConfig = TransformerConfig()
    layers: tuple[int, int] = (6, 6)
    codes: PositionCodesConfig = PositionCodesConfig("shared")
    heads: Heads = "shared"
    hidden: int = 1024
    regression: RegressionConfig = RegressionConfig(pose_loss=PoseLossConfig(0.0, -3.0))


_RELEASED = MSTransformerConfig(backbone=EFFICIENTNET_B0_RELEASED, transformer=TransformerConfig(heads=8))
_OUTDOORS = RegressionConfig(pose_loss=PoseLossConfig(-3.0, -6.5))

PRESETS = {
    "sevenscenes": replace(_RELEASED, layers=(6, 4)),
    "cambridge": replace(_RELEASED, scenes=4, regression=_OUTDOORS),
    "cambridge-own-heads": replace(_RELEASED, scenes=4, heads="own", regression=_OUTDOORS),
    "one-scene": replace(_RELEASED, scenes=1, regression=_OUTDOORS),
    "mobilenetv2-tensorflow": MSTransformerConfig(backbone=MOBILENETV2_TENSORFLOW, layers=(4, 4)),
}


class MSTransformer(MultiSceneRegressor):
    """A CNN cut after its second tap, an encoder and a decoder for each half of the pose, and heads."""

    def __init__(self, config: MSTransformerConfig) -> None:
        super().__init__(config.regression, config.scenes)
        groups = group_sizes(config.scenes, config.groups)
        self.backbone = Backbone(config.backbone, taps=(config.position_tap, config.orientation_tap))
        width, strides = config.transformer.width, self.backbone.strides
        self.codes = config.codes.shared(width, stride=min(strides), has_token=False)
        self.position_transformer, self.orientation_transformer = (
            SceneTransformer(
                channels,
                replace(config.transformer, layers=layers),
                groups=groups,
                codes=config.codes.own(width, stride=stride, has_token=False),
            )
            for channels, stride, layers in zip(self.backbone.channels, strides, config.layers, strict=True)
        )
        self.scene = nn.Linear(2 * width, 1)
        self.scene_later = LaterLogits(groups, 2 * width)
        sizes = (3, config.regression.orientation_size)
        self.position_heads, self.orientation_heads = (
            scene_heads(config.heads, width, outputs, hidden=config.hidden, scenes=config.scenes)
            for outputs in sizes
        )
        self.position_heads_later, self.orientation_heads_later = (
            LaterHeads(groups, width, outputs, hidden=config.hidden) for outputs in sizes
        )

    def describe(self, feature_maps: FeatureMaps) -> Latents:
        """Compute the two decoders' outputs for each scene."""
        position_map, orientation_map = feature_maps
        return Latents(
            self.position_transformer(position_map, self.codes),
            self.orientation_transformer(orientation_map, self.codes),
        )

    def scene_logits(self, latents: Latents) -> Float[Tensor, "b s"]:
        """Compute each scene's logit from its two outputs."""
        both = torch.cat((latents.position, latents.orientation), dim=-1)
        return self.scene_later(self.scene(both).squeeze(-1), both)  # type: ignore[no-any-return]

    def regress_in(self, latents: Latents, scene: Int[Tensor, "b"]) -> RegressedPose:
        """Compute position and orientation, each from its decoder's output."""
        position = self.position_heads(latents.position, scene)
        orientation = self.orientation_heads(latents.orientation, scene)
        position = self.position_heads_later(position, latents.position, scene)
        orientation = self.orientation_heads_later(orientation, latents.orientation, scene)
        return self.world(position, orientation, scene)  # type: ignore[no-any-return]
