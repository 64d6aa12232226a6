"""A pose auto-encoder can be trained from every regressor, which does not change."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.support.models import small_config, some_poses
from tests.support.tiny_training import tiny_images
from torch import Tensor

from camloc.data.image_cache import ImageCache
from camloc.models import build_model, model_class, model_names
from camloc.models.base import Latents, Regressor
from camloc.refinement.pose_autoencoder import (
    Branches,
    Distillation,
    DistillationConfig,
    PoseAutoencoder,
    PoseAutoencoderConfig,
)
from camloc.refinement.teacher import TeacherOutputs, frozen, teacher_outputs
from camloc.training.loop import fit_auxiliary
from camloc.training.recipe import Stage

WIDTH, HEIGHT = 32, 24
REGRESSORS = tuple(name for name in model_names() if issubclass(model_class(name), Regressor))


def teacher_of(name: str) -> Regressor[Any]:
    torch.manual_seed(0)
    model = build_model(name, small_config(name))
    assert isinstance(model, Regressor)
    model.observe_scenes([some_poses(9, seed=number) for number in range(scenes_of(name))])
    return frozen(model)


def scenes_of(name: str) -> int:
    """Number of scenes of the small model of a name."""
    return int(getattr(small_config(name), "scenes", 1))


def views_of(count: int, *, seed: int = 0, scenes: int = 1) -> ImageCache:
    """Images of all scenes in turn."""
    return replace(tiny_images(count, seed=seed), scene=torch.arange(count) % scenes)


def outputs_of(name: str, teacher: Regressor[Any], count: int = 12, *, seed: int = 0) -> TeacherOutputs:
    images = views_of(count, seed=seed, scenes=scenes_of(name))
    return teacher_outputs(teacher, images, width=WIDTH, height=HEIGHT)


def task_of(name: str, teacher: Regressor[Any], config: DistillationConfig | None = None) -> Distillation:
    train, scenes = outputs_of(name, teacher), scenes_of(name)
    torch.manual_seed(0)
    position, orientation = (int(half.shape[1]) for half in train.latents)
    branches: Branches = "shared" if train.is_shared else "separate"
    encoder = PoseAutoencoder(
        PoseAutoencoderConfig(branches=branches, hidden=(16,)), latents=(position, orientation), scenes=scenes
    )
    own = [train.world_from_cam[train.scene == number] for number in range(scenes)]
    encoder.observe(own, train.latents)
    held = outputs_of(name, teacher, 6, seed=1)
    return Distillation(encoder, teacher, train, held, config or DistillationConfig())


@pytest.mark.parametrize("name", REGRESSORS)
def test_latents_are_those_of_the_teachers_prediction(name: str) -> None:
    teacher = teacher_of(name)
    views = outputs_of(name, teacher)
    predicted = teacher.pose_in(views.latents, views.scene)
    torch.testing.assert_close(predicted.matrix(), views.predicted.matrix(), rtol=0, atol=1e-5)
    whole = tiny_images(12).batch(torch.arange(12)).images[:, :, 2:-2, 2:-2]
    with torch.no_grad():
        decoded = teacher.decode(teacher(whole))
    # With several scenes, poses are compared where the teacher predicts the true scene.
    same = decoded.scene == views.scene
    assert same.any()
    found, expected = views.predicted.matrix()[same], decoded.world_from_cam.matrix()[same]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", REGRESSORS)
def test_the_pose_loss_reaches_the_encoder_through_the_frozen_heads(name: str) -> None:
    task = task_of(name, teacher_of(name))
    losses = task.losses(task.network, torch.arange(12), torch.Generator())
    for term in ("position", "orientation"):
        gradients = torch.autograd.grad(
            losses[term], list(task.network.encoder.parameters()), retain_graph=True, allow_unused=True
        )
        reached = [each for each in gradients if each is not None and each.abs().max() > 0]
        assert reached, f"the {term} loss gives the encoder no gradient"
        assert all(each.isfinite().all() for each in reached)


@pytest.mark.parametrize("name", REGRESSORS)
def test_the_teacher_does_not_change_by_one_bit(name: str) -> None:
    teacher = teacher_of(name)
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    task = task_of(name, teacher)
    for _ in fit_auxiliary(task, Stage(epochs=2, learning_rate=0.01), batch_size=4):
        pass
    assert not teacher.training
    assert all(parameter.grad is None for parameter in teacher.parameters())
    for key, value in teacher.state_dict().items():
        assert torch.equal(value, before[key]), f"{key} has changed"


@pytest.mark.parametrize("name", REGRESSORS)
def test_training_decreases_the_latent_terms_and_the_pose_terms(name: str) -> None:
    halves = (("position_latent", "orientation_latent"), ("position", "orientation"))
    for learned, ignored in (halves, halves[::-1]):
        task = task_of(name, teacher_of(name))
        stage = Stage(epochs=40, learning_rate=5e-3, loss_weights=dict.fromkeys(ignored, 0.0))
        rounds = list(fit_auxiliary(task, stage, batch_size=12, validate_every=40))
        for term in learned:
            assert rounds[-1].losses[term] < rounds[0].losses[term], term


@pytest.mark.parametrize("name", REGRESSORS)
def test_the_distillation_of_the_released_code_is_an_option(name: str) -> None:
    teacher = teacher_of(name)
    published = task_of(name, teacher, DistillationConfig(latent_distance="squared", reads="teacher"))
    encoded: list[Tensor] = []
    encoder = published.network.encoder
    encoder.register_forward_pre_hook(lambda _, inputs: encoded.append(inputs[0].translation))
    scene = published.train.scene[:5]
    terms = published.losses(published.network, torch.arange(5), torch.Generator())
    torch.testing.assert_close(encoded[0], published.train.predicted.translation[:5])
    with torch.no_grad():
        latents = encoder(published.train.predicted[torch.arange(5)], scene)
    targets = Latents(*(half[:5] for half in published.train.latents))
    expected = (latents.position - targets.position).square().mean()
    torch.testing.assert_close(terms["position_latent"], expected)
