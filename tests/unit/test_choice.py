"""The choice of a refinement method on held-out frames, and what few of them can prove."""

import pytest
import torch
from tests.support.models import some_poses

from camloc.core.config import from_json, to_json
from camloc.geometry import Pose
from camloc.refinement.choice import choose_refinement, default_settings, surest
from camloc.refinement.pose_autoencoder import AutoencoderMetadata, PoseAutoencoder, PoseAutoencoderConfig
from camloc.refinement.refiner import REFINEMENT_METHODS, PositionErrors
from camloc.refinement.teacher import TeacherOutputs

TRAINING = some_poses(40)
CONFIG = PoseAutoencoderConfig(frequencies=3, hidden=(32,))


def encoder() -> PoseAutoencoder:
    torch.manual_seed(0)
    return PoseAutoencoder(CONFIG, latents=(16, 16))


def held_out(count: int) -> TeacherOutputs:
    """Images from training poses, with the encoder's latents, for which the teacher predicts poses nearby."""
    truth = TRAINING[3 : 3 + count]
    with torch.no_grad():
        latents = encoder()(truth)
    noise = torch.randn(count, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    predicted = Pose(truth.rotation, truth.translation + 0.05 * noise)
    return TeacherOutputs(latents, truth, predicted, torch.zeros(count, dtype=torch.int64))


@pytest.mark.parametrize("count", [1, 2, 12])
def test_a_choice_can_be_written_and_read_whatever_the_number_of_held_out_frames(count: int) -> None:
    choice = choose_refinement(encoder(), (TRAINING,), held_out(count))
    assert set(choice.errors) == {"none", *REFINEMENT_METHODS}
    metadata = AutoencoderMetadata(
        "", ("kitchen",), CONFIG, (16, 16), refined=choice.errors, settings=choice.settings
    )
    assert from_json(to_json(metadata), AutoencoderMetadata) == metadata


def test_one_held_out_frame_chooses_no_method_and_no_settings() -> None:
    choice = choose_refinement(encoder(), (TRAINING,), held_out(1))
    assert surest(choice.errors) == "none"
    assert all(errors.sure_gain == 0.0 for errors in choice.errors.values())
    assert choice.settings == {method: default_settings(method) for method in REFINEMENT_METHODS}


def test_many_held_out_frames_choose_the_method_that_helps() -> None:
    choice = choose_refinement(encoder(), (TRAINING,), held_out(12))
    best = surest(choice.errors)
    assert best in ("affine", "anchored")
    assert choice.errors[best].median < choice.errors["none"].median
    assert choice.errors["neighbours"].sure_gain < 0.0


def test_a_method_without_a_gain_is_not_chosen() -> None:
    unsure = {"adamw": PositionErrors(1.0, 1.0, 0.0), "none": PositionErrors(1.0, 1.0)}
    assert surest(unsure) == "none"
    assert surest({}) == "none"
    assert surest({**unsure, "affine": PositionErrors(0.5, 0.5, 0.1)}) == "affine"
