"""Camera pose auto-encoders (Shavit and Keller, ECCV 2022): the PoseNet-like teachers of Table 4.

Adam at 1e-3 with eps 1e-10 and decay 1e-4, halved every 100 of 300 epochs, batches of 32; pictures
scaled to a shorter side of 256 and cut to 224 x 224, with colour changes (section 4).
"""

from camloc.core.augment import Augment
from camloc.core.images import Preprocess
from camloc.models.parts.backbone import BackboneConfig
from camloc.models.posenet import PoseNetConfig
from camloc.recipes.base import Published, Recipe
from camloc.training.stages import Stage


def teacher_mobilenet() -> Recipe:
    """PoseNet-like teacher with MobileNetV2 on King's College: Table 4, PoseNet+MobileNet."""
    return _teacher("mobilenetv2_100", 1.24, 3.45, "PoseNet+MobileNet")


def teacher_resnet50() -> Recipe:
    """PoseNet-like teacher with ResNet-50 on King's College: Table 4, PoseNet+ResNet50."""
    return _teacher("resnet50", 1.56, 3.79, "PoseNet+ResNet50")


def teacher_efficientnet() -> Recipe:
    """PoseNet-like teacher with EfficientNet-B0 on King's College: Table 4, PoseNet+EfficientNet."""
    return _teacher("efficientnet_b0", 0.88, 2.91, "PoseNet+EfficientNet")


def _teacher(backbone: str, meters: float, degrees: float, row: str) -> Recipe:
    return Recipe(
        model="posenet",
        config=PoseNetConfig(BackboneConfig(backbone)),
        preprocess=Preprocess(224, 224, short_side=256),
        stages=(
            Stage(
                epochs=300,
                learning_rate=1e-3,
                epsilon=1e-10,
                weight_decay=1e-4,
                schedule="step",
                step_epochs=100,
                step_factor=0.5,
            ),
        ),
        augment=Augment(random_crop=True, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2),
        batch_size=32,
        validate_every=5,
        layout="cambridge",
        published=(Published("KingsCollege", meters, degrees, f"Table 4, {row}, teacher"),),
    )
