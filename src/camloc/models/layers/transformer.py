"""Transformer encoders and decoders over the cells of a feature map, without computing unused outputs.

The papers' pre-norm form: position codes are added to the queries and keys of every layer, never to the
values. From top to bottom: settings, dropout, attention, encoder, decoder, position codes, encoders of a
feature map (`MapEncoder` and others), and a workaround for CPUs.

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

Activation = Literal["gelu", "swish"]


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of an encoder or a decoder.

    Attributes:
        width: size of a cell's vector.
        layers: number of layers.
        heads: number of attention heads, which divide the width.
        feed_forward: width of the hidden layer behind attention; None for `width`, as published.
        activation: of that layer.
        dropout: rate behind attention, in the hidden layer and behind it.
        attention_dropout: rate of the attention weights. Each process draws them for itself, so that results
            depend on the number of processes, and torch's fused kernel is not used on CPUs; 0 avoids both.
    """

    width: int = 256
    layers: int = 6
    heads: int = 4
    feed_forward: int | None = None
    activation: Activation = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.1


# --- Dropout ------------------------------------------------------------------------------------------------


class BatchDropout(nn.Dropout):
    """`nn.Dropout` over (b, ...) that draws the mask of the whole batch in every process.

    Each process then uses the rows of its own share, so that training on two devices drops the same entries
    as training on one, given the same seed. The cost is one draw of the larger mask.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Drop entries of `input` in training; the identity in evaluation."""
        if not self.training or self.p == 0.0:
            return input
        if self.p == 1.0:  # the scale of the kept entries would be infinite
            return torch.zeros_like(input)
        processes, process = _processes()
        rows = input.shape[0]
        kept = torch.rand((rows * processes, *input.shape[1:]), device=input.device) >= self.p
        return input * kept[process * rows : (process + 1) * rows] / (1.0 - self.p)


def _processes() -> tuple[int, int]:
    """The number of processes and the index of this one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size(), torch.distributed.get_rank()
    return 1, 0


# --- Attention ----------------------------------------------------------------------------------------------


class Attention(nn.Module):
    """Multi-head attention, the same function as `nn.MultiheadAttention`.

    `forward` and `of_few` compute the same function; `cheaper_for` chooses by the number of queries.

    Raises:
        RecipeError: the number of heads does not divide the width.
    """

    def __init__(self, width: int, *, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise RecipeError(f"{heads} heads cannot share a width of {width}; set heads to a divisor of it")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.dropout = BatchDropout(dropout)
        for linear in (self.query, self.key, self.value):
            # The published bound is that of one matrix of 3 width x width for all three.
            nn.init.xavier_uniform_(linear.weight, gain=math.sqrt(0.5))
        nn.init.xavier_uniform_(self.output.weight)
        for linear in (self.query, self.key, self.value, self.output):
            nn.init.zeros_(linear.bias)

    def forward(
        self, queries: Float[Tensor, "b s d"], keys: Float[Tensor, "b n d"], values: Float[Tensor, "b n d"]
    ) -> Float[Tensor, "b s d"]:
        """Attend by projecting all keys and values and calling a fused kernel."""
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
        """Attend by projecting the queries into the keys' space; cheaper while `s * heads < width`."""
        weights = self.dropout(self.weights(queries, keys))
        mean_values = (weights.flatten(1, 2) @ values).unflatten(1, (self.heads, -1))
        projection = self.value.weight.unflatten(0, (self.heads, -1))
        bias = self.value.bias.unflatten(0, (self.heads, 1, -1))
        attended = mean_values @ projection.mT + weights.sum(-1, keepdim=True) * bias
        return self.output(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def cheaper_for(self, queries: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """Return the cheaper of `of_few` and `forward` for a number of queries per image."""
        return self.of_few if queries * self.heads < self.query.in_features else self

    def weights(
        self, queries: Float[Tensor, "b s d"], keys: Float[Tensor, "b n d"]
    ) -> Float[Tensor, "b heads s n"]:
        """Compute the attention weights of each query over the keys, for each head; they sum to 1."""
        query = self.query(queries).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        query = query / math.sqrt(query.shape[-1])
        projection = self.key.weight.unflatten(0, (self.heads, -1))
        bias = self.key.bias.unflatten(0, (self.heads, -1, 1))
        scores = (query @ projection).flatten(1, 2) @ keys.mT
        # The bias is the same for all keys, so that the softmax removes it; it is added to follow the
        # definition.
        weights: Tensor = (scores.unflatten(1, (self.heads, -1)) + query @ bias).softmax(-1)
        return weights


# --- Encoder ------------------------------------------------------------------------------------------------


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network, both pre-normalised and with a residual connection."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.attention = _attention(config)
        self.feed_forward = _feed_forward(config)
        self.dropout = BatchDropout(config.dropout)

    def forward(
        self, cells: Float[Tensor, "b n d"], positions: Float[Tensor, "n d"]
    ) -> Float[Tensor, "b n d"]:
        """Compute all cells."""
        normed = self.norm(cells)
        positioned = normed + positions
        cells = cells + self.dropout(self.attention(positioned, positioned, normed))
        return cells + self.dropout(self.feed_forward(cells))  # type: ignore[no-any-return]

    def first(self, cells: Float[Tensor, "b n d"], positions: Float[Tensor, "n d"]) -> Float[Tensor, "b 1 d"]:
        """Compute the first cell alone."""
        return self.firsts(cells[:, :1], cells, positions)

    def firsts(
        self, tokens: Float[Tensor, "b s d"], cells: Float[Tensor, "b n d"], positions: Float[Tensor, "n d"]
    ) -> Float[Tensor, "b s d"]:
        """Compute several tokens, each in the position of the first cell, attending to all cells."""
        normed = self.norm(cells)
        queries = self.norm(tokens) + positions[:1]
        attend = self.attention.cheaper_for(tokens.shape[1])
        tokens = tokens + self.dropout(attend(queries, normed + positions, normed))
        return tokens + self.dropout(self.feed_forward(tokens))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Encoder layers and a final normalisation."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(
        self, cells: Float[Tensor, "b n d"], positions: Float[Tensor, "n d"]
    ) -> Float[Tensor, "b n d"]:
        """Compute the output for all cells."""
        for layer in self.layers:
            cells = layer(cells, positions)
        return self.norm(cells)  # type: ignore[no-any-return]

    def first(self, cells: Float[Tensor, "b n d"], positions: Float[Tensor, "n d"]) -> Float[Tensor, "b d"]:
        """Compute the first cell of `forward`; the last layer computes no other cell."""
        return self.norm(self._last().first(self._before_last(cells, positions), positions)).squeeze(1)  # type: ignore[no-any-return]

    def firsts(
        self,
        cells: Float[Tensor, "b n d"],
        positions: Float[Tensor, "n d"],
        *,
        added: Sequence[Float[Tensor, "_ d"]],
    ) -> Float[Tensor, "b s d"]:
        """Compute `first` for each row of `added`, which is added to the first cell before the last layer.

        The other layers are computed once. Each member of `added` is a separate call of the last layer.
        """
        cells = self._before_last(cells, positions)
        parts = [self._last().firsts(cells[:, :1] + rows, cells, positions) for rows in added]
        return self.norm(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))  # type: ignore[no-any-return]

    def _before_last(self, cells: Tensor, positions: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            cells = layer(cells, positions)
        return cells

    def _last(self) -> EncoderLayer:
        last = self.layers[-1]
        assert isinstance(last, EncoderLayer)
        return last


# --- Decoder ------------------------------------------------------------------------------------------------


class DecoderLayer(nn.Module):
    """Self-attention among the queries, attention to the encoder's cells, and a feed-forward network.

    The targets of a decoder's first layer are zeros, so its normalisation has a bias alone.
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
        targets: Float[Tensor, "b s d"],
        queries: Float[Tensor, "s d"],
        keys: Float[Tensor, "b n d"],
        memory: Float[Tensor, "b n d"],
    ) -> Float[Tensor, "b s d"]:
        """Update the targets; `keys` is `memory` plus its position codes."""
        normed = self.norm(targets)
        positioned = normed + queries
        targets = targets + self.dropout(self.attention(positioned, positioned, normed))
        memory_queries = self.memory_norm(targets) + queries
        attend = self.memory_attention.cheaper_for(queries.shape[0])
        targets = targets + self.dropout(attend(memory_queries, keys, memory))
        return targets + self.dropout(self.feed_forward(targets))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Decoder layers and a final normalisation; the queries are learned, such as one for each scene.

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
        """Compute one output for each query and image from the encoder's cells, `memory`."""
        targets = queries.new_zeros(memory.shape[0], *queries.shape)
        keys = memory + positions
        for layer in self.layers:
            targets = layer(targets, queries, keys, memory)
        return self.norm(targets)  # type: ignore[no-any-return]


class _NormOfZeros(nn.Module):
    """`nn.LayerNorm` for inputs that are all zero: its weight would have no effect and is left out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, zeros: Float[Tensor, "b s d"]) -> Float[Tensor, "b s d"]:
        """Return the bias, in the shape of the input."""
        return zeros + self.bias


# --- Parts of both layers -----------------------------------------------------------------------------------


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


def activation_layer(name: Activation) -> nn.Module:
    """Build the module of an activation."""
    return nn.GELU() if name == "gelu" else nn.SiLU()


# --- Position codes -----------------------------------------------------------------------------------------


class PositionCodes(nn.Module):
    """Learned codes: a cell's code is its column's and its row's code side by side; the token has its own.

    Source: TransPoseNet (2021) section 3.1, Eq. 2.
    """

    def __init__(self, width: int, *, rows: int, columns: int, token_repeats: int = 1) -> None:
        """`token_repeats`: how often the token's vector is repeated to fill the width; 0 for no token."""
        super().__init__()
        if width % 2:
            raise RecipeError(f"codes of columns and rows cannot share a width of {width}; set an even width")
        self.column = nn.Parameter(torch.rand(columns, width // 2))
        self.row = nn.Parameter(torch.rand(rows, width // 2))
        self.token = nn.Parameter(torch.rand(width // token_repeats)) if token_repeats else None
        self.token_repeats = token_repeats

    def forward(self, rows: int, columns: int) -> Float[Tensor, "n d"]:
        """Return the codes of the token, if there is one, and of `rows` x `columns` cells, row by row.

        Raises:
            RecipeError: the map has more rows or columns than there are codes.
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
    """The position codes of a network's encoders.

    Attributes:
        kind: "own": each encoder has its own codes, and the token's code is a pair of vectors, as in
            TransPoseNet's text; "shared": all encoders have the same codes, whatever their cells' size, and
            the token's code is one vector twice, as in the released code.
        image_width, image_height: largest image that there are codes for, in pixels.
    """

    kind: Literal["own", "shared"] = "own"
    image_width: int = 224
    image_height: int = 224

    def own(self, width: int, *, stride: int, has_token: bool = True) -> PositionCodes | None:
        """Build codes for one encoder whose cells are `stride` pixels apart; None if codes are shared."""
        return self._codes(width, stride, token_repeats=int(has_token)) if self.kind == "own" else None

    def shared(self, width: int, *, stride: int, has_token: bool = True) -> PositionCodes | None:
        """Build codes for all encoders; None if each has its own. `stride` is that of the finest map."""
        return self._codes(width, stride, token_repeats=2 * has_token) if self.kind == "shared" else None

    def _codes(self, width: int, stride: int, *, token_repeats: int) -> PositionCodes:
        rows, columns = math.ceil(self.image_height / stride), math.ceil(self.image_width / stride)
        return PositionCodes(width, rows=rows, columns=columns, token_repeats=token_repeats)


# --- Encoders of a feature map ------------------------------------------------------------------------------


class MapEncoder(nn.Module):
    """An encoder over a learned token and the projected cells of a feature map.

    The encoder's output for the token describes the map.

    Source: TransPoseNet (2021) section 3.1, Eq. 1.
    """

    def __init__(self, channels: int, config: TransformerConfig, codes: PositionCodes | None = None) -> None:
        """`codes`: position codes of its own, or None if `forward` is given codes that several maps share."""
        super().__init__()
        self.projection = nn.Linear(channels, config.width)  # the papers' 1 x 1 convolution
        self.token = nn.Parameter(torch.zeros(config.width))
        self.encoder = Encoder(config)
        self.codes = codes

    def forward(
        self, feature_map: Float[Tensor, "b c h w"], shared_codes: PositionCodes | None = None
    ) -> Float[Tensor, "b d"]:
        """Compute the encoder's output for the token."""
        output: Tensor = self.encoder.first(*self._tokens(feature_map, shared_codes))
        return output

    def _tokens(self, feature_map: Tensor, shared_codes: PositionCodes | None) -> tuple[Tensor, Tensor]:
        codes = self.codes if shared_codes is None else shared_codes
        assert codes is not None, "an encoder without codes of its own needs shared codes"
        cells = self.projection(feature_map.flatten(2).mT)
        token = self.token.expand(feature_map.shape[0], 1, -1)
        return torch.cat((token, cells), dim=1), codes(feature_map.shape[-2], feature_map.shape[-1])


class SceneMapEncoder(MapEncoder):
    """A `MapEncoder` for several scenes: each scene's vector is added to the token before the last layer.

    The earlier layers, which are nearly all of the work, are computed once for all scenes.

    Args:
        groups: number of scenes in each group; the last layer is computed group by group.
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
        self, feature_map: Float[Tensor, "b c h w"], shared_codes: PositionCodes | None = None
    ) -> Float[Tensor, "b s d"]:
        """Compute the encoder's output for the token in each scene."""
        added = self.token_of_scene.split(self.groups)
        output: Tensor = self.encoder.firsts(*self._tokens(feature_map, shared_codes), added=added)
        return output


class PooledEncoder(nn.Module):
    """Two layers on the mean of a feature map's cells, for comparison with `MapEncoder`.

    Source: HyperPose (2023) Fig. 1a and Table 5, "Backbone embedding"; the number of layers is ours.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(
        self, feature_map: Float[Tensor, "b c h w"], shared_codes: PositionCodes | None = None
    ) -> Float[Tensor, "b d"]:
        """Compute a description without positions, so that position codes are not used."""
        del shared_codes
        return self.layers(feature_map.mean((-2, -1)))  # type: ignore[no-any-return]


# --- Attention with dropout on CPUs -------------------------------------------------------------------------


# torch's `scaled_dot_product_attention` with dropout has no fused kernel on CPUs: it keeps all weights for
# the backward pass and draws a random number for each. Here each head is computed alone, so that its weights
# stay in the caches; they are recomputed in the backward pass, and 16 random bits decide on each. Forward and
# backward passes of 4 images with 785 cells and 8 heads of 32 take 0.34 s instead of 0.79 s (one core, torch
# 2.15; 0.18 s without dropout).


def attention_with_dropout(
    query: Float[Tensor, "b heads s d"],
    key: Float[Tensor, "b heads n d"],
    value: Float[Tensor, "b heads n d"],
    *,
    rate: float,
) -> Float[Tensor, "b heads s d"]:
    """`scaled_dot_product_attention` with `dropout_p` for CPUs; only the random draws differ.

    The rate is rounded to a multiple of 1 / 65536.
    """
    flat = (each.flatten(0, 1).contiguous() for each in (query, key, value))
    attended: Tensor = _HeadByHead.apply(*flat, rate)
    heads: Tensor = attended.unflatten(0, query.shape[:2])
    return heads


# Number of values of the 16 random bits that decide whether a weight is kept.
_CHANCES = 1 << 16


def keep_mask(rows: int, columns: int, *, rate: float) -> Bool[Tensor, "rows columns"]:
    """Draw which weights are kept, from torch's random state."""
    count = rows * columns
    numbers = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(1 << 63), None)
    dropped = round(rate * _CHANCES)
    return (numbers.view(torch.int16)[:count] >= dropped - _CHANCES // 2).view(rows, columns)


def keep_scale(rate: float) -> float:
    """The factor of the kept weights that preserves their expected sum."""
    return 1.0 / (1.0 - round(rate * _CHANCES) / _CHANCES)


class _HeadByHead(torch.autograd.Function):
    """Attention with dropout on (b x heads, cells, d), one head at a time."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, rate: float) -> Tensor:
        attended = torch.empty_like(query)
        kept = torch.empty(query.shape[0], query.shape[1], key.shape[1], dtype=torch.bool)
        for head in range(query.shape[0]):
            kept[head] = keep_mask(query.shape[1], key.shape[1], rate=rate)
            weights = _softmax_weights(query[head], key[head]).mul_(kept[head])
            torch.mm(weights, value[head], out=attended[head])
        attended.mul_(keep_scale(rate))
        ctx.save_for_backward(query, key, value, attended, kept)
        ctx.keep_scale = keep_scale(rate)
        return attended

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, attended, kept = ctx.saved_tensors
        of_query, of_key, of_value = (torch.empty_like(each) for each in (query, key, value))
        # The softmax's gradient needs the mean of the weights' gradients, weighted by the weights.
        mean = (gradient * attended).sum(-1, keepdim=True)
        scaled = gradient * ctx.keep_scale
        for head in range(query.shape[0]):
            weights = _softmax_weights(query[head], key[head])
            of_scores = torch.mm(scaled[head], value[head].T).mul_(kept[head]).sub_(mean[head]).mul_(weights)
            torch.mm(weights.mul_(kept[head]).T, scaled[head], out=of_value[head])
            torch.mm(of_scores, key[head], out=of_query[head])
            torch.mm(of_scores.T, query[head], out=of_key[head])
        scale = 1.0 / math.sqrt(query.shape[-1])
        return of_query.mul_(scale), of_key.mul_(scale), of_value, None


def _softmax_weights(query: Float[Tensor, "s d"], key: Float[Tensor, "n d"]) -> Float[Tensor, "s n"]:
    return torch.mm(query / math.sqrt(query.shape[-1]), key.T).softmax(-1)
