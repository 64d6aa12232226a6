"""Any model trains behind the frozen prefix of its backbone: the same steps, bits and names."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.command_line import listing, refused
from tests.support.models import TINY_BACKBONE, small_config
from tests.support.several_scenes import prepared as prepared_scenes
from tests.support.several_scenes import scenes_recipe, write_scenes
from tests.support.trained import tiny_recipe
from torch import Tensor

from camloc.data.augment import Augment, Draws
from camloc.data.image_cache import ImageCache
from camloc.errors import RecipeError
from camloc.models import model_names
from camloc.models.base import GeometryModel, Regressor
from camloc.models.checkpoint import load_checkpoint
from camloc.models.hyperpose_2023 import HyperPose2023Config
from camloc.models.layers.backbone import Backbone, BackbonePrefix
from camloc.models.losses import PoseLossConfig
from camloc.models.mapnet import MapNetConfig
from camloc.models.posenet import PoseNetConfig
from camloc.models.regressor import RegressionConfig
from camloc.runs import prepare as preparation
from camloc.runs.manifest import DataSource
from camloc.runs.prepare import Compute, Precision, Training, prepare
from camloc.runs.train import train
from camloc.training.feature_cache import (
    FeatureVariants,
    FromFeatures,
    Variants,
    cached_features,
    frozen_prefix,
)
from camloc.training.loop import Epoch
from camloc.training.optim import start_stage
from camloc.training.recipe import Recipe, Stage, Window

# The stem and the first stage, with any wrapper of timm around the network.
FROZEN = ("backbone.network.*conv1.[0-9].*", "backbone.network.*bn1.*", "backbone.network.*layer1.*")

VARIANTS = 3


def cached(recipe: Recipe, *, variants: int = VARIANTS) -> Recipe:
    augment = Augment(roll_degrees=20.0, yaw_degrees=10.0, brightness=0.2)
    return replace(recipe, augment=augment).cached(variants, frozen=FROZEN)


def prepared(scene: Path, folder: Path, recipe: Recipe, precision: Precision = "32-true") -> Training:
    compute = Compute(precision=precision)
    return prepare(recipe, name="tiny", data=DataSource(str(scene)), folder=folder, compute=compute)


def features_of(training: Training) -> FeatureVariants:
    assert isinstance(training.train, FeatureVariants)
    return training.train


def draws(count: int) -> Draws:
    return Draws(torch.Generator().manual_seed(0), count, slice(0, count))


def step(network: Any, model: Any, batch: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Losses and gradients, with the same dropout every time."""
    torch.manual_seed(0)
    model.zero_grad()
    losses = model.losses(network(batch.images), batch)
    torch.stack(list(losses.values())).sum().backward()
    return losses, {name: each.grad for name, each in model.named_parameters() if each.grad is not None}


@pytest.mark.parametrize("name", model_names())
def test_a_step_from_features_is_the_step_from_the_image(name: str, scene: Path, tmp_path: Path) -> None:
    settings = replace(tiny_recipe(), model=name, config=small_config(name), augment=Augment())
    training = prepared(scene, tmp_path / "run", settings.cached(1, frozen=FROZEN))
    (stage,) = training.recipe.stages
    model, size = training.model, training.recipe.preprocess
    assert isinstance(model, GeometryModel | Regressor)
    whole = prepared(scene, tmp_path / "whole", settings).train
    assert isinstance(whole, ImageCache)
    rows = torch.arange(6)
    shape: Any = {"augment": training.recipe.augment, "width": size.width, "height": size.height}
    images = whole.drawn(rows, draws(6), **shape).replace(window=2)
    features = features_of(training)
    maps = features.drawn(rows, draws(6), **shape).replace(window=2)
    start_stage(stage, model)
    assert isinstance(model.backbone, Backbone)
    exact = BackbonePrefix(model.backbone, features.cut)(images.images)
    torch.testing.assert_close(maps.images, exact, rtol=2**-10, atol=1e-5)  # they are kept in half precision
    part = FromFeatures(model, features.cut, width=size.width, height=size.height)
    assert maps.images.shape[1] == 32, "a map of the first stage"
    expected_losses, expected = step(model, model, images)
    losses, found = step(part, model, maps.replace(images=exact))
    rounded_losses, _ = step(part, model, maps)
    for term, value in expected_losses.items():
        torch.testing.assert_close(losses[term], value)
        torch.testing.assert_close(rounded_losses[term], value, rtol=5e-3, atol=5e-3)
    assert found.keys() == expected.keys()
    assert any(name.startswith("backbone.") for name in found), "later layers of the backbone learn"
    for parameter, gradient in found.items():
        torch.testing.assert_close(gradient, expected[parameter], rtol=1e-4, atol=1e-5)


def test_the_frozen_prefix_stays_and_the_rest_of_the_backbone_trains(scene: Path, tmp_path: Path) -> None:
    training = prepared(scene, tmp_path / "run", cached(tiny_recipe()))
    before = {name: value.clone() for name, value in training.model.named_parameters()}
    epochs = [event for event in train(training) if isinstance(event, Epoch)]
    changed = {
        name for name, value in training.model.named_parameters() if not torch.equal(value, before[name])
    }
    assert sum(epochs[-1].losses.values()) < sum(epochs[0].losses.values())
    assert any(name.startswith("backbone.network.layer2.") for name in changed)
    frozen = ("backbone.network.conv1.", "backbone.network.bn1.", "backbone.network.layer1.")
    assert not any(name.startswith(frozen) for name in changed)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_an_interrupted_training_ends_with_the_same_bits(
    scene: Path, tmp_path: Path, precision: Precision
) -> None:
    (stage,) = tiny_recipe(epochs=4).stages
    recipe = cached(replace(tiny_recipe(), stages=(replace(stage, average=0.9),)))
    whole = prepared(scene, tmp_path / "whole", recipe, precision)
    for _ in train(whole):
        pass
    for event in train(prepared(scene, tmp_path / "broken", recipe, precision)):
        if isinstance(event, Epoch) and event.epoch == 2:
            break
    again = prepared(scene, tmp_path / "broken", recipe, precision)
    for _ in train(again):
        pass
    ours, theirs = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_checkpoints_with_and_without_a_cache_are_of_the_same_network(scene: Path, tmp_path: Path) -> None:
    recipe = cached(tiny_recipe(epochs=1))
    for name, variants in (("cached", VARIANTS), ("whole", 0)):
        for _ in train(prepared(scene, tmp_path / name, replace(recipe, cached_variants=variants))):
            pass
    ours, theirs = (load_checkpoint(tmp_path / name / "checkpoint") for name in ("cached", "whole"))
    assert ours.metadata.config == theirs.metadata.config
    assert list(ours.model.state_dict()) == list(theirs.model.state_dict())


def test_windows_of_frames_learn_the_motion_between_them(scene: Path, tmp_path: Path) -> None:
    regression = RegressionConfig("standardised", relative=PoseLossConfig())
    config = MapNetConfig(TINY_BACKBONE, features=16, dropout=0.0, regression=regression)
    recipe = replace(tiny_recipe(), model="mapnet", config=config, window=Window(frames=3, apart=2))
    epochs = [event for event in train(prepared(scene, tmp_path, cached(recipe))) if isinstance(event, Epoch)]
    terms = epochs[-1].losses
    assert any("relative" in name for name in terms)
    assert sum(terms.values()) < sum(epochs[0].losses.values())


def test_several_scenes_are_learned_each_in_its_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMLOC_CACHE", str(tmp_path / "cache"))
    training = prepared_scenes(write_scenes(tmp_path), tmp_path / "run", cached(scenes_recipe(epochs=8)))
    features = features_of(training)
    assert features.scene.unique().tolist() == [0, 1]
    epochs = [event for event in train(training) if isinstance(event, Epoch)]
    assert epochs[-1].losses["scene"] < epochs[0].losses["scene"]


def test_every_scene_has_a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMLOC_CACHE", str(tmp_path / "cache"))
    scenes, recipe = write_scenes(tmp_path), cached(scenes_recipe())
    both = features_of(prepared_scenes(scenes, tmp_path / "both", recipe))
    caches = listing(tmp_path / "cache" / "features")
    assert sum(str(name).endswith(".npy") for name in caches) == len(scenes)
    alone = [
        features_of(prepared_scenes((scene,), tmp_path / f"alone-{number}", recipe))
        for number, scene in enumerate(scenes)
    ]
    assert listing(tmp_path / "cache" / "features") == caches
    rows = torch.arange(len(both))
    for scene, features in enumerate(alone):
        mine = rows[both.scene == scene].numpy()
        for variant in range(VARIANTS):
            chosen = np.full(len(mine), variant)
            assert np.array_equal(both.images[mine, chosen], features.images[:, variant])
        assert torch.equal(both.rotation[mine], features.rotation)
    assert both.seconds == pytest.approx(sum(each.seconds for each in alone))


def test_a_budget_covers_features(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[float] = []

    def predict(_: Recipe, seconds: float, **__: object) -> float:
        left.append(seconds)
        return 0.5

    monkeypatch.setattr(preparation, "schedule_share", predict)
    for name, budget in (("some", 60.0), ("none", 1e-3)):
        data = DataSource(str(scene))
        training = prepare(
            cached(tiny_recipe()), name="tiny", data=data, folder=tmp_path / name, budget_seconds=budget
        )
        assert training.manifest.feature_seconds > 1e-3
        assert training.manifest.budget_covers_features
        assert left.pop() == max(0.0, budget - training.manifest.feature_seconds)


def test_regressors_need_no_intrinsics_unless_images_turn(scene: Path, tmp_path: Path) -> None:
    training = prepared(scene, tmp_path / "run", replace(tiny_recipe(), augment=Augment()))
    assert isinstance(training.train, ImageCache)
    unknown, model = replace(training.train, intrinsics=None), training.model
    assert isinstance(model, Regressor)
    stage = Stage(epochs=1, learning_rate=1e-3, frozen=FROZEN)
    cut = frozen_prefix(model, (stage,))

    def computed(augment: Augment) -> FeatureVariants:
        variants = Variants(augment, VARIANTS, 64, 48, seed=0)
        return cached_features(model, unknown, variants, cut=cut, device=torch.device("cpu"))

    features = computed(Augment(brightness=0.2))
    batch = features.drawn(torch.arange(4), draws(4), augment=Augment(), width=64, height=48)
    assert batch.intrinsics is None
    with pytest.raises(RecipeError, match="intrinsics"):
        computed(Augment(roll_degrees=10.0))


def test_recipes_that_differ_behind_the_frozen_prefix_share_a_cache(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMLOC_CACHE", str(tmp_path / "cache"))
    frozen = ("backbone.*",)
    regression = RegressionConfig("standardised")
    attentive = small_config("hyperpose_2023")
    assert isinstance(attentive, HyperPose2023Config)
    first = tiny_recipe().cached(2, frozen=frozen)
    configs = {"posenet": PoseNetConfig(TINY_BACKBONE, regression=regression), "hyperpose_2023": attentive}
    backbone = prepared(scene, tmp_path / "first", first).model.backbone
    assert isinstance(backbone, Backbone)
    torch.save(backbone.network.state_dict(), tmp_path / "weights.pth")
    for name, config in configs.items():
        recipe = replace(tiny_recipe(), model=name, config=config).cached(2, frozen=FROZEN)
        data = DataSource(str(scene))
        prepare(recipe, name="tiny", data=data, folder=tmp_path / name, weights=tmp_path / "weights.pth")
    assert len(list((tmp_path / "cache" / "features").glob("*.npy"))) == 2


def test_a_first_layer_that_trains_is_refused(scene: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="first layer trains here; freeze 'backbone"):
        prepared(scene, tmp_path / "run", tiny_recipe().cached(2))
    (stage,) = tiny_recipe().cached(2, frozen=FROZEN).stages
    moving = replace(stage, frozen=())
    with pytest.raises(RecipeError, match="in every stage"):
        prepared(scene, tmp_path / "run", replace(tiny_recipe(), stages=(stage, moving), cached_variants=2))
    assert not (tmp_path / "run").exists()


def test_the_command_takes_a_number_of_variants(
    scene: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = listing(tmp_path)
    command = ("train", "room/baseline", "--data", scene, "--out", tmp_path / "run", "--cached-variants")
    assert "--backbone-weights" in refused(capfd, *command, "4")
    assert "not -1" in refused(capfd, *command, "-1", status=2)
    assert listing(tmp_path) == before
