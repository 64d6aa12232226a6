"""Attention with dropout, one head at a time: the values and gradients of the formula, and fair draws."""

import math

import pytest
import torch
from torch import Tensor

from camloc.models.layers.transformer import Attention, attention_with_dropout, keep_mask, keep_scale

RATE = 0.25


def heads(count: int, *, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randn(2, 3, count, 4, generator=generator, dtype=dtype, requires_grad=True)


def by_formula(query: Tensor, key: Tensor, value: Tensor, *, seed: int) -> Tensor:
    """The weights of all heads at once, with the draws that `attention_with_dropout` makes."""
    torch.manual_seed(seed)
    kept = torch.stack([keep_mask(query.shape[2], key.shape[2], rate=RATE) for _ in range(6)])
    weights = (query @ key.mT / math.sqrt(query.shape[-1])).softmax(-1)
    return (weights * kept.view(2, 3, *kept.shape[1:]) * keep_scale(RATE)) @ value


def test_values_and_gradients_are_those_of_the_formula() -> None:
    query, key, value = heads(5), heads(7), heads(7)
    wanted = by_formula(query, key, value, seed=1)
    torch.manual_seed(1)
    found = attention_with_dropout(query, key, value, rate=RATE)
    torch.testing.assert_close(found, wanted)
    direction = torch.randn(wanted.shape, dtype=wanted.dtype)
    inputs = (query, key, value)
    theirs = torch.autograd.grad(wanted, inputs, direction)
    for one, other in zip(torch.autograd.grad(found, inputs, direction), theirs, strict=True):
        assert other.abs().max() > 0.01
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_each_weight_is_dropped_at_the_rate_and_the_mean_is_kept(rate: float) -> None:
    torch.manual_seed(0)
    kept = keep_mask(301, 333, rate=rate)
    assert kept.shape == (301, 333)
    assert float(kept.double().mean()) == pytest.approx(1.0 - rate, abs=0.005)
    assert keep_scale(rate) == pytest.approx(1.0 / (1.0 - rate), rel=1e-4)
    # The four that share a number are as often dropped as each other, and not together.
    lanes = keep_mask(1, 400_000, rate=rate).view(-1, 4).double()
    assert (lanes.mean(0) - (1.0 - rate)).abs().max() < 0.005
    assert (torch.corrcoef(lanes.T) - torch.eye(4).double()).abs().max() < 0.02


def test_the_same_seed_drops_the_same_and_another_does_not() -> None:
    attention = Attention(8, heads=2, dropout=RATE).train()
    cells = torch.randn(2, 5, 8)
    answers = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        answers.append(attention(cells, cells, cells))
    assert torch.equal(answers[0], answers[1])
    assert not torch.allclose(answers[0], answers[2])
    assert torch.equal(attention.eval()(cells, cells, cells), attention(cells, cells, cells))


def test_no_weight_is_kept_for_the_gradient() -> None:
    query, key, value = (heads(64, dtype=torch.float32) for _ in range(3))
    kept: list[Tensor] = []

    def packed(each: Tensor) -> Tensor:
        kept.append(each)
        return each

    with torch.autograd.graph.saved_tensors_hooks(packed, lambda each: each):
        attention_with_dropout(query, key, value, rate=RATE)
    weights = 2 * 3 * 64 * 64
    assert sum(each.nbytes for each in kept if each.dtype == torch.bool) == weights
    assert all(each.numel() < weights for each in kept if each.dtype != torch.bool)
