"""Local contrast: what a lamp or a shadow changes is taken out, what the scene looks like stays."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.support.models import TINY_BACKBONE, small_config, some_poses

from camloc.data.image_io import Preprocess
from camloc.inference.onnx.export import export_onnx, largest_difference
from camloc.models import build_model
from camloc.models.checkpoint import load_checkpoint, metadata_for, save_checkpoint
from camloc.models.layers.backbone import Backbone, LocalContrast


def sample_image(height: int = 48, width: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.2 + 0.6 * torch.rand(2, 3, height, width, generator=generator)


def test_the_strength_and_colour_of_the_light_hardly_matter() -> None:
    contrast = LocalContrast(16)
    lamp = torch.tensor([1.0, 0.7, 0.5]).view(3, 1, 1)
    plain, lit = contrast(sample_image()), contrast(lamp * sample_image())
    difference = (plain - lit).abs().mean() / plain.abs().mean()
    assert float(difference) < 0.15
    unnormalised = (sample_image() - lamp * sample_image()).abs().mean() / (
        sample_image() - sample_image().mean()
    ).abs().mean()
    assert float(unnormalised) > 5 * float(difference)


def test_a_shadow_over_half_of_the_image_hardly_matters_away_from_its_edge() -> None:
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


def test_a_grey_image_is_zero_and_not_blown_up_noise() -> None:
    noise = 0.001 * torch.randn(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    assert float(LocalContrast(16)(0.5 + noise).abs().max()) < 0.2


def test_the_backbone_sees_local_contrast_where_its_settings_say_so() -> None:
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


def test_it_is_part_of_an_exported_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = replace(small_config("posenet"), backbone=replace(TINY_BACKBONE, local_contrast=16))
    model = build_model("posenet", config).eval()
    metadata = metadata_for("posenet", config, Preprocess(64, 48), ("kitchen",))
    save_checkpoint(tmp_path, metadata, model, (some_poses(3),))
    checkpoint = load_checkpoint(tmp_path)
    export_onnx(checkpoint, tmp_path / "model.onnx")
    assert largest_difference(checkpoint, tmp_path / "model.onnx") < 1e-4
