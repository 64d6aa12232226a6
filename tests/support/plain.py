"""Encoders and decoders as published, from torch's own modules, to compare camloc's layers with.

`nn.MultiheadAttention` with its weights computed and a padding mask that is false everywhere, every layer
for all tokens, sequences first. Modules have the names of camloc's modules.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from camloc.models.layers.transformer import TransformerConfig, activation_layer


class PlainLayer(nn.Module):
    """One layer of an encoder, or of a decoder."""

    def __init__(self, config: TransformerConfig, *, decodes: bool = False) -> None:
        super().__init__()
        width, hidden = config.width, config.feed_forward or config.width
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, config.heads, dropout=config.attention_dropout)
        if decodes:
            self.memory_norm = nn.LayerNorm(width)
            self.memory_attention = nn.MultiheadAttention(
                width, config.heads, dropout=config.attention_dropout
            )
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, hidden),
            activation_layer(config.activation),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, width),
        )
        self.dropout = nn.Dropout(config.dropout)

    def attend(self, values: Tensor, positions: Tensor, mask: Tensor | None = None) -> Tensor:
        """Self-attention."""
        normed = self.norm(values)
        queries = normed + positions
        return values + self.dropout(self.attention(queries, queries, normed, key_padding_mask=mask)[0])  # type: ignore[no-any-return]

    def attend_to_memory(
        self, values: Tensor, queries: Tensor, memory: Tensor, positions: Tensor, mask: Tensor
    ) -> Tensor:
        """Attention to an encoder's cells."""
        normed = self.memory_norm(values) + queries
        attended = self.memory_attention(normed, memory + positions, memory, key_padding_mask=mask)[0]
        return values + self.dropout(attended)  # type: ignore[no-any-return]

    def feed(self, values: Tensor) -> Tensor:
        """The two linear layers."""
        return values + self.dropout(self.feed_forward(values))  # type: ignore[no-any-return]


class PlainEncoder(nn.Module):
    """All layers on all tokens."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(PlainLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, cells: Tensor, positions: Tensor) -> Tensor:
        """(b, n, d) cells and (n, d) positions to (b, n, d)."""
        mask = torch.zeros(cells.shape[:2], dtype=torch.bool, device=cells.device)
        values = cells.transpose(0, 1)
        for layer in self.layers:
            assert isinstance(layer, PlainLayer)
            values = layer.feed(layer.attend(values, positions.unsqueeze(1), mask))
        return self.norm(values).transpose(0, 1)  # type: ignore[no-any-return]


class PlainDecoder(nn.Module):
    """Queries that attend to an encoder's cells."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(PlainLayer(config, decodes=True) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, queries: Tensor, memory: Tensor, positions: Tensor) -> Tensor:
        """(s, d) queries, (b, n, d) cells and (n, d) positions to (b, s, d)."""
        mask = torch.zeros(memory.shape[:2], dtype=torch.bool, device=memory.device)
        queries = queries.unsqueeze(1).expand(-1, memory.shape[0], -1)
        values = torch.zeros_like(queries)
        cells = memory.transpose(0, 1)
        for layer in self.layers:
            assert isinstance(layer, PlainLayer)
            values = layer.attend(values, queries)
            values = layer.attend_to_memory(values, queries, cells, positions.unsqueeze(1), mask)
            values = layer.feed(values)
        return self.norm(values).transpose(0, 1)  # type: ignore[no-any-return]


def plain_names(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of camloc's layers, or their gradients, with the names and shapes of the plain form."""
    found: dict[str, Tensor] = {}
    for name, value in ours.items():
        owner, _, kind = name.rpartition(".")
        block, _, part = owner.rpartition(".")
        match part:
            case "query":
                parts = [ours[f"{block}.{each}.{kind}"] for each in ("query", "key", "value")]
                found[f"{block}.in_proj_{kind}"] = torch.cat(parts)
            case "key" | "value":
                pass
            case "output" if block.endswith("attention"):
                found[f"{block}.out_proj.{kind}"] = value
            case _:
                found[name] = value
    return found
