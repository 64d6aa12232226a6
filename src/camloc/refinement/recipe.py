"""Recipes of auxiliary networks: the settings of one row of a table."""

from dataclasses import dataclass, field
from typing import Literal

from camloc.data.augment import Augment
from camloc.refinement.image_decoder import ImageDecoderConfig
from camloc.refinement.pairs import PairSettings
from camloc.refinement.pose_autoencoder import DistillationConfig, PoseAutoencoderConfig
from camloc.refinement.relative_pose import RelativePoseConfig
from camloc.training.recipe import Stage


@dataclass(frozen=True)
class DecoderRecipe:
    """Settings of an image decoder's training.

    Attributes:
        config: of the decoder.
        stage: epochs, learning rate and so on.
        batch_size: images in a step.
    """

    config: ImageDecoderConfig
    stage: Stage
    batch_size: int = 32


@dataclass(frozen=True)
class RelativeRecipe:
    """Settings of a relative pose regressor's training, on pairs of training frames.

    Attributes:
        config: of the regressor. A backbone of the same kind as the teacher's starts from its weights.
        stage: epochs, learning rate and so on.
        batch_size: pairs in a step.
        references: the reference images of a regressor that sees images: "decoded" ones, as in use, or the
            "images" themselves, as published.
        pairs: which frames make a pair.
        augment: random changes of the queries' images.
    """

    config: RelativePoseConfig
    stage: Stage
    batch_size: int = 32
    references: Literal["decoded", "images"] = "decoded"
    pairs: PairSettings = field(default_factory=PairSettings)
    augment: Augment = field(default_factory=Augment)


@dataclass(frozen=True)
class StudentRecipe:
    """Settings of a pose auto-encoder and its training; the teacher is the regressor of a finished run.

    Attributes:
        config: of the encoder. If the halves of the teacher's latents are the same tensor, its branches are
            shared whatever this says.
        stage: epochs, learning rate and so on.
        distillation: how the teacher is imitated.
        batch_size: images in a step.
        variants: augmented variants of every training image, each with the teacher's latents.
        augment: how the variants differ; the first is the image without changes.
        decoder: settings of the image decoder, or None if the recipe has none.
        relative: settings of the relative pose regressor, or None.
    """

    config: PoseAutoencoderConfig
    stage: Stage
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    batch_size: int = 32
    variants: int = 1
    augment: Augment = field(default_factory=Augment)
    decoder: DecoderRecipe | None = None
    relative: RelativeRecipe | None = None
