"""TransPoseNet and HyperPose of 2023 compute the same as the published structures, without unused weights."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.support import authors
from torch import Tensor, nn

from camloc.errors import RecipeError
from camloc.inference.published_weights import convert_weights
from camloc.models.hyperpose_2023 import PRESETS as HYPERPOSE_PRESETS
from camloc.models.hyperpose_2023 import AttentionHypernetworkConfig, HyperPose2023, HyperPose2023Config
from camloc.models.layers.backbone import EFFICIENTNET_B0_RELEASED
from camloc.models.layers.hypernetwork import GeneratorConfig
from camloc.models.layers.transformer import PositionCodesConfig, TransformerConfig
from camloc.models.regressor import RegressionHead
from camloc.models.transposenet import TransPoseNet, TransPoseNetConfig

SMALL = TransformerConfig(width=32, layers=2, heads=8, dropout=0.0, attention_dropout=0.0)
SMALL_TRANSPOSENET = TransPoseNetConfig(encoder=SMALL, codes=PositionCodesConfig("shared"))
SMALL_HYPERPOSE = HyperPose2023Config(
    encoder=SMALL,
    codes=PositionCodesConfig("shared"),
    hypernetwork=AttentionHypernetworkConfig(
        encoder=SMALL,
        position_hidden=(16, 8),
        orientation_hidden=(16, 16),
        generator=GeneratorConfig("full_swish"),
    ),
)


def images(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 96, 64, generator=torch.Generator().manual_seed(0))


def shake(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))


def assert_same_outputs(ours: Any, plain: nn.Module, *, name: str) -> None:
    authors.shaken(plain)
    ours.load_state_dict(convert_weights(plain.state_dict(), ours, name=name).state)
    with torch.no_grad():
        found, numbers = ours.eval()(images()), plain(authors.normalised(images()))
    expected = numbers.split((3, 4), dim=1)
    assert expected[0].abs().max() > 0.01
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_transposenet_computes_the_same_as_the_published_structure() -> None:
    torch.manual_seed(0)
    ours = TransPoseNet(replace(SMALL_TRANSPOSENET, backbone=EFFICIENTNET_B0_RELEASED))
    assert_same_outputs(ours, authors.TransPoseNet(32, layers=2), name="transposenet")


def test_hyperpose_2023_computes_the_same_as_the_published_structure() -> None:
    torch.manual_seed(0)
    ours = HyperPose2023(replace(SMALL_HYPERPOSE, backbone=EFFICIENTNET_B0_RELEASED))
    assert_same_outputs(ours, authors.TransPoseNet(32, layers=2, hyper=(16, 16)), name="hyperpose_2023")


def test_each_encoder_reads_its_own_map() -> None:
    torch.manual_seed(0)
    model = TransPoseNet(SMALL_TRANSPOSENET)
    shapes: dict[str, torch.Size] = {}
    for name in ("position", "orientation"):
        encoder = model.get_submodule(f"{name}_encoder")
        encoder.register_forward_hook(lambda _, inputs, __, name=name: shapes.update({name: inputs[0].shape}))
    model.eval()(torch.rand(1, 3, 224, 224))
    assert shapes == {"position": (1, 112, 14, 14), "orientation": (1, 40, 28, 28)}


@pytest.mark.parametrize(("position", "orientation"), [(2, 2), (2, 3), (3, 2), (3, 3)])
def test_maps_may_be_chosen_in_any_combination(position: int, orientation: int) -> None:
    torch.manual_seed(0)
    config = replace(SMALL_TRANSPOSENET, position_tap=position, orientation_tap=orientation)
    model = TransPoseNet(config)
    channels = {2: 40, 3: 112}
    assert model.position_encoder.projection.in_features == channels[position]
    assert model.orientation_encoder.projection.in_features == channels[orientation]
    assert model.eval()(images()).position.shape == (2, 3)


def test_the_orientation_prior_starts_without_effect_and_is_then_one_layer_on_both_latents() -> None:
    torch.manual_seed(0)
    head, plain = RegressionHead(6, 4, hidden=5, prior=3), nn.Linear(9, 5)
    latent, prior = torch.randn(2, 6), torch.randn(2, 3)
    assert torch.equal(head(latent, prior), head(latent))
    assert head.prior is not None
    nn.init.normal_(head.prior.weight)
    with torch.no_grad():
        plain.weight.copy_(torch.cat((head.prior.weight, head.hidden.weight), dim=1))
        plain.bias.copy_(head.hidden.bias)
    expected = head.output(nn.functional.gelu(plain(torch.cat((prior, latent), dim=1))))
    torch.testing.assert_close(head(latent, prior), expected)


def test_the_orientation_head_reads_the_positions_latent_if_configured() -> None:
    torch.manual_seed(0)
    model = TransPoseNet(replace(SMALL_TRANSPOSENET, orientation_prior=True)).eval()
    shake(model)
    latents = model.encode(images())
    shifted = latents._replace(position=latents.position + 1.0)
    assert not torch.allclose(model.regress(latents).orientation, model.regress(shifted).orientation)


def small_hyperpose(**changes: Any) -> HyperPose2023:
    torch.manual_seed(0)
    codes = PositionCodesConfig()
    hypernetwork = replace(SMALL_HYPERPOSE.hypernetwork, **changes)
    return HyperPose2023(replace(SMALL_HYPERPOSE, codes=codes, hypernetwork=hypernetwork))


def test_a_residual_pose_starts_as_that_of_the_ordinary_heads() -> None:
    model = small_hyperpose().eval()
    latents = model.encode(images())
    assert model.position.head is not None
    token = latents.position[:, :32]
    assert torch.equal(model.regress(latents).position, model.position.head(token))
    shake(model.position.hyper)
    assert not torch.allclose(model.regress(latents).position, model.position.head(token))


def test_direct_regression_has_no_ordinary_heads_and_outputs_that_are_not_zero() -> None:
    torch.manual_seed(0)
    model = HyperPose2023(replace(SMALL_HYPERPOSE, hidden=None)).eval()
    assert not [name for name, _ in model.named_parameters() if ".head." in name]
    assert model(images()).orientation.abs().min() > 0


def test_a_hypernetwork_may_read_the_pooled_final_map() -> None:
    model = small_hyperpose(reads="pooled").eval()
    hyper = model.position.hyper_encoder
    shapes: list[torch.Size] = []
    hyper.register_forward_hook(lambda _, inputs, __: shapes.append(inputs[0].shape))
    model(images())
    assert shapes == [(2, 1280, 3, 2)]


@pytest.mark.parametrize("hidden", [(), (16,), (16, 8)])
def test_one_two_or_three_layers_are_generated(hidden: tuple[int, ...]) -> None:
    model = small_hyperpose(position_hidden=hidden, orientation_hidden=hidden)
    assert len(model.position.hyper.layers) == len(hidden) + 1
    assert model.eval()(images()).position.shape == (2, 3)


def test_a_hypernetwork_may_be_wider_than_the_main_network_if_codes_are_not_shared() -> None:
    wide = replace(SMALL, width=48)
    assert small_hyperpose(encoder=wide).eval()(images()).position.shape == (2, 3)
    hypernetwork = replace(SMALL_HYPERPOSE.hypernetwork, encoder=wide)
    with pytest.raises(RecipeError, match="widths 32 and 48 cannot share codes"):
        HyperPose2023(replace(SMALL_HYPERPOSE, hypernetwork=hypernetwork))


def test_the_compact_generators_have_less_than_three_million_weights() -> None:
    with torch.device("meta"):
        model = HyperPose2023(HYPERPOSE_PRESETS["compact"])
    generated = [model.position.hyper, model.orientation.hyper]
    count = sum(parameter.numel() for each in generated for parameter in each.parameters())
    assert 1_000_000 < count <= 3_000_000


def test_the_published_structures_have_the_published_numbers_of_weights() -> None:
    with torch.device("meta"):
        transposenet, hyperpose = authors.TransPoseNet(), authors.TransPoseNet(hyper=(256, 512))
    counts = [sum(each.numel() for each in model.parameters()) for model in (transposenet, hyperpose)]
    assert counts == [10_635_371, 142_734_962]
