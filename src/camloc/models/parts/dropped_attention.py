"""Attention between many cells with dropout of its weights, on CPUs, where torch has no fused kernel for it.

One head of one picture at a time, so that its weights stay in the processor's caches. All that is kept of
them for the gradient is which were dropped, a byte each: to compute them again costs less than to fetch them.
Four weights share a random number, of 16 bits each.
"""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

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
