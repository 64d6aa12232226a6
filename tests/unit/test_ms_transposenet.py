"""TransPoseNet of many scenes: what scenes share, and what each has for itself."""

import pytest
import torch
from tests.support.models import TINY_BACKBONE
from torch import Tensor

from camloc.models.layers.transformer import MapEncoder, PositionCodes, SceneMapEncoder, TransformerConfig
from camloc.models.ms_transposenet import MSTransPoseNet, MSTransPoseNetConfig

ENCODER = TransformerConfig(width=16, layers=3, heads=2, dropout=0.0)


def small(scenes: int) -> MSTransPoseNet:
    torch.manual_seed(0)
    config = MSTransPoseNetConfig(backbone=TINY_BACKBONE, encoder=ENCODER, hidden=16, scenes=scenes)
    model = MSTransPoseNet(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("token_of_scene"):
                torch.nn.init.normal_(parameter)
    return model


def images(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def test_without_a_vector_of_the_scene_a_map_is_described_as_for_one_scene_alone() -> None:
    torch.manual_seed(0)
    codes = PositionCodes(16, rows=3, columns=4)
    single = MapEncoder(5, ENCODER).eval()
    ours = SceneMapEncoder(5, ENCODER, groups=(3,)).eval()
    ours.load_state_dict(single.state_dict() | {"token_of_scene": torch.zeros(3, 16)})
    maps = torch.rand(2, 5, 3, 4)
    expected = single(maps, codes)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(ours(maps, codes), expected.unsqueeze(1).expand(-1, 3, -1))


def test_the_vector_of_a_scene_moves_the_answers_in_that_scene_alone() -> None:
    model = small(4)
    with torch.no_grad():
        before = model.encode(images())
        model.position_encoder.token_of_scene[2] += 1.0
        after = model.encode(images())
    moved = (after.position != before.position).flatten(2).any(-1)
    assert moved.tolist() == [[False, False, True, False]] * 2
    assert torch.equal(after.orientation, before.orientation)


@pytest.mark.parametrize("scenes", [1, 7, 40])
def test_only_the_last_layer_is_computed_for_every_scene(scenes: int) -> None:
    model = small(scenes)
    shapes: list[torch.Size] = []
    for layer in model.orientation_encoder.encoder.layers[:-1]:
        layer.register_forward_hook(lambda _, __, output: shapes.append(output.shape))
    output = model(images())
    assert shapes == [(2, 1 + 8 * 12, 16)] * 2
    assert output.orientation_latents.shape == (2, scenes, 16)


def test_the_classifier_alone_tells_the_scene() -> None:
    model = small(4)
    with torch.no_grad():
        model.scene.bias_of_scene.copy_(torch.tensor([0.0, 0.0, 0.0, 20.0]))
        decoded = model.decode(model(images()))
    assert decoded.scene.tolist() == [3, 3]
    assert bool((decoded.probability > 0.99).all())
