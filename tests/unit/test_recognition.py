"""Images of a scene are told from others by how like they are to those that were learned from."""

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
    """Two maps, as of a backbone that is read in two scenes."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(count, 8, 6, 8, generator=generator), torch.rand(count, 16, 3, 4, generator=generator)]


def test_a_image_is_like_itself_wherever_things_are_in_it() -> None:
    seen = maps(0)
    recognition = NoveltyDetector(summary(seen))
    mirrored = [each.flip(-1) for each in seen]
    assert recognition(mirrored).max() < 0.05  # of half precision
    assert recognition(maps(1)).min() > 0.05


def test_novelty_is_the_distance_to_the_nearest_summary() -> None:
    known, seen = summary(maps(0, 7)), maps(1, 3)
    expected = torch.cdist(summary(seen), known.half().float()).amin(-1)
    torch.testing.assert_close(NoveltyDetector(known)(seen), expected, rtol=0, atol=2e-3)


def test_brightness_of_a_map_does_not_count() -> None:
    seen = maps(0)
    torch.testing.assert_close(summary([3.0 * each for each in seen]), summary(seen))


@pytest.mark.parametrize(("novelty", "within"), [(0.2, 0.3), (0.3, 0.3), (None, 0.3), (0.4, None)])
def test_what_is_like_enough_or_cannot_be_told_is_not_doubted(
    novelty: float | None, within: float | None
) -> None:
    assert novelty_rejection(novelty, within=within) == ""


def test_a_doubt_says_by_how_much() -> None:
    assert "2.0 times" in novelty_rejection(0.6, within=0.3)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint that tells its scene from others."""
    model = build_model("hyperpose", small_config("hyperpose")).eval()
    assert isinstance(model, Regressor)
    metadata = metadata_for("hyperpose", small_config("hyperpose"), Preprocess(64, 48), ("kitchen",))
    metadata = replace(metadata, novelty_threshold=0.5)
    recognition = NoveltyDetector(summary(feature_maps(model, torch.rand(5, 3, 48, 64))[1]))
    save_checkpoint(tmp_path, metadata, model, (some_poses(9),), recognition)
    return tmp_path


def test_a_checkpoint_keeps_what_its_scene_is_recognised_by(saved: Path) -> None:
    checkpoint = load_checkpoint(saved)
    assert checkpoint.recognition is not None
    assert checkpoint.recognition.known.dtype == torch.float16
    assert len(checkpoint.recognition.known) == 5
    images = torch.rand(2, 3, 48, 64)
    said = predict(checkpoint, images, with_latents=True)
    assert said.novelty is not None
    assert said.novelty.shape == (2,)
    without = predict(Checkpoint(checkpoint.metadata, checkpoint.model, checkpoint.training_poses), images)
    assert without.novelty is None
    assert all(torch.equal(one, other) for one, other in zip(said.output, without.output, strict=True))


@pytest.mark.parametrize(
    "known", [None, torch.rand(5), torch.rand(0, 512), torch.rand(5, 7), torch.full((5, 512), torch.nan)]
)
def test_one_that_lost_it_says_so(known: Tensor | None, saved: Path) -> None:
    weights = load_file(saved / "weights.safetensors")
    del weights["recognition.known"]
    save_file(
        weights | ({} if known is None else {"recognition.known": known}), saved / "weights.safetensors"
    )
    with pytest.raises(CheckpointError, match="recognised by"):
        load_checkpoint(saved)


def test_one_of_before_has_none(saved: Path) -> None:
    metadata = json.loads((saved / "checkpoint.json").read_text())
    del metadata["novelty_threshold"]
    (saved / "checkpoint.json").write_text(json.dumps(metadata))
    assert load_checkpoint(saved).recognition is None


@pytest.mark.parametrize("within", [0.0, -1.0])
def test_a_bound_that_nothing_is_within_is_damage(within: float, saved: Path) -> None:
    metadata = json.loads((saved / "checkpoint.json").read_text())
    (saved / "checkpoint.json").write_text(json.dumps(metadata | {"novelty_threshold": within}))
    with pytest.raises(CheckpointError, match="damaged: no image can be within"):
        load_checkpoint(saved)


def images(count: int, *, seed: int) -> ImageCache:
    """Some images of nothing, in memory."""
    images = np.random.default_rng(seed).integers(0, 255, (count, 3, 24, 32), dtype=np.uint8)
    nothing = torch.zeros(count, dtype=torch.int64)
    return ImageCache(images, some_poses(count), None, nothing, nothing)


def test_the_bound_leaves_room_around_what_held_out_images_are() -> None:
    model = build_model("hyperpose", small_config("hyperpose"))
    assert isinstance(model, Regressor)
    train, held_out = images(MOST + 100, seed=0), images(FEWEST, seed=1)
    found = fit_novelty_detector(model, train, held_out, SIZE, device=CPU)
    assert found is not None
    recognition, within = found
    assert len(recognition.known) == MOST
    with torch.no_grad():
        farthest = recognition(feature_maps(model, held_out.batch(torch.arange(FEWEST)).images)[1]).quantile(
            0.99
        )
    assert within == pytest.approx(max(1.5 * float(farthest), LEAST), rel=1e-3)
    assert within > LEAST


def test_images_that_were_learned_from_are_within_the_bound_of_themselves() -> None:
    model = build_model("hyperpose", small_config("hyperpose"))
    assert isinstance(model, Regressor)
    found = fit_novelty_detector(model, images(30, seed=0), images(30, seed=0), SIZE, device=CPU)
    assert found is not None
    assert found[1] == LEAST


def test_few_held_out_images_do_not_say_how_unlike_a_image_may_be() -> None:
    model = build_model("hyperpose", small_config("hyperpose"))
    assert isinstance(model, Regressor)
    few = images(FEWEST - 1, seed=1)
    assert fit_novelty_detector(model, images(30, seed=0), few, SIZE, device=CPU) is None
