"""How a run's regressor teaches a pose auto-encoder: the settings of one row of a table."""

from collections.abc import Callable
from dataclasses import dataclass, field

from camloc.core.augment import Augment
from camloc.recipes.base import Published, found_among, functions_that_return
from camloc.refiners.pose_autoencoder import PoseAutoencoderConfig
from camloc.training.distillation import DistillationConfig
from camloc.training.stages import Stage


@dataclass(frozen=True)
class StudentRecipe:
    """Settings of an auto-encoder and of its lesson; the teacher is the run that it stands beside.

    Attributes:
        config: of the encoder. Where the halves of the teacher's latents are one, branches are shared.
        stage: for how long and how fast.
        distillation: how the teacher is imitated.
        batch_size: views to a step.
        variants: views of every training photograph that the teacher's latents are computed of, once.
        augment: how they differ; the first is the photograph as it is.
        published: what the same settings reached in the paper.
    """

    config: PoseAutoencoderConfig
    stage: Stage
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    batch_size: int = 32
    variants: int = 1
    augment: Augment = field(default_factory=Augment)
    published: tuple[Published, ...] = ()


def student_functions() -> dict[str, Callable[[], StudentRecipe]]:
    """All of them by name: `<file>/<function>`."""
    return functions_that_return(StudentRecipe)


def find_student(name: str) -> StudentRecipe:
    """The one of a name.

    Raises:
        RecipeError: there is none of that name.
    """
    return found_among(student_functions(), name)
