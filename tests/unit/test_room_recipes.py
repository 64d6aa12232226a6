"""What of MobileNetV2 stands still in the recipes of rooms, and that all else of it learns."""

import pytest

from camloc.models import build_model
from camloc.models.base import GeometryModel, Regressor
from camloc.recipes import find_recipe
from camloc.training.feature_cache import HEADS, frozen_prefix
from camloc.training.optim import start_stage

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
def test_a_recipe_is_cached_up_to_where_its_backbone_stands_still(name: str, cut: str) -> None:
    recipe = find_recipe(name).of_scenes(2 if "/ms-" in name else 1)
    assert recipe.cached_variants > 0
    model = build_model(recipe.model, recipe.config)
    assert isinstance(model, GeometryModel | Regressor)
    assert frozen_prefix(model, recipe.stages) == cut
    start_stage(recipe.stages[0], model)
    names = [name for name, each in model.backbone.named_parameters() if each.requires_grad]
    learning = [int(name.partition("blocks.")[2][0]) for name in names if "blocks." in name]
    if cut == HEADS:
        assert not names
    else:
        still = int(cut.partition("blocks_")[2][0])
        assert min(learning) == still + 1
