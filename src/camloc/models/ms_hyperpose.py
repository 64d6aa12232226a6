"""MS-HyperPose: a multi-scene regressor with heads that are generated from each image.

An MS-Transformer with four layers in all encoders and decoders. Beside the pair of heads that all scenes
share, a hypernetwork generates a second pair in the most probable scene, from that scene's decoder output and
the backbone's pooled features. The outputs of both pairs are added.

Source: Ferens and Keller, "HyperPose: Hypernetwork-Infused Camera Pose Localization and an Extended
Cambridge Landmarks Dataset", 2025, supplement sections 3, 4 and 8. Structure as released; the integrated
forms of its Table 4, of which no code is released, are our reading.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from camloc.models.base import FeatureMaps, Latents
from camloc.models.decoding import RegressedPose
from camloc.models.layers.backbone import (
    EFFICIENTNET_B0_RELEASED,
    FINAL,
    MOBILENETV2_TENSORFLOW,
    Backbone,
    BackboneConfig,
)
from camloc.models.layers.hypernetwork import GeneratorConfig, HyperMLP
from camloc.models.layers.transformer import PositionCodesConfig, TransformerConfig
from camloc.models.losses import PoseLossConfig
from camloc.models.multi_scene import (
    LaterHeads,
    LaterLogits,
    MultiSceneRegressor,
    SceneTransformer,
    group_sizes,
)
from camloc.models.regressor import RegressionConfig, RegressionHead


@dataclass(frozen=True)
class SceneHypernetworkConfig:
    """Settings of the hypernetwork.

    Attributes:
        reads: "token" reads the scene's decoder output; "backbone and token" adds the embedded features of
            the backbone (Table 3).
        position, orientation: the papers' theta_h, widths of the generated heads (Table 5): the position's
            hidden layers have `position` and half of it, the orientation's `orientation` twice.
        infusion: "residual" adds the pose of generated heads; otherwise a generated twin is added to the
            shared heads' output layer ("one_layer") or to both layers ("two_layers") (Table 4).
        generator: how the weights are generated.
    """

    reads: Literal["backbone and token", "token"] = "backbone and token"
    position: int = 256
    orientation: int = 512
    infusion: Literal["residual", "one_layer", "two_layers"] = "residual"
    generator: GeneratorConfig = GeneratorConfig("compact", rank=256)


@dataclass(frozen=True)
class MSHyperPoseConfig:
    """Settings of `MSHyperPose`.

    Attributes:
        scenes: number of scenes.
        groups: number of scenes in each group, if some were added later (`multi_scene`); () for one group.
        backbone: the network in front.
        position_tap, orientation_tap: the backbone's stages whose maps are read (timm's numbering, 0 = stride
            2).
        transformer: sizes of both halves' encoders and decoders.
        codes: position codes of the cells.
        hidden: width of the shared heads' hidden layer.
        hypernetwork: generates the other heads.
        regression: how the pose is regressed.
    """

    scenes: int = 7
    groups: tuple[int, ...] = ()
    backbone: BackboneConfig = BackboneConfig()
    position_tap: int = 3
    orientation_tap: int = 2
    transformer: TransformerConfig = TransformerConfig(layers=4)
    codes: PositionCodesConfig = PositionCodesConfig("shared")
    hidden: int = 1024
    hypernetwork: SceneHypernetworkConfig = SceneHypernetworkConfig()
    regression: RegressionConfig = RegressionConfig(pose_loss=PoseLossConfig(0.0, 0.0))


_RELEASED = MSHyperPoseConfig(
    backbone=EFFICIENTNET_B0_RELEASED,
    transformer=TransformerConfig(layers=4, heads=8),
    hypernetwork=SceneHypernetworkConfig(generator=GeneratorConfig("full")),
)
_OUTDOORS = RegressionConfig(pose_loss=PoseLossConfig(-3.0, -6.5))

PRESETS = {
    "compact": MSHyperPoseConfig(),
    "sevenscenes": _RELEASED,
    "cambridge": replace(_RELEASED, scenes=4, regression=_OUTDOORS),
    "compact-mobilenetv2-tensorflow": MSHyperPoseConfig(backbone=MOBILENETV2_TENSORFLOW),
}


class HyperBranch(nn.Module):
    """The heads of one half of the pose: the shared one and the generated layers."""

    def __init__(self, config: MSHyperPoseConfig, outputs: int, *, generated_hidden: tuple[int, ...]) -> None:
        super().__init__()
        width, hyper = config.transformer.width, config.hypernetwork
        self.head = RegressionHead(width, outputs, hidden=config.hidden)
        self.infusion = hyper.infusion
        sizes = {
            "residual": (width, *generated_hidden, outputs),
            "one_layer": (config.hidden, outputs),
            "two_layers": (width, config.hidden, outputs),
        }[hyper.infusion]
        self.generated = HyperMLP(
            sizes,
            condition=width,
            generator=hyper.generator,
            hidden_start="ordinary" if hyper.infusion == "residual" else "zero",
            own_conditions=True,
        )

    def forward(self, token: Float[Tensor, "b d"], condition: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """Compute the numbers of half a pose."""
        if self.infusion == "residual":
            return self.head(token) + self.generated(token, condition)  # type: ignore[no-any-return]
        hidden = self.head.hidden(token)
        if self.infusion == "two_layers":
            hidden = hidden + self.generated.layer(0, token, condition)
        hidden = self.head.activation(hidden)
        added = self.generated.layer(-1, hidden, condition)
        return self.head.output(hidden) + added  # type: ignore[no-any-return]


class MSHyperPose(MultiSceneRegressor):
    """An MS-Transformer, pooled features of its backbone, and a shared and a generated pair of heads."""

    def __init__(self, config: MSHyperPoseConfig) -> None:
        super().__init__(config.regression, config.scenes)
        hyper, width = config.hypernetwork, config.transformer.width
        groups = group_sizes(config.scenes, config.groups)
        taps: tuple[int, ...] = (config.position_tap, config.orientation_tap)
        self.reads_backbone = hyper.reads == "backbone and token"
        self.backbone = Backbone(config.backbone, taps=(*taps, FINAL) if self.reads_backbone else taps)
        channels, strides = self.backbone.channels, self.backbone.strides
        self.codes = config.codes.shared(width, stride=min(strides), has_token=False)
        self.position_transformer, self.orientation_transformer = (
            SceneTransformer(
                map_channels,
                config.transformer,
                groups=groups,
                codes=config.codes.own(width, stride=stride, has_token=False),
            )
            for map_channels, stride in zip(channels[:2], strides, strict=True)
        )
        self.scene = nn.Linear(2 * width, 1)
        self.scene_later = LaterLogits(groups, 2 * width)
        if self.reads_backbone:
            self.position_hyper_embedding = nn.Linear(channels[-1], width)
            self.orientation_hyper_embedding = nn.Linear(channels[-1], width)
        self.position_heads = HyperBranch(config, 3, generated_hidden=(hyper.position, hyper.position // 2))
        self.orientation_heads = HyperBranch(
            config,
            config.regression.orientation_size,
            generated_hidden=(hyper.orientation, hyper.orientation),
        )
        self.position_heads_later, self.orientation_heads_later = (
            LaterHeads(groups, width, outputs, hidden=config.hidden)
            for outputs in (3, config.regression.orientation_size)
        )
        self.width = width

    def describe(self, feature_maps: FeatureMaps) -> Latents:
        """Compute each scene's decoder outputs; conditions that differ from them are appended."""
        position_map, orientation_map, *final = feature_maps
        position = self.position_transformer(position_map, self.codes)
        orientation = self.orientation_transformer(orientation_map, self.codes)
        if not final:
            return Latents(position, orientation)
        features = final[0].mean((-2, -1)).unsqueeze(1)
        return Latents(
            torch.cat((position, position + self.position_hyper_embedding(features)), dim=-1),
            torch.cat((orientation, orientation + self.orientation_hyper_embedding(features)), dim=-1),
        )

    def scene_logits(self, latents: Latents) -> Float[Tensor, "b s"]:
        """Compute each scene's logit from its two decoder outputs."""
        halves = (latents.position[..., : self.width], latents.orientation[..., : self.width])
        both = torch.cat(halves, dim=-1)
        return self.scene_later(self.scene(both).squeeze(-1), both)  # type: ignore[no-any-return]

    def regress_in(self, latents: Latents, scene: Int[Tensor, "b"]) -> RegressedPose:
        """Compute position and orientation, each by its shared and its generated head."""
        position_token, position_condition = self._split(latents.position)
        position = self.position_heads(position_token, position_condition)
        position = self.position_heads_later(position, position_token, scene)
        orientation_token, orientation_condition = self._split(latents.orientation)
        orientation = self.orientation_heads(orientation_token, orientation_condition)
        orientation = self.orientation_heads_later(orientation, orientation_token, scene)
        return self.world(position, orientation, scene)  # type: ignore[no-any-return]

    def _split(self, latent: Float[Tensor, "b e"]) -> tuple[Tensor, Tensor]:
        """Split a latent vector into the decoder output and the condition of the hypernetwork."""
        return latent[:, : self.width], latent[:, -self.width :]
