"""Parameter counts of the published structures, and the parts of theirs that were never used."""

import pytest

from camloc.models import build_model, presets

# The classifier that the released EfficientNet-B0 models carry and never use.
DEAD_CLASSIFIER = 1_281_000


@pytest.mark.parametrize(
    ("model", "preset", "as_released", "never_used"),
    [
        ("posenet", "mobilenetv2", 2_881_543, 0),
        ("posenet", "mobilenetv2-tensorflow", 2_881_543, 0),
        ("posenet", "resnet50", 24_558_919, 0),
        ("posenet", "efficientnet-b0", 5_946_219, DEAD_CLASSIFIER),
        ("hyperpose", "baseline", 6_607_467, DEAD_CLASSIFIER),
        ("hyperpose", "hypernetwork", 10_154_354, DEAD_CLASSIFIER),
        ("atloc", "paper", 24_447_558, 0),
        ("atloc", "plus", 24_447_558, 0),
        ("atloc", "quaternion", 24_449_607, 0),
        ("atloc", "hypernetwork", 29_176_142, 0),
        ("mapnet", "paper", 22_347_590, 0),
        ("mapnet", "posenet", 22_347_590, 0),
        ("scene_geometry", "indoor", 3_711_285, 0),
    ],
)
def test_a_preset_has_the_published_number_of_weights(
    model: str, preset: str, as_released: int, never_used: int
) -> None:
    assert build_model(model, presets(model)[preset]).parameter_count() == as_released - never_used
