"""TransPoseNet and HyperPose of 2023 as published, with the parts that have no effect.

EfficientNet-B0 with its classifier, run to its end; 60 rows in every table of position codes; encoders of
`benchmarks.plain`; every layer of HyperPose's heads generated in full, and one more pass of the whole CNN,
whose output is not used. Modules have the names of camloc's modules where these exist.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.plain import PlainEncoder, plain_names
from camloc.models.hyperpose_2023 import HyperPose2023Config
from camloc.models.layers.backbone import IMAGENET_DEVIATION, IMAGENET_MEAN, BackboneConfig
from camloc.models.layers.transformer import TransformerConfig, activation_layer
from camloc.models.transposenet import TransPoseNetConfig

# Rows of each table, and the number of the first cell's: number 0 is the token's.
ROWS = 60
FIRST = 1

COARSE, FINE = 112, 40


class PlainBackbone(nn.Module):
    """The whole of EfficientNet-B0."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        options: dict[str, Any] = dict(config.options)
        self.network: Any = timm.create_model(config.name, **options)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION).view(3, 1, 1), persistent=False)

    def normalised(self, images: Tensor) -> Tensor:
        """Images as the network was trained on them, from RGB in [0, 1]."""
        return (images - self.get_buffer("mean")) / self.get_buffer("deviation")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The 14 x 14 and the 28 x 28 map of images of 224 x 224."""
        coarse, fine, _ = self.with_final(images)
        return coarse, fine

    def with_final(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same, and the map before pooling."""
        values = self.network.bn1(self.network.conv_stem(self.normalised(images)))
        maps = []
        for block in self.network.blocks:
            values = block(values)
            maps.append(values)
        return maps[4], maps[2], self.network.bn2(self.network.conv_head(values))

    def classify(self, images: Tensor) -> Tensor:
        """ImageNet classes."""
        return self.network(self.normalised(images))  # type: ignore[no-any-return]


class PlainCodes(nn.Module):
    """Tables of columns, rows and the token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.column = nn.Parameter(torch.rand(ROWS, width // 2))
        self.row = nn.Parameter(torch.rand(ROWS, width // 2))
        self.token = nn.Parameter(torch.rand(ROWS, width // 2))

    def forward(self, rows: int, columns: int) -> Tensor:
        """(1 + rows x columns, width)."""
        across = self.column[FIRST : FIRST + columns].unsqueeze(0).repeat(rows, 1, 1)
        down = self.row[FIRST : FIRST + rows].unsqueeze(1).repeat(1, columns, 1)
        cells = torch.cat((across, down), dim=-1).flatten(0, 1)
        return torch.cat((self.token[:1].repeat(1, 2), cells))


class PlainMapEncoder(nn.Module):
    """A 1 x 1 convolution, a token, an encoder."""

    def __init__(self, channels: int, config: TransformerConfig) -> None:
        super().__init__()
        self.projection = nn.Conv2d(channels, config.width, 1)
        self.token = nn.Parameter(torch.zeros(config.width))
        self.encoder = PlainEncoder(config)

    def forward(self, maps: Tensor, codes: PlainCodes, added: Tensor | None = None) -> Tensor:
        """The token's output; `added`, (b, width), is added to the token."""
        cells = self.projection(maps).flatten(2).transpose(1, 2)
        token = self.token.expand(maps.shape[0], 1, -1)
        token = token if added is None else token + added.unsqueeze(1)
        values = torch.cat((token, cells), dim=1)
        return self.encoder(values, codes(*maps.shape[-2:]))[:, 0]  # type: ignore[no-any-return]


class PlainHead(nn.Module):
    """One hidden layer."""

    def __init__(self, config: TransformerConfig, hidden: int, outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(config.width, hidden)
        self.activation = activation_layer(config.activation)
        self.output = nn.Linear(hidden, outputs)

    def forward(self, latent: Tensor) -> Tensor:
        """The numbers of half a pose."""
        return self.output(self.activation(self.hidden(latent)))  # type: ignore[no-any-return]


class PlainTransPoseNet(nn.Module):
    """TransPoseNet as released, with the sizes of `config`."""

    def __init__(self, config: TransPoseNetConfig) -> None:
        super().__init__()
        self.backbone = PlainBackbone(config.backbone)
        self.codes = PlainCodes(config.encoder.width)
        self.position_encoder = PlainMapEncoder(COARSE, config.encoder)
        self.orientation_encoder = PlainMapEncoder(FINE, config.encoder)
        self.position_head = PlainHead(config.encoder, config.hidden, 3)
        self.orientation_head = PlainHead(config.encoder, config.hidden, 4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Position and quaternion."""
        coarse, fine = self.backbone(images)
        position = self.position_head(self.position_encoder(coarse, self.codes))
        return position, self.orientation_head(self.orientation_encoder(fine, self.codes))


class PlainHyperPose(nn.Module):
    """HyperPose of 2023 as released, with the sizes of `config`."""

    def __init__(self, config: HyperPose2023Config) -> None:
        super().__init__()
        self.backbone = PlainBackbone(config.backbone)
        self.codes = PlainCodes(config.encoder.width)
        hyper = config.hypernetwork
        self.position = PlainBranch(config, COARSE, hyper.position_hidden, 3)
        self.orientation = PlainBranch(config, FINE, hyper.orientation_hidden, 4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Position and quaternion."""
        self.backbone.classify(images)
        coarse, fine = self.backbone(images)
        return self.position(coarse, self.codes), self.orientation(fine, self.codes)


class PlainBranch(nn.Module):
    """One half of the pose."""

    def __init__(
        self, config: HyperPose2023Config, channels: int, generated_hidden: tuple[int, ...], outputs: int
    ) -> None:
        super().__init__()
        width, hidden = config.encoder.width, config.hidden
        assert hidden is not None, "the released network has ordinary heads"
        self.encoder = PlainMapEncoder(channels, config.encoder)
        self.hyper_encoder = PlainMapEncoder(channels, config.hypernetwork.encoder)
        self.head = PlainHead(config.encoder, hidden, outputs)
        self.hyper = PlainHyperLayers((width, *generated_hidden, outputs), config.hypernetwork.encoder.width)

    def forward(self, maps: Tensor, codes: PlainCodes) -> Tensor:
        """The numbers of half a pose."""
        token, condition = self.encoder(maps, codes), self.hyper_encoder(maps, codes)
        return self.head(token) + self.hyper(token, condition)  # type: ignore[no-any-return]


class PlainHyperLayers(nn.Module):
    """Layers with all weights generated, with Swish on the weights."""

    def __init__(self, sizes: tuple[int, ...], condition: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.layers = nn.ModuleList(
            nn.ModuleDict({"generator": nn.Linear(condition, (inputs + 1) * outputs)})
            for inputs, outputs in pairwise(sizes)
        )

    def forward(self, values: Tensor, condition: Tensor) -> Tensor:
        """Apply to each row of values the layers that its row of conditions generates."""
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, nn.ModuleDict)
            weights = F.silu(layer["generator"](condition))
            weights = weights.view(values.shape[0], self.sizes[number] + 1, self.sizes[number + 1])
            values = torch.cat((values, values.new_ones(values.shape[0], 1)), dim=-1)
            values = torch.bmm(values.unsqueeze(1), weights).squeeze(1)
            values = F.silu(values) if number + 1 < len(self.layers) else values
        return values


def copy_weights(ours: nn.Module, plain: nn.Module) -> None:
    """Copy the weights of camloc's model; modules without a counterpart keep their weights."""
    plain.load_state_dict(_published_state(ours.state_dict(), plain.state_dict()))


def _published_state(ours: Mapping[str, Tensor], plain: Mapping[str, Tensor]) -> dict[str, Tensor]:
    state = {name: value.clone() for name, value in plain.items()}
    used = {
        name.replace("backbone.network.model.", "backbone.network."): value
        for name, value in plain_names(ours).items()
        if not name.startswith(("world.", "pose_loss."))
    }
    for name, value in used.items():
        match name:
            case "codes.token":
                state[name][0] = value
            case "codes.column" | "codes.row":
                state[name][FIRST : FIRST + len(value)] = value
            case _:
                state[name] = value.reshape(state[name].shape)
    return state
