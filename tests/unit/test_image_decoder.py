"""Image decoders: the published one, the smaller one, and their training."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tests.support.tiny_training import tiny_images

from camloc.errors import RecipeError
from camloc.models.base import Latents
from camloc.refinement.image_decoder import (
    PUBLISHED,
    Decoding,
    ImageDecoder,
    ImageDecoderConfig,
    decoded_images,
    image_error,
    side_by_side,
    small_images,
)
from camloc.training.loop import fit_auxiliary
from camloc.training.recipe import Stage

SMALL = ImageDecoderConfig(width=32, height=16, hidden=(16,), channels=(8, 8, 8, 8))


def some_latents(count: int) -> Latents:
    return Latents(*torch.randn(2, count, 6, generator=torch.Generator().manual_seed(0)))


def test_the_published_decoder_has_its_number_of_weights_and_ours_a_thirtieth() -> None:
    assert ImageDecoder(PUBLISHED, latents=(256, 256)).parameter_count() == 28_065_280
    assert ImageDecoder(ImageDecoderConfig(), latents=(256, 256)).parameter_count() < 28_065_280 / 30


@pytest.mark.parametrize("config", [SMALL, replace(PUBLISHED, width=32, height=16, hidden=(8, 8))])
def test_images_have_the_configured_size_and_range(config: ImageDecoderConfig) -> None:
    decoder = ImageDecoder(config, latents=(6, 6))
    drawn = decoder(Latents(*(100.0 * half for half in some_latents(3))))
    assert drawn.shape == (3, 3, 16, 32)
    assert drawn.min() >= 0.0
    assert drawn.max() <= 1.0


def test_shared_halves_are_read_once() -> None:
    decoder = ImageDecoder(SMALL, latents=(6, 6), is_shared=True)
    latents = some_latents(2)
    other = Latents(latents.position, torch.zeros(2, 6))
    assert torch.equal(decoder(latents), decoder(other))
    both = ImageDecoder(SMALL, latents=(6, 6))
    assert not torch.allclose(both(latents), both(other))
    assert decoder.parameter_count() < both.parameter_count()


def test_the_scale_of_latents_does_not_matter_after_observe() -> None:
    latents = some_latents(20)
    large = Latents(*(50.0 + 1000.0 * half for half in latents))
    found = []
    for each in (latents, large):
        torch.manual_seed(0)
        decoder = ImageDecoder(SMALL, latents=(6, 6))
        decoder.observe(each)
        found.append(decoder(each))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "config", [replace(SMALL, width=40), replace(SMALL, height=20), replace(SMALL, channels=(8, 8))]
)
def test_sizes_that_cannot_be_doubled_are_refused(config: ImageDecoderConfig) -> None:
    with pytest.raises(RecipeError, match="convolutional decoder"):
        ImageDecoder(config, latents=(6, 6))


def test_small_images_are_the_networks_input_scaled_down() -> None:
    images = tiny_images(3)
    small = small_images(images, cut=(32, 24), width=32, height=24)
    assert torch.equal(small, torch.from_numpy(np.asarray(images.images))[:, :, 2:-2, 2:-2])
    grey = small_images(images, cut=(32, 24), width=16, height=16)
    assert grey.shape == (3, 3, 16, 16)
    assert grey.float().std() < small.float().std()


def test_a_decoder_learns_the_image_of_each_pose() -> None:
    latents = some_latents(4)
    bright = torch.tensor([20, 200, 90, 240], dtype=torch.uint8)
    images = bright[:, None, None, None].expand(4, 3, 16, 32).contiguous()
    torch.manual_seed(0)
    decoder = ImageDecoder(SMALL, latents=(6, 6))
    decoder.observe(latents)
    task = Decoding(decoder, (latents, images), (latents, images))
    rounds = list(fit_auxiliary(task, Stage(epochs=150, learning_rate=0.01), batch_size=4, validate_every=50))
    assert rounds[-1].measures["score"] < 0.05 < rounds[0].losses["image"]
    made = decoded_images(decoder, latents)
    assert made.dtype == torch.uint8
    assert image_error(made, images) == pytest.approx(rounds[-1].measures["score"], abs=0.02)
    assert image_error(images, images) == 0.0
    assert image_error(torch.zeros_like(images), torch.full_like(images, 255)) == 1.0


def test_the_figure_has_true_images_above_decoded_ones() -> None:
    true = torch.zeros(2, 3, 4, 5, dtype=torch.uint8)
    true[0, 0] = 255  # a red one, and a black one
    made = torch.full((2, 3, 4, 5), 128, dtype=torch.uint8)
    sheet = np.asarray(Image.open(io.BytesIO(side_by_side(true, made))))
    assert sheet.shape == (2 * 12 + 3 * 6, 2 * 15 + 3 * 6, 3)
    assert sheet[0, 0].tolist() == [255, 255, 255]
    assert sheet[7, 7].tolist() == [255, 0, 0]
    assert sheet[7, 28].tolist() == [0, 0, 0]
    assert sheet[30, 7].tolist() == sheet[30, 28].tolist() == [128, 128, 128]
