"""How a run's regressor teaches a pose auto-encoder: the settings of one row of a table."""

from dataclasses import dataclass, field
from typing import Literal

from camloc.data.augment import Augment
from camloc.refinement.image_decoder import ImageDecoderConfig
from camloc.refinement.pose_autoencoder import DistillationConfig, PoseAutoencoderConfig
from camloc.refinement.relative_pose import PairSettings, RelativePoseConfig
from camloc.training.recipe import Published, Stage


@dataclass(frozen=True)
class DecoderRecipe:
    """How images are learned from encodings.

    Attributes:
        config: of the decoder.
        stage: for how long and how fast.
        batch_size: images to a step.
    """

    config: ImageDecoderConfig
    stage: Stage
    batch_size: int = 32


@dataclass(frozen=True)
class RelativeRecipe:
    """How relative poses are learned from pairs of training frames.

    Attributes:
        config: of the regressor. Where its backbone is of the same kind as the teacher's, it starts from the
            teacher's weights.
        stage: for how long and how fast.
        batch_size: pairs to a step.
        references: what a regressor that sees images is shown of references: "decoded" images, as it will
            see them in use, or the "images", as published.
        pairs: which frames make a pair.
        augment: random changes of the images that are located.
    """

    config: RelativePoseConfig
    stage: Stage
    batch_size: int = 32
    references: Literal["decoded", "images"] = "decoded"
    pairs: PairSettings = field(default_factory=PairSettings)
    augment: Augment = field(default_factory=Augment)


@dataclass(frozen=True)
class StudentRecipe:
    """Settings of an auto-encoder and of its lesson; the teacher is the run that it stands beside.

    Attributes:
        config: of the encoder. Where the halves of the teacher's latents are one, branches are shared.
        stage: for how long and how fast.
        distillation: how the teacher is imitated.
        batch_size: views to a step.
        variants: views of every training image that the teacher's latents are computed of, once.
        augment: how they differ; the first is the image as it is.
        decoder: how images are learned from encodings, where that is asked for.
        relative: how relative poses are, where that is asked for.
        published: what the same settings reached in the paper.
    """

    config: PoseAutoencoderConfig
    stage: Stage
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    batch_size: int = 32
    variants: int = 1
    augment: Augment = field(default_factory=Augment)
    decoder: DecoderRecipe | None = None
    relative: RelativeRecipe | None = None
    published: tuple[Published, ...] = ()
