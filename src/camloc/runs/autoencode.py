"""Teaching a finished run's pose auto-encoder, and what it leaves in the run's folder."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from camloc.companions import AutoencoderFacts, HeldOutErrors, digest, save_autoencoder
from camloc.geometry.pose import Pose, PoseError, pose_error
from camloc.recipes.student import StudentRecipe
from camloc.refiners.pose_autoencoder import PoseAutoencoder
from camloc.runs.teacher import PictureProgress, Teacher
from camloc.training.distillation import Distillation
from camloc.training.lesson import Round, learn
from camloc.training.refinement_choice import choose_refinement
from camloc.training.teacher import Taught


@dataclass(frozen=True, eq=False)
class Teaching:
    """An auto-encoder that is about to learn.

    Attributes:
        teacher: of it.
        recipe: its settings, with the branches that it really has.
        name: of the recipe.
        lesson: what it learns.
        seed: of the lesson.
    """

    teacher: Teacher
    recipe: StudentRecipe
    name: str
    lesson: Distillation
    seed: int

    @property
    def encoder(self) -> PoseAutoencoder:
        """The auto-encoder."""
        return self.lesson.network.encoder


def prepare_teaching(
    teacher: Teacher,
    recipe: StudentRecipe,
    *,
    name: str,
    seed: int = 0,
    seen: tuple[Taught, Taught | None] | None = None,
    progress: PictureProgress | None = None,
) -> Teaching:
    """Compute the teacher's latents, unless they are `seen` already, and build the encoder."""
    train, held = seen or what_it_sees(teacher, recipe, progress=progress)
    if train.is_shared:
        recipe = replace(recipe, config=replace(recipe.config, branches="shared"))
    torch.manual_seed(seed)
    position, orientation = (int(half.shape[1]) for half in train.latents)
    encoder = PoseAutoencoder(
        recipe.config, latents=(position, orientation), scenes=len(teacher.checkpoint.facts.scenes)
    ).to(teacher.device)
    encoder.observe(teacher.training_poses, train.latents)
    lesson = Distillation(encoder, teacher.model, train, held, recipe.distillation)
    return Teaching(teacher, recipe, name, lesson, seed)


def what_it_sees(
    teacher: Teacher, recipe: StudentRecipe, *, progress: PictureProgress | None = None
) -> tuple[Taught, Taught | None]:
    """The teacher's latents of the frames to learn from and of those held out, if any are."""
    train = teacher.taught(teacher.learned, recipe, progress=progress)
    return train, teacher.taught(teacher.held, recipe, variants=1) if teacher.holds_out else None


def teach(teaching: Teaching) -> Iterator[Round]:
    """Teach, let the held-out frames choose how to refine, and write it all beside the checkpoint.

    Nothing is written before the end.
    """
    recipe = teaching.recipe
    yield from learn(
        teaching.lesson, recipe.stage, batch_size=recipe.batch_size, seed=teaching.seed, measure_every=5
    )
    teaching.encoder.round_off()
    save_autoencoder(teaching.teacher.run, facts_of(teaching), teaching.encoder)


@torch.no_grad()
def facts_of(teaching: Teaching) -> AutoencoderFacts:
    """What is written beside the weights of an encoder that has learned."""
    teacher, encoder, held = teaching.teacher, teaching.encoder, teaching.lesson.held
    facts = AutoencoderFacts(
        teacher=digest(teacher.model),
        scenes=teacher.checkpoint.facts.scenes,
        config=encoder.config,
        latents=encoder.latents,
        recipe=teaching.name,
    )
    if held is None:
        return facts
    choice = choose_refinement(encoder, teacher.training_poses, held)
    truth = held.world_from_cam
    return replace(
        facts,
        answers=_errors(pose_error(held.answers, truth)),
        student=_errors(pose_error(_through(teacher, encoder, truth, held), truth)),
        student_of_answers=_errors(pose_error(_through(teacher, encoder, held.answers, held), truth)),
        refined=choice.errors,
        settings=choice.settings,
    )


def _through(teacher: Teacher, encoder: PoseAutoencoder, poses: Pose, held: Taught) -> Pose:
    """Poses through the encoder and the teacher's heads."""
    return teacher.model.pose_in(encoder(poses, held.scene), held.scene)


def _errors(error: PoseError) -> HeldOutErrors:
    return HeldOutErrors(float(error.meters.median()), float(error.degrees.median()))
