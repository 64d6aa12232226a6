"""The papers' networks with the names of the authors' classes, built from their descriptions.

They share no code with camloc's layers: attention is torch's, EfficientNet-B0 is written out with the padding
of TensorFlow. Weights are random and not small, so that every part shows in the output. Parts without
effect are there too: classifiers, attention weights and masks, a second pass of the CNN.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEADS, DROPOUT = 8, 0.1


def normalised(images: Tensor) -> Tensor:
    """RGB images in [0, 1], (b, 3, h, w), as the authors' data sets normalise them."""
    mean, deviation = images.new_tensor([0.485, 0.456, 0.406]), images.new_tensor([0.229, 0.224, 0.225])
    return (images - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)


class Same(nn.Conv2d):
    """A convolution with TensorFlow's padding."""

    def forward(self, input: Tensor) -> Tensor:
        pads = []
        for size, kernel, stride in zip(
            reversed(input.shape[-2:]), reversed(self.kernel_size), reversed(self.stride), strict=True
        ):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        out: Tensor = self._conv_forward(F.pad(input, pads), self.weight, self.bias)
        return out


class Block(nn.Module):
    """An inverted bottleneck."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = inputs * expand
        if expand > 1:
            self._expand_conv = Same(inputs, wide, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(wide, eps=1e-3)
        self._depthwise_conv = Same(wide, wide, kernel, stride=stride, groups=wide, bias=False)
        self._bn1 = nn.BatchNorm2d(wide, eps=1e-3)
        self._se_reduce = Same(wide, max(1, inputs // 4), 1)
        self._se_expand = Same(max(1, inputs // 4), wide, 1)
        self._project_conv = Same(wide, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, eps=1e-3)
        self.expand, self.is_residual = expand, stride == 1 and inputs == outputs

    def forward(self, values: Tensor) -> Tensor:
        wide = F.silu(self._bn0(self._expand_conv(values))) if self.expand > 1 else values
        wide = F.silu(self._bn1(self._depthwise_conv(wide)))
        squeezed = F.silu(self._se_reduce(F.adaptive_avg_pool2d(wide, 1)))
        wide = torch.sigmoid(self._se_expand(squeezed)) * wide
        out: Tensor = self._bn2(self._project_conv(wide))
        return out + values if self.is_residual else out


# Kernel, stride, expansion, outputs and number of blocks of each stage.
STAGES = (
    (3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4), (3, 1, 6, 320, 1),
)  # fmt: skip


class EfficientNet(nn.Module):
    """EfficientNet-B0 with its classifier, which no pose network uses."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = Same(3, 32, 3, stride=2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3)
        blocks, channels = [], 32
        for kernel, stride, expand, outputs, count in STAGES:
            for number in range(count):
                blocks.append(
                    Block(channels, outputs, kernel=kernel, stride=1 if number else stride, expand=expand)
                )
                channels = outputs
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = Same(channels, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, eps=1e-3)
        self._fc = nn.Linear(1280, 1000)

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The maps of strides 16 and 8 with 112 and 40 channels, and the last map."""
        values, kept = F.silu(self._bn0(self._conv_stem(images))), {}
        for block in self._blocks:
            values = block(values)
            kept[values.shape[1]] = values
        return kept[112], kept[40], F.silu(self._bn1(self._conv_head(values)))


class Codes(nn.Module):
    """Tables of position codes; with a token the cells start at row 1."""

    def __init__(self, width: int, *, has_token: bool) -> None:
        super().__init__()
        rows = 60 if has_token else 50
        self.row_embed = nn.Embedding(rows, width // 2)
        self.col_embed = nn.Embedding(rows, width // 2)
        self.first = int(has_token)
        if has_token:
            self.pose_token_embed = nn.Embedding(rows, width // 2)

    def cells(self, maps: Tensor) -> Tensor:
        """(rows x columns, 1, width)."""
        rows, columns = maps.shape[-2:]
        across = self.col_embed.weight[self.first : self.first + columns].expand(rows, -1, -1)
        down = self.row_embed.weight[self.first : self.first + rows].unsqueeze(1).expand(-1, columns, -1)
        return torch.cat((across, down), dim=-1).flatten(0, 1).unsqueeze(1)


class Body(nn.Module):
    """The holder of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.body = EfficientNet()


class Backbone(nn.Sequential):
    """The network and the position codes, as the authors join them."""

    def __init__(self, width: int, *, has_token: bool) -> None:
        super().__init__(Body(), Codes(width, has_token=has_token))

    @property
    def codes(self) -> Codes:
        codes = self[1]
        assert isinstance(codes, Codes)
        return codes

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        body = self[0]
        assert isinstance(body, Body)
        return body.body.maps(images)


class Layer(nn.Module):
    """A layer of an encoder or of a decoder."""

    def __init__(self, width: int, *, decodes: bool = False) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, HEADS, dropout=DROPOUT)
        if decodes:
            self.multihead_attn = nn.MultiheadAttention(width, HEADS, dropout=DROPOUT)
        self.linear1, self.linear2 = nn.Linear(width, width), nn.Linear(width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        if decodes:
            self.norm3 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, values: Tensor, codes: Tensor, memory: tuple[Tensor, Tensor] | None = None) -> Tensor:
        normed = self.norm1(values)
        query = normed + codes
        attended = self.self_attn(query, query, normed, key_padding_mask=no_padding(query))[0]
        values = values + self.dropout(attended)
        norm = self.norm2
        if memory is not None:
            cells, positions = memory
            query = self.norm2(values) + codes
            mask = no_padding(cells)
            attended = self.multihead_attn(query, cells + positions, cells, key_padding_mask=mask)[0]
            values = values + self.dropout(attended)
            norm = self.norm3
        hidden = self.dropout(F.gelu(self.linear1(norm(values))))
        out: Tensor = values + self.dropout(self.linear2(hidden))
        return out


def no_padding(cells: Tensor) -> Tensor:
    """(b, n), false everywhere, for (n, b, width)."""
    return torch.zeros((cells.shape[1], cells.shape[0]), dtype=torch.bool, device=cells.device)


class Stack(nn.Module):
    """Layers and a last normalisation."""

    def __init__(self, width: int, layers: int, *, decodes: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, decodes=decodes) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor, codes: Tensor, memory: tuple[Tensor, Tensor] | None = None) -> Tensor:
        for layer in self.layers:
            values = layer(values, codes, memory)
        out: Tensor = self.norm(values)
        return out


class Transformer(nn.Module):
    """An encoder and, for several scenes, a decoder."""

    def __init__(self, width: int, layers: int, *, decodes: bool = False) -> None:
        super().__init__()
        self.encoder = Stack(width, layers)
        if decodes:
            self.decoder = Stack(width, layers, decodes=True)


class Regressor(nn.Module):
    """A head; with a prior it reads both latents, and its first layer is without use."""

    def __init__(self, width: int, outputs: int, *, has_prior: bool = False) -> None:
        super().__init__()
        self.fc_h = nn.Linear(width, 1024)
        if has_prior:
            self.fc_h_prior = nn.Linear(2 * width, 1024)
        self.fc_o = nn.Linear(1024, outputs)
        self.has_prior = has_prior

    def forward(self, latent: Tensor) -> Tensor:
        out: Tensor = self.fc_o(F.gelu(self.fc_h_prior(latent) if self.has_prior else self.fc_h(latent)))
        return out


def generated(values: Tensor, weights: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """Layers with given weights, whose last row is the bias."""
    for number, matrix in enumerate(weights):
        shaped = matrix.view(values.shape[0], sizes[number] + 1, sizes[number + 1])
        values = torch.cat((values, torch.ones_like(values[:, :1])), dim=-1)
        values = torch.einsum("bi,bio->bo", values, shaped)
        values = F.silu(values) if number + 1 < len(weights) else values
    return values


class TransPoseNet(nn.Module):
    """The network of 2021; with hidden sizes, HyperPose of 2023."""

    def __init__(
        self,
        width: int = 256,
        layers: int = 6,
        *,
        has_prior: bool = False,
        hyper: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = Backbone(width, has_token=True)
        self.width, self.has_prior, self.hyper = width, has_prior, hyper
        for half, channels, outputs in (("t", 112, 3), ("rot", 40, 4)):
            self.add_module(f"transformer_{half}", Transformer(width, layers))
            self.add_module(f"input_proj_{half}", nn.Conv2d(channels, width, 1))
            self.register_parameter(f"pose_token_embed_{half}", nn.Parameter(torch.randn(1, width)))
            head = Regressor(width, outputs, has_prior=has_prior and half == "rot")
            self.add_module(f"regressor_head_{half}", head)
            if hyper is None:
                continue
            hidden = hyper[0] if half == "t" else hyper[1]
            inner = hidden // 2 if half == "t" else hidden
            self.add_module(f"hypernet_{half}", Transformer(width, layers))
            self.add_module(f"hypernet_input_proj_{half}", nn.Conv2d(channels, width, 1))
            self.register_parameter(f"hypernet_token_embed_{half}", nn.Parameter(torch.randn(1, width)))
            self.add_module(f"hypernet_{half}_fc_h1", nn.Linear(width, hidden * (width + 1)))
            self.add_module(f"hypernet_{half}_fc_h2", nn.Linear(width, inner * (hidden + 1)))
            self.add_module(f"hypernet_{half}_fc_o", nn.Linear(width, outputs * (inner + 1)))

    def _token(self, maps: Tensor, half: str, *, hyper: bool = False, added: Tensor | None = None) -> Tensor:
        stem = "hypernet" if hyper else "transformer"
        prefix = "hypernet_" if hyper else ""
        token = getattr(self, f"hypernet_token_embed_{half}" if hyper else f"pose_token_embed_{half}")
        cells = getattr(self, f"{prefix}input_proj_{half}")(maps).flatten(2).permute(2, 0, 1)
        codes = self.backbone.codes
        own = codes.pose_token_embed.weight[:1].repeat(1, 2).unsqueeze(0)
        token = token.unsqueeze(1).expand(-1, maps.shape[0], -1)
        values = torch.cat((token if added is None else token + added, cells))
        out: Tensor = getattr(self, f"{stem}_{half}").encoder(values, torch.cat((own, codes.cells(maps))))[0]
        return out

    def forward(self, images: Tensor) -> Tensor:
        coarse, fine, _ = self.backbone.maps(images)
        if self.hyper is not None:
            self.backbone.maps(images)
        halves = (("t", coarse, 3), ("rot", fine, 4))
        tokens = {half: self._token(maps, half) for half, maps, _ in halves}
        outputs = []
        for half, maps, size in halves:
            read = (
                torch.cat((tokens["t"], tokens["rot"]), 1)
                if self.has_prior and half == "rot"
                else tokens[half]
            )
            value = getattr(self, f"regressor_head_{half}")(read)
            if self.hyper is not None:
                condition = self._token(maps, half, hyper=True)
                hidden = self.hyper[0] if half == "t" else self.hyper[1]
                names = ("h1", "h2", "o")
                weights = [F.silu(getattr(self, f"hypernet_{half}_fc_{name}")(condition)) for name in names]
                sizes = (self.width, hidden, hidden // 2 if half == "t" else hidden, size)
                value = value + generated(tokens[half], weights, sizes)
            outputs.append(value)
        return torch.cat(outputs, dim=1)


class MSTransPoseNet(TransPoseNet):
    """The network of 2021 for several scenes; both tokens read the number of the most likely one."""

    def __init__(self, scenes: int, width: int = 256, layers: int = 6) -> None:
        super().__init__(width, layers)
        self.scene_classifier, self.scene_embed = nn.Linear(1280, scenes), nn.Linear(1, width)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """The numbers of the pose, and the scenes' logits."""
        coarse, fine, last = self.backbone.maps(images)
        logits = self.scene_classifier(last.mean((-2, -1)))
        scene = self.scene_embed(logits.argmax(-1, keepdim=True).to(logits.dtype))
        outputs = [
            getattr(self, f"regressor_head_{half}")(self._token(maps, half, added=scene))
            for half, maps in (("t", coarse), ("rot", fine))
        ]
        return torch.cat(outputs, dim=1), logits


class MSTransformer(nn.Module):
    """The network of several scenes; with hidden sizes, MS-HyperPose."""

    def __init__(
        self,
        scenes: int,
        layers: tuple[int, int] = (6, 6),
        *,
        width: int = 256,
        has_own_heads: bool = False,
        hyper: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = Backbone(width, has_token=False)
        self.hyper, self.width, self.has_own_heads = hyper, width, has_own_heads
        self.scene_embed = nn.Linear(2 * width, 1)
        for place, (half, channels, outputs) in enumerate((("t", 112, 3), ("rot", 40, 4))):
            self.add_module(f"transformer_{half}", Transformer(width, layers[place], decodes=True))
            self.add_module(f"input_proj_{half}", nn.Conv2d(channels, width, 1))
            self.add_module(f"query_embed_{half}", nn.Embedding(scenes, width))
            several = nn.Sequential(*(Regressor(width, outputs) for _ in range(scenes)))
            one = Regressor(width, outputs)
            self.add_module(f"regressor_head_{half}", several if has_own_heads else one)
            if hyper is None:
                continue
            hidden = hyper[place]
            inner = hidden // 2 if half == "t" else hidden
            self.add_module(f"hyper_in_{half}_proj", nn.Linear(1280, width))
            for number, size in enumerate(
                (hidden * (width + 1), inner * (hidden + 1), outputs * (inner + 1))
            ):
                self.add_module(f"hyper_in_{half}_fc_{number}", nn.Linear(width, width))
                self.add_module(f"hypernet_{half}_fc_h{number}", nn.Linear(width, size))

    def forward(self, images: Tensor, scene: int | None = None) -> tuple[Tensor, Tensor]:
        """The numbers of the pose in a scene, by default the most likely one, and the scenes' logits."""
        coarse, fine, last = self.backbone.maps(images)
        if self.hyper is not None:
            last = self.backbone.maps(images)[2]
        codes = self.backbone.codes
        outputs: list[Tensor] = []
        decoded: list[Tensor] = []
        for half, maps in (("t", coarse), ("rot", fine)):
            positions = codes.cells(maps)
            cells = getattr(self, f"input_proj_{half}")(maps).flatten(2).permute(2, 0, 1)
            transformer = getattr(self, f"transformer_{half}")
            memory = transformer.encoder(cells, positions)
            queries = getattr(self, f"query_embed_{half}").weight.unsqueeze(1).expand(-1, images.shape[0], -1)
            tokens = transformer.decoder(torch.zeros_like(queries), queries, (memory, positions))
            decoded.append(tokens)
        logits = self.scene_embed(torch.cat(decoded, dim=-1)).squeeze(-1).T
        for place, (half, size) in enumerate((("t", 3), ("rot", 4))):
            if scene is None:
                mask = F.one_hot(logits.argmax(-1), logits.shape[1]).T.unsqueeze(-1)
                token = (decoded[place] * mask.to(logits.dtype)).sum(0)
            else:
                token = decoded[place][scene]
            head = getattr(self, f"regressor_head_{half}")
            value = (head[scene] if self.has_own_heads else head)(token)
            if self.hyper is not None:
                read = token + getattr(self, f"hyper_in_{half}_proj")(last.mean((-2, -1)))
                weights = []
                for number in range(3):
                    condition = F.silu(getattr(self, f"hyper_in_{half}_fc_{number}")(read))
                    weights.append(getattr(self, f"hypernet_{half}_fc_h{number}")(condition))
                hidden = self.hyper[place]
                sizes = (self.width, hidden, hidden // 2 if half == "t" else hidden, size)
                value = value + generated(token, weights, sizes)
            outputs.append(value)
        return torch.cat(outputs, dim=1), logits


class HyperPose(nn.Module):
    """The network of one scene of 2025: pooled features, ordinary and generated heads."""

    def __init__(self, hyper: tuple[int, int] = (256, 512)) -> None:
        super().__init__()
        self._backbone = EfficientNet()
        self.fc1, self.fc2, self.fc3 = nn.Linear(1280, 1024), nn.Linear(1024, 3), nn.Linear(1024, 4)
        self.hyper = hyper
        for half, size, outputs in (("t", hyper[0], 3), ("rot", hyper[1], 4)):
            self.add_module(f"hyper_in_{half}_proj", nn.Linear(1280, size))
            self.add_module(f"hyper_in_{half}", nn.Linear(1280, size))
            self.add_module(f"hyper_in_{half}_fc_2", nn.Linear(size, size))
            self.add_module(f"hypernet_{half}_fc_h2", nn.Linear(size, outputs * (size + 1)))

    def forward(self, images: Tensor) -> Tensor:
        features = self._backbone.maps(images)[2].mean((-2, -1))
        hidden = F.relu(self.fc1(features))
        outputs = []
        for half, size, outputs_of, layer in (
            ("t", self.hyper[0], 3, self.fc2),
            ("rot", self.hyper[1], 4, self.fc3),
        ):
            condition = F.silu(
                getattr(self, f"hyper_in_{half}_fc_2")(getattr(self, f"hyper_in_{half}_proj")(features))
            )
            weights = getattr(self, f"hypernet_{half}_fc_h2")(condition)
            added = generated(getattr(self, f"hyper_in_{half}")(features), [weights], (size, outputs_of))
            outputs.append(layer(hidden) + added)
        return torch.cat(outputs, dim=1)


class Attention(nn.Module):
    """Attention among the numbers of a vector."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.g, self.theta, self.phi = (nn.Linear(size, size // 8) for _ in range(3))
        self.W = nn.Linear(size // 8, size)

    def forward(self, values: Tensor) -> Tensor:
        products = self.phi(values).unsqueeze(2) * self.theta(values).unsqueeze(1)
        out: Tensor = self.W((products.softmax(-1) @ self.g(values).unsqueeze(2)).squeeze(2)) + values
        return out


class AtLoc(nn.Module):
    """A ResNet-34, attention, two heads: three numbers for the logarithm of the quaternion."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet34

        self.feature_extractor = resnet34(weights=None)
        self.feature_extractor.fc = nn.Linear(512, 2048)
        self.att = Attention(2048)
        self.fc_xyz, self.fc_wpqr = nn.Linear(2048, 3), nn.Linear(2048, 3)

    def forward(self, images: Tensor) -> Tensor:
        values = self.att(F.relu(self.feature_extractor(images)))
        return torch.cat((self.fc_xyz(values), self.fc_wpqr(values)), 1)


class PoseNet(nn.Module):
    """The teacher of the pose auto-encoders."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = EfficientNet()
        self.x_latent_fc, self.q_latent_fc = nn.Linear(1280, 256), nn.Linear(1280, 256)
        self.x_reg, self.q_reg = nn.Linear(256, 3), nn.Linear(256, 4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.backbone.maps(images)[2].mean((-2, -1))
        # As released: the latent of the orientation comes from `x_latent_fc`.
        orientation, position = F.relu(self.x_latent_fc(features)), F.relu(self.q_latent_fc(features))
        return torch.cat((self.x_reg(position), self.q_reg(orientation)), 1)


class PoseEncoder(nn.Module):
    """The pose auto-encoder of several scenes: Fourier features without pi, of the scene's number too."""

    def __init__(self, size: int, *, has_scenes: bool) -> None:
        super().__init__()
        code = 13 if has_scenes else 0
        for name, inputs in (("x_encoder", 39 + code), ("q_encoder", 52 + code)):
            widths = (inputs, 64, 128, 256, size)
            layers: list[nn.Module] = []
            for first, second in pairwise(widths):
                layers += [nn.Linear(first, second), nn.ReLU()]
            self.add_module(name, nn.Sequential(*layers[:-1]))
        self.has_scenes = has_scenes

    def forward(self, poses: Tensor, scene: Tensor) -> tuple[Tensor, Tensor]:
        def waves(values: Tensor) -> Tensor:
            found = [values]
            for power in range(6):
                found += [torch.sin(2.0**power * values), torch.cos(2.0**power * values)]
            return torch.cat(found, dim=-1)

        code = (waves(scene.float().unsqueeze(-1)),) if self.has_scenes else ()
        position = self.get_submodule("x_encoder")(torch.cat((waves(poses[:, :3]), *code), dim=1))
        return position, self.get_submodule("q_encoder")(torch.cat((waves(poses[:, 3:]), *code), dim=1))


def shaken(network: nn.Module, *, seed: int = 0) -> nn.Module:
    """The same network in evaluation mode with statistics and biases that are not 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0.0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
            if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
                module.weight.uniform_(0.6, 1.4, generator=generator)
                module.bias.normal_(0.0, 0.1, generator=generator)
    return network.eval()
