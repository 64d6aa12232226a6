"""Parameter counts of the published structures, and of their unused parts."""

import pytest
import torch

from camloc.models import build_model, presets

# The unused classifier of the released EfficientNet-B0 models.
DEAD_CLASSIFIER = 1_281_000

# Layers behind the 14 x 14 map in the released models that read this and the 28 x 28 map.
DEAD_CNN = 4_436_740

# Their position codes are tables of 60 rows of 128, of which columns and rows use 28 each, the token 1.
DEAD_CODES = (2 * (60 - 28) + (60 - 1)) * 128


# Multi-scene models have tables of 50 rows and no token.
DEAD_SCENE_CODES = 2 * (50 - 28) * 128

# The input of the first normalisation of each of the two decoders is zero: its weight has no effect.
DEAD_NORMS = 2 * 256

DEAD_OF_SCENES = DEAD_SCENE_CODES + DEAD_NORMS


def other_tokens(scenes: int) -> int:
    """Multi-scene TransPoseNet: a linear layer of the scene's index, which we replace by rows."""
    return 512 - 2 * 256 * scenes


@pytest.mark.parametrize(
    ("model", "preset", "as_released", "never_used"),
    [
        ("posenet", "mobilenetv2", 2_881_543, 0),
        ("posenet", "mobilenetv2-tensorflow", 2_881_543, 0),
        ("posenet", "resnet50", 24_558_919, 0),
        ("posenet", "efficientnet-b0", 5_946_219, DEAD_CLASSIFIER),
        ("hyperpose", "baseline", 6_607_467, DEAD_CLASSIFIER),
        ("hyperpose", "hypernetwork", 10_154_354, DEAD_CLASSIFIER),
        ("hyperpose", "hypernetwork-256-256", 8_513_138, DEAD_CLASSIFIER),
        ("hyperpose", "hypernetwork-256-1024", 15_402_866, DEAD_CLASSIFIER),
        ("atloc", "paper", 24_447_558, 0),
        ("atloc", "plus", 24_447_558, 0),
        ("atloc", "quaternion", 24_449_607, 0),
        ("atloc", "hypernetwork", 29_176_142, 0),
        ("mapnet", "paper", 22_347_590, 0),
        ("mapnet", "posenet", 22_347_590, 0),
        ("scene_geometry", "indoor", 3_711_285, 0),
        ("transposenet", "released", 10_635_371, DEAD_CNN + DEAD_CODES),
        ("ms_transformer", "sevenscenes", 16_432_748, DEAD_CNN + DEAD_OF_SCENES),
        ("ms_transformer", "cambridge", 18_541_676, DEAD_CNN + DEAD_OF_SCENES),
        ("ms_transformer", "cambridge-own-heads", 20_142_209, DEAD_CNN + DEAD_OF_SCENES),
        ("ms_hyperpose", "sevenscenes", 142_682_227, DEAD_CLASSIFIER + DEAD_OF_SCENES),
        ("ms_hyperpose", "cambridge", 142_680_691, DEAD_CLASSIFIER + DEAD_OF_SCENES),
        ("ms_transposenet", "sevenscenes", 10_644_850, DEAD_CLASSIFIER + DEAD_CODES + other_tokens(7)),
        ("hyperpose_2023", "released", 142_734_962, DEAD_CNN + DEAD_CODES),
    ],
)
def test_a_preset_has_the_published_number_of_weights(
    model: str, preset: str, as_released: int, never_used: int
) -> None:
    with torch.device("meta"):
        built = build_model(model, presets(model)[preset])
    assert built.parameter_count() == as_released - never_used
