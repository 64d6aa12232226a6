"""MS-Transformer and MS-HyperPose compute the same as the published structures, without unused weights."""

from dataclasses import replace

import pytest
import torch
from tests.support import authors
from tests.support.models import some_poses
from torch import Tensor, nn

from camloc.data.batch import Batch
from camloc.geometry.pose import Pose
from camloc.inference.published_weights import convert_weights
from camloc.models.base import Latents
from camloc.models.ms_hyperpose import PRESETS as HYPERPOSE
from camloc.models.ms_hyperpose import MSHyperPose
from camloc.models.ms_transformer import PRESETS as TRANSFORMER
from camloc.models.ms_transformer import MSTransformer
from camloc.models.multi_scene import MultiSceneRegressor, latents_in
from camloc.models.regressor import RegressionConfig

SMALL = replace(TRANSFORMER["sevenscenes"].transformer, width=32, dropout=0.0, attention_dropout=0.0)


def small_transformer(**changes: object) -> MSTransformer:
    torch.manual_seed(0)
    settings = {"transformer": SMALL, "layers": (2, 1), "scenes": 5, **changes}
    return MSTransformer(replace(TRANSFORMER["sevenscenes"], **settings))  # type: ignore[arg-type]


def small_hyperpose(**changes: object) -> MSHyperPose:
    torch.manual_seed(0)
    hypernetwork = replace(HYPERPOSE["sevenscenes"].hypernetwork, position=16, orientation=16, **changes)  # type: ignore[arg-type]
    config = replace(HYPERPOSE["sevenscenes"], transformer=replace(SMALL, layers=2), scenes=5)
    return MSHyperPose(replace(config, hypernetwork=hypernetwork))


def images(count: int = 3) -> Tensor:
    return torch.rand(count, 3, 96, 64, generator=torch.Generator().manual_seed(0))


def shaken(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return module


def assert_same_outputs(ours: MultiSceneRegressor, plain: nn.Module, *, name: str) -> None:
    authors.shaken(plain)
    ours.load_state_dict(convert_weights(plain.state_dict(), ours, name=name).state)
    with torch.no_grad():
        found, (numbers, logits) = ours.eval()(images()), plain(authors.normalised(images()))
    torch.testing.assert_close(found.position, numbers[:, :3], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.orientation, numbers[:, 3:], rtol=1e-5, atol=1e-5)
    chances = logits.log_softmax(-1)
    torch.testing.assert_close(found.scene_logits.log_softmax(-1), chances, rtol=1e-5, atol=1e-5)
    assert numbers[:, :3].abs().max() > 0.01


def test_ms_transformer_computes_the_same_as_the_published_structure() -> None:
    assert_same_outputs(
        small_transformer(), authors.MSTransformer(5, (2, 1), width=32), name="ms_transformer"
    )


def test_ms_hyperpose_computes_the_same_as_the_published_structure() -> None:
    plain = authors.MSTransformer(5, (2, 2), width=32, hyper=(16, 16))
    assert_same_outputs(small_hyperpose(), plain, name="ms_hyperpose")


def test_the_published_structures_have_the_published_numbers_of_weights() -> None:
    with torch.device("meta"):
        models = [
            authors.MSTransformer(7, (6, 4)),
            authors.MSTransformer(4),
            authors.MSTransformer(7, (4, 4), hyper=(256, 512)),
            authors.MSTransPoseNet(7),
        ]
    counts = [sum(each.numel() for each in model.parameters()) for model in models]
    assert counts == [16_432_748, 18_541_676, 142_682_227, 10_644_850]


def test_compact_generators_are_at_most_20_megabytes_of_more_than_500() -> None:
    with torch.device("meta"):
        sizes = [
            4
            * sum(
                parameter.numel()
                for name, parameter in MSHyperPose(HYPERPOSE[preset]).named_parameters()
                if ".generated.layers." in name
            )
            for preset in ("sevenscenes", "compact")
        ]
    assert sizes[0] == 4 * 127_309_319
    assert 1e6 < sizes[1] <= 20e6


def test_the_loss_is_that_of_the_true_scene_whatever_is_predicted() -> None:
    model = small_transformer(regression=RegressionConfig(positions="standardised")).eval()
    scenes = [some_poses(6, seed=number) for number in range(5)]
    model.observe_scenes([Pose(each.rotation, each.translation + 100.0 * n) for n, each in enumerate(scenes)])
    output = model(images())
    scene = torch.tensor([4, 0, 2])
    latents = latents_in(Latents(output.position_latents, output.orientation_latents), scene)
    pose = model.world.decoding.in_scenes(*model.regress_in(latents, scene), scene)
    batch = Batch(images(), pose, None, scene)
    right = model.losses(output, batch)
    assert set(right) == {"position", "orientation", "scene"}
    # The errors are zero; the learned weights of the loss remain.
    weight = float(model.pose_loss.position.detach())
    assert float(right["position"].detach()) == pytest.approx(weight, abs=1e-3)
    wrong = model.losses(output, batch.replace(scene=(scene + 1) % 5))
    assert bool(wrong["position"] > right["position"] + 10)


def test_a_scene_is_decoded_with_its_probability_in_its_world() -> None:
    model = small_transformer().eval()
    output = model(images())
    decoded = model.decode(output)
    chances = output.scene_logits.double().softmax(-1)
    assert torch.equal(decoded.scene, chances.argmax(-1))
    torch.testing.assert_close(decoded.probability, chances.max(-1).values, rtol=1e-12, atol=0)


@pytest.mark.parametrize("scenes", [1, 7, 40])
def test_the_cost_of_the_heads_does_not_grow_with_the_scenes(scenes: int) -> None:
    model = small_hyperpose() if scenes == 5 else small_transformer(scenes=scenes)
    shapes: list[torch.Size] = []
    model.position_heads.register_forward_hook(lambda _, inputs, __: shapes.append(inputs[0].shape))
    output = model.eval()(images())
    assert shapes == [(3, 32)]
    assert output.position_latents.shape == (3, scenes, 32)


def test_every_scene_may_have_heads_of_its_own() -> None:
    model = small_transformer(heads="own").eval()
    latents = latents_in(model.encode(images()), torch.zeros(3, dtype=torch.int64))
    positions = [model.regress_in(latents, torch.full((3,), scene)).position for scene in range(5)]
    for number, one in enumerate(positions):
        assert all(not torch.allclose(one, other) for other in positions[:number])
    mixed = model.regress_in(latents, torch.tensor([3, 1, 4])).position
    torch.testing.assert_close(mixed, torch.stack([positions[3][0], positions[1][1], positions[4][2]]))


@pytest.mark.parametrize("infusion", ["residual", "one_layer", "two_layers"])
@pytest.mark.parametrize("reads", ["token", "backbone and token"])
def test_a_hypernetwork_starts_without_effect_and_then_has_one(infusion: str, reads: str) -> None:
    model = small_hyperpose(infusion=infusion, reads=reads).eval()
    output = model(images())
    token = latents_in(
        Latents(output.position_latents, output.orientation_latents), output.scene_logits.argmax(-1)
    )
    plain = model.position_heads.head(token.position[:, :32])
    torch.testing.assert_close(output.position, plain)
    shaken(model.position_heads.generated)
    assert not torch.allclose(model(images()).position, plain)
