"""Relative pose regressors: their layers, inputs, and exact decoding to a pose."""

from dataclasses import replace

import pytest
import torch
from tests.support.models import TINY_BACKBONE, some_poses
from torch import Tensor

from camloc.geometry import Pose
from camloc.geometry.pose import reference_from_query, world_from_query
from camloc.models.base import Latents
from camloc.models.layers.backbone import Backbone, BackboneConfig
from camloc.refinement.relative_pose import (
    PRESETS,
    Axes,
    InputKind,
    RelativePoseConfig,
    RelativePoseRegressor,
)

SEES: tuple[InputKind, ...] = ("images", "encoding", "latents")
TINY = RelativePoseConfig(backbone=TINY_BACKBONE, latent=8, dropout=0.0)


def regressor(**changes: object) -> RelativePoseRegressor:
    torch.manual_seed(0)
    return RelativePoseRegressor(replace(TINY, **changes), latents=(6, 5)).eval()  # type: ignore[arg-type]


def inputs(sees: InputKind, count: int = 3, *, seed: int = 0) -> tuple[Tensor | Latents, Tensor | Latents]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(2, count, 3, 32, 32, generator=generator)
    encodings = [
        Latents(torch.randn(count, 6, generator=generator), torch.randn(count, 5, generator=generator))
        for _ in range(2)
    ]
    query = encodings[0] if sees == "latents" else images[0]
    return query, images[1] if sees == "images" else encodings[1]


def test_the_published_siamese_network_has_its_layers() -> None:
    """One CNN, then two layers of 256 over both its outputs, and three and four numbers."""
    network = RelativePoseRegressor(RelativePoseConfig(), latents=(256, 256))
    cnn = sum(each.numel() for each in Backbone(BackboneConfig("efficientnet_b0")).parameters())
    layers = 2 * (2 * 1280 * 256 + 256)
    assert network.parameter_count() == cnn + layers + 256 * 3 + 3 + 256 * 4 + 4


def test_the_released_siamese_network_has_its_layers() -> None:
    """Its 25,346,887 weights in use: ResNet-50, a layer for each image and half, 512, 256 and the pose."""
    network = RelativePoseRegressor(PRESETS["released"], latents=(256, 256))
    assert network.parameter_count() == 25_346_887
    shapes = {name: tuple(value.shape) for name, value in network.named_parameters() if "position" in name}
    assert shapes == {
        "position.joined.query.0.weight": (256, 2048),
        "position.joined.query.0.bias": (256,),
        "position.joined.layer.weight": (512, 512),
        "position.joined.layer.bias": (512,),
        "position.output.0.weight": (256, 512),
        "position.output.0.bias": (256,),
        "position.output.3.weight": (3, 256),
        "position.output.3.bias": (3,),
    }


@pytest.mark.parametrize("axes", ["reference", "world"])
def test_the_correct_output_decodes_to_the_true_motion_and_pose(axes: Axes) -> None:
    network = regressor(axes=axes)
    reference, query = some_poses(5), some_poses(5, seed=1)
    motion = network.motion(network.truth(reference, query), reference)
    expected = reference_from_query(reference, query)
    torch.testing.assert_close(motion.matrix(), expected.matrix(), rtol=0, atol=1e-9)
    again = world_from_query(reference, motion)
    torch.testing.assert_close(again.matrix(), query.matrix(), rtol=0, atol=1e-9)


def test_a_step_in_world_axes_is_the_difference_of_positions() -> None:
    reference, query = some_poses(5), some_poses(5, seed=1)
    step = regressor(axes="world").truth(reference, query).step
    torch.testing.assert_close(step, query.translation - reference.translation)
    turned = regressor(axes="reference").truth(reference, query).step
    torch.testing.assert_close(turned.norm(dim=-1), step.norm(dim=-1))
    assert not torch.allclose(turned, step)


@pytest.mark.parametrize("sees", SEES)
def test_every_weight_gets_a_gradient(sees: InputKind) -> None:
    network = regressor(sees=sees).train()
    motion = network.motion(network(*inputs(sees)), some_poses(3))
    (motion.translation.square().sum() + motion.rotation[:, 0, 1].sum()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if "layer" not in name or not name.startswith("backbone."):  # residual branches start at zero
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("sees", SEES)
def test_the_output_depends_on_the_query_and_on_the_reference(sees: InputKind) -> None:
    network = regressor(sees=sees)
    (query, reference), (other_query, other_reference) = inputs(sees), inputs(sees, seed=1)
    whole = network(query, reference).step
    assert not torch.allclose(whole, network(other_query, reference).step)
    assert not torch.allclose(whole, network(query, other_reference).step)
    assert network(query, reference).quaternion_wxyz.shape == (3, 4)


def test_only_regressors_that_see_images_have_a_cnn() -> None:
    assert regressor(sees="latents").backbone is None
    assert regressor(sees="latents").parameter_count() < regressor(sees="encoding").parameter_count()


def test_the_scale_of_steps_is_that_of_training() -> None:
    network = regressor()
    near = Pose(some_poses(4).rotation, torch.zeros(4, 3, dtype=torch.float64))
    far = Pose(near.rotation, near.translation + torch.tensor([0.0, 3.0, 4.0], dtype=torch.float64))
    before = network(*inputs("images")).step
    network.observe(near, far)
    torch.testing.assert_close(network(*inputs("images")).step, 5.0 * before)
