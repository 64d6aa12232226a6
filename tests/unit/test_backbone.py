"""The backbone: its novelty maps, its split into a frozen prefix and the rest, and local contrast."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.support.models import TINY_BACKBONE, small_config, some_poses
from torch import Tensor, nn

from camloc.data.image_io import Preprocess
from camloc.errors import RecipeError
from camloc.inference.onnx.export import export_onnx, largest_difference
from camloc.models import build_model
from camloc.models.checkpoint import load_checkpoint, save_checkpoint
from camloc.models.layers.backbone import (
    FINAL,
    Backbone,
    BackboneConfig,
    BackbonePrefix,
    BackboneSuffix,
    LocalContrast,
    frozen_cuts,
)
from camloc.models.metadata import metadata_for
from camloc.training.optim import start_stage
from camloc.training.recipe import Stage

CASES = {
    "final map": (BackboneConfig("test_resnet"), (FINAL,), "layer3"),
    "final map, at the same stride": (
        BackboneConfig("test_resnet", {"output_stride": 16}),
        (FINAL,),
        "layer3",
    ),
    "final map of mobile blocks": (BackboneConfig("mobilenetv2_100"), (FINAL,), "blocks.4"),
    "the middle is used anyway": (BackboneConfig("test_resnet"), (FINAL, 3), ""),
    "cut before the end": (BackboneConfig("test_resnet"), (2, 3), ""),
}


@pytest.mark.parametrize("case", CASES)
def test_the_middle_stage_is_a_novelty_map_unless_a_tap_replaces_it(case: str) -> None:
    config, taps, middle = CASES[case]
    backbone = Backbone(config, taps=taps).eval()
    assert backbone.middle == middle
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        maps, novelty_maps = backbone.forward_with_novelty_maps(images)
        alone = backbone(images)
    for one, other in zip(maps, alone, strict=True):
        assert torch.equal(one, other)
    assert len(novelty_maps) == len(maps) + bool(middle)
    assert sum(each.shape[1] for each in novelty_maps) == backbone.novelty_channels
    if middle:
        assert novelty_maps[0].shape[-2:] == (4, 4)


def test_threads_that_run_the_same_network_get_their_own_maps() -> None:
    backbone = Backbone(BackboneConfig("test_resnet")).eval()

    def shapes(count: int) -> set[tuple[int, ...]]:
        with torch.no_grad():
            found = [backbone.forward_with_novelty_maps(torch.rand(count, 3, 64, 64))[1] for _ in range(30)]
        return {(len(maps), *(len(each) for each in maps)) for maps in found}

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(shapes, (1, 2, 3)))
    assert found == [{(2, count, count)} for count in (1, 2, 3)]


# A residual network, one with local contrast, and networks of mobile blocks.
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


def freeze(backbone: nn.Module) -> None:
    for parameter in backbone.parameters():
        parameter.requires_grad_(False)
    backbone.eval()


def layer(cut: str) -> str:
    """The layer in front of a cut, by its name in the network."""
    return cut.rpartition("network_")[2]


def images() -> Tensor:
    return torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("taps", TAPS)
@pytest.mark.parametrize("name", CONFIGS)
def test_prefix_and_suffix_together_are_the_backbone_at_every_cut(name: str, taps: tuple[int, ...]) -> None:
    backbone = built(CONFIGS[name], taps)
    names = list(backbone.state_dict())
    freeze(backbone)
    expected = backbone(images())
    cuts = frozen_cuts(backbone)
    assert len(cuts) > 4
    for cut in cuts:
        found = BackboneSuffix(backbone, cut)(BackbonePrefix(backbone, cut)(images()))
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert list(backbone.state_dict()) == names


def test_the_last_cut_is_at_the_first_tap() -> None:
    backbone = built(TINY_BACKBONE, (3, 1, FINAL))
    freeze(backbone)
    stage_1 = backbone(images())[1]
    assert torch.equal(BackbonePrefix(backbone, frozen_cuts(backbone)[-1])(images()), stage_1)
    whole = built(TINY_BACKBONE, (FINAL,))
    freeze(whole)
    (final,) = whole(images())
    assert torch.equal(BackbonePrefix(whole, frozen_cuts(whole)[-1])(images()), final)


def frozen_to_block_1(batch_norm: str) -> Backbone:
    backbone = built(CONFIGS["efficientnet"], (FINAL,))
    frozen = ("network.conv_stem.*", "network.blocks.[01].*")
    stage = Stage(epochs=1, learning_rate=1e-3, frozen=(*frozen, "network.bn1.*"), batch_norm="train")
    if batch_norm == "trains":
        stage = Stage(epochs=1, learning_rate=1e-3, frozen=frozen, batch_norm="train")
    start_stage(stage, backbone)
    return backbone


def test_the_last_cut_is_behind_the_frozen_prefix() -> None:
    cuts = frozen_cuts(frozen_to_block_1("frozen"))
    assert layer(cuts[-1]).startswith("blocks_1_")
    assert not any("blocks_2" in cut for cut in cuts)


def test_a_layer_that_trains_or_updates_statistics_ends_the_frozen_prefix() -> None:
    trains = frozen_to_block_1("trains")
    assert [layer(cut) for cut in frozen_cuts(trains)] == ["conv_stem"]
    counts = frozen_to_block_1("frozen")
    for module in counts.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()  # its weights are frozen, its statistics are updated
    assert [layer(cut) for cut in frozen_cuts(counts)] == ["conv_stem"]


def test_there_is_no_frozen_prefix_if_the_first_layer_trains() -> None:
    backbone = built(TINY_BACKBONE, (FINAL,))
    start_stage(Stage(epochs=1, learning_rate=1e-3, frozen=("network.layer*",)), backbone)
    assert frozen_cuts(backbone) == ()


def test_gradients_of_the_suffix_are_the_backbones() -> None:
    backbone = frozen_to_block_1("frozen")
    cut = frozen_cuts(backbone)[-1]
    (final,) = backbone(images())
    final.square().sum().backward()
    expected = {name: each.grad for name, each in backbone.named_parameters() if each.grad is not None}
    backbone.zero_grad()
    (final,) = BackboneSuffix(backbone, cut)(BackbonePrefix(backbone, cut)(images()))
    final.square().sum().backward()
    found = {name: each.grad for name, each in backbone.named_parameters() if each.grad is not None}
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name])


def test_dropout_of_the_suffix_has_the_mode_of_the_stage() -> None:
    backbone = built(BackboneConfig("test_resnet", {"drop_rate": 0.5}), (FINAL,))
    stage = Stage(epochs=1, learning_rate=1e-3, frozen=("network.*conv1.*", "network.bn1.*"))
    start_stage(stage, backbone)
    cut = frozen_cuts(backbone)[-1]
    maps = BackbonePrefix(backbone, cut)(images())
    (trained,) = BackboneSuffix(backbone, cut)(maps)
    (again,) = BackboneSuffix(backbone, cut)(maps)
    assert not torch.equal(trained, again)
    backbone.eval()
    (first,) = BackboneSuffix(backbone, cut)(maps)
    (second,) = BackboneSuffix(backbone, cut)(maps)
    assert torch.equal(first, second)


def test_a_network_that_cannot_be_traced_is_refused() -> None:
    backbone = built(BackboneConfig("test_vit"), (FINAL,))
    with pytest.raises(RecipeError, match="'test_vit' cannot be cut"):
        frozen_cuts(backbone)


def sample_image(height: int = 48, width: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.2 + 0.6 * torch.rand(2, 3, height, width, generator=generator)


def test_brightness_and_colour_of_the_light_have_little_effect() -> None:
    contrast = LocalContrast(16)
    lamp = torch.tensor([1.0, 0.7, 0.5]).view(3, 1, 1)
    plain, lit = contrast(sample_image()), contrast(lamp * sample_image())
    difference = (plain - lit).abs().mean() / plain.abs().mean()
    assert float(difference) < 0.15
    unnormalised = (sample_image() - lamp * sample_image()).abs().mean() / (
        sample_image() - sample_image().mean()
    ).abs().mean()
    assert float(unnormalised) > 5 * float(difference)


def test_a_shadow_has_little_effect_away_from_its_edge() -> None:
    contrast = LocalContrast(16)
    shadow = torch.ones(64)
    shadow[:32] = 0.5
    plain, shaded = contrast(sample_image()), contrast(shadow * sample_image())
    far = torch.tensor([*range(12), *range(52, 64)])
    difference = (plain - shaded)[..., far].abs().mean() / plain[..., far].abs().mean()
    assert float(difference) < 0.2


@pytest.mark.parametrize("window", [1, 2, 7, 16, 32])
@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 61)])
def test_any_size_of_image_keeps_its_size_and_stays_bounded(window: int, height: int, width: int) -> None:
    normalised = LocalContrast(window)(sample_image(height, width))
    assert normalised.shape == (2, 3, height, width)
    assert bool(normalised.isfinite().all())
    assert float(normalised.abs().max()) < 10


def test_the_noise_of_a_grey_image_is_not_amplified() -> None:
    noise = 0.001 * torch.randn(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    assert float(LocalContrast(16)(0.5 + noise).abs().max()) < 0.2


def test_a_backbone_with_local_contrast_depends_less_on_brightness() -> None:
    torch.manual_seed(0)
    plain = Backbone(TINY_BACKBONE).eval()
    normalised = Backbone(replace(TINY_BACKBONE, local_contrast=16)).eval()
    normalised.load_state_dict(plain.state_dict())
    darker = 0.5 * sample_image()

    @torch.no_grad()
    def change(backbone: Backbone) -> float:
        before, after = backbone(sample_image())[0], backbone(darker)[0]
        return float((before - after).abs().mean() / before.abs().mean())

    assert change(normalised) < 0.5 * change(plain)


def test_local_contrast_is_part_of_an_exported_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = replace(small_config("posenet"), backbone=replace(TINY_BACKBONE, local_contrast=16))
    model = build_model("posenet", config).eval()
    metadata = metadata_for("posenet", config, Preprocess(64, 48), ("kitchen",))
    save_checkpoint(tmp_path, metadata, model, (some_poses(3),))
    checkpoint = load_checkpoint(tmp_path)
    export_onnx(checkpoint, tmp_path / "model.onnx")
    assert largest_difference(checkpoint, tmp_path / "model.onnx") < 1e-4


@pytest.mark.parametrize("option", ["checkpoint_path", "pretrained", "pretrained_cfg", "scriptable"])
def test_options_that_are_no_settings_of_an_architecture_are_refused(option: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=f"no option '{option}'"):
        Backbone(BackboneConfig("test_resnet", {option: str(tmp_path / "file")}))
