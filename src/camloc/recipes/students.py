"""Pose auto-encoders that are taught in a minute on a CPU, of any regressor; not rows of a paper."""

from dataclasses import replace

from camloc.data.augment import Augment
from camloc.refinement.image_decoder import ImageDecoderConfig
from camloc.refinement.pairs import PairSettings
from camloc.refinement.pose_autoencoder import PoseAutoencoderConfig
from camloc.refinement.recipe import DecoderRecipe, RelativeRecipe, StudentRecipe
from camloc.refinement.relative_pose import RelativePoseConfig
from camloc.training.recipe import Stage

_TASK = Stage(
    epochs=20,
    learning_rate=5e-3,
    optimizer="adamw",
    weight_decay=1e-3,
    loss_rate=5.0,
    schedule="one_cycle",
    average=0.99,
)


def quick() -> StudentRecipe:
    """The published encoder reading whole poses, of four turned and coloured views of every image.

    Its file is of 1 MB at most, up to latents of 3,072 numbers whose halves are one.
    """
    return StudentRecipe(
        config=PoseAutoencoderConfig(branches="joint", rank=128, kept="half"),
        stage=_TASK,
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
        decoder=DecoderRecipe(ImageDecoderConfig(), replace(_TASK, learning_rate=3e-3)),
        relative=RelativeRecipe(
            RelativePoseConfig("latents"),
            replace(_TASK, epochs=10, learning_rate=2e-3),
            batch_size=128,
            pairs=PairSettings(per_frame=8),
        ),
    )


def whole() -> StudentRecipe:
    """The same with a whole last layer, and weights kept in single precision, as published."""
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
    """The published encoder, whose branches each read their own half of the pose."""
    recipe = quick()
    return replace(recipe, config=replace(recipe.config, branches="separate"))
