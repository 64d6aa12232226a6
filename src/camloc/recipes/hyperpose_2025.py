"""HyperPose (Ferens and Keller 2025): the rows of its supplement for models of one scene.

Adam with eps 1e-10 and decay 1e-4, batches of 8, learning rate 1e-4 lowered by a quarter at each step; images
scaled to a shorter side of 256 and cut to 224 x 224 (section 3). The paper trains in three phases and gives
the length of the first only; the two that fine-tune one half of the pose have a tenth of it here. Ablations
(section 4) are compared after the first phase. Tables 4 and 7 are about the multi-scene network; here are the
same settings for one scene, without the errors of that network.

The released code has other settings than the paper; these recipes end in `released`. Its later phases are
flags without a configuration, so these recipes have the first phase only.
"""

from dataclasses import replace
from typing import Any

from camloc.data.augment import Augment
from camloc.data.image_io import Preprocess
from camloc.models.atloc import PRESETS as ATLOC
from camloc.models.decoding import OrientationForm
from camloc.models.hyperpose import HyperPoseConfig, Infusion
from camloc.models.layers.backbone import EFFICIENTNET_B0_RELEASED
from camloc.models.layers.hypernetwork import GeneratorConfig, HypernetworkConfig
from camloc.models.losses import PoseLossConfig
from camloc.models.regressor import RegressionConfig
from camloc.training.recipe import Recipe, Stage

_CROP = Preprocess(224, 224, short_side=256)
_COMPACT = HypernetworkConfig(generator=GeneratorConfig("compact"))

# Random changes of images in the released code, for any data set.
_RELEASED_CHANGES = Augment(random_crop=True, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2)


def cambridge_baseline() -> Recipe:
    """Baseline APR on Cambridge Landmarks: supplement Table 1, "original", first rows."""
    return _cambridge(hypernetwork=None)


def cambridge_hypernetwork() -> Recipe:
    """Baseline APR with hypernetwork on Cambridge Landmarks: supplement Table 1, "original", second rows."""
    return _cambridge()


def cambridge_one_integrated_layer() -> Recipe:
    """HyperPose, one integrated hyper-layer, on Cambridge Landmarks; no row for one scene.

    Supplement Table 4 has it for several scenes.
    """
    return _infused("one_layer", HypernetworkConfig())


def cambridge_two_integrated_layers() -> Recipe:
    """HyperPose, two integrated hyper-layers, on Cambridge Landmarks; no row for one scene.

    Supplement Table 4 has it for several scenes. The generators are compact: a full one for the hidden layer
    would have a third of a billion weights.
    """
    return _infused("two_layers", _COMPACT)


def cambridge_residual_layers() -> Recipe:
    """HyperPose, residual hyper-layers after the first phase, on Cambridge Landmarks; no row for one scene.

    Supplement Table 4 has it for several scenes.
    """
    return _infused("residual", HypernetworkConfig())


def cambridge_compact() -> Recipe:
    """HyperPose with compact generators on Cambridge Landmarks; no row, the paper has none."""
    return _cambridge(hypernetwork=_COMPACT)


def cambridge_4d_norm() -> Recipe:
    """HyperPose with quaternions compared as matrices, on Cambridge Landmarks; no row for one scene.

    The text of supplement section 4 describes it beside Table 7, which has no numbers of it.
    """
    return _rotations("4d_norm")


def cambridge_6d() -> Recipe:
    """HyperPose with 6D rotations on Cambridge Landmarks; no row for one scene.

    Supplement Table 7 has it for several scenes.
    """
    return _rotations("6d")


def cambridge_9d() -> Recipe:
    """HyperPose with 9D rotations on Cambridge Landmarks; no row for one scene.

    Supplement Table 7 has it for several scenes.
    """
    return _rotations("9d")


def sevenscenes_baseline() -> Recipe:
    """Baseline APR on 7Scenes, without hypernetwork; the supplement prints no row for it."""
    return _sevenscenes(None)


def sevenscenes_hypernetwork() -> Recipe:
    """Baseline APR with hypernetwork on 7Scenes, all three phases; the supplement prints no row for it."""
    return _sevenscenes(HypernetworkConfig())


def redkitchen_256_256() -> Recipe:
    """Baseline APR with hypernetwork on 7Scenes' Red Kitchen: supplement Table 6, row 256/256."""
    return _widths(256, 256)


def redkitchen_256_512() -> Recipe:
    """Baseline APR with hypernetwork on 7Scenes' Red Kitchen: supplement Table 6, row 256/512."""
    return _widths(256, 512)


def redkitchen_256_1024() -> Recipe:
    """Baseline APR with hypernetwork on 7Scenes' Red Kitchen: supplement Table 6, row 256/1024."""
    return _widths(256, 1024)


def cambridge_baseline_released() -> Recipe:
    """Baseline APR on Cambridge Landmarks with the released settings; in no table."""
    recipe = cambridge_baseline()
    stage = replace(recipe.stages[0], learning_rate=1e-3, step_factor=0.5)
    return _released(recipe, stage, batch_size=32)


def cambridge_hypernetwork_released() -> Recipe:
    """Baseline APR with hypernetwork on Cambridge Landmarks with the released settings; in no table."""
    recipe = cambridge_hypernetwork()
    return _released(recipe, replace(recipe.stages[0], epochs=100, step_epochs=10))


def sevenscenes_hypernetwork_released() -> Recipe:
    """Baseline APR with hypernetwork on 7Scenes with the released settings; in no table."""
    recipe = sevenscenes_hypernetwork()
    return _released(recipe, replace(recipe.stages[0], epochs=10, step_epochs=5))


def cambridge_atloc_released() -> Recipe:
    """AtLoc on Cambridge Landmarks with the settings of HyperPose's released code; in no table."""
    recipe = replace(cambridge_baseline(), model="atloc", config=ATLOC["quaternion"])
    stage = replace(recipe.stages[0], learning_rate=1e-3, step_factor=0.5)
    return _released(recipe, stage, batch_size=32)


def cambridge_atloc_hypernetwork_released() -> Recipe:
    """AtLoc with hypernetwork on Cambridge Landmarks with the released settings; in no table."""
    recipe = replace(cambridge_hypernetwork(), model="atloc", config=ATLOC["hypernetwork"])
    return _released(recipe, recipe.stages[0])


def _cambridge(**settings: Any) -> Recipe:
    regression = RegressionConfig(pose_loss=PoseLossConfig(-3.0, -6.5))
    return Recipe(
        model="hyperpose",
        config=replace(HyperPoseConfig(EFFICIENTNET_B0_RELEASED, regression=regression), **settings),
        preprocess=_CROP,
        stages=phases(epochs=600, step_epochs=200),
        augment=Augment(random_crop=True, brightness=0.5, contrast=0.5, saturation=0.5),
        batch_size=8,
        validate_every=5,
        layout="cambridge",
    )


def _infused(infusion: Infusion, hypernetwork: HypernetworkConfig) -> Recipe:
    return _first_phase(_cambridge(infusion=infusion, hypernetwork=hypernetwork))


def _rotations(form: OrientationForm) -> Recipe:
    regression = RegressionConfig(orientation=form, pose_loss=PoseLossConfig(-3.0, -6.5))
    return _first_phase(_cambridge(regression=regression))


def _sevenscenes(hypernetwork: HypernetworkConfig | None) -> Recipe:
    return Recipe(
        model="hyperpose",
        config=HyperPoseConfig(EFFICIENTNET_B0_RELEASED, hypernetwork=hypernetwork),
        preprocess=_CROP,
        stages=phases(epochs=100, step_epochs=20),
        augment=Augment(random_crop=True),
        batch_size=8,
        layout="sevenscenes",
    )


def _widths(position: int, orientation: int) -> Recipe:
    return _first_phase(_sevenscenes(HypernetworkConfig(position, orientation)))


def _first_phase(recipe: Recipe) -> Recipe:
    return replace(recipe, stages=recipe.stages[:1])


def _released(recipe: Recipe, stage: Stage, *, batch_size: int = 8) -> Recipe:
    return replace(recipe, stages=(stage,), augment=_RELEASED_CHANGES, batch_size=batch_size)


def phases(
    *, epochs: int, step_epochs: int, position: str = "position_*", orientation: str = "orientation_*"
) -> tuple[Stage, Stage, Stage]:
    """The three phases: all parameters, then those of the position alone, then those of the orientation.

    `position` and `orientation` are patterns of the parameters of either half.
    """
    first = Stage(
        epochs=epochs,
        learning_rate=1e-4,
        epsilon=1e-10,
        weight_decay=1e-4,
        schedule="step",
        step_epochs=step_epochs,
        step_factor=0.75,
    )
    short = replace(first, epochs=epochs // 10)
    return (
        first,
        replace(short, trains=(position,), loss_weights={"orientation": 0.0}),
        replace(short, trains=(orientation,), loss_weights={"position": 0.0}),
    )
