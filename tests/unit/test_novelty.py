"""The novelty of an image is its distance to the nearest training image in feature space."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.support.models import small_config, some_poses
from torch import Tensor

from camloc.core.device import CPU
from camloc.data.image_cache import ImageCache
from camloc.data.image_io import Preprocess
from camloc.errors import CheckpointError
from camloc.inference.prediction import predict
from camloc.inference.rejection import novelty_rejection
from camloc.models import build_model
from camloc.models.base import Regressor
from camloc.models.checkpoint import Checkpoint, load_checkpoint, metadata_for, save_checkpoint
from camloc.models.novelty import NoveltyDetector, feature_maps, summary
from camloc.training.validation import FEWEST, LEAST, MOST, fit_novelty_detector

SIZE = Preprocess(32, 24)


def maps(seed: int, count: int = 4) -> list[Tensor]:
    """Two feature maps, as of two stages of a backbone."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(count, 8, 6, 8, generator=generator), torch.rand(count, 16, 3, 4, generator=generator)]


def test_an_image_has_no_novelty_wherever_its_contents_are() -> None:
    known = maps(0)
    detector = NoveltyDetector(summary(known))
    mirrored = [each.flip(-1) for each in known]
    assert detector(mirrored).max() < 0.05  # of half precision
    assert detector(maps(1)).min() > 0.05


def test_novelty_is_the_distance_to_the_nearest_summary() -> None:
    known, query = summary(maps(0, 7)), maps(1, 3)
    expected = torch.cdist(summary(query), known.half().float()).amin(-1)
    torch.testing.assert_close(NoveltyDetector(known)(query), expected, rtol=0, atol=2e-3)


def test_brightness_of_a_map_does_not_count() -> None:
    query = maps(0)
    torch.testing.assert_close(summary([3.0 * each for each in query]), summary(query))


@pytest.mark.parametrize(("novelty", "threshold"), [(0.2, 0.3), (0.3, 0.3), (None, 0.3), (0.4, None)])
def test_a_small_or_unknown_novelty_is_not_rejected(novelty: float | None, threshold: float | None) -> None:
    assert novelty_rejection(novelty, threshold=threshold) == ""


def test_a_rejection_names_the_factor() -> None:
    assert "2.0 times" in novelty_rejection(0.6, threshold=0.3)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint with a novelty detector."""
    model = build_model("hyperpose", small_config("hyperpose")).eval()
    assert isinstance(model, Regressor)
    metadata = metadata_for("hyperpose", small_config("hyperpose"), Preprocess(64, 48), ("kitchen",))
    metadata = replace(metadata, novelty_threshold=0.5)
    detector = NoveltyDetector(summary(feature_maps(model, torch.rand(5, 3, 48, 64))[1]))
    save_checkpoint(tmp_path, metadata, model, (some_poses(9),), detector)
    return tmp_path


def test_a_checkpoint_keeps_its_novelty_detector(saved: Path) -> None:
    checkpoint = load_checkpoint(saved)
    assert checkpoint.recognition is not None
    assert checkpoint.recognition.known.dtype == torch.float16
    assert len(checkpoint.recognition.known) == 5
    images = torch.rand(2, 3, 48, 64)
    prediction = predict(checkpoint, images, with_latents=True)
    assert prediction.novelty is not None
    assert prediction.novelty.shape == (2,)
    without = predict(Checkpoint(checkpoint.metadata, checkpoint.model, checkpoint.training_poses), images)
    assert without.novelty is None
    assert all(torch.equal(one, other) for one, other in zip(prediction.output, without.output, strict=True))


@pytest.mark.parametrize(
    "known", [None, torch.rand(5), torch.rand(0, 512), torch.rand(5, 7), torch.full((5, 512), torch.nan)]
)
def test_a_checkpoint_without_its_detector_is_refused(known: Tensor | None, saved: Path) -> None:
    weights = load_file(saved / "weights.safetensors")
    del weights["recognition.known"]
    save_file(
        weights | ({} if known is None else {"recognition.known": known}), saved / "weights.safetensors"
    )
    with pytest.raises(CheckpointError, match="recognised by"):
        load_checkpoint(saved)


def test_a_checkpoint_without_a_threshold_has_no_detector(saved: Path) -> None:
    metadata = json.loads((saved / "checkpoint.json").read_text())
    del metadata["novelty_threshold"]
    (saved / "checkpoint.json").write_text(json.dumps(metadata))
    assert load_checkpoint(saved).recognition is None


@pytest.mark.parametrize("threshold", [0.0, -1.0])
def test_a_threshold_that_is_not_positive_is_damage(threshold: float, saved: Path) -> None:
    metadata = json.loads((saved / "checkpoint.json").read_text())
    (saved / "checkpoint.json").write_text(json.dumps(metadata | {"novelty_threshold": threshold}))
    with pytest.raises(CheckpointError, match="damaged: no image can be within"):
        load_checkpoint(saved)


def images(count: int, *, seed: int) -> ImageCache:
    """Images of noise, in memory."""
    images = np.random.default_rng(seed).integers(0, 255, (count, 3, 24, 32), dtype=np.uint8)
    nothing = torch.zeros(count, dtype=torch.int64)
    return ImageCache(images, some_poses(count), None, nothing, nothing)


def test_the_threshold_leaves_room_around_held_out_images() -> None:
    model = build_model("hyperpose", small_config("hyperpose"))
    assert isinstance(model, Regressor)
    train, held_out = images(MOST + 100, seed=0), images(FEWEST, seed=1)
    found = fit_novelty_detector(model, train, held_out, SIZE, device=CPU)
    assert found is not None
    detector, threshold = found
    assert len(detector.known) == MOST
    with torch.no_grad():
        farthest = detector(feature_maps(model, held_out.batch(torch.arange(FEWEST)).images)[1]).quantile(
            0.99
        )
    assert threshold == pytest.approx(max(1.5 * float(farthest), LEAST), rel=1e-3)
    assert threshold > LEAST


def test_training_images_are_within_their_own_threshold() -> None:
    model = build_model("hyperpose", small_config("hyperpose"))
    assert isinstance(model, Regressor)
    found = fit_novelty_detector(model, images(30, seed=0), images(30, seed=0), SIZE, device=CPU)
    assert found is not None
    assert found[1] == LEAST


def test_few_held_out_images_give_no_threshold() -> None:
    model = build_model("hyperpose", small_config("hyperpose"))
    assert isinstance(model, Regressor)
    few = images(FEWEST - 1, seed=1)
    assert fit_novelty_detector(model, images(30, seed=0), few, SIZE, device=CPU) is None
