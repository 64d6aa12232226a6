"""TransPoseNet (Shavit, Ferens and Keller 2021): Tables 1, 3, 5, 6, 7 and 8.

Adam with eps 1e-10 and decay 1e-4, batches of 8, learning rate 1e-4 lowered to a tenth every 200 of 600
epochs outdoors, every 100 of 300 indoors; images scaled to a shorter side of 256 and cut to 224 x 224,
brightness, contrast and saturation changed (section 4). Then each head is trained alone, with everything else
frozen; outdoors the orientation head also reads the position's latent vector from then on. The paper does not
say for how long: a tenth of the first phase here. The ablations end with the first phase.
"""

from dataclasses import replace

from camloc.data.augment import Augment
from camloc.data.image_io import Preprocess
from camloc.models.layers.backbone import RELEASED_OPTIONS, BackboneConfig
from camloc.models.layers.transformer import TransformerConfig
from camloc.models.losses import PoseLossConfig
from camloc.models.regressor import RegressionConfig
from camloc.models.transposenet import PRESETS, TransPoseNetConfig
from camloc.training.recipe import Recipe, Stage

_COARSE, _FINE = 3, 2


def cambridge() -> Recipe:
    """TransPoseNet on Cambridge Landmarks: Table 1, "TransPoseNet (Ours)"."""
    recipe = _outdoors(PRESETS["paper-outdoors"])
    return replace(
        recipe,
        stages=(
            replace(recipe.stages[0], frozen=("orientation_head.prior.*",)),
            *_each_head_alone(recipe.stages[0]),
        ),
    )


def cambridge_released() -> Recipe:
    """TransPoseNet on Cambridge Landmarks with its authors' settings: Table 1, "TransPoseNet (Ours)"."""
    recipe = _outdoors(PRESETS["released"])
    return replace(
        recipe,
        augment=replace(recipe.augment, hue=0.2),
    )


def sevenscenes() -> Recipe:
    """TransPoseNet on 7Scenes: Table 3, "TransPoseNet (Ours)"."""
    config = replace(PRESETS["paper"], regression=RegressionConfig(pose_loss=PoseLossConfig(0.0, -3.0)))
    recipe = _outdoors(config)
    first = replace(recipe.stages[0], epochs=300, step_epochs=100)
    return replace(
        recipe,
        stages=(first, *_each_head_alone(replace(first, learning_rate=1e-3, weight_decay=1e-2))),
        layout="sevenscenes",
    )


def shop_resnet50() -> Recipe:
    """TransPoseNet with ResNet-50 on Shop Facade: Table 5, "Resnet50"."""
    config = TransPoseNetConfig(BackboneConfig("resnet50"))
    return _outdoors(config)


def shop_efficientnet_b0() -> Recipe:
    """TransPoseNet with EfficientNet-B0 on Shop Facade: Table 5, "EfficientNetB0"."""
    return _outdoors(PRESETS["paper"])


def shop_efficientnet_b1() -> Recipe:
    """TransPoseNet with EfficientNet-B1 on Shop Facade: Table 5, "EfficientNetB1"."""
    config = replace(PRESETS["paper"], backbone=BackboneConfig("tf_efficientnet_b1", dict(RELEASED_OPTIONS)))
    return _outdoors(config)


def shop_layers_2() -> Recipe:
    """TransPoseNet with encoders of two layers on Shop Facade: Table 6, row 2."""
    return _layers(2)


def shop_layers_4() -> Recipe:
    """TransPoseNet with encoders of four layers on Shop Facade: Table 6, row 4."""
    return _layers(4)


def shop_layers_6() -> Recipe:
    """TransPoseNet with encoders of six layers on Shop Facade: Table 6, row 6."""
    return _layers(6)


def shop_layers_8() -> Recipe:
    """TransPoseNet with encoders of eight layers on Shop Facade: Table 6, row 8."""
    return _layers(8)


def shop_width_64() -> Recipe:
    """TransPoseNet with encoders 64 wide on Shop Facade: Table 7, row 64."""
    return _width(64)


def shop_width_128() -> Recipe:
    """TransPoseNet with encoders 128 wide on Shop Facade: Table 7, row 128."""
    return _width(128)


def shop_width_256() -> Recipe:
    """TransPoseNet with encoders 256 wide on Shop Facade: Table 7, row 256."""
    return _width(256)


def shop_width_512() -> Recipe:
    """TransPoseNet with encoders 512 wide on Shop Facade: Table 7, row 512."""
    return _width(512)


def shop_maps_fine_fine() -> Recipe:
    """TransPoseNet that reads the finer map for both halves on Shop Facade: Table 8, m_rdct3/m_rdct3."""
    return _maps(_FINE, _FINE)


def shop_maps_fine_coarse() -> Recipe:
    """TransPoseNet that reads the finer map for the position on Shop Facade: Table 8, m_rdct3/m_rdct4."""
    return _maps(_FINE, _COARSE)


def shop_maps_coarse_fine() -> Recipe:
    """TransPoseNet that reads the finer map for the orientation on Shop Facade: Table 8, m_rdct4/m_rdct3."""
    return _maps(_COARSE, _FINE)


def shop_maps_coarse_coarse() -> Recipe:
    """TransPoseNet that reads the coarser map for both halves on Shop Facade: Table 8, m_rdct4/m_rdct4."""
    return _maps(_COARSE, _COARSE)


def _layers(layers: int) -> Recipe:
    return _outdoors(replace(PRESETS["paper"], encoder=TransformerConfig(layers=layers)))


def _width(width: int) -> Recipe:
    return _outdoors(replace(PRESETS["paper"], encoder=TransformerConfig(width=width)))


def _maps(position: int, orientation: int) -> Recipe:
    return _outdoors(replace(PRESETS["paper"], position_tap=position, orientation_tap=orientation))


def _outdoors(config: TransPoseNetConfig) -> Recipe:
    return Recipe(
        model="transposenet",
        config=config,
        preprocess=Preprocess(224, 224, short_side=256),
        stages=(
            Stage(
                epochs=600,
                learning_rate=1e-4,
                epsilon=1e-10,
                weight_decay=1e-4,
                schedule="step",
                step_epochs=200,
                step_factor=0.1,
            ),
        ),
        augment=Augment(random_crop=True, brightness=0.5, contrast=0.5, saturation=0.5),
        batch_size=8,
        validate_every=5,
        layout="cambridge",
    )


def _each_head_alone(stage: Stage) -> tuple[Stage, Stage]:
    short = replace(stage, epochs=stage.epochs // 10)
    return (
        replace(short, trains=("position_head.*",), loss_weights={"orientation": 0.0}),
        replace(short, trains=("orientation_head.*",), loss_weights={"position": 0.0}),
    )
