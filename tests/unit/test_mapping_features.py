"""Local features: where they are, how many, and the same for the same image."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from camloc.mapping.features import FeatureSettings, extraction_scale, feature_extractor

SETTINGS = FeatureSettings(most=300, least_pixels=320 * 240, most_pixels=320 * 240)


def blobs(width: int = 320, height: int = 240, seed: int = 0) -> np.ndarray:
    """A smooth random image."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    return np.array(image.filter(ImageFilter.GaussianBlur(2)))


def test_features_have_the_shapes_and_range_that_they_say() -> None:
    features = feature_extractor(SETTINGS).extract(blobs())
    assert 100 < len(features) <= 300
    assert features.descriptors.shape == (len(features), 128)
    assert features.scales.min() > 0.5
    assert (features.keypoints > 0).all()
    assert (features.keypoints < (320, 240)).all()
    # Root-normalized descriptors have unit length, which is 512 in eight bits.
    lengths = np.linalg.norm(features.descriptors.astype(float), axis=1)
    np.testing.assert_allclose(lengths, 512.0, rtol=0.02)


def test_the_same_image_has_the_same_features() -> None:
    first, second = (feature_extractor(SETTINGS).extract(blobs()) for _ in range(2))
    np.testing.assert_array_equal(first.keypoints, second.keypoints)
    np.testing.assert_array_equal(first.descriptors, second.descriptors)


def test_the_largest_keypoints_are_kept() -> None:
    many = feature_extractor(replace(SETTINGS, most=10_000)).extract(blobs())
    few = feature_extractor(replace(SETTINGS, most=50)).extract(blobs())
    assert len(few) == 50
    assert few.scales.min() >= np.sort(many.scales)[-50] - 1e-6


def test_masked_pixels_have_no_keypoints() -> None:
    mask = np.ones((240, 320), dtype=bool)
    mask[:, 160:] = False
    features = feature_extractor(SETTINGS).extract(blobs(), mask)
    assert len(features) > 50
    assert features.keypoints[:, 0].max() < 160


def test_keypoints_are_pixels_of_the_image_that_was_given() -> None:
    """A bright disc is found at its centre, whatever size the image is scaled to."""
    y, x = np.mgrid[:480, :640] + 0.5
    disc = np.hypot(x - 200.4, y - 300.3) < 12.0
    image = np.array(
        Image.fromarray(np.repeat(np.where(disc, 220, 40).astype(np.uint8)[..., None], 3, axis=2)).filter(
            ImageFilter.GaussianBlur(2)
        )
    )
    for pixels in (640 * 480, 320 * 240, 400 * 300):
        features = feature_extractor(replace(SETTINGS, least_pixels=pixels, most_pixels=pixels)).extract(
            image
        )
        distance = np.linalg.norm(features.keypoints - (200.4, 300.3), axis=1)
        nearest = distance.argmin()
        assert distance[nearest] < 0.3
        assert features.scales[nearest] == pytest.approx(12.0 / np.sqrt(2.0), rel=0.3)


def test_a_plain_image_has_no_features() -> None:
    features = feature_extractor(SETTINGS).extract(np.full((240, 320, 3), 127, dtype=np.uint8))
    assert len(features) == 0
    assert features.descriptors.shape == (0, 128)
    assert features.keypoints.shape == (0, 2)


def test_small_images_are_enlarged_and_large_ones_reduced() -> None:
    settings = FeatureSettings(least_pixels=640 * 480, most_pixels=800 * 600)
    assert extraction_scale(1600, 1200, settings) == pytest.approx(0.5)
    assert extraction_scale(480, 640, settings) == pytest.approx(1.0)
    assert extraction_scale(700, 560, settings) == 1.0
    assert extraction_scale(480, 360, settings) == pytest.approx(4 / 3)
    assert extraction_scale(40, 30, settings) == 2.0
