"""Generated layers: they start as nothing, and every picture has its own."""

from dataclasses import replace

import torch
from tests.support.models import TINY_BACKBONE

from camloc.models.hyperpose import HyperPose, HyperPoseConfig
from camloc.models.parts.hyper import HyperLinear

SMALL = HyperPoseConfig(backbone=TINY_BACKBONE, dropout=0.0)


def test_training_starts_from_the_ordinary_head() -> None:
    torch.manual_seed(0)
    model = HyperPose(SMALL).eval()
    latents = model.encode(torch.rand(2, 3, 48, 64))
    whole = model.regress(latents)
    model.position_hyper = model.orientation_hyper = None
    ordinary = model.regress(latents)
    assert torch.equal(whole.position, ordinary.position)
    assert torch.equal(whole.orientation, ordinary.orientation)
    assert whole.position.abs().max() > 0


def test_a_generated_layer_is_a_linear_layer_whose_last_row_is_the_bias() -> None:
    torch.manual_seed(0)
    layer = HyperLinear(5, 3, condition=4).double()
    torch.nn.init.normal_(layer.generator.weight)
    values, condition = torch.randn(2, 5).double(), torch.randn(2, 4).double()
    generated = layer.generator(condition).reshape(2, 6, 3)
    with_one = torch.cat((values, torch.ones(2, 1).double()), dim=1)
    expected = torch.stack([with_one[row] @ generated[row] for row in range(2)])
    torch.testing.assert_close(layer(values, condition), expected, rtol=1e-12, atol=1e-12)


def test_without_hypernetwork_nothing_of_it_is_built() -> None:
    model = HyperPose(replace(SMALL, hypernetwork=None))
    assert not [name for name, _ in model.named_parameters() if "hyper" in name]
