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
from camloc.models.layers.backbone import BackboneConfig
from camloc.models.layers.transformer import TransformerConfig
from camloc.models.losses import PoseLossConfig
from camloc.models.regressor import RegressionConfig
from camloc.models.transposenet import PRESETS, TransPoseNetConfig
from camloc.recipes import CAMBRIDGE, SEVENSCENES
from camloc.training.recipe import Published, Recipe, Stage

_CAMBRIDGE_ERRORS = ((0.60, 2.43), (1.45, 3.08), (0.55, 3.49), (1.09, 4.99))
_SEVENSCENES_ERRORS = (
    (0.08, 5.68), (0.24, 10.6), (0.13, 12.7), (0.17, 6.34), (0.17, 5.6), (0.19, 6.75), (0.30, 7.02)
)  # fmt: skip

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
        published=Published.of_scenes(CAMBRIDGE, _CAMBRIDGE_ERRORS, "Table 1, TransPoseNet (Ours)"),
    )


def cambridge_released() -> Recipe:
    """TransPoseNet on Cambridge Landmarks with its authors' settings: Table 1, "TransPoseNet (Ours)"."""
    recipe = _outdoors(PRESETS["released"])
    return replace(
        recipe,
        augment=replace(recipe.augment, hue=0.2),
        published=Published.of_scenes(CAMBRIDGE, _CAMBRIDGE_ERRORS, "Table 1, TransPoseNet (Ours)"),
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
        published=Published.of_scenes(SEVENSCENES, _SEVENSCENES_ERRORS, "Table 3, TransPoseNet (Ours)"),
    )


def shop_resnet50() -> Recipe:
    """TransPoseNet with ResNet-50 on Shop Facade: Table 5, "Resnet50"."""
    config = TransPoseNetConfig(BackboneConfig("resnet50"))
    return _ablation(config, 0.81, 4.76, "Table 5, Resnet50")


def shop_efficientnet_b0() -> Recipe:
    """TransPoseNet with EfficientNet-B0 on Shop Facade: Table 5, "EfficientNetB0"."""
    return _ablation(TransPoseNetConfig(), 0.65, 3.63, "Table 5, EfficientNetB0")


def shop_efficientnet_b1() -> Recipe:
    """TransPoseNet with EfficientNet-B1 on Shop Facade: Table 5, "EfficientNetB1"."""
    config = TransPoseNetConfig(BackboneConfig("efficientnet_b1"))
    return _ablation(config, 0.69, 4.03, "Table 5, EfficientNetB1")


def shop_layers_2() -> Recipe:
    """TransPoseNet with encoders of two layers on Shop Facade: Table 6, row 2."""
    return _layers(2, 0.92, 4.61)


def shop_layers_4() -> Recipe:
    """TransPoseNet with encoders of four layers on Shop Facade: Table 6, row 4."""
    return _layers(4, 0.93, 4.2)


def shop_layers_6() -> Recipe:
    """TransPoseNet with encoders of six layers on Shop Facade: Table 6, row 6."""
    return _layers(6, 0.65, 3.63)


def shop_layers_8() -> Recipe:
    """TransPoseNet with encoders of eight layers on Shop Facade: Table 6, row 8."""
    return _layers(8, 0.89, 3.75)


def shop_width_64() -> Recipe:
    """TransPoseNet with encoders 64 wide on Shop Facade: Table 7, row 64."""
    return _width(64, 0.79, 4.35)


def shop_width_128() -> Recipe:
    """TransPoseNet with encoders 128 wide on Shop Facade: Table 7, row 128."""
    return _width(128, 0.81, 3.99)


def shop_width_256() -> Recipe:
    """TransPoseNet with encoders 256 wide on Shop Facade: Table 7, row 256."""
    return _width(256, 0.65, 3.63)


def shop_width_512() -> Recipe:
    """TransPoseNet with encoders 512 wide on Shop Facade: Table 7, row 512."""
    return _width(512, 0.68, 4.18)


def shop_maps_fine_fine() -> Recipe:
    """TransPoseNet that reads the finer map for both halves on Shop Facade: Table 8, m_rdct3/m_rdct3."""
    return _maps(_FINE, _FINE, 1.08, 3.60)


def shop_maps_fine_coarse() -> Recipe:
    """TransPoseNet that reads the finer map for the position on Shop Facade: Table 8, m_rdct3/m_rdct4."""
    return _maps(_FINE, _COARSE, 0.99, 4.32)


def shop_maps_coarse_fine() -> Recipe:
    """TransPoseNet that reads the finer map for the orientation on Shop Facade: Table 8, m_rdct4/m_rdct3."""
    return _maps(_COARSE, _FINE, 0.65, 3.63)


def shop_maps_coarse_coarse() -> Recipe:
    """TransPoseNet that reads the coarser map for both halves on Shop Facade: Table 8, m_rdct4/m_rdct4."""
    return _maps(_COARSE, _COARSE, 0.81, 4.05)


def _layers(layers: int, meters: float, degrees: float) -> Recipe:
    config = TransPoseNetConfig(encoder=TransformerConfig(layers=layers))
    return _ablation(config, meters, degrees, f"Table 6, {layers} layers")


def _width(width: int, meters: float, degrees: float) -> Recipe:
    config = TransPoseNetConfig(encoder=TransformerConfig(width=width))
    return _ablation(config, meters, degrees, f"Table 7, {width}")


def _maps(position: int, orientation: int, meters: float, degrees: float) -> Recipe:
    config = TransPoseNetConfig(position_tap=position, orientation_tap=orientation)
    names = {_COARSE: "m_rdct4", _FINE: "m_rdct3"}
    return _ablation(config, meters, degrees, f"Table 8, {names[position]}/{names[orientation]}")


def _ablation(config: TransPoseNetConfig, meters: float, degrees: float, source: str) -> Recipe:
    return replace(_outdoors(config), published=(Published("ShopFacade", meters, degrees, source),))


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
