"""Novelty: the distance to the training images, its threshold, and the checkpoint that stores both."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.support.damage import reseal
from tests.support.models import small_config, some_poses
from torch import Tensor

from camloc.core.device import CPU
from camloc.data.image_cache import ImageCache
from camloc.data.image_io import Preprocess
from camloc.errors import CheckpointError
from camloc.inference.rejection import novelty_rejection
from camloc.models import build_model
from camloc.models.base import PoseModel
from camloc.models.checkpoint import load_checkpoint, save_checkpoint
from camloc.models.metadata import metadata_for
from camloc.models.novelty import NoveltyDetector, summary
from camloc.training.validation import FEWEST, LEAST, MOST, fit_novelty_detector

SIZE = Preprocess(32, 24)


def network() -> PoseModel[Any]:
    return build_model("hyperpose", small_config("hyperpose")).eval()


def novelty_maps(model: PoseModel[Any], images: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return model.backbone.forward_with_novelty_maps(images)[1]


def two_maps(seed: int, count: int = 4) -> list[Tensor]:
    """Two feature maps, as of a backbone with two taps."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(count, 8, 6, 8, generator=generator), torch.rand(count, 16, 3, 4, generator=generator)]


def test_an_image_and_its_mirror_image_have_no_novelty() -> None:
    training_maps = two_maps(0)
    detector = NoveltyDetector(summary(training_maps))
    mirrored = [each.flip(-1) for each in training_maps]
    assert detector(mirrored).max() < 0.05  # rounding to half precision
    assert detector(two_maps(1)).min() > 0.05


def test_novelty_is_the_distance_to_the_nearest_summary() -> None:
    summaries, maps = summary(two_maps(0, 7)), two_maps(1, 3)
    expected = torch.cdist(summary(maps), summaries.half().float()).amin(-1)
    torch.testing.assert_close(NoveltyDetector(summaries)(maps), expected, rtol=0, atol=2e-3)


def test_the_scale_of_a_map_does_not_change_the_summary() -> None:
    maps = two_maps(0)
    torch.testing.assert_close(summary([3.0 * each for each in maps]), summary(maps))


@pytest.mark.parametrize(("novelty", "threshold"), [(0.2, 0.3), (0.3, 0.3), (None, 0.3), (0.4, None)])
def test_an_image_within_the_threshold_or_without_one_is_not_rejected(
    novelty: float | None, threshold: float | None
) -> None:
    assert novelty_rejection(novelty, threshold=threshold) == ""


def test_a_rejection_reason_has_the_ratio_to_the_threshold() -> None:
    assert "2.0 times" in novelty_rejection(0.6, threshold=0.3)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint with a novelty detector."""
    model = network()
    metadata = metadata_for("hyperpose", small_config("hyperpose"), Preprocess(64, 48), ("kitchen",))
    metadata = replace(metadata, novelty_threshold=0.5)
    detector = NoveltyDetector(summary(novelty_maps(model, torch.rand(5, 3, 48, 64))))
    save_checkpoint(tmp_path, metadata, model, (some_poses(9),), detector)
    return tmp_path


def test_a_checkpoint_keeps_its_novelty_detector(saved: Path) -> None:
    checkpoint = load_checkpoint(saved)
    assert checkpoint.novelty_detector is not None
    assert checkpoint.novelty_detector.summaries.dtype == torch.float16
    assert len(checkpoint.novelty_detector.summaries) == 5
    images = torch.rand(2, 3, 48, 64)
    prediction = checkpoint.model.predict(images, novelty_detector=checkpoint.novelty_detector)
    assert prediction.novelty is not None
    assert prediction.novelty.shape == (2,)
    without = checkpoint.model.predict(images)
    assert without.novelty is None
    for one, other in zip(prediction.output, without.output, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "summaries", [None, torch.rand(5), torch.rand(0, 512), torch.rand(5, 7), torch.full((5, 512), torch.nan)]
)
def test_missing_or_damaged_summaries_are_refused(summaries: Tensor | None, saved: Path) -> None:
    weights = load_file(saved / "weights.safetensors")
    del weights["novelty_detector.summaries"]
    if summaries is not None:
        weights["novelty_detector.summaries"] = summaries
    save_file(weights, saved / "weights.safetensors")
    reseal(saved)
    with pytest.raises(CheckpointError, match="novelty detection"):
        load_checkpoint(saved)


def test_a_checkpoint_without_a_threshold_has_no_detector(saved: Path) -> None:
    metadata = json.loads((saved / "checkpoint.json").read_text())
    del metadata["novelty_threshold"]
    (saved / "checkpoint.json").write_text(json.dumps(metadata))
    reseal(saved)
    assert load_checkpoint(saved).novelty_detector is None


@pytest.mark.parametrize("threshold", [0.0, -1.0])
def test_a_threshold_that_is_not_positive_is_refused(threshold: float, saved: Path) -> None:
    metadata = json.loads((saved / "checkpoint.json").read_text())
    (saved / "checkpoint.json").write_text(json.dumps(metadata | {"novelty_threshold": threshold}))
    reseal(saved)
    with pytest.raises(CheckpointError, match="damaged: its novelty threshold"):
        load_checkpoint(saved)


def random_images(count: int, *, seed: int) -> ImageCache:
    """Images of noise, in memory."""
    images = np.random.default_rng(seed).integers(0, 255, (count, 3, 24, 32), dtype=np.uint8)
    zeros = torch.zeros(count, dtype=torch.int64)
    return ImageCache(images, some_poses(count), None, zeros, zeros)


def test_the_threshold_is_a_margin_above_the_novelty_of_held_out_images() -> None:
    model = network()
    train, held_out = random_images(MOST + 100, seed=0), random_images(FEWEST, seed=1)
    found = fit_novelty_detector(model, train, held_out, SIZE, device=CPU)
    assert found is not None
    detector, threshold = found
    assert len(detector.summaries) == MOST
    images = held_out.batch(torch.arange(FEWEST)).images
    farthest = detector(novelty_maps(model, images)).quantile(0.99)
    assert threshold == pytest.approx(max(1.5 * float(farthest), LEAST), rel=1e-3)
    assert threshold > LEAST


def test_the_threshold_has_a_lower_bound() -> None:
    images = random_images(30, seed=0)
    found = fit_novelty_detector(network(), images, images, SIZE, device=CPU)
    assert found is not None
    assert found[1] == LEAST


def test_too_few_held_out_images_give_no_detector() -> None:
    few = random_images(FEWEST - 1, seed=1)
    assert fit_novelty_detector(network(), random_images(30, seed=0), few, SIZE, device=CPU) is None
