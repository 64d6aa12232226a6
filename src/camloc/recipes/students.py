"""Pose auto-encoders that are taught in a minute on a CPU, of any regressor; not rows of a paper."""

from dataclasses import replace

from camloc.core.augment import Augment
from camloc.recipes.student import DecoderRecipe, RelativeRecipe, StudentRecipe
from camloc.refiners.image_decoder import ImageDecoderConfig
from camloc.refiners.pose_autoencoder import PoseAutoencoderConfig
from camloc.refiners.relative_pose import RelativePoseConfig
from camloc.training.pairs import PairSettings
from camloc.training.stages import Stage

_LESSON = Stage(
    epochs=20,
    learning_rate=5e-3,
    optimizer="adamw",
    weight_decay=1e-3,
    balance_rate=5.0,
    schedule="one_cycle",
    average=0.99,
)


def quick() -> StudentRecipe:
    """Four layers that read whole poses, taught from four turned and coloured views of every photograph.

    Without Fourier features: with them poses between the training frames are encoded worse, and on held-out
    frames of two real places students were up to 2.4 times as far off as their teachers. Its file is of 1 MB
    at most, up to latents of 3,072 numbers whose halves are one.
    """
    recipe = fourier()
    return replace(recipe, config=replace(recipe.config, frequencies=0))


def fourier() -> StudentRecipe:
    """As students/quick, with the Fourier features of the published encoder."""
    return StudentRecipe(
        config=PoseAutoencoderConfig(branches="joint", rank=128, kept="half"),
        stage=_LESSON,
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
        decoder=DecoderRecipe(ImageDecoderConfig(), replace(_LESSON, learning_rate=3e-3)),
        relative=RelativeRecipe(
            RelativePoseConfig("latents"),
            replace(_LESSON, epochs=10, learning_rate=2e-3),
            batch_size=128,
            pairs=PairSettings(per_frame=8),
        ),
    )


def whole() -> StudentRecipe:
    """As students/fourier, with a whole last layer and weights in single precision, as published."""
    recipe = fourier()
    return replace(recipe, config=replace(recipe.config, rank=0, kept="single"))


def two_layers() -> StudentRecipe:
    """As students/quick, with two layers."""
    recipe = quick()
    return replace(recipe, config=replace(recipe.config, hidden=(64,)))


def separate() -> StudentRecipe:
    """As students/fourier, whose branches each read their own half of the pose, as published."""
    recipe = fourier()
    return replace(recipe, config=replace(recipe.config, branches="separate"))
