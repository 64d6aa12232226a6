"""A backbone cut in two gives the same maps, and is cut where all before stands still."""

import pytest
import torch
from tests.support.models import TINY_BACKBONE
from torch import Tensor, nn

from camloc.errors import RecipeError
from camloc.models.layers.backbone import FINAL, Backbone, BackboneConfig, LowerPart, UpperPart, frozen_cuts
from camloc.training.optim import start_stage
from camloc.training.recipe import Stage

# A residual network, one with local contrast, and a row of blocks as MobileNetV2 is.
CONFIGS = {
    "resnet": TINY_BACKBONE,
    "contrast": BackboneConfig("test_resnet", local_contrast=16),
    "efficientnet": BackboneConfig("test_efficientnet", {"pad_type": "same"}),
    "dilated": BackboneConfig("test_efficientnet", {"output_stride": 8}),
    "mobilenetv3": BackboneConfig("mobilenetv3_small_050"),
}

# The whole network; a network cut behind its last tap, which timm wraps; stages and the final map.
TAPS = ((FINAL,), (3, 2), (3, 2, FINAL))


def built(config: BackboneConfig, taps: tuple[int, ...]) -> Backbone:
    torch.manual_seed(0)
    return Backbone(config, taps=taps)


def held(backbone: nn.Module) -> None:
    for parameter in backbone.parameters():
        parameter.requires_grad_(False)
    backbone.eval()


def layer(cut: str) -> str:
    """What is in front of a cut, as the network calls it."""
    return cut.rpartition("network_")[2]


def images() -> Tensor:
    return torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("taps", TAPS)
@pytest.mark.parametrize("name", CONFIGS)
def test_both_parts_together_are_the_backbone_wherever_it_is_cut(name: str, taps: tuple[int, ...]) -> None:
    backbone = built(CONFIGS[name], taps)
    names = list(backbone.state_dict())
    held(backbone)
    expected = backbone(images())
    cuts = frozen_cuts(backbone)
    assert len(cuts) > 4
    for cut in cuts:
        found = UpperPart(backbone, cut)(LowerPart(backbone, cut)(images()))
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert list(backbone.state_dict()) == names


def test_the_last_cut_is_at_the_first_tap() -> None:
    backbone = built(TINY_BACKBONE, (3, 1, FINAL))
    held(backbone)
    stage_1 = backbone(images())[1]
    assert torch.equal(LowerPart(backbone, frozen_cuts(backbone)[-1])(images()), stage_1)
    whole = built(TINY_BACKBONE, (FINAL,))
    held(whole)
    (final,) = whole(images())
    assert torch.equal(LowerPart(whole, frozen_cuts(whole)[-1])(images()), final)


def held_up_to_block_1(batch_norm: str) -> Backbone:
    backbone = built(CONFIGS["efficientnet"], (FINAL,))
    frozen = ("network.conv_stem.*", "network.blocks.[01].*")
    stage = Stage(epochs=1, learning_rate=1e-3, frozen=(*frozen, "network.bn1.*"), batch_norm="train")
    if batch_norm == "trains":
        stage = Stage(epochs=1, learning_rate=1e-3, frozen=frozen, batch_norm="train")
    start_stage(stage, backbone)
    return backbone


def test_the_last_cut_is_behind_what_is_held_at_the_beginning() -> None:
    cuts = frozen_cuts(held_up_to_block_1("held"))
    assert layer(cuts[-1]).startswith("blocks_1_")
    assert not any("blocks_2" in cut for cut in cuts)


def test_a_layer_that_trains_or_counts_ends_what_stands_still() -> None:
    trains = held_up_to_block_1("trains")
    assert [layer(cut) for cut in frozen_cuts(trains)] == ["conv_stem"]
    counts = held_up_to_block_1("held")
    for module in counts.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()  # whatever its weights do, its statistics move
    assert [layer(cut) for cut in frozen_cuts(counts)] == ["conv_stem"]


def test_nothing_stands_still_where_the_first_layer_trains() -> None:
    backbone = built(TINY_BACKBONE, (FINAL,))
    start_stage(Stage(epochs=1, learning_rate=1e-3, frozen=("network.layer*",)), backbone)
    assert frozen_cuts(backbone) == ()


def test_gradients_of_the_upper_part_are_the_backbones() -> None:
    backbone = held_up_to_block_1("held")
    cut = frozen_cuts(backbone)[-1]
    (final,) = backbone(images())
    final.square().sum().backward()
    expected = {name: each.grad for name, each in backbone.named_parameters() if each.grad is not None}
    backbone.zero_grad()
    (final,) = UpperPart(backbone, cut)(LowerPart(backbone, cut)(images()))
    final.square().sum().backward()
    found = {name: each.grad for name, each in backbone.named_parameters() if each.grad is not None}
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name])


def test_dropout_of_the_upper_part_is_that_of_the_stage() -> None:
    backbone = built(BackboneConfig("test_resnet", {"drop_rate": 0.5}), (FINAL,))
    stage = Stage(epochs=1, learning_rate=1e-3, frozen=("network.*conv1.*", "network.bn1.*"))
    start_stage(stage, backbone)
    cut = frozen_cuts(backbone)[-1]
    maps = LowerPart(backbone, cut)(images())
    (trained,) = UpperPart(backbone, cut)(maps)
    (unlike,) = UpperPart(backbone, cut)(maps)
    assert not torch.equal(trained, unlike)
    backbone.eval()
    (answered,) = UpperPart(backbone, cut)(maps)
    (alike,) = UpperPart(backbone, cut)(maps)
    assert torch.equal(answered, alike)


def test_a_network_without_a_graph_of_its_own_is_refused() -> None:
    backbone = built(BackboneConfig("test_vit"), (FINAL,))
    with pytest.raises(RecipeError, match="'test_vit' cannot be cut"):
        frozen_cuts(backbone)
