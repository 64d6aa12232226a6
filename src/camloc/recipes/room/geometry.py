"""Scene geometry of one room, and of several or from few photographs."""

from dataclasses import replace

from camloc.core.augment import Augment
from camloc.core.images import Preprocess
from camloc.models.parts.backbone import MOBILENETV2_TENSORFLOW
from camloc.models.parts.geometry_losses import GeometryLossConfig
from camloc.models.scene_geometry import SceneGeometryConfig
from camloc.recipes.base import Recipe
from camloc.training.held_out import HoldOut
from camloc.training.stages import Stage


def scene_geometry() -> Recipe:
    """Scene geometry on cached features of pretrained MobileNetV2: the most accurate of a room."""
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
                holds=("backbone.*",),
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
    """Scene geometry that looks at the whole picture too: for several rooms, or few photographs of one."""
    recipe = scene_geometry()
    return replace(recipe, config=replace(recipe.config, context=(5, 5)))
