"""Transformer encoders and decoders over the cells of a feature map, computed no further than is asked for.

The papers' pre-norm form: codes of positions are added to the queries and keys of every layer, never to
the values.

Source: TransPoseNet (2021) section 3.1; HyperPose (2023) section 3.1.1; Carion et al. 2020 for where the
codes are added.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.errors import RecipeError


class BatchDropout(nn.Dropout):
    """`nn.Dropout` over (b, ...) that draws the mask of the whole batch in every process.

    Each process then uses the rows of its own share, so that training on two devices drops what
    training on one would, when both were seeded alike. Costs one draw of the larger mask.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Drop entries of `input` in training; the identity in evaluation."""
        if not self.training or self.p == 0.0:
            return input
        if self.p == 1.0:  # nothing is left whose scale could make up for the rest
            return torch.zeros_like(input)
        shares, share = _processes()
        rows = input.shape[0]
        kept = torch.rand((rows * shares, *input.shape[1:]), device=input.device) >= self.p
        return input * kept[share * rows : (share + 1) * rows] / (1.0 - self.p)


def _processes() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size(), torch.distributed.get_rank()
    return 1, 0


# Of the numbers that decide on a weight: 16 bits each.
_CHANCES = 1 << 16


def attention_with_dropout(
    query: Float[Tensor, "b heads s d"],
    key: Float[Tensor, "b heads n d"],
    value: Float[Tensor, "b heads n d"],
    *,
    rate: float,
) -> Float[Tensor, "b heads s d"]:
    """The same as torch's `scaled_dot_product_attention` with `dropout_p`, but for what is drawn.

    The rate is rounded to a multiple of 1 / 65536.
    """
    flat = (each.flatten(0, 1).contiguous() for each in (query, key, value))
    attended: Tensor = _Attention.apply(*flat, rate)
    heads: Tensor = attended.unflatten(0, query.shape[:2])
    return heads


def drawn(rows: int, columns: int, *, rate: float) -> Bool[Tensor, "rows columns"]:
    """Which weights are kept, from torch's random state."""
    count = rows * columns
    numbers = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(1 << 63), None)
    dropped = round(rate * _CHANCES)
    return (numbers.view(torch.int16)[:count] >= dropped - _CHANCES // 2).view(rows, columns)


def kept_scale(rate: float) -> float:
    """What makes up for the dropped weights."""
    return 1.0 / (1.0 - round(rate * _CHANCES) / _CHANCES)


class _Attention(torch.autograd.Function):
    """On (b x heads, cells, d)."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, rate: float) -> Tensor:
        attended = torch.empty_like(query)
        kept = torch.empty(query.shape[0], query.shape[1], key.shape[1], dtype=torch.bool)
        for head in range(query.shape[0]):
            kept[head] = drawn(query.shape[1], key.shape[1], rate=rate)
            weights = _weights(query[head], key[head]).mul_(kept[head])
            torch.mm(weights, value[head], out=attended[head])
        attended.mul_(kept_scale(rate))
        ctx.save_for_backward(query, key, value, attended, kept)
        ctx.kept_scale = kept_scale(rate)
        return attended

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, attended, kept = ctx.saved_tensors
        of_query, of_key, of_value = (torch.empty_like(each) for each in (query, key, value))
        # Of a softmax's gradient: the mean of the weights' gradients, weighted by them.
        mean = (gradient * attended).sum(-1, keepdim=True)
        scaled = gradient * ctx.kept_scale
        for head in range(query.shape[0]):
            weights = _weights(query[head], key[head])
            of_scores = torch.mm(scaled[head], value[head].T).mul_(kept[head]).sub_(mean[head]).mul_(weights)
            torch.mm(weights.mul_(kept[head]).T, scaled[head], out=of_value[head])
            torch.mm(of_scores, key[head], out=of_query[head])
            torch.mm(of_scores.T, query[head], out=of_key[head])
        scale = 1.0 / math.sqrt(query.shape[-1])
        return of_query.mul_(scale), of_key.mul_(scale), of_value, None


def _weights(query: Float[Tensor, "s d"], key: Float[Tensor, "n d"]) -> Float[Tensor, "s n"]:
    return torch.mm(query / math.sqrt(query.shape[-1]), key.T).softmax(-1)


class Attention(nn.Module):
    """Multi-head attention, the same as `nn.MultiheadAttention`.

    `forward` and `of_few` are one function in two ways; which is cheaper depends on how many ask.

    Raises:
        RecipeError: the heads cannot share the width.
    """

    def __init__(self, width: int, *, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise RecipeError(f"{heads} heads cannot share a width of {width}; give a divisor of it")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.dropout = BatchDropout(dropout)
        for linear in (self.query, self.key, self.value):
            # The published bound is that of the three as one matrix of 3 width x width.
            nn.init.xavier_uniform_(linear.weight, gain=math.sqrt(0.5))
        nn.init.xavier_uniform_(self.output.weight)
        for linear in (self.query, self.key, self.value, self.output):
            nn.init.zeros_(linear.bias)

    def forward(
        self, queries: Float[Tensor, "b s d"], keys: Float[Tensor, "b n d"], values: Float[Tensor, "b n d"]
    ) -> Float[Tensor, "b s d"]:
        """Many queries: all are projected, and a fused kernel attends."""
        query, key, value = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projected in (self.query(queries), self.key(keys), self.value(values))
        )
        rate = self.dropout.p if self.training else 0.0
        if rate and query.device.type == "cpu":
            attended = attention_with_dropout(query, key, value, rate=rate)
        else:
            attended = F.scaled_dot_product_attention(query, key, value, dropout_p=rate)
        return self.output(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def of_few(
        self, queries: Float[Tensor, "b s d"], keys: Float[Tensor, "b n d"], values: Float[Tensor, "b n d"]
    ) -> Float[Tensor, "b s d"]:
        """The same for few queries: cheaper while `s` times the heads is less than the width."""
        weights = self.dropout(self.weights(queries, keys))
        seen = (weights.flatten(1, 2) @ values).unflatten(1, (self.heads, -1))
        projection = self.value.weight.unflatten(0, (self.heads, -1))
        bias = self.value.bias.unflatten(0, (self.heads, 1, -1))
        attended = seen @ projection.mT + weights.sum(-1, keepdim=True) * bias
        return self.output(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def cheaper_for(self, queries: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """The way that is cheaper for so many queries to an image: `of_few`, or `forward`."""
        return self.of_few if queries * self.heads < self.query.in_features else self

    def weights(
        self, queries: Float[Tensor, "b s d"], keys: Float[Tensor, "b n d"]
    ) -> Float[Tensor, "b heads s n"]:
        """How much each query sees of each key, for each head; sums of 1."""
        query = self.query(queries).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        query = query / math.sqrt(query.shape[-1])
        projection = self.key.weight.unflatten(0, (self.heads, -1))
        bias = self.key.bias.unflatten(0, (self.heads, -1, 1))
        scores = (query @ projection).flatten(1, 2) @ keys.mT
        # The bias is the same for all keys, and so without effect; it keeps the sum what it is by definition.
        weights: Tensor = (scores.unflatten(1, (self.heads, -1)) + query @ bias).softmax(-1)
        return weights


Activation = Literal["gelu", "swish"]


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of an encoder or a decoder.

    Attributes:
        width: numbers to a cell.
        layers: how many.
        heads: of attention, which share the width.
        feed_forward: width of the hidden layer behind attention; None for `width`, as published.
        activation: of that layer.
        dropout: rate behind attention, in the hidden layer and behind it.
        attention_dropout: rate of the attention weights. Between many cells every process draws for itself,
            and without torch's fastest kernel on CPUs; 0 avoids both.
    """

    width: int = 256
    layers: int = 6
    heads: int = 4
    feed_forward: int | None = None
    activation: Activation = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.1


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network, each behind a normalisation and beside a shortcut."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.attention = _attention(config)
        self.feed_forward = _feed_forward(config)
        self.dropout = BatchDropout(config.dropout)

    def forward(
        self, cells: Float[Tensor, "b n d"], positions: Float[Tensor, "n d"]
    ) -> Float[Tensor, "b n d"]:
        """All cells, each informed by all."""
        normed = self.norm(cells)
        positioned = normed + positions
        cells = cells + self.dropout(self.attention(positioned, positioned, normed))
        return cells + self.dropout(self.feed_forward(cells))  # type: ignore[no-any-return]

    def first(self, cells: Float[Tensor, "b n d"], positions: Float[Tensor, "n d"]) -> Float[Tensor, "b 1 d"]:
        """The first cell alone, informed by all."""
        return self.firsts(cells[:, :1], cells, positions)

    def firsts(
        self, tokens: Float[Tensor, "b s d"], cells: Float[Tensor, "b n d"], positions: Float[Tensor, "n d"]
    ) -> Float[Tensor, "b s d"]:
        """Each of several tokens that stand where the first cell is, informed by all cells."""
        normed = self.norm(cells)
        predict = self.norm(tokens) + positions[:1]
        attend = self.attention.cheaper_for(tokens.shape[1])
        tokens = tokens + self.dropout(attend(predict, normed + positions, normed))
        return tokens + self.dropout(self.feed_forward(tokens))  # type: ignore[no-any-return]

    def first_weights(
        self, cells: Float[Tensor, "b n d"], positions: Float[Tensor, "n d"]
    ) -> Float[Tensor, "b heads n"]:
        """How much the first cell sees of each, itself included."""
        positioned = self.norm(cells) + positions
        return self.attention.weights(positioned[:, :1], positioned).squeeze(2)


class Encoder(nn.Module):
    """Layers, and a normalisation behind the last."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(
        self, cells: Float[Tensor, "b n d"], positions: Float[Tensor, "n d"]
    ) -> Float[Tensor, "b n d"]:
        """All cells."""
        for layer in self.layers:
            cells = layer(cells, positions)
        return self.norm(cells)  # type: ignore[no-any-return]

    def first(self, cells: Float[Tensor, "b n d"], positions: Float[Tensor, "n d"]) -> Float[Tensor, "b d"]:
        """The first cell of `forward`, with nothing of the last layer computed for the others."""
        return self.norm(self._last().first(self._before_last(cells, positions), positions)).squeeze(1)  # type: ignore[no-any-return]

    def firsts(
        self,
        cells: Float[Tensor, "b n d"],
        positions: Float[Tensor, "n d"],
        *,
        added: Sequence[Float[Tensor, "_ d"]],
    ) -> Float[Tensor, "b s d"]:
        """`first`, once for each row of `added`, which the first cell is given before the last layer.

        All but that layer is computed once. Every member of `added` is answered by a call of its own.
        """
        cells = self._before_last(cells, positions)
        parts = [self._last().firsts(cells[:, :1] + rows, cells, positions) for rows in added]
        return self.norm(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))  # type: ignore[no-any-return]

    def first_weights(
        self, cells: Float[Tensor, "b n d"], positions: Float[Tensor, "n d"]
    ) -> Float[Tensor, "b heads n"]:
        """How much the first cell sees of each in the last layer, for figures (TransPoseNet Fig. 3)."""
        return self._last().first_weights(self._before_last(cells, positions), positions)

    def _before_last(self, cells: Tensor, positions: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            cells = layer(cells, positions)
        return cells

    def _last(self) -> EncoderLayer:
        last = self.layers[-1]
        assert isinstance(last, EncoderLayer)
        return last


class DecoderLayer(nn.Module):
    """Queries that ask each other, then what the encoder made of the cells, then a feed-forward network.

    The first layer of a decoder is given zeros, of which a normalisation leaves its bias alone.
    """

    def __init__(self, config: TransformerConfig, *, is_first: bool = False) -> None:
        super().__init__()
        self.norm = _NormOfZeros(config.width) if is_first else nn.LayerNorm(config.width)
        self.attention = _attention(config)
        self.memory_norm = nn.LayerNorm(config.width)
        self.memory_attention = _attention(config)
        self.feed_forward = _feed_forward(config)
        self.dropout = BatchDropout(config.dropout)

    def forward(
        self,
        answers: Float[Tensor, "b s d"],
        queries: Float[Tensor, "s d"],
        keys: Float[Tensor, "b n d"],
        memory: Float[Tensor, "b n d"],
    ) -> Float[Tensor, "b s d"]:
        """The answers so far, better informed; `keys` is `memory` with its positions."""
        normed = self.norm(answers)
        positioned = normed + queries
        answers = answers + self.dropout(self.attention(positioned, positioned, normed))
        predict = self.memory_norm(answers) + queries
        attend = self.memory_attention.cheaper_for(queries.shape[0])
        answers = answers + self.dropout(attend(predict, keys, memory))
        return answers + self.dropout(self.feed_forward(answers))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Layers that turn queries, such as one for each scene, into answers about an encoder's cells.

    Source: MS-Transformer (Shavit, Ferens and Keller 2021), after Carion et al. 2020.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(config, is_first=number == 0) for number in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)

    def forward(
        self,
        queries: Float[Tensor, "s d"],
        memory: Float[Tensor, "b n d"],
        positions: Float[Tensor, "n d"],
    ) -> Float[Tensor, "b s d"]:
        """One answer to each query, about each image; answers start at zero."""
        answers = queries.new_zeros(memory.shape[0], *queries.shape)
        keys = memory + positions
        for layer in self.layers:
            answers = layer(answers, queries, keys, memory)
        return self.norm(answers)  # type: ignore[no-any-return]


class _NormOfZeros(nn.Module):
    """What `nn.LayerNorm` does to zeros; its weight has no effect on them, and is left out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, zeros: Float[Tensor, "b s d"]) -> Float[Tensor, "b s d"]:
        """The bias."""
        return zeros + self.bias


def activation_layer(name: Activation) -> nn.Module:
    """The module of an activation's name."""
    return nn.GELU() if name == "gelu" else nn.SiLU()


def _attention(config: TransformerConfig) -> Attention:
    return Attention(config.width, heads=config.heads, dropout=config.attention_dropout)


def _feed_forward(config: TransformerConfig) -> nn.Sequential:
    hidden = config.feed_forward or config.width
    layers = (nn.Linear(config.width, hidden), nn.Linear(hidden, config.width))
    for linear in layers:
        nn.init.xavier_uniform_(linear.weight)
    return nn.Sequential(
        nn.LayerNorm(config.width),
        layers[0],
        activation_layer(config.activation),
        BatchDropout(config.dropout),
        layers[1],
    )


class PositionCodes(nn.Module):
    """A code for each column and one for each row, side by side, and a code for the token before the cells.

    Source: TransPoseNet (2021) section 3.1, Eq. 2.
    """

    def __init__(self, width: int, *, rows: int, columns: int, token_repeats: int = 1) -> None:
        """`token_repeats`: how often the token's vector is repeated to fill the width; 0 for no token."""
        super().__init__()
        if width % 2:
            raise RecipeError(f"codes of columns and rows cannot share a width of {width}; give an even one")
        self.column = nn.Parameter(torch.rand(columns, width // 2))
        self.row = nn.Parameter(torch.rand(rows, width // 2))
        self.token = nn.Parameter(torch.rand(width // token_repeats)) if token_repeats else None
        self.token_repeats = token_repeats

    def forward(self, rows: int, columns: int) -> Float[Tensor, "n d"]:
        """Codes of the token, if there is one, and of `rows` x `columns` cells, row by row.

        Raises:
            RecipeError: the map is larger than what there are codes for.
        """
        most_rows, most_columns = self.row.shape[0], self.column.shape[0]
        if rows > most_rows or columns > most_columns:
            raise RecipeError(
                f"a map of {rows} x {columns} cells is larger than the {most_rows} x {most_columns} that the "
                f"model has codes for; set image_width and image_height to the size of the images"
            )
        across = self.column[:columns].expand(rows, -1, -1)
        down = self.row[:rows].unsqueeze(1).expand(-1, columns, -1)
        cells = torch.cat((across, down), dim=-1).flatten(0, 1)
        if self.token is None:
            return cells
        return torch.cat((self.token.repeat(self.token_repeats).unsqueeze(0), cells))


@dataclass(frozen=True)
class PositionCodesConfig:
    """Which codes a network's encoders have, and for how large maps.

    Attributes:
        kind: "own": each encoder its own, and the token's a pair of vectors, as in TransPoseNet's text;
            "shared": all encoders the same, whatever their cells' size, and the token's one vector twice,
            as in the released code.
        image_width, image_height: largest image that there are codes for, in pixels.
    """

    kind: Literal["own", "shared"] = "own"
    image_width: int = 224
    image_height: int = 224

    def own(self, width: int, *, stride: int, has_token: bool = True) -> PositionCodes | None:
        """Codes for one encoder alone, whose cells are `stride` pixels apart, if it has its own."""
        return self._codes(width, stride, token_repeats=int(has_token)) if self.kind == "own" else None

    def shared(self, width: int, *, stride: int, has_token: bool = True) -> PositionCodes | None:
        """Codes for all encoders, if they share them; `stride` is that of the finest map."""
        return self._codes(width, stride, token_repeats=2 * has_token) if self.kind == "shared" else None

    def _codes(self, width: int, stride: int, *, token_repeats: int) -> PositionCodes:
        rows, columns = math.ceil(self.image_height / stride), math.ceil(self.image_width / stride)
        return PositionCodes(width, rows=rows, columns=columns, token_repeats=token_repeats)


class MapEncoder(nn.Module):
    """The cells of a map, projected, and before them a learned token, whose answer is the map's description.

    Source: TransPoseNet (2021) section 3.1, Eq. 1.
    """

    def __init__(self, channels: int, config: TransformerConfig, codes: PositionCodes | None = None) -> None:
        """`codes` of its own, or None where it is called with codes that several maps share."""
        super().__init__()
        self.projection = nn.Linear(channels, config.width)  # the papers' 1 x 1 convolution
        self.token = nn.Parameter(torch.zeros(config.width))
        self.encoder = Encoder(config)
        self.codes = codes

    def forward(
        self, maps: Float[Tensor, "b c h w"], shared_codes: PositionCodes | None = None
    ) -> Float[Tensor, "b d"]:
        """The token's answer."""
        answer: Tensor = self.encoder.first(*self._tokens(maps, shared_codes))
        return answer

    def attention(
        self, maps: Float[Tensor, "b c h w"], shared_codes: PositionCodes | None = None
    ) -> Float[Tensor, "b heads h w"]:
        """How much the token sees of each cell in the last layer, for figures."""
        weights = self.encoder.first_weights(*self._tokens(maps, shared_codes))
        cells: Tensor = weights[..., 1:].unflatten(-1, maps.shape[-2:])
        return cells

    def _tokens(self, maps: Tensor, shared_codes: PositionCodes | None) -> tuple[Tensor, Tensor]:
        codes = self.codes if shared_codes is None else shared_codes
        assert codes is not None, "an encoder without codes of its own is called with shared ones"
        cells = self.projection(maps.flatten(2).mT)
        token = self.token.expand(maps.shape[0], 1, -1)
        return torch.cat((token, cells), dim=1), codes(maps.shape[-2], maps.shape[-1])


class SceneMapEncoder(MapEncoder):
    """A map described for every scene: what is learned of a scene joins the token before the last layer.

    The layers before it, which are nearly all of the work, are computed once for all scenes.

    Args:
        groups: how many scenes are in each group; each group is answered by a call of its own.
    """

    def __init__(
        self,
        channels: int,
        config: TransformerConfig,
        codes: PositionCodes | None = None,
        *,
        groups: tuple[int, ...],
    ) -> None:
        super().__init__(channels, config, codes)
        self.token_of_scene = nn.Parameter(torch.zeros(sum(groups), config.width))
        self.groups = groups

    def forward(
        self, maps: Float[Tensor, "b c h w"], shared_codes: PositionCodes | None = None
    ) -> Float[Tensor, "b s d"]:
        """The token's answer in each scene."""
        added = self.token_of_scene.split(self.groups)
        answers: Tensor = self.encoder.firsts(*self._tokens(maps, shared_codes), added=added)
        return answers


class PooledEncoder(nn.Module):
    """The mean of a map's cells through two layers, for comparison with `MapEncoder`.

    Source: HyperPose (2023) Fig. 1a and Table 5, "Backbone embedding"; the number of layers is ours.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(
        self, maps: Float[Tensor, "b c h w"], shared_codes: PositionCodes | None = None
    ) -> Float[Tensor, "b d"]:
        """A description in which scenes are forgotten, so that codes of them are not used."""
        del shared_codes
        return self.layers(maps.mean((-2, -1)))  # type: ignore[no-any-return]
