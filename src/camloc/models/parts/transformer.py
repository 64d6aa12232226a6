"""Transformer encoders and decoders over the cells of a feature map, computed no further than is asked for.

The papers' pre-norm form: codes of positions are added to the queries and keys of every layer, never to
the values.

Source: TransPoseNet (2021) section 3.1; HyperPose (2023) section 3.1.1; Carion et al. 2020 for where the
codes are added.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camloc.models.parts.attention import Attention
from camloc.models.parts.dropout import BatchDropout

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
        asked = self.norm(tokens) + positions[:1]
        attend = self.attention.cheaper_for(tokens.shape[1])
        tokens = tokens + self.dropout(attend(asked, normed + positions, normed))
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
        asked = self.memory_norm(answers) + queries
        attend = self.memory_attention.cheaper_for(queries.shape[0])
        answers = answers + self.dropout(attend(asked, keys, memory))
        return answers + self.dropout(self.feed_forward(answers))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Layers that turn queries, such as one for each place, into answers about an encoder's cells.

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
        """One answer to each query, about each picture; answers start at zero."""
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
