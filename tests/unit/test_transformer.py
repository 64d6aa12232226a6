"""Transformer layers compute the same as the plain published form; dropout and attention with dropout."""

import math
from collections.abc import Iterable
from typing import TypeVar

import pytest
import torch
from tests.support.plain import PlainDecoder, PlainEncoder, plain_names
from torch import Tensor, nn

from camloc.errors import RecipeError
from camloc.models.layers.transformer import (
    Attention,
    BatchDropout,
    Decoder,
    Encoder,
    PositionCodes,
    TransformerConfig,
    attention_with_dropout,
    keep_mask,
    keep_scale,
)

WITHOUT_DROPOUT = TransformerConfig(width=32, layers=3, dropout=0.0, attention_dropout=0.0)
FORMS = (
    WITHOUT_DROPOUT,
    TransformerConfig(width=32, layers=1, heads=8, activation="swish", dropout=0.0, attention_dropout=0.0),
    TransformerConfig(width=24, layers=2, heads=2, feed_forward=40, dropout=0.0, attention_dropout=0.0),
)


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


Shaken = TypeVar("Shaken", bound=nn.Module)


def shaken(module: Shaken) -> Shaken:
    """A module none of whose weights is zero or one, so that leaving one out shows."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return module


def gradients(module: nn.Module) -> dict[str, Tensor]:
    found = {name: parameter.grad for name, parameter in module.named_parameters()}
    return {name: value for name, value in found.items() if value is not None}


def assert_same_gradients(ours: nn.Module, plain: nn.Module, *, without_effect: Iterable[str] = ()) -> None:
    expected = gradients(plain)
    found = plain_names(gradients(ours))
    assert all(not expected.pop(name).any() for name in without_effect)
    assert set(found) == set(expected)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.parametrize("config", FORMS)
@pytest.mark.parametrize("count", [2, 13])
def test_the_first_cell_and_its_gradients_are_those_of_the_plain_form(
    config: TransformerConfig, count: int
) -> None:
    ours, plain = shaken(Encoder(config)).double(), PlainEncoder(config).double()
    plain.load_state_dict(plain_names(ours.state_dict()))
    cells, positions = seeded(3, count, config.width).double(), seeded(count, config.width, seed=1).double()
    found, expected = ours.first(cells, positions), plain(cells, positions)[:, 0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    direction = seeded(config.width, seed=2).double()
    (found @ direction).sum().backward()
    (expected @ direction).sum().backward()
    assert_same_gradients(ours, plain)
    single = ours.float().first(cells.float(), positions.float())
    torch.testing.assert_close(single.double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", FORMS)
def test_all_cells_are_those_of_the_plain_form(config: TransformerConfig) -> None:
    ours, plain = shaken(Encoder(config)), PlainEncoder(config)
    plain.load_state_dict(plain_names(ours.state_dict()))
    cells, positions = seeded(2, 7, config.width), seeded(7, config.width, seed=1)
    torch.testing.assert_close(ours(cells, positions), plain(cells, positions), rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", FORMS)
def test_a_decoder_and_its_gradients_are_those_of_the_plain_form(config: TransformerConfig) -> None:
    ours, plain = shaken(Decoder(config)).double(), PlainDecoder(config).double()
    # The first layer's targets are zeros: the weight of their normalisation, which ours lacks, has no effect.
    weight = {"layers.0.norm.weight": seeded(config.width, seed=4).double()}
    plain.load_state_dict(plain_names(ours.state_dict()) | weight)
    queries, memory = seeded(4, config.width).double(), seeded(2, 11, config.width, seed=1).double()
    positions = seeded(11, config.width, seed=2).double()
    found, expected = ours(queries, memory, positions), plain(queries, memory, positions)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    direction = seeded(config.width, seed=3).double()
    (found @ direction).sum().backward()
    (expected @ direction).sum().backward()
    assert_same_gradients(ours, plain, without_effect=set(weight))


def test_attention_of_few_is_attention() -> None:
    attention = shaken(Attention(32, heads=4)).double()
    queries, keys, values = (seeded(2, count, 32, seed=count).double() for count in (3, 9, 9))
    fused, few = attention(queries, keys, values), attention.of_few(queries, keys, values)
    torch.testing.assert_close(few, fused, rtol=0, atol=1e-12)


def test_weights_start_as_those_of_the_published_encoders() -> None:
    torch.manual_seed(0)
    config = TransformerConfig(width=256, layers=1)
    plain, ours = PlainEncoder(config), plain_names(Encoder(config).state_dict())
    for parameter in plain.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(ours[name].std(), parameter.std(), rtol=0.1, atol=1e-6, msg=name)


def test_dropout_drops_in_training_and_not_in_evaluation() -> None:
    torch.manual_seed(0)
    encoder = Encoder(TransformerConfig(width=16, layers=2, heads=2))
    cells, positions = seeded(2, 5, 16), seeded(5, 16, seed=1)
    encoder.eval()
    assert torch.equal(encoder.first(cells, positions), encoder.first(cells, positions))
    encoder.train()
    assert not torch.equal(encoder.first(cells, positions), encoder.first(cells, positions))


@pytest.mark.parametrize("attention_dropout", [0.0, 0.5])
def test_attention_dropout_is_separate_from_other_dropout(attention_dropout: float) -> None:
    config = TransformerConfig(width=16, layers=2, heads=2, dropout=0.0, attention_dropout=attention_dropout)
    encoder = Encoder(config).train()
    cells, positions = seeded(2, 5, 16), seeded(5, 16, seed=1)
    same = torch.equal(encoder(cells, positions), encoder(cells, positions))
    assert same == (attention_dropout == 0.0)


def test_heads_that_cannot_share_the_width_are_refused() -> None:
    with pytest.raises(RecipeError, match="3 heads cannot share a width of 32"):
        Encoder(TransformerConfig(width=32, heads=3))


def test_a_cell_has_the_codes_of_its_column_and_row() -> None:
    codes = PositionCodes(6, rows=3, columns=4)
    found_codes = codes(2, 4)
    assert found_codes.shape == (1 + 2 * 4, 6)
    assert codes.token is not None
    assert torch.equal(found_codes[0], codes.token)
    for row in range(2):
        for column in range(4):
            expected = torch.cat((codes.column[column], codes.row[row]))
            assert torch.equal(found_codes[1 + 4 * row + column], expected)


def test_the_released_token_code_is_one_half_repeated() -> None:
    codes = PositionCodes(6, rows=1, columns=1, token_repeats=2)
    assert codes.token is not None
    assert codes.token.shape == (3,)
    assert torch.equal(codes(1, 1)[0], torch.cat((codes.token, codes.token)))


def test_a_map_larger_than_its_codes_is_refused() -> None:
    codes = PositionCodes(6, rows=3, columns=4)
    for rows, columns in ((4, 4), (3, 5)):
        with pytest.raises(RecipeError, match=f"a map of {rows} x {columns} cells is larger than the 3 x 4"):
            codes(rows, columns)


def test_codes_of_an_odd_width_are_refused() -> None:
    with pytest.raises(RecipeError, match="cannot share a width of 7"):
        PositionCodes(7, rows=3, columns=4)


def test_codes_are_for_queries_and_keys_and_not_for_values() -> None:
    config = TransformerConfig(width=8, layers=1, heads=1, dropout=0.0, attention_dropout=0.0)
    encoder = Encoder(config)
    cells = seeded(1, 1, 8).expand(1, 6, 8)  # equal cells: attention weights have no effect
    one, other = (encoder(cells, seeded(6, 8, seed=seed)) for seed in (1, 2))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_codes_without_a_token_are_those_of_the_cells_alone() -> None:
    codes = PositionCodes(6, rows=2, columns=4, token_repeats=0)
    assert codes.token is None
    assert codes(2, 4).shape == (2 * 4, 6)
    assert torch.equal(codes(2, 4)[5], torch.cat((codes.column[1], codes.row[1])))


ROWS, FEATURES = 6, 500


def dropped(values: Tensor, *, rate: float = 0.3, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return BatchDropout(rate).train()(values)  # type: ignore[no-any-return]


def test_entries_are_dropped_at_the_rate_and_the_others_are_scaled() -> None:
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
    outputs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        outputs.append(attention(cells, cells, cells))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.allclose(outputs[0], outputs[2])
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
