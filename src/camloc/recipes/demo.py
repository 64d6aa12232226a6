"""The embedded place, learned from scratch in a few minutes on two CPU cores."""

from dataclasses import replace

from camloc.core.augment import Augment
from camloc.core.images import Preprocess
from camloc.models.hyperpose import HyperPoseConfig
from camloc.models.parts.backbone import BackboneConfig
from camloc.models.parts.balance import BalanceConfig
from camloc.models.parts.geometry_losses import GeometryLossConfig
from camloc.models.parts.hypernetwork import HypernetworkConfig
from camloc.models.parts.regression import RegressionConfig
from camloc.models.scene_geometry import SceneGeometryConfig
from camloc.recipes.base import Recipe
from camloc.training.held_out import HoldOut
from camloc.training.stages import Stage

# A ResNet of 0.3 million weights: from random ones, and with minutes to learn, small is accurate. Its
# last map keeps one cell to 16 pixels: where in the picture a thing is seen says where the camera is. It has
# few channels, because the heads see them all and are most of the weights.
SMALL_RESNET = BackboneConfig(
    "test_resnet",
    {"output_stride": 16, "channels": (32, 48, 48, 64)},
    mean=(0.5, 0.5, 0.5),
    deviation=(0.25, 0.25, 0.25),
)


def hyperpose() -> Recipe:
    """HyperPose on the corner of the embedded square, day frames only."""
    return Recipe(
        model="hyperpose",
        config=HyperPoseConfig(
            backbone=SMALL_RESNET,
            grid=(6, 8),
            hidden=256,
            dropout=0.0,
            hypernetwork=HypernetworkConfig(position=64, orientation=64),
            regression=RegressionConfig(
                positions="standardised", balance=BalanceConfig(position=-1.0, orientation=-3.0)
            ),
        ),
        preprocess=Preprocess(128, 96),
        stages=(
            Stage(
                epochs=22,
                learning_rate=2e-3,
                optimizer="adamw",
                weight_decay=0.01,
                balance_rate=5.0,
                schedule="one_cycle",
                average=0.998,
                gradient_clip=5.0,
            ),
        ),
        augment=Augment(
            yaw_degrees=3.0,
            pitch_degrees=2.0,
            roll_degrees=3.0,
            brightness=0.3,
            contrast=0.3,
            saturation=0.3,
        ),
        batch_size=16,
        hold_out=HoldOut(every=10, block=10),
        layout="demo",
    )


def baseline() -> Recipe:
    """The same regressor without its hypernetwork, for comparison."""
    recipe = hyperpose()
    return replace(recipe, config=replace(recipe.config, hypernetwork=None))


def scene_geometry() -> Recipe:
    """Scene geometry on the corner, from scratch, with the frames and the schedule of its regressors."""
    return replace(
        hyperpose(),
        model="scene_geometry",
        config=SceneGeometryConfig(
            backbone=SMALL_RESNET,
            taps=(2, 3, 4),
            stride=16,
            hidden=128,
            blocks=2,
            context=(6, 8),
            depth_range=(1.0, 40.0),
            # Things are some ten metres away: a radian moves what is seen as far as ten metres do.
            losses=GeometryLossConfig(orientation=10.0, consistency=0.3, reprojection=0.003),
        ),
    )


def hyperpose_square() -> Recipe:
    """HyperPose on the whole embedded square: more frames, a longer schedule."""
    recipe = hyperpose()
    (stage,) = recipe.stages
    return replace(recipe, stages=(replace(stage, epochs=4 * stage.epochs),), validate_every=5)
