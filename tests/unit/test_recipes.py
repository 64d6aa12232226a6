"""Particular recipes: the frozen prefix of rooms, and the phases of the Transformers' papers."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from tests.support.models import TINY_BACKBONE, some_poses

from camloc.data.batch import Batch
from camloc.evaluation.published import published_of
from camloc.models import build_model
from camloc.models.base import GeometryModel, Regressor
from camloc.models.layers.transformer import TransformerConfig
from camloc.recipes import find_recipe, recipe_functions
from camloc.training.feature_cache import HEADS, frozen_prefix
from camloc.training.optim import start_stage
from camloc.training.recipe import Recipe

TINY = TransformerConfig(width=16, layers=2, heads=2)


@cache
def small(name: str) -> Recipe:
    """A recipe with a network that is built in no time."""
    recipe = find_recipe(name)
    config = replace(recipe.config, backbone=TINY_BACKBONE, encoder=TINY)
    if recipe.model == "hyperpose_2023":
        config = replace(config, hypernetwork=replace(config.hypernetwork, encoder=TINY))
    return replace(recipe, config=config)


def trained(name: str) -> list[set[str]]:
    """The modules, two deep, that each stage of a recipe trains."""
    recipe = small(name)
    torch.manual_seed(0)
    model = build_model(recipe.model, recipe.config)
    found = []
    for stage in recipe.stages:
        start_stage(stage, model)
        names = [each for each, parameter in model.named_parameters() if parameter.requires_grad]
        found.append({".".join(each.split(".")[:2]) for each in names})
    return found


def test_transposenet_trains_everything_but_the_prior_and_then_each_head_alone() -> None:
    first, second, third = trained("transposenet_2021/cambridge")
    assert {"position_encoder.encoder", "orientation_head.hidden", "pose_loss.position"} <= first
    assert any(each.startswith("backbone") for each in first)
    assert "orientation_head.prior" not in first
    assert second == {"position_head.hidden", "position_head.output"}
    assert third == {"orientation_head.hidden", "orientation_head.output", "orientation_head.prior"}


def test_transposenet_has_no_prior_indoors_and_trains_its_heads_faster() -> None:
    first, _, third = trained("transposenet_2021/sevenscenes")
    assert "orientation_head.hidden" in first
    assert third == {"orientation_head.hidden", "orientation_head.output"}
    stages = find_recipe("transposenet_2021/sevenscenes").stages
    assert [(stage.learning_rate, stage.weight_decay) for stage in stages] == [
        (1e-4, 1e-4),
        (1e-3, 1e-2),
        (1e-3, 1e-2),
    ]


@pytest.mark.parametrize("scenes", ["cambridge", "sevenscenes"])
def test_hyperpose_trains_everything_and_then_either_half_of_the_pose(scenes: str) -> None:
    first, second, third = trained(f"hyperpose_2023/{scenes}")
    assert {"position.encoder", "orientation.encoder", "pose_loss.orientation"} <= first
    assert second == {"position.head", "position.hyper", "position.hyper_encoder"}
    assert third == {"orientation.head", "orientation.hyper", "orientation.hyper_encoder"}


@pytest.mark.parametrize("scenes", ["cambridge", "sevenscenes"])
def test_the_released_hyperpose_leaves_the_hypernetworks_encoders_alone_later(scenes: str) -> None:
    _, second, third = trained(f"hyperpose_2023/{scenes}-released")
    assert second == {"position.head", "position.hyper"}
    assert third == {"orientation.head", "orientation.hyper"}


@pytest.mark.parametrize("name", ["transposenet_2021/cambridge", "hyperpose_2023/cambridge"])
def test_parameters_that_a_later_phase_freezes_keep_every_bit(name: str) -> None:
    recipe = small(name)
    torch.manual_seed(0)
    model = build_model(recipe.model, recipe.config)
    stage = recipe.stages[1]
    optimizer = start_stage(stage, model)
    before = {each: value.clone() for each, value in model.state_dict().items()}
    batch = Batch(torch.rand(2, 3, 48, 64), some_poses(2), None, torch.zeros(2, dtype=torch.int64))
    for _ in range(2):
        optimizer.zero_grad()
        losses = model.losses(model(batch.images), batch)
        weights = stage.loss_weights or {}
        torch.stack([weights.get(each, 1.0) * value for each, value in losses.items()]).sum().backward()
        optimizer.step()
    changed = {each for each, value in model.state_dict().items() if not torch.equal(value, before[each])}
    assert changed
    assert all(each.startswith(("position_head.", "position.")) for each in changed)


@pytest.mark.parametrize(
    "name", [each for each in recipe_functions() if each.startswith(("transposenet", "hyperpose_2023"))]
)
def test_ablations_end_with_the_first_phase_and_have_one_number_of_one_scene(name: str) -> None:
    recipe = find_recipe(name)
    if "/shop-" not in name:
        assert len(published_of(name)) in (5, 7, 8)  # with the mean, where it is printed
        return
    assert len(recipe.stages) == 1
    assert [each.scene for each in published_of(name)] == ["ShopFacade"]


def test_the_room_recipes_of_one_half_differ_in_their_generators_alone() -> None:
    full, compact = find_recipe("room/hyperpose-2023"), find_recipe("room/hyperpose-2023-compact")
    hypernetwork = replace(full.config.hypernetwork, generator=compact.config.hypernetwork.generator)
    assert replace(full, config=replace(full.config, hypernetwork=hypernetwork)) == compact
    assert full.preprocess == find_recipe("room/transposenet").preprocess


CUTS = {
    "room/hyperpose": "backbone_network_blocks_3_3",
    "room/baseline": "backbone_network_blocks_3_3",
    "room/posenet": "backbone_network_blocks_3_3",
    "room/mapnet": "backbone_network_blocks_3_3",
    "room/atloc-hypernetwork": "backbone_network_blocks_3_3",
    "room/transposenet": "backbone_network_model_blocks_2_2",
    "room/hyperpose-2023-compact": "backbone_network_model_blocks_2_2",
    "room/ms-transformer": "backbone_network_model_blocks_3_3",
    "room/ms-hyperpose": "backbone_network_blocks_3_3",
    "room/ms-transposenet": "backbone_network_blocks_3_3",
    "room/scene-geometry": HEADS,
    "demo/scene-geometry-imagenet": "backbone_network_model_blocks_3_3",
}


@pytest.mark.parametrize(("name", "cut"), CUTS.items(), ids=CUTS)
def test_a_recipe_is_cached_up_to_the_end_of_its_frozen_prefix(name: str, cut: str) -> None:
    recipe = find_recipe(name).of_scenes(2 if "/ms-" in name else 1)
    assert recipe.cached_variants > 0
    model = build_model(recipe.model, recipe.config)
    assert isinstance(model, GeometryModel | Regressor)
    assert frozen_prefix(model, recipe.stages) == cut
    start_stage(recipe.stages[0], model)
    names = [name for name, each in model.backbone.named_parameters() if each.requires_grad]
    training = [int(name.partition("blocks.")[2][0]) for name in names if "blocks." in name]
    if cut == HEADS:
        assert not names
    else:
        last_frozen = int(cut.partition("blocks_")[2][0])
        assert min(training) == last_frozen + 1
