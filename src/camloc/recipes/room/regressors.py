"""Regressors of one room: HyperPose (2025), its baseline, PoseNet, AtLoc and MapNet."""

from dataclasses import replace

from camloc.core.augment import Augment
from camloc.core.images import Preprocess
from camloc.models.atloc import AtLocConfig
from camloc.models.hyperpose import HyperPoseConfig
from camloc.models.mapnet import MapNetConfig
from camloc.models.parts.backbone import MOBILENETV2_TENSORFLOW
from camloc.models.parts.balance import BalanceConfig
from camloc.models.parts.hypernetwork import HypernetworkConfig
from camloc.models.parts.regression import RegressionConfig
from camloc.models.posenet import PoseNetConfig
from camloc.recipes.base import Recipe
from camloc.training.held_out import HoldOut
from camloc.training.stages import Stage
from camloc.training.windows import Window

# Of AtLoc and MapNet, whose papers train for hours: their loss, and less dropout than their 0.5.
_ABSOLUTE = RegressionConfig(
    positions="standardised",
    orientation="log_quaternion",
    balance=BalanceConfig(position=-2.0, orientation=-3.0, distance="absolute"),
)
_DROPOUT = 0.1


def held_blocks(network: str, *, blocks: str) -> tuple[str, ...]:
    """Patterns of MobileNetV2's first blocks, and of what comes before them, for a stage to hold.

    `network` is what the parameters' names begin with: "backbone.network", or "backbone.network.model" where
    maps before the final one are read.
    """
    return (f"{network}.conv_stem.*", f"{network}.bn1.*", f"{network}.blocks.[{blocks}].*")


def hyperpose() -> Recipe:
    """HyperPose (2025) on pretrained MobileNetV2: a room in minutes on a CPU."""
    return Recipe(
        model="hyperpose",
        config=HyperPoseConfig(
            backbone=MOBILENETV2_TENSORFLOW,
            hypernetwork=HypernetworkConfig(),
            regression=RegressionConfig(
                positions="standardised", balance=BalanceConfig(position=-2.0, orientation=-3.0)
            ),
        ),
        preprocess=Preprocess(160, 120),
        stages=(
            Stage(
                epochs=60,
                learning_rate=1e-3,
                # What the first half sees is the same everywhere. That the second trains counts: held up to
                # blocks.5, held-out errors of the baseline were twice as large.
                holds=held_blocks("backbone.network", blocks="0-3"),
                optimizer="adamw",
                weight_decay=0.01,
                backbone_rate=0.3,
                balance_rate=5.0,
                schedule="one_cycle",
                batch_norm="frozen",
                average=0.998,
            ),
        ),
        augment=Augment(
            yaw_degrees=10.0,
            pitch_degrees=10.0,
            roll_degrees=10.0,
            brightness=0.2,
            contrast=0.2,
            saturation=0.2,
        ),
        cached_variants=16,
        batch_size=16,
        hold_out=HoldOut(every=10, block=25),
        validate_every=2,
    )


def baseline() -> Recipe:
    """The same regressor without its hypernetwork."""
    recipe = hyperpose()
    return replace(recipe, config=replace(recipe.config, hypernetwork=None))


def posenet() -> Recipe:
    """PoseNet-like regressor with two latent layers, as the teacher of the pose auto-encoders."""
    recipe = hyperpose()
    config = PoseNetConfig(MOBILENETV2_TENSORFLOW, regression=recipe.config.regression)
    return replace(recipe, model="posenet", config=config)


def atloc() -> Recipe:
    """AtLoc: attention among the channels of the pooled features, log quaternions, absolute errors."""
    recipe = hyperpose()
    config = AtLocConfig(MOBILENETV2_TENSORFLOW, dropout=_DROPOUT, regression=_ABSOLUTE)
    return replace(recipe, model="atloc", config=config)


def atloc_hypernetwork() -> Recipe:
    """AtLoc with hypernetwork: the same regressor with generated heads beside its own."""
    recipe = atloc()
    return replace(recipe, config=replace(recipe.config, hypernetwork=HypernetworkConfig()))


def mapnet() -> Recipe:
    """MapNet: windows of 3 frames, 10 apart, and the loss of the way between them."""
    recipe = hyperpose()
    (stage,) = recipe.stages
    window = Window(frames=3, apart=10)
    regression = replace(_ABSOLUTE, relative=_ABSOLUTE.balance)
    return replace(
        recipe,
        model="mapnet",
        config=MapNetConfig(MOBILENETV2_TENSORFLOW, dropout=_DROPOUT, regression=regression),
        # An epoch has a window around every frame: so many pictures to a training as the others see.
        stages=(replace(stage, epochs=stage.epochs // window.frames),),
        batch_size=15,
        window=window,
    )
