"""AtLoc (Wang et al., AAAI 2020) on 7Scenes, AtLoc+, and AtLoc with the hypernetwork of HyperPose.

Settings of the authors: Adam at 5e-5 with decay 5e-4, batches of 64, crops of 256 x 256 from frames with a
shorter side of 256, 300 epochs (which their instructions evaluate; their command stops at 100). On the issue
page of their code they advise 1e-4 and several trainings. Their redkitchen is one test sequence of five:
1,000 of 5,000 frames. They start from ImageNet weights of ResNet-34 (`--backbone-weights`).
"""

from dataclasses import replace

from camloc.data.augment import Augment
from camloc.data.image_io import Preprocess
from camloc.models.atloc import PRESETS
from camloc.models.layers.hypernetwork import HypernetworkConfig
from camloc.recipes.mapnet_2018 import SEVENSCENES_RESNET34
from camloc.training.recipe import Recipe, Stage, Window


def sevenscenes() -> Recipe:
    """AtLoc on 7Scenes: its row of Table I of "Implicit Learning of Scene Geometry" (2023)."""
    return Recipe(
        model="atloc",
        config=replace(PRESETS["paper"], backbone=SEVENSCENES_RESNET34),
        preprocess=Preprocess(256, 256, short_side=256),
        stages=(Stage(epochs=300, learning_rate=5e-5, weight_decay=5e-4),),
        augment=Augment(random_crop=True),
        batch_size=64,
        validate_every=5,
        layout="sevenscenes",
    )


def sevenscenes_released() -> Recipe:
    """AtLoc on 7Scenes as the released command trains it, with its colour changes; in no table."""
    recipe = sevenscenes()
    (stage,) = recipe.stages
    return replace(
        recipe,
        stages=(replace(stage, epochs=100),),
        augment=Augment(random_crop=True, brightness=0.7, contrast=0.7, saturation=0.7, hue=0.5),
    )


def sevenscenes_plus() -> Recipe:
    """AtLoc+ on 7Scenes: AtLoc with windows of 3 frames, 10 apart; in no table."""
    return replace(
        sevenscenes(),
        config=replace(PRESETS["plus"], backbone=SEVENSCENES_RESNET34),
        batch_size=3 * 64,
        window=Window(frames=3, apart=10),
    )


def sevenscenes_hypernetwork() -> Recipe:
    """AtLoc with hypernetwork on 7Scenes, quaternions as in HyperPose 2025; in no table."""
    recipe = sevenscenes()
    regression = replace(recipe.config.regression, orientation="quaternion")
    config = replace(recipe.config, hypernetwork=HypernetworkConfig(), regression=regression)
    return replace(recipe, config=config)
