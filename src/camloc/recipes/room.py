"""A room, or any scene of a thousand images, learned in minutes on two CPU cores.

These are no rows of a paper: every regressor, and scene geometry, on pretrained MobileNetV2 features, with
augmentation for few images. Turning the camera about its centre helps most: an epoch has views that nobody
took, each with its exact pose. 16 such views of every image pass once through the first half of the backbone,
which is frozen. Settings were chosen on frames held out of the training frames of 7Scenes' Red Kitchen;
`docs/results/redkitchen.md` has the errors on its test frames.
"""

from dataclasses import replace

from camloc.data.augment import Augment
from camloc.data.image_io import Preprocess
from camloc.data.splits import HoldOut
from camloc.models.atloc import AtLocConfig
from camloc.models.hyperpose import HyperPoseConfig
from camloc.models.hyperpose_2023 import AttentionHypernetworkConfig, HyperPose2023Config
from camloc.models.layers.backbone import MOBILENETV2_TENSORFLOW
from camloc.models.layers.hypernetwork import GeneratorConfig, HypernetworkConfig
from camloc.models.layers.transformer import PositionCodesConfig, TransformerConfig
from camloc.models.losses import GeometryLossConfig, PoseLossConfig
from camloc.models.mapnet import MapNetConfig
from camloc.models.ms_hyperpose import MSHyperPoseConfig
from camloc.models.ms_transformer import MSTransformerConfig
from camloc.models.ms_transposenet import MSTransPoseNetConfig
from camloc.models.posenet import PoseNetConfig
from camloc.models.regressor import RegressionConfig
from camloc.models.scene_geometry import SceneGeometryConfig
from camloc.models.transposenet import TransPoseNetConfig
from camloc.training.recipe import Recipe, Stage, Window


def scene_geometry() -> Recipe:
    """Scene geometry on cached features of pretrained MobileNetV2: the most accurate network of a room."""
    return Recipe(
        model="scene_geometry",
        config=SceneGeometryConfig(
            backbone=MOBILENETV2_TENSORFLOW,
            taps=(2, 3, 4),
            stride=16,
            blocks=2,
            depth_range=None,
            depths="focal",
            losses=GeometryLossConfig(reprojection=0.01),
        ),
        preprocess=Preprocess(320, 240, undistort=True),
        stages=(
            Stage(
                epochs=120,
                learning_rate=2e-3,
                frozen=("backbone.*",),
                optimizer="adamw",
                weight_decay=0.01,
                schedule="one_cycle",
                average=0.998,
                gradient_clip=5.0,
            ),
        ),
        augment=Augment(
            yaw_degrees=12.0,
            pitch_degrees=12.0,
            roll_degrees=20.0,
            zoom=1.2,
            brightness=0.2,
            contrast=0.2,
            saturation=0.2,
        ),
        cached_variants=16,
        batch_size=16,
        hold_out=HoldOut(every=10, block=25),
        validate_every=5,
    )


def scene_geometry_context() -> Recipe:
    """Scene geometry with context from the whole image: for several rooms, or few images of one."""
    recipe = scene_geometry()
    return replace(recipe, config=replace(recipe.config, context=(5, 5)))


# Loss of AtLoc and MapNet, and less dropout than the 0.5 of their papers, which train for hours.
_ABSOLUTE = RegressionConfig(
    positions="standardised",
    orientation="log_quaternion",
    pose_loss=PoseLossConfig(position=-2.0, orientation=-3.0, distance="absolute"),
)
_DROPOUT = 0.1


def frozen_blocks(network: str, *, blocks: str) -> tuple[str, ...]:
    """Patterns of MobileNetV2's stem and first blocks, for a stage to freeze.

    `network` is the prefix of the parameters' names: "backbone.network", or "backbone.network.model" for
    backbones with intermediate feature maps.
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
                positions="standardised", pose_loss=PoseLossConfig(position=-2.0, orientation=-3.0)
            ),
        ),
        preprocess=Preprocess(160, 120),
        stages=(
            Stage(
                epochs=60,
                learning_rate=1e-3,
                # The features of the first half are useful for any scene; the second half has to train:
                # frozen up to blocks.5, held-out errors of the baseline were twice as large.
                frozen=frozen_blocks("backbone.network", blocks="0-3"),
                optimizer="adamw",
                weight_decay=0.01,
                backbone_rate=0.3,
                loss_rate=5.0,
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
    """MapNet: windows of 3 frames, 10 apart, and the loss of the motion between them."""
    recipe = hyperpose()
    (stage,) = recipe.stages
    window = Window(frames=3, apart=10)
    regression = replace(_ABSOLUTE, relative=_ABSOLUTE.pose_loss)
    return replace(
        recipe,
        model="mapnet",
        config=MapNetConfig(MOBILENETV2_TENSORFLOW, dropout=_DROPOUT, regression=regression),
        # An epoch has a window around every frame: a third of the epochs gives as many images as elsewhere.
        stages=(replace(stage, epochs=stage.epochs // window.frames),),
        batch_size=15,
        window=window,
    )


# A third of the published layers, half as many cells, and no dropout of attention weights: a CPU trains tens
# of epochs in twenty minutes instead of five.
_ENCODER = TransformerConfig(layers=2, attention_dropout=0.0)
_CODES = PositionCodesConfig(image_width=160, image_height=120)


def transposenet() -> Recipe:
    """TransPoseNet: attention to two maps of MobileNetV2, of 10 x 8 and 20 x 15 cells."""
    config = TransPoseNetConfig(
        MOBILENETV2_TENSORFLOW, encoder=_ENCODER, codes=_CODES, regression=hyperpose().config.regression
    )
    return _attentive("transposenet", config)


def hyperpose_2023_compact() -> Recipe:
    """HyperPose (2023) with compact generators: TransPoseNet, and heads generated for each image."""
    config = HyperPose2023Config(
        MOBILENETV2_TENSORFLOW,
        encoder=_ENCODER,
        codes=_CODES,
        hypernetwork=AttentionHypernetworkConfig(encoder=_ENCODER),
        regression=hyperpose().config.regression,
    )
    return _attentive("hyperpose_2023", config)


def hyperpose_2023() -> Recipe:
    """HyperPose (2023) with full generators of 127 million weights, as published."""
    recipe = hyperpose_2023_compact()
    hypernetwork = replace(recipe.config.hypernetwork, generator=GeneratorConfig("full"))
    return replace(recipe, config=replace(recipe.config, hypernetwork=hypernetwork))


def _attentive(model: str, config: object) -> Recipe:
    """A Transformer with the schedule of `hyperpose` at a third of its learning rate.

    The backbone trains from the first map that the Transformer reads.
    """
    recipe = hyperpose()
    (stage,) = recipe.stages
    stage = replace(
        stage,
        learning_rate=3e-4,
        backbone_rate=1.0,
        gradient_clip=5.0,
        frozen=frozen_blocks("backbone.network.model", blocks="0-2"),
    )
    return replace(recipe, model=model, config=config, stages=(stage,))


# The stage of MobileNetV2 whose feature map the multi-scene models read.
_TAP = 3


def ms_transformer() -> Recipe:
    """MS-Transformer on pretrained MobileNetV2: one model of several rooms, or of one."""
    config = MSTransformerConfig(
        backbone=MOBILENETV2_TENSORFLOW,
        orientation_tap=_TAP,
        transformer=_ENCODER,
        layers=(_ENCODER.layers, _ENCODER.layers),
        codes=replace(_CODES, kind="shared"),
        regression=hyperpose().config.regression,
    )
    return _several("ms_transformer", config, network="backbone.network.model")


def ms_hyperpose() -> Recipe:
    """MS-HyperPose with compact generators on pretrained MobileNetV2: one model of several rooms."""
    config = MSHyperPoseConfig(
        backbone=MOBILENETV2_TENSORFLOW,
        orientation_tap=_TAP,
        transformer=_ENCODER,
        codes=replace(_CODES, kind="shared"),
        regression=hyperpose().config.regression,
    )
    return _several("ms_hyperpose", config, network="backbone.network")


def ms_transposenet() -> Recipe:
    """TransPoseNet of several rooms on pretrained MobileNetV2, with a scene classifier."""
    config = MSTransPoseNetConfig(
        backbone=MOBILENETV2_TENSORFLOW,
        orientation_tap=_TAP,
        encoder=_ENCODER,
        codes=replace(_CODES, kind="shared"),
        regression=hyperpose().config.regression,
    )
    return _several("ms_transposenet", config, network="backbone.network")


def _several(model: str, config: object, *, network: str) -> Recipe:
    """A multi-scene recipe with equal parts of the scenes, frozen in front of the map's last blocks."""
    recipe = _attentive(model, config)
    (stage,) = recipe.stages
    stage = replace(stage, frozen=frozen_blocks(network, blocks="0-3"))
    return replace(recipe, stages=(stage,), balanced=True)
