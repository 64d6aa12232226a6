"""Pose auto-encoders for any regressor, trained in a minute on a CPU; not rows of a paper."""

from dataclasses import replace

from camloc.data.augment import Augment
from camloc.refinement.image_decoder import ImageDecoderConfig
from camloc.refinement.pairs import PairSettings
from camloc.refinement.pose_autoencoder import PoseAutoencoderConfig
from camloc.refinement.recipe import DecoderRecipe, RelativeRecipe, StudentRecipe
from camloc.refinement.relative_pose import RelativePoseConfig
from camloc.training.recipe import Stage

_STAGE = Stage(
    epochs=20,
    learning_rate=5e-3,
    optimizer="adamw",
    weight_decay=1e-3,
    loss_rate=5.0,
    schedule="one_cycle",
    average=0.99,
)


def quick() -> StudentRecipe:
    """The published encoder on whole poses, trained on four turned and coloured views of every image.

    Its file has at most 1 MB for latents of up to 3,072 numbers that both halves of the pose share.
    """
    return StudentRecipe(
        config=PoseAutoencoderConfig(branches="joint", rank=128, kept="half"),
        stage=_STAGE,
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
        decoder=DecoderRecipe(ImageDecoderConfig(), replace(_STAGE, learning_rate=3e-3)),
        relative=RelativeRecipe(
            RelativePoseConfig("latents"),
            replace(_STAGE, epochs=10, learning_rate=2e-3),
            batch_size=128,
            pairs=PairSettings(per_frame=8),
        ),
    )


def whole() -> StudentRecipe:
    """As students/quick, with a last layer of full rank and weights in single precision, as published."""
    recipe = quick()
    return replace(recipe, config=replace(recipe.config, rank=0, kept="single"))


def four_layers() -> StudentRecipe:
    """As students/quick, without Fourier features."""
    recipe = quick()
    return replace(recipe, config=replace(recipe.config, frequencies=0))


def two_layers() -> StudentRecipe:
    """As students/quick, with two layers and without Fourier features."""
    recipe = quick()
    return replace(recipe, config=replace(recipe.config, frequencies=0, hidden=(64,)))


def separate() -> StudentRecipe:
    """The published encoder, with a branch for each half of the pose that reads this half alone."""
    recipe = quick()
    return replace(recipe, config=replace(recipe.config, branches="separate"))
