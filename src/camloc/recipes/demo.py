"""The embedded scene, learned from scratch in a few minutes on two CPU cores."""

from dataclasses import replace

from camloc.data.augment import Augment
from camloc.data.image_io import Preprocess
from camloc.data.splits import HoldOut
from camloc.models.hyperpose import HyperPoseConfig
from camloc.models.hyperpose_2023 import AttentionHypernetworkConfig, HyperPose2023Config
from camloc.models.layers.backbone import BackboneConfig
from camloc.models.layers.hypernetwork import GeneratorConfig, HypernetworkConfig
from camloc.models.layers.transformer import PositionCodesConfig, TransformerConfig
from camloc.models.losses import GeometryLossConfig, PoseLossConfig
from camloc.models.posenet import PoseNetConfig
from camloc.models.regressor import RegressionConfig
from camloc.models.scene_geometry import SceneGeometryConfig
from camloc.models.transposenet import TransPoseNetConfig
from camloc.recipes import room, students
from camloc.refinement.pairs import PairSettings
from camloc.refinement.recipe import RelativeRecipe, StudentRecipe
from camloc.refinement.relative_pose import RelativePoseConfig
from camloc.training.recipe import Recipe, Stage

# A ResNet of 0.3 million weights: in minutes, and from random weights, small networks are the most accurate.
# A cell of its last map has 16 pixels, since the place of an object in the image says where the camera is.
# The map has few channels, because the heads read them all and have most of the weights.
SMALL_RESNET = BackboneConfig(
    "test_resnet",
    {"output_stride": 16, "channels": (32, 48, 48, 64)},
    mean=(0.5, 0.5, 0.5),
    deviation=(0.25, 0.25, 0.25),
    local_contrast=32,
)

_REGRESSION = RegressionConfig(
    positions="standardised", pose_loss=PoseLossConfig(position=-1.0, orientation=-3.0)
)

# Of the Transformers.
_ENCODER = TransformerConfig(width=128, layers=2, attention_dropout=0.0)
_CODES = PositionCodesConfig(image_width=128, image_height=96)


def hyperpose() -> Recipe:
    """HyperPose on the corner of the embedded square, day frames only."""
    return Recipe(
        model="hyperpose",
        config=HyperPoseConfig(
            backbone=SMALL_RESNET,
            grid=(6, 8),
            hidden=512,
            dropout=0.0,
            hypernetwork=HypernetworkConfig(position=64, orientation=64),
            regression=_REGRESSION,
        ),
        preprocess=Preprocess(128, 96),
        stages=(
            Stage(
                epochs=13,
                learning_rate=4e-3,
                optimizer="adamw",
                weight_decay=0.01,
                loss_rate=5.0,
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
            # Objects are some ten metres away: a radian shifts the image as much as ten metres do.
            losses=GeometryLossConfig(orientation=10.0, consistency=0.3, reprojection=0.003),
        ),
    )


def scene_geometry_imagenet() -> Recipe:
    """Scene geometry on the corner, with a MobileNetV2 pretrained on ImageNet whose second half trains.

    With the whole backbone frozen, as in a room, held-out errors were about a tenth larger in the same time.
    """
    recipe = room.scene_geometry()
    (stage,) = recipe.stages
    return replace(
        recipe,
        config=replace(
            recipe.config,
            taps=(3, 4),
            context=(3, 4),
            depth_range=(1.0, 40.0),
            losses=GeometryLossConfig(orientation=10.0, consistency=0.3, reprojection=0.01),
        ),
        # Pretrained features are those of sharper images than 128 x 96 pixels.
        preprocess=Preprocess(160, 120),
        stages=(
            replace(
                stage,
                epochs=16,
                learning_rate=4e-3,
                frozen=room.frozen_blocks("backbone.network.model", blocks="0-3"),
                backbone_rate=0.2,
                batch_norm="frozen",
            ),
        ),
        augment=Augment(
            yaw_degrees=6.0,
            pitch_degrees=4.0,
            roll_degrees=6.0,
            zoom=1.1,
            brightness=0.3,
            contrast=0.3,
            saturation=0.3,
        ),
        cached_variants=4,
        hold_out=hyperpose().hold_out,
        layout="demo",
    )


def transposenet() -> Recipe:
    """TransPoseNet, narrow and of two layers, on the corner: attention to 6 x 8 and to 12 x 16 cells."""
    return _attentive(
        "transposenet",
        TransPoseNetConfig(SMALL_RESNET, encoder=_ENCODER, codes=_CODES, hidden=256, regression=_REGRESSION),
    )


def hyperpose_2023() -> Recipe:
    """HyperPose (2023), narrow and of two layers, on the corner, with full generators."""
    return _attentive("hyperpose_2023", _hyperpose_2023(GeneratorConfig("full")))


def hyperpose_2023_compact() -> Recipe:
    """HyperPose (2023), narrow and of two layers, on the corner, with compact generators."""
    return _attentive("hyperpose_2023", _hyperpose_2023(GeneratorConfig("compact", rank=64)))


def _hyperpose_2023(generator: GeneratorConfig) -> HyperPose2023Config:
    hypernetwork = AttentionHypernetworkConfig(
        encoder=_ENCODER, position_hidden=(128, 64), orientation_hidden=(128, 128), generator=generator
    )
    return HyperPose2023Config(
        SMALL_RESNET,
        encoder=_ENCODER,
        codes=_CODES,
        hidden=256,
        hypernetwork=hypernetwork,
        regression=_REGRESSION,
    )


def _attentive(model: str, config: TransPoseNetConfig | HyperPose2023Config) -> Recipe:
    """A Transformer with the schedule of the corner's regressors at a quarter of their learning rate."""
    recipe = hyperpose()
    (stage,) = recipe.stages
    slower = replace(stage, learning_rate=stage.learning_rate / 4)
    return replace(recipe, model=model, config=config, stages=(slower,))


def hyperpose_square() -> Recipe:
    """HyperPose on the whole embedded square: more frames, a longer schedule."""
    recipe = hyperpose()
    (stage,) = recipe.stages
    return replace(recipe, stages=(replace(stage, epochs=4 * stage.epochs),), validate_every=5)


def posenet() -> Recipe:
    """PoseNet-like regressor on the same corner: latents of 256 numbers, the published teacher's."""
    recipe = hyperpose()
    config = PoseNetConfig(
        backbone=SMALL_RESNET, grid=(6, 8), dropout=0.0, regression=recipe.config.regression
    )
    return replace(recipe, model="posenet", config=config)


def virtual() -> StudentRecipe:
    """A pose auto-encoder, decoded images of 64 x 64, and relative poses from these."""
    recipe = students.quick()
    assert recipe.decoder is not None
    stage = Stage(
        epochs=6,
        learning_rate=1e-3,
        optimizer="adamw",
        weight_decay=0.01,
        loss_rate=5.0,
        schedule="one_cycle",
        average=0.998,
        gradient_clip=5.0,
    )
    relative = RelativeRecipe(
        RelativePoseConfig("images", SMALL_RESNET, grid=(6, 8), dropout=0.0),
        stage,
        pairs=PairSettings(per_frame=6),
        augment=hyperpose().augment,
    )
    return replace(recipe, relative=relative)
