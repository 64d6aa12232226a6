"""Dropout that does not depend on how many processes share a batch."""

import pytest
import torch
from torch import Tensor, nn

from camloc.models.layers.transformer import BatchDropout

ROWS, FEATURES = 6, 500


def dropped(values: Tensor, *, rate: float = 0.3, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return BatchDropout(rate).train()(values)  # type: ignore[no-any-return]


def test_entries_are_dropped_at_the_rate_and_the_others_make_up_for_it() -> None:
    out = dropped(torch.ones(100, FEATURES))
    assert out.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert (out == 0).float().mean() == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("shares", [2, 3])
def test_the_shares_of_a_batch_drop_what_the_whole_batch_drops(
    shares: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = torch.rand(ROWS, FEATURES)
    whole = dropped(values)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: shares)
    parts = []
    for rank, part in enumerate(values.chunk(shares)):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        parts.append(dropped(part))
    assert torch.equal(whole, torch.cat(parts))


def test_rows_drop_different_entries() -> None:
    out = dropped(torch.ones(2, FEATURES))
    assert not torch.equal(out[0], out[1])


def test_evaluation_drops_nothing() -> None:
    values = torch.rand(ROWS, FEATURES)
    assert torch.equal(BatchDropout(0.5).eval()(values), values)


def test_a_rate_of_zero_drops_nothing_and_draws_nothing() -> None:
    values = torch.rand(ROWS, FEATURES)
    before = torch.get_rng_state()
    assert torch.equal(BatchDropout(0.0).train()(values), values)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_rate_of_one_drops_everything_as_torch_does() -> None:
    values = torch.rand(ROWS, FEATURES)
    assert torch.equal(BatchDropout(1.0).train()(values), nn.Dropout(1.0).train()(values))


def test_gradients_flow_through_what_is_kept() -> None:
    values = torch.rand(ROWS, FEATURES, requires_grad=True)
    out = dropped(values)
    out.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad == 0, out == 0)
