"""Pose auto-encoders that are taught in a minute on a CPU, of any regressor; not rows of a paper."""

from camloc.core.augment import Augment
from camloc.recipes.student import StudentRecipe
from camloc.refiners.pose_autoencoder import PoseAutoencoderConfig
from camloc.training.stages import Stage


def quick() -> StudentRecipe:
    """The published encoder, from four turned and coloured views of every photograph: under a minute."""
    return StudentRecipe(
        config=PoseAutoencoderConfig(branches="joint"),
        stage=Stage(
            epochs=20,
            learning_rate=5e-3,
            optimizer="adamw",
            weight_decay=1e-3,
            balance_rate=5.0,
            schedule="one_cycle",
            average=0.99,
        ),
        batch_size=64,
        variants=4,
        augment=Augment(
            yaw_degrees=5.0,
            pitch_degrees=5.0,
            roll_degrees=5.0,
            brightness=0.2,
            contrast=0.2,
            saturation=0.2,
        ),
    )
