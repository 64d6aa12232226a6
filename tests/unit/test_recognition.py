"""Pictures of a place are told from others by how like they are to those that were learned from."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.support.models import small_config, some_poses
from torch import Tensor

from camloc.answers import asked
from camloc.checkpoint import Checkpoint, facts_for, load_checkpoint, save_checkpoint
from camloc.core.belief import doubt_of_likeness
from camloc.core.images import Preprocess
from camloc.core.model import Regressor
from camloc.core.recognition import Recognition, summary
from camloc.errors import CheckpointError
from camloc.models import build_model


def maps(seed: int, count: int = 4) -> list[Tensor]:
    """Two maps, as of a backbone that is read in two places."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(count, 8, 6, 8, generator=generator), torch.rand(count, 16, 3, 4, generator=generator)]


def test_a_picture_is_like_itself_wherever_things_are_in_it() -> None:
    seen = maps(0)
    recognition = Recognition(summary(seen))
    mirrored = [each.flip(-1) for each in seen]
    assert recognition(mirrored).max() < 0.05  # of half precision
    assert recognition(maps(1)).min() > 0.05


def test_unlikeness_is_the_distance_to_the_nearest_summary() -> None:
    known, seen = summary(maps(0, 7)), maps(1, 3)
    expected = torch.cdist(summary(seen), known.half().float()).amin(-1)
    torch.testing.assert_close(Recognition(known)(seen), expected, rtol=0, atol=2e-3)


def test_brightness_of_a_map_does_not_count() -> None:
    seen = maps(0)
    torch.testing.assert_close(summary([3.0 * each for each in seen]), summary(seen))


@pytest.mark.parametrize(("unlikeness", "within"), [(0.2, 0.3), (0.3, 0.3), (None, 0.3), (0.4, None)])
def test_what_is_like_enough_or_cannot_be_told_is_not_doubted(
    unlikeness: float | None, within: float | None
) -> None:
    assert doubt_of_likeness(unlikeness, within=within) == ""


def test_a_doubt_says_by_how_much() -> None:
    assert "2.0 times" in doubt_of_likeness(0.6, within=0.3)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint that tells its place from others."""
    model = build_model("hyperpose", small_config("hyperpose")).eval()
    assert isinstance(model, Regressor)
    facts = facts_for("hyperpose", small_config("hyperpose"), Preprocess(64, 48), ("kitchen",))
    facts = replace(facts, recognised_within=0.5)
    recognition = Recognition(summary(model.backbone(torch.rand(5, 3, 48, 64))))
    save_checkpoint(tmp_path, facts, model, (some_poses(9),), recognition)
    return tmp_path


def test_a_checkpoint_keeps_what_its_place_is_recognised_by(saved: Path) -> None:
    checkpoint = load_checkpoint(saved)
    assert checkpoint.recognition is not None
    assert checkpoint.recognition.known.dtype == torch.float16
    assert len(checkpoint.recognition.known) == 5
    images = torch.rand(2, 3, 48, 64)
    said = asked(checkpoint, images, with_latents=True)
    assert said.unlikeness is not None
    assert said.unlikeness.shape == (2,)
    without = asked(Checkpoint(checkpoint.facts, checkpoint.model, checkpoint.training_poses), images)
    assert without.unlikeness is None
    assert all(torch.equal(one, other) for one, other in zip(said.output, without.output, strict=True))


@pytest.mark.parametrize("known", [None, torch.rand(5), torch.rand(0, 64), torch.rand(5, 7)])
def test_one_that_lost_it_says_so(known: Tensor | None, saved: Path) -> None:
    weights = load_file(saved / "weights.safetensors")
    del weights["recognition.known"]
    save_file(
        weights | ({} if known is None else {"recognition.known": known}), saved / "weights.safetensors"
    )
    with pytest.raises(CheckpointError, match="recognised by"):
        load_checkpoint(saved)


def test_one_of_before_has_none(saved: Path) -> None:
    facts = json.loads((saved / "checkpoint.json").read_text())
    del facts["recognised_within"]
    (saved / "checkpoint.json").write_text(json.dumps(facts))
    assert load_checkpoint(saved).recognition is None
