"""Generated layers start at zero, and every image has its own."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from tests.support.models import TINY_BACKBONE
from torch import Tensor, nn

from camloc.models.base import Latents
from camloc.models.hyperpose import HyperPose, HyperPoseConfig, Infusion
from camloc.models.layers.hypernetwork import (
    CompactHyperLinear,
    GeneratorConfig,
    HyperHead,
    HyperLinear,
    HyperMLP,
    HypernetworkConfig,
    hyper_linear,
)

SMALL = HyperPoseConfig(backbone=TINY_BACKBONE, dropout=0.0)
FORMS = tuple(GeneratorConfig(form, rank=6) for form in get_args(GeneratorConfig.__annotations__["form"]))


def shake(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("generator", FORMS)
@pytest.mark.parametrize("infusion", get_args(Infusion))
def test_training_starts_from_the_ordinary_head(generator: GeneratorConfig, infusion: Infusion) -> None:
    torch.manual_seed(0)
    hypernetwork = HypernetworkConfig(8, 8, generator=generator)
    model = HyperPose(replace(SMALL, hidden=16, hypernetwork=hypernetwork, infusion=infusion)).eval()
    latents = model.encode(torch.rand(2, 3, 48, 64))
    whole = model.regress(latents)
    model.hidden_hyper = model.position_hyper = model.orientation_hyper = None
    ordinary = model.regress(latents)
    assert torch.equal(whole.position, ordinary.position)
    assert torch.equal(whole.orientation, ordinary.orientation)
    assert whole.position.abs().max() > 0


@pytest.mark.parametrize("generator", FORMS)
def test_a_generated_layer_is_a_linear_layer_whose_last_row_is_the_bias(generator: GeneratorConfig) -> None:
    torch.manual_seed(0)
    layer = hyper_linear(5, 3, condition=4, generator=generator).double()
    shake(layer)
    values, condition = seeded(2, 5).double(), seeded(2, 4, seed=1).double()
    weights = layer.weights(condition)
    assert weights.shape == (2, 6, 3)
    with_one = torch.cat((values, torch.ones(2, 1).double()), dim=1)
    expected = torch.stack([with_one[row] @ weights[row] for row in range(2)])
    torch.testing.assert_close(layer(values, condition), expected, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(weights[0], weights[1])


def test_a_full_generator_gives_every_weight_row_by_row() -> None:
    layer = HyperLinear(5, 3, condition=4)
    shake(layer)
    condition = seeded(2, 4)
    assert torch.equal(layer.weights(condition).flatten(1), layer.generator(condition))
    swish = HyperLinear(5, 3, condition=4, swish=True)
    swish.load_state_dict(layer.state_dict())
    assert torch.equal(swish.weights(condition), nn.functional.silu(layer.weights(condition)))


def test_a_compact_layer_is_a_sum_of_matrices_with_generated_strengths() -> None:
    layer = CompactHyperLinear(5, 3, condition=4, rank=2).double()
    shake(layer)
    condition = seeded(1, 4).double()
    strengths = layer.strength(condition)[0]
    patterns = [torch.outer(layer.inward.weight[each], layer.outward.weight[:, each]) for each in range(2)]
    expected = strengths[0] * patterns[0] + strengths[1] * patterns[1]
    torch.testing.assert_close(layer.weights(condition)[0, :-1], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("generator", FORMS)
def test_an_ordinary_start_is_one_new_linear_layer_for_all_images(
    generator: GeneratorConfig,
) -> None:
    torch.manual_seed(0)
    wide = replace(generator, rank=256)
    layer = hyper_linear(256, 128, condition=4, generator=wide, start="ordinary")
    weights = layer.weights(seeded(2, 4))
    assert torch.equal(weights[0], weights[1])
    deviation = nn.Linear(256, 128).weight.std()
    torch.testing.assert_close(weights[0, :-1].std(), deviation, rtol=0.1, atol=0.0)
    assert weights[0, -1].abs().max() == 0


@pytest.mark.parametrize("sizes", [(8, 3), (8, 6, 3), (8, 6, 5, 3)])
@pytest.mark.parametrize("generator", FORMS)
def test_generated_layers_follow_each_other_with_swish_between(
    sizes: tuple[int, ...], generator: GeneratorConfig
) -> None:
    torch.manual_seed(0)
    network = HyperMLP(sizes, condition=4, generator=generator)
    values, condition = seeded(2, 8), seeded(2, 4, seed=1)
    assert network(values, condition).abs().max() == 0
    shake(network)
    expected = values
    for number, layer in enumerate(network.layers):
        expected = layer(nn.functional.silu(expected) if number else expected, condition)
    assert len(network.layers) == len(sizes) - 1
    torch.testing.assert_close(network(values, condition), expected)


@pytest.mark.parametrize("generator", FORMS)
def test_every_weight_of_a_generated_network_trains_from_the_second_step(generator: GeneratorConfig) -> None:
    torch.manual_seed(0)
    network = HyperMLP((8, 6, 5, 3), condition=4, generator=generator)
    condition = seeded(2, 4, seed=1).requires_grad_()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (network(seeded(2, 8), condition) - 1.0).square().sum().backward()
        optimizer.step()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0, name
    assert condition.grad is not None
    assert condition.grad.abs().max() > 0


def test_an_ordinary_start_has_outputs_that_are_not_zero() -> None:
    torch.manual_seed(0)
    network = HyperMLP((8, 6, 3), condition=4, generator=GeneratorConfig(), start="ordinary")
    assert network(seeded(2, 8), seeded(2, 4)).abs().min() > 0


def test_a_compact_head_is_a_head_of_the_same_sizes() -> None:
    full, compact = (HyperHead(7, 4, width=5, generator=FORMS[index]) for index in (0, 2))
    assert isinstance(compact.layer, CompactHyperLinear)
    assert compact(seeded(2, 7)).shape == full(seeded(2, 7)).shape == (2, 4)


@pytest.mark.parametrize("infusion", ["one_layer", "two_layers"])
def test_an_integrated_layer_adds_to_the_ordinary_one(infusion: Infusion) -> None:
    """Generated weights and ordinary ones are those of one layer, the sum of both."""
    torch.manual_seed(0)
    config = replace(SMALL, hidden=12, hypernetwork=HypernetworkConfig(4, 5), infusion=infusion)
    model = HyperPose(config).double().eval()
    shake(model)
    features = seeded(1, model.hidden.in_features).double()
    hidden = model.hidden(features)
    if model.hidden_hyper is not None:
        hidden = hidden + extended(features) @ generated(model.hidden_hyper, features)
    hidden = torch.relu(hidden)
    assert isinstance(model.position_hyper, HyperHead)
    assert isinstance(model.orientation_hyper, HyperHead)
    position = model.position_head(hidden) + extended(hidden) @ generated(model.position_hyper, features)
    orientation = model.orientation_head(hidden) + extended(hidden) @ generated(
        model.orientation_hyper, features
    )
    output = model.regress(Latents(features, features))
    torch.testing.assert_close(output.position, position, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(output.orientation, orientation, rtol=1e-10, atol=1e-12)
    assert (model.hidden_hyper is not None) == (infusion == "two_layers")


def extended(values: Tensor) -> Tensor:
    return torch.cat((values, torch.ones_like(values[:, :1])), dim=1)


def generated(twin: HyperHead, features: Tensor) -> Tensor:
    weights: Tensor = twin.layer.weights(nn.functional.silu(twin.condition(twin.embedding(features))))
    return weights[0]


def test_without_hypernetwork_nothing_of_it_is_built() -> None:
    model = HyperPose(replace(SMALL, hypernetwork=None))
    assert not [name for name, _ in model.named_parameters() if "hyper" in name]
