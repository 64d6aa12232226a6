"""AtLoc's attention computed by hand, its dropout, and its hypernetwork."""

from dataclasses import replace

import pytest
import torch
from tests.support.models import TINY_BACKBONE

from camloc.models.atloc import AtLoc, AtLocConfig, ChannelAttention
from camloc.models.layers.hypernetwork import HypernetworkConfig

SMALL = AtLocConfig(backbone=TINY_BACKBONE, features=32, attention=4)


def test_every_channel_attends_to_every_other() -> None:
    torch.manual_seed(0)
    layer = ChannelAttention(32, 4).double()
    features = torch.randn(3, 32, dtype=torch.float64)
    for row, found in zip(features, layer(features), strict=True):
        scores = torch.outer(layer.query(row), layer.key(row))
        expected = row + layer.output(torch.softmax(scores, dim=1) @ layer.value(row))
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_images_do_not_attend_to_each_other() -> None:
    torch.manual_seed(0)
    layer = ChannelAttention(32, 4).double()
    features = torch.randn(3, 32, dtype=torch.float64)
    torch.testing.assert_close(layer(features)[1:2], layer(features[1:2]), rtol=1e-10, atol=1e-12)


def test_dropout_is_active_in_training_alone() -> None:
    torch.manual_seed(0)
    model = AtLoc(SMALL)
    latents = model.eval().encode(torch.rand(2, 3, 48, 64))
    assert torch.equal(model.regress(latents).position, model.regress(latents).position)
    model.train()
    assert not torch.equal(model.regress(latents).position, model.regress(latents).position)


@pytest.mark.parametrize("branch", ["position", "orientation"])
def test_the_hypernetwork_reads_features_before_dropout(branch: str) -> None:
    """With a dropout rate of 1 the ordinary heads read zeros, and the generated heads the features."""
    torch.manual_seed(0)
    model = AtLoc(replace(SMALL, dropout=1.0, hypernetwork=HypernetworkConfig(8, 8))).train()
    generated = getattr(model, f"{branch}_hyper")
    torch.nn.init.normal_(generated.layer.generator.weight)
    first, other = (getattr(model.regress(model.encode(torch.rand(2, 3, 48, 64))), branch) for _ in range(2))
    assert not torch.allclose(first, other)


def test_without_a_hypernetwork_no_layers_of_it_are_built() -> None:
    assert not [name for name, _ in AtLoc(SMALL).named_parameters() if "hyper" in name]
