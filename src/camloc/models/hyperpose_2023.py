"""HyperPose of 2023: TransPoseNet with an attention hypernetwork, which generates a second pair of heads.

Two more encoders read the same feature maps as the two that describe the image, and their tokens generate the
weights of heads of up to three layers. A generated head has the same input as the ordinary head, and their
outputs are added.

Source: Ferens and Keller, "HyperPose: Camera Pose Localization using Attention Hypernetworks", 2023,
section 3. `docs/models/hyperpose_2023.md` lists where the released code differs.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camloc.errors import RecipeError
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
from camloc.models.layers.transformer import (
    MapEncoder,
    PooledEncoder,
    PositionCodes,
    PositionCodesConfig,
    TransformerConfig,
)
from camloc.models.losses import PoseLossConfig
from camloc.models.regressor import RegressionConfig, RegressionHead, SingleSceneRegressor

_ENCODER = TransformerConfig(activation="swish")


@dataclass(frozen=True)
class AttentionHypernetworkConfig:
    """Settings of the hypernetwork and of the heads that it generates.

    Attributes:
        reads: "maps" reads the feature maps with Transformer encoders, "pooled" the pooled final map with two
            layers (Table 5, "Backbone embedding").
        encoder: of the maps; with "pooled" only its width is used.
        position_hidden, orientation_hidden: widths of the generated heads' hidden layers (Tables 4 and 6).
        generator: how the weights are generated.
    """

    reads: Literal["maps", "pooled"] = "maps"
    encoder: TransformerConfig = _ENCODER
    position_hidden: tuple[int, ...] = (256, 128)
    orientation_hidden: tuple[int, ...] = (512, 512)
    generator: GeneratorConfig = GeneratorConfig("compact", rank=256)


@dataclass(frozen=True)
class HyperPose2023Config:
    """Settings of `HyperPose2023`.

    Attributes:
        backbone: the network in front.
        position_tap, orientation_tap: the backbone's stages whose maps are read (timm's numbering, 0 = stride
            2).
        encoder: of both maps in the main network.
        codes: position codes of the cells.
        hidden: width of the ordinary heads' hidden layer; None for generated heads alone (Table 3, "Direct
            Regression").
        hypernetwork: generates the other heads.
        regression: how the pose is regressed.
    """

    backbone: BackboneConfig = BackboneConfig()
    position_tap: int = 3
    orientation_tap: int = 2
    encoder: TransformerConfig = _ENCODER
    codes: PositionCodesConfig = PositionCodesConfig()
    hidden: int | None = 1024
    hypernetwork: AttentionHypernetworkConfig = AttentionHypernetworkConfig()
    regression: RegressionConfig = RegressionConfig(pose_loss=PoseLossConfig(-3.0, -6.5))


_RELEASED_ENCODER = TransformerConfig(heads=8)

PRESETS = {
    "compact": HyperPose2023Config(),
    "paper": HyperPose2023Config(
        EFFICIENTNET_B0_RELEASED,
        hypernetwork=AttentionHypernetworkConfig(
            encoder=TransformerConfig(width=512, activation="swish"),
            position_hidden=(512, 256),
            generator=GeneratorConfig("full"),
        ),
    ),
    "released": HyperPose2023Config(
        EFFICIENTNET_B0_RELEASED,
        encoder=_RELEASED_ENCODER,
        codes=PositionCodesConfig("shared"),
        hypernetwork=AttentionHypernetworkConfig(
            encoder=_RELEASED_ENCODER, generator=GeneratorConfig("full_swish")
        ),
    ),
    "compact-mobilenetv2-tensorflow": HyperPose2023Config(MOBILENETV2_TENSORFLOW),
}


class Branch(nn.Module):
    """One half of the pose: an encoder with an ordinary head, and an encoder that generates a second head."""

    def __init__(
        self,
        config: HyperPose2023Config,
        outputs: int,
        *,
        channels: int,
        stride: int,
        pooled_channels: int,
        generated_hidden: tuple[int, ...],
    ) -> None:
        super().__init__()
        hyper, width = config.hypernetwork, config.encoder.width
        self.encoder = MapEncoder(channels, config.encoder, config.codes.own(width, stride=stride))
        self.hyper_encoder: MapEncoder | PooledEncoder
        if hyper.reads == "maps":
            codes = config.codes.own(hyper.encoder.width, stride=stride)
            self.hyper_encoder = MapEncoder(channels, hyper.encoder, codes)
        else:
            self.hyper_encoder = PooledEncoder(pooled_channels, hyper.encoder.width)
        self.head: RegressionHead | None = None
        if config.hidden is not None:
            activation = config.encoder.activation
            self.head = RegressionHead(width, outputs, hidden=config.hidden, activation=activation)
        self.hyper = HyperMLP(
            (width, *generated_hidden, outputs),
            condition=hyper.encoder.width,
            generator=hyper.generator,
            start="ordinary" if self.head is None else "zero",
        )
        self.sizes = (width, hyper.encoder.width)

    def encode(
        self, feature_map: Tensor, hyper_map: Tensor, codes: PositionCodes | None
    ) -> Float[Tensor, "b d"]:
        """Concatenate the main network's token and the hypernetwork's token."""
        tokens = self.encoder(feature_map, codes), self.hyper_encoder(hyper_map, codes)
        return torch.cat(tokens, dim=-1)

    def regress(self, latent: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """Apply the generated head and, if there is one, the ordinary head to the main network's token."""
        token, condition = latent.split(self.sizes, dim=-1)
        generated: Tensor = self.hyper(token, condition)
        return generated if self.head is None else self.head(token) + generated


class HyperPose2023(SingleSceneRegressor):
    """A CNN and one `Branch` for each half of the pose."""

    def __init__(self, config: HyperPose2023Config) -> None:
        super().__init__(config.regression)
        hyper, width = config.hypernetwork, config.encoder.width
        taps: tuple[int, ...] = (config.position_tap, config.orientation_tap)
        if hyper.reads == "pooled":
            taps = (*taps, FINAL)
        elif config.codes.kind == "shared" and hyper.encoder.width != width:
            raise RecipeError(
                f"encoders of widths {width} and {hyper.encoder.width} cannot share codes; "
                f"set the kind of the codes to own"
            )
        self.backbone = Backbone(config.backbone, taps=taps)
        channels, strides = self.backbone.channels, self.backbone.strides
        self.codes = config.codes.shared(width, stride=min(strides))
        self.position = Branch(
            config,
            3,
            channels=channels[0],
            stride=strides[0],
            pooled_channels=channels[-1],
            generated_hidden=hyper.position_hidden,
        )
        self.orientation = Branch(
            config,
            config.regression.orientation_size,
            channels=channels[1],
            stride=strides[1],
            pooled_channels=channels[-1],
            generated_hidden=hyper.orientation_hidden,
        )

    def describe(self, feature_maps: FeatureMaps) -> Latents:
        """Compute, for each half of the pose, the main network's and the hypernetwork's token."""
        position_map, orientation_map, *pooled = feature_maps
        position_hyper_map, orientation_hyper_map = (*pooled, *pooled) or (position_map, orientation_map)
        return Latents(
            self.position.encode(position_map, position_hyper_map, self.codes),
            self.orientation.encode(orientation_map, orientation_hyper_map, self.codes),
        )

    def regress(self, latents: Latents) -> RegressedPose:
        """Add the outputs of ordinary and generated heads."""
        position = self.position.regress(latents.position)
        return self.world(position, self.orientation.regress(latents.orientation))  # type: ignore[no-any-return]
