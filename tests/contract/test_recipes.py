"""The contract of every recipe; new functions in files of `camloc.recipes` are tested as well."""

import importlib
import inspect
import re
from functools import lru_cache
from typing import Any

import pytest
import torch
from tests.support.models import some_poses

from camloc.core.config import from_builtins, from_json, to_builtins, to_json
from camloc.data.batch import Batch
from camloc.data.formats import LAYOUTS
from camloc.data.image_io import Preprocess
from camloc.errors import RecipeError
from camloc.evaluation.published import published_of
from camloc.geometry import Camera
from camloc.models import build_model, config_class, model_names
from camloc.models.base import PoseModel
from camloc.recipes import find_recipe, recipe_functions, summary
from camloc.training.optim import start_stage
from camloc.training.recipe import Recipe, Stage

RECIPES = tuple(recipe_functions())

# Words for the model in the first line of a recipe.
_TRAINED = re.compile(
    r"HyperPose|MS-Transformer|PoseNet|MapNet|AtLoc|Baseline APR|regressor|[Ss]cene geometry"
)

_PAPER = re.compile(r"_(?:19|20)\d\d$")

# Recipes that crop images of 4:3 in the centre alone: their inputs have another shape.
_CENTRE_CROPPED = (
    "implicit_geometry_2023/cambridge",
    "mapnet_2018/cambridge",
    "ms_transformer_2021/cambridge",
)


STAGES = tuple(stage for name in RECIPES for stage in find_recipe(name).stages)


def _schedule_of(stage: Stage) -> tuple[object, ...]:
    """What the factors of a stage's learning rate depend on."""
    return stage.epochs, stage.schedule, stage.step_epochs, stage.step_factor, stage.warm_up


def settings_of(name: str) -> tuple[str, bytes]:
    recipe = find_recipe(name)
    return recipe.model, to_json(recipe.config)


# The rows of a paper's ablations differ in a size or a layer. The first recipe of each model in a file is
# computed as it is. Of the others those with full generators, of hundreds of millions of weights, are
# computed on the device "meta", which has shapes alone; and scene geometry, which is convolutional, for
# images of half the width and height.
_FIRST = {(name.partition("/")[0], find_recipe(name).model): name for name in reversed(RECIPES)}
_WHOLE = frozenset(_FIRST.values())
_GENERATED = ("hyperpose_2023", "ms_hyperpose")


def device_of(name: str) -> str:
    return "meta" if name not in _WHOLE and find_recipe(name).model in _GENERATED else "cpu"


def input_of(name: str) -> tuple[int, int, int]:
    """The number of images in a window, their width and their height."""
    recipe = find_recipe(name)
    size = recipe.preprocess.width, recipe.preprocess.height
    if name not in _WHOLE and recipe.model == "scene_geometry":
        width, height = (32 * round(side / 64) for side in size)  # HRNet wants sides that 32 divides
        size = width, height
    return recipe.window.frames, *size


# Recipes whose networks are the same follow one another, and only one network is in memory at a time.
_ALIKE = sorted(RECIPES, key=lambda name: (settings_of(name), device_of(name), input_of(name)))


@pytest.fixture(scope="module", params=_ALIKE)
def name(request: pytest.FixtureRequest) -> str:
    """The name of a recipe; all tests of a network run before the next one is built."""
    return str(request.param)


@lru_cache(maxsize=1)
def network(model: str, settings: bytes, device: str) -> PoseModel[Any]:
    """A network with the settings; several recipes share one."""
    with torch.device(device):
        return build_model(model, from_json(settings, config_class(model)))


def network_of(name: str) -> PoseModel[Any]:
    return network(*settings_of(name), device_of(name))


def computed(name: str) -> tuple[Batch, Any]:
    """Images of a recipe, and the output of its network for them."""
    return output_for(*settings_of(name), device_of(name), *input_of(name))


@lru_cache(maxsize=1)
def output_for(
    model: str, settings: bytes, device: str, count: int, width: int, height: int
) -> tuple[Batch, Any]:
    """One window of images, and the output of a network for them.

    In training mode, with batch norm of the batch itself: deep random networks overflow otherwise.
    """
    camera = Camera(width, height, float(width), float(width), width / 2, height / 2)
    batch = Batch(
        images=torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0)),
        world_from_cam=some_poses(count),
        intrinsics=torch.from_numpy(camera.matrix()).float().expand(count, 3, 3),
        scene=torch.zeros(count, dtype=torch.int64),
        window=count,
    ).to(device)
    with torch.no_grad():
        return batch, network(model, settings, device).train()(batch.images)


def is_finite(values: torch.Tensor) -> bool:
    """Whether all values are finite; on the device "meta" there are none."""
    return values.is_meta or bool(values.isfinite().all())


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_found_by_its_name_and_is_the_same_every_time(name: str) -> None:
    recipe = find_recipe(name)
    assert recipe == find_recipe(name)
    assert re.fullmatch(r"[a-z0-9_]+/[a-z0-9-]+", name)
    assert recipe.model in model_names()
    assert isinstance(recipe.config, config_class(recipe.model))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_takes_no_arguments_and_says_in_its_first_line_what_it_trains(name: str) -> None:
    function = recipe_functions()[name]
    assert not inspect.signature(function).parameters
    first = summary(function)
    assert _TRAINED.search(first), first
    assert first.endswith(".")
    assert len(first) <= 110


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_json(name: str) -> None:
    recipe = find_recipe(name)
    assert from_json(to_json(recipe.config), config_class(recipe.model)) == recipe.config
    assert from_json(to_json(recipe.preprocess), Preprocess) == recipe.preprocess
    restored = from_json(to_json(recipe), Recipe)
    config: object = from_builtins(to_builtins(restored.config), config_class(recipe.model))
    assert to_json(restored) == to_json(recipe)
    assert config == recipe.config
    assert restored.stages == recipe.stages
    assert restored.augment == recipe.augment


def test_every_stage_trains_something_of_the_model(name: str) -> None:
    recipe, model = find_recipe(name), network_of(name)
    for stage in recipe.stages:
        optimizer = start_stage(stage, model)
        trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        assert trained
        assert any(not name.startswith(model.LOSS_PREFIX) for name in trained)
        optimised = sum(len(group["params"]) for group in optimizer.param_groups)
        assert optimised == len(trained)


@pytest.mark.parametrize("name", RECIPES)
def test_every_stage_is_a_stage(name: str) -> None:
    for stage in find_recipe(name).stages:
        assert stage.epochs >= 1
        assert 0 < stage.learning_rate < 1
        assert 0 <= stage.average < 1


@pytest.mark.parametrize("schedule", sorted({stage.schedule for stage in STAGES}))
def test_learning_rates_are_factors_of_the_largest(schedule: str) -> None:
    for stage in {_schedule_of(stage): stage for stage in STAGES if stage.schedule == schedule}.values():
        steps = min(10 * stage.epochs, 1000)
        factors = [
            stage.rate_factor(step, steps=steps, epoch=step * stage.epochs // steps) for step in range(steps)
        ]
        assert all(0 <= factor <= 1 for factor in factors)
        assert max(factors) == pytest.approx(1.0)


def test_the_terms_that_loss_weights_name_exist(name: str) -> None:
    batch, output = computed(name)
    with torch.no_grad():
        terms = network_of(name).losses(output, batch)
    named = {term for stage in find_recipe(name).stages for term in stage.loss_weights or {}}
    assert named <= set(terms)
    assert all(is_finite(value) for value in terms.values())


def test_the_network_predicts_finite_poses_for_images_of_the_recipe(name: str) -> None:
    batch, output = computed(name)
    pose = network_of(name).decode(output, intrinsics=batch.intrinsics).world_from_cam
    assert pose.shape == (len(batch),)
    assert is_finite(pose.translation)
    assert is_finite(pose.rotation)


@pytest.mark.parametrize("name", RECIPES)
def test_the_canvas_is_larger_than_the_input_exactly_where_images_are_cropped(name: str) -> None:
    recipe = find_recipe(name)
    canvas = recipe.preprocess.canvas_size(640, 480)
    is_larger = canvas != (recipe.preprocess.width, recipe.preprocess.height)
    assert is_larger == (recipe.augment.random_crop or name.startswith(_CENTRE_CROPPED))


@pytest.mark.parametrize("name", RECIPES)
def test_published_numbers_have_a_source_and_a_scene_of_the_layout(name: str) -> None:
    recipe = find_recipe(name)
    assert recipe.layout in ("auto", *LAYOUTS)
    for published in published_of(name):
        assert re.search(r"Table [\dIV]", published.source)
        assert published.meters is None or 0 < published.meters < 100
        assert published.degrees is None or 0 < published.degrees < 180
        scenes = importlib.import_module(f"camloc.data.formats.{recipe.layout}").SCENES
        assert published.scene.partition("|")[0] in (*scenes, "mean")  # of all scenes of the data set


@pytest.mark.parametrize("name", [name for name in RECIPES if _PAPER.search(name.split("/")[0])])
def test_a_papers_recipe_names_its_table_or_says_that_there_is_none(name: str) -> None:
    published, first = published_of(name), summary(recipe_functions()[name])
    assert ("Table" in first) == bool(published), first
    assert published or "no row" in first or "in no table" in first


def test_the_names_of_files_that_are_not_recipes_are_not_recipes() -> None:
    files = {name.split("/")[0] for name in RECIPES}
    assert {"demo", "room", "hyperpose_2025", "pose_autoencoders_2022"} <= files
    assert not files & {"base", "run", "evaluate", "settings", "budget"}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("room/hyperpos", "room/hyperpose"),
        ("hyperpose/cambridge-base", "hyperpose_2025/cambridge-baseline"),
        ("demo", "demo/hyperpose"),
        ("rooms/hyperpose", "room/hyperpose"),
        ("nonsense", "/"),
        ("", RECIPES[0]),
    ],
)
def test_an_unknown_recipe_fails_with_suggestions(name: str, meant: str) -> None:
    with pytest.raises(RecipeError, match="did you mean") as caught:
        find_recipe(name)
    assert f"'{name}'" in str(caught.value)
    assert meant in str(caught.value)
    assert "\n" not in str(caught.value)
