"""MS-Transformer, MS-HyperPose and multi-scene TransPoseNet as published, with the parts that have no effect.

EfficientNet-B0 with its classifier, run to its end, and once more for MS-HyperPose; tables of 50 position
codes; encoders and decoders of `benchmarks.plain`; every weight of generated layers generated. Modules have
the names of camloc's modules where these exist.
"""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.plain import PlainDecoder, PlainEncoder, plain_names
from benchmarks.published import COARSE, FINE, PlainBackbone, PlainCodes, PlainHead, PlainMapEncoder
from camloc.models.layers.transformer import TransformerConfig
from camloc.models.ms_hyperpose import MSHyperPoseConfig
from camloc.models.ms_transformer import MSTransformerConfig
from camloc.models.ms_transposenet import MSTransPoseNetConfig

# Rows of each table of codes.
ROWS = 50

# Channels of the pooled features.
FINAL_CHANNELS = 1280


class PlainSceneCodes(nn.Module):
    """Tables of columns and rows."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.column = nn.Parameter(torch.rand(ROWS, width // 2))
        self.row = nn.Parameter(torch.rand(ROWS, width // 2))

    def forward(self, rows: int, columns: int) -> Tensor:
        """(rows x columns, width)."""
        across = self.column[:columns].unsqueeze(0).repeat(rows, 1, 1)
        down = self.row[:rows].unsqueeze(1).repeat(1, columns, 1)
        return torch.cat((across, down), dim=-1).flatten(0, 1)


class PlainSceneTransformer(nn.Module):
    """A 1 x 1 convolution, an encoder, and a decoder with one query for each scene."""

    def __init__(self, channels: int, config: TransformerConfig, scenes: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(channels, config.width, 1)
        self.encoder = PlainEncoder(config)
        self.query_of_scene = nn.Parameter(torch.randn(scenes, config.width))
        self.decoder = PlainDecoder(config)

    def forward(self, maps: Tensor, codes: PlainSceneCodes) -> Tensor:
        """(b, s, width)."""
        positions = codes(maps.shape[-2], maps.shape[-1])
        memory = self.encoder(self.projection(maps).flatten(2).transpose(1, 2), positions)
        return self.decoder(self.query_of_scene, memory, positions)  # type: ignore[no-any-return]


class PlainSharedHead(nn.Module):
    """The head that all scenes share, under the name of camloc's module."""

    def __init__(self, config: TransformerConfig, hidden: int, outputs: int) -> None:
        super().__init__()
        self.head = PlainHead(config, hidden, outputs)

    def forward(self, latent: Tensor) -> Tensor:
        """The numbers of half a pose."""
        return self.head(latent)  # type: ignore[no-any-return]


class PlainGenerated(nn.Module):
    """Layers with all weights generated, each through a layer of its own before its generator."""

    def __init__(self, sizes: tuple[int, ...], condition: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.conditions = nn.ModuleList(nn.Linear(condition, condition) for _ in sizes[1:])
        self.layers = nn.ModuleList(
            nn.ModuleDict({"generator": nn.Linear(condition, (inputs + 1) * outputs)})
            for inputs, outputs in pairwise(sizes)
        )

    def forward(self, values: Tensor, condition: Tensor) -> Tensor:
        """Apply to each row of values the layers that its row of conditions generates."""
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, nn.ModuleDict)
            weights = layer["generator"](F.silu(self.conditions[number](condition)))
            weights = weights.view(-1, self.sizes[number] + 1, self.sizes[number + 1])
            values = torch.cat((values, torch.ones_like(values[:, :1])), dim=-1)
            values = torch.bmm(values.unsqueeze(1), weights).squeeze(1)
            values = F.silu(values) if number + 1 < len(self.layers) else values
        return values


class PlainHyperHeads(nn.Module):
    """A shared and a generated head."""

    def __init__(self, config: MSHyperPoseConfig, outputs: int, generated_hidden: tuple[int, ...]) -> None:
        super().__init__()
        width = config.transformer.width
        self.head = PlainHead(config.transformer, config.hidden, outputs)
        self.generated = PlainGenerated((width, *generated_hidden, outputs), width)

    def forward(self, token: Tensor, condition: Tensor) -> Tensor:
        """The numbers of half a pose."""
        return self.head(token) + self.generated(token, condition)  # type: ignore[no-any-return]


class PlainMSTransformer(nn.Module):
    """MS-Transformer as released, with the sizes of `config` and one pair of heads for all scenes."""

    def __init__(self, config: MSTransformerConfig) -> None:
        super().__init__()
        position, orientation = (
            TransformerConfig(
                width=config.transformer.width,
                layers=layers,
                heads=config.transformer.heads,
                dropout=config.transformer.dropout,
                attention_dropout=config.transformer.attention_dropout,
            )
            for layers in config.layers
        )
        self.backbone = PlainBackbone(config.backbone)
        self.codes = PlainSceneCodes(position.width)
        self.position_transformer = PlainSceneTransformer(COARSE, position, config.scenes)
        self.orientation_transformer = PlainSceneTransformer(FINE, orientation, config.scenes)
        self.scene = nn.Linear(2 * position.width, 1)
        self.position_heads = PlainSharedHead(position, config.hidden, 3)
        self.orientation_heads = PlainSharedHead(orientation, config.hidden, 4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Position and quaternion in the most likely scene, and log-probabilities of all."""
        coarse, fine = self.backbone(images)
        position = self.position_transformer(coarse, self.codes)
        orientation = self.orientation_transformer(fine, self.codes)
        chances = F.log_softmax(self.scene(torch.cat((position, orientation), -1)).squeeze(-1), dim=-1)
        return (
            self.position_heads(_selected(position, chances)),
            self.orientation_heads(_selected(orientation, chances)),
            chances,
        )


class PlainMSHyperPose(nn.Module):
    """MS-HyperPose as released, with the sizes of `config`."""

    def __init__(self, config: MSHyperPoseConfig) -> None:
        super().__init__()
        width, hyper = config.transformer.width, config.hypernetwork
        self.backbone = PlainBackbone(config.backbone)
        self.codes = PlainSceneCodes(width)
        self.position_transformer = PlainSceneTransformer(COARSE, config.transformer, config.scenes)
        self.orientation_transformer = PlainSceneTransformer(FINE, config.transformer, config.scenes)
        self.scene = nn.Linear(2 * width, 1)
        self.position_hyper_embedding = nn.Linear(FINAL_CHANNELS, width)
        self.orientation_hyper_embedding = nn.Linear(FINAL_CHANNELS, width)
        self.position_heads = PlainHyperHeads(config, 3, (hyper.position, hyper.position // 2))
        self.orientation_heads = PlainHyperHeads(config, 4, (hyper.orientation, hyper.orientation))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Position and quaternion in the most likely scene, and log-probabilities of all."""
        coarse, fine = self.backbone(images)
        features = self.backbone.network.forward_features(self.backbone.normalised(images)).mean((-2, -1))
        position = self.position_transformer(coarse, self.codes)
        orientation = self.orientation_transformer(fine, self.codes)
        chances = self.scene(torch.cat((position, orientation), -1)).squeeze(-1).softmax(-1).log()
        token = _selected(position, chances)
        turned = _selected(orientation, chances)
        return (
            self.position_heads(token, token + self.position_hyper_embedding(features)),
            self.orientation_heads(turned, turned + self.orientation_hyper_embedding(features)),
            chances,
        )


class PlainMSTransPoseNet(nn.Module):
    """Multi-scene TransPoseNet as released, with the sizes of `config`, for batches of any size.

    The number of the most likely scene goes through a linear layer into both tokens.
    """

    def __init__(self, config: MSTransPoseNetConfig) -> None:
        super().__init__()
        self.backbone = PlainBackbone(config.backbone)
        self.codes = PlainCodes(config.encoder.width)
        self.scene = nn.Linear(FINAL_CHANNELS, config.scenes)
        self.scene_embedding = nn.Linear(1, config.encoder.width)
        self.position_encoder = PlainMapEncoder(COARSE, config.encoder)
        self.orientation_encoder = PlainMapEncoder(FINE, config.encoder)
        self.position_head = PlainHead(config.encoder, config.hidden, 3)
        self.orientation_head = PlainHead(config.encoder, config.hidden, 4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Position and quaternion in the most likely scene, and log-probabilities of all."""
        coarse, fine, final = self.backbone.with_final(images)
        chances = F.log_softmax(self.scene(final.mean((-2, -1))), dim=-1)
        scene = self.scene_embedding(chances.argmax(-1, keepdim=True).to(chances.dtype))
        position = self.position_head(self.position_encoder(coarse, self.codes, scene))
        return position, self.orientation_head(self.orientation_encoder(fine, self.codes, scene)), chances


def _selected(answers: Tensor, chances: Tensor) -> Tensor:
    """The outputs of the most likely scenes, by a mask over all."""
    mask = F.one_hot(chances.argmax(-1), answers.shape[1]).to(answers.dtype)
    return (answers * mask.unsqueeze(-1)).sum(1)


def copy_scene_weights(ours: nn.Module, plain: nn.Module) -> None:
    """Copy the weights of camloc's model; modules without a counterpart keep their weights."""
    plain.load_state_dict(_published_state(ours.state_dict(), plain.state_dict()))


def _published_state(ours: Mapping[str, Tensor], plain: Mapping[str, Tensor]) -> dict[str, Tensor]:
    state = {name: value.clone() for name, value in plain.items()}
    for name, value in plain_names(ours).items():
        if name.startswith(("world.", "pose_loss.")):
            continue
        name = name.replace("backbone.network.model.", "backbone.network.")
        if name in ("codes.column", "codes.row"):
            state[name][: len(value)] = value
        else:
            state[name] = value.reshape(state[name].shape)
    return state
