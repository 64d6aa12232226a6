"""Encoders and decoders are the published ones, without what their answers do not need."""

from collections.abc import Iterable
from typing import TypeVar

import pytest
import torch
from benchmarks.plain import PlainDecoder, PlainEncoder, plain_names
from torch import Tensor, nn

from camloc.errors import RecipeError
from camloc.models.layers.transformer import (
    Attention,
    Decoder,
    Encoder,
    MapEncoder,
    PositionCodes,
    TransformerConfig,
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
@pytest.mark.parametrize("cells", [2, 13])
def test_the_first_cell_and_its_gradients_are_those_of_the_plain_form(
    config: TransformerConfig, cells: int
) -> None:
    ours, plain = shaken(Encoder(config)).double(), PlainEncoder(config).double()
    plain.load_state_dict(plain_names(ours.state_dict()))
    seen, positions = seeded(3, cells, config.width).double(), seeded(cells, config.width, seed=1).double()
    found, expected = ours.first(seen, positions), plain(seen, positions)[:, 0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    direction = seeded(config.width, seed=2).double()
    (found @ direction).sum().backward()
    (expected @ direction).sum().backward()
    assert_same_gradients(ours, plain)
    single = ours.float().first(seen.float(), positions.float())
    torch.testing.assert_close(single.double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", FORMS)
def test_all_cells_are_those_of_the_plain_form(config: TransformerConfig) -> None:
    ours, plain = shaken(Encoder(config)), PlainEncoder(config)
    plain.load_state_dict(plain_names(ours.state_dict()))
    seen, positions = seeded(2, 7, config.width), seeded(7, config.width, seed=1)
    torch.testing.assert_close(ours(seen, positions), plain(seen, positions), rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", FORMS)
def test_a_decoder_and_its_gradients_are_those_of_the_plain_form(config: TransformerConfig) -> None:
    ours, plain = shaken(Decoder(config)).double(), PlainDecoder(config).double()
    # The first layer's answers are zeros: the weight of their normalisation, which ours has not, is any.
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


def test_the_weights_for_a_figure_are_those_that_the_token_sees_the_cells_with() -> None:
    config = TransformerConfig(width=8, layers=1, heads=2, dropout=0.0, attention_dropout=0.0)
    encoder = MapEncoder(5, config, PositionCodes(8, rows=3, columns=4)).eval()
    maps = seeded(2, 5, 3, 4)
    shown = encoder.attention(maps)
    assert shown.shape == (2, 2, 3, 4)
    assert (shown > 0).all()
    assert (shown.sum((-2, -1)) < 1).all()  # the token sees itself as well
    plain = PlainEncoder(config).eval()
    plain.load_state_dict(plain_names(encoder.encoder.state_dict()))
    layer = plain.layers[0]
    cells = torch.cat((encoder.token.expand(2, 1, -1), encoder.projection(maps.flatten(2).mT)), 1)
    normed = layer.norm(cells).transpose(0, 1)  # type: ignore[operator]
    predict = normed + encoder.codes(3, 4).unsqueeze(1)  # type: ignore[misc]
    expected = layer.attention(predict, predict, normed, average_attn_weights=False)[1][:, :, 0, 1:]  # type: ignore[operator]
    torch.testing.assert_close(shown.flatten(2), expected, rtol=0, atol=1e-6)


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
    seen, positions = seeded(2, 5, 16), seeded(5, 16, seed=1)
    encoder.eval()
    assert torch.equal(encoder.first(seen, positions), encoder.first(seen, positions))
    encoder.train()
    assert not torch.equal(encoder.first(seen, positions), encoder.first(seen, positions))


@pytest.mark.parametrize("attention_dropout", [0.0, 0.5])
def test_attention_dropout_is_apart_from_the_other(attention_dropout: float) -> None:
    config = TransformerConfig(width=16, layers=2, heads=2, dropout=0.0, attention_dropout=attention_dropout)
    encoder = Encoder(config).train()
    seen, positions = seeded(2, 5, 16), seeded(5, 16, seed=1)
    same = torch.equal(encoder(seen, positions), encoder(seen, positions))
    assert same == (attention_dropout == 0.0)


def test_heads_that_cannot_share_the_width_are_refused() -> None:
    with pytest.raises(RecipeError, match="3 heads cannot share a width of 32"):
        Encoder(TransformerConfig(width=32, heads=3))


def test_a_cell_has_the_codes_of_its_column_and_row() -> None:
    codes = PositionCodes(6, rows=3, columns=4)
    told = codes(2, 4)
    assert told.shape == (1 + 2 * 4, 6)
    assert codes.token is not None
    assert torch.equal(told[0], codes.token)
    for row in range(2):
        for column in range(4):
            expected = torch.cat((codes.column[column], codes.row[row]))
            assert torch.equal(told[1 + 4 * row + column], expected)


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
    cells = seeded(1, 1, 8).expand(1, 6, 8)  # alike: whatever is looked at, the same is seen
    one, other = (encoder(cells, seeded(6, 8, seed=seed)) for seed in (1, 2))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_codes_without_a_token_are_those_of_the_cells_alone() -> None:
    codes = PositionCodes(6, rows=2, columns=4, token_repeats=0)
    assert codes.token is None
    assert codes(2, 4).shape == (2 * 4, 6)
    assert torch.equal(codes(2, 4)[5], torch.cat((codes.column[1], codes.row[1])))
