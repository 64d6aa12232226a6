"""Teaching a finished run's pose auto-encoder, and what it leaves in the run's folder."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from camloc.checkpoint import Checkpoint, load_checkpoint
from camloc.companions import AutoencoderFacts, HeldOutErrors, digest, run_around, save_autoencoder
from camloc.core.config import from_builtins
from camloc.core.device import torch_device
from camloc.core.model import Regressor
from camloc.core.types import Frame, Scene, oriented, poses_of
from camloc.errors import DatasetError, RecipeError
from camloc.geometry.pose import Pose, PoseError, pose_error
from camloc.recipes.settings import RunFacts
from camloc.recipes.student import StudentRecipe
from camloc.refiners.pose_autoencoder import PoseAutoencoder
from camloc.training.distillation import Distillation, decoded
from camloc.training.held_out import HoldOut, hold_out, keep_orientations
from camloc.training.lesson import Round, learn
from camloc.training.pictures import load_pictures
from camloc.training.refinement_choice import choose_refinement
from camloc.training.teacher import Taught, frozen, taught_views

PictureProgress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Teacher:
    """A run whose regressor can teach.

    Attributes:
        run: its folder.
        checkpoint: its weights and facts.
        model: the regressor, frozen.
        scene: the place.
        learned, held: the frames that it learned from and those that chose its weights, all with
            orientations.
        device: where it runs.
    """

    run: Path
    checkpoint: Checkpoint
    model: Regressor[Any]
    scene: Scene
    learned: tuple[Frame, ...]
    held: tuple[Frame, ...]
    device: torch.device

    @classmethod
    def load(cls, run: Path, *, device: str = "cpu") -> "Teacher":
        """The teacher of a run folder, with the frames as the run itself held them out.

        Raises:
            CheckpointError: the run is incomplete or damaged.
            DatasetError: its frames cannot be read any more.
            RecipeError: its model is no regressor, or this machine has no such device.
        """
        place, folder = torch_device(device), run_around(run)
        facts, checkpoint = RunFacts.load(folder), load_checkpoint(folder)
        if not isinstance(checkpoint.model, Regressor):
            raise RecipeError(
                f"{checkpoint.facts.model} regresses no pose from latents, so it cannot teach a pose "
                f"auto-encoder; train a regressor such as hyperpose"
            )
        scene = facts.data.load()
        learned, held = hold_out(scene.train, from_builtins(facts.settings["hold_out"], HoldOut))
        learned = oriented(keep_orientations(learned, int(facts.settings.get("keep_orientation_every", 0))))
        if not learned:
            raise DatasetError(f"{facts.data.root} has no training frame with an orientation any more")
        model = frozen(checkpoint.model).to(place)
        return cls(folder, checkpoint, model, scene, learned, held, place)

    def taught(
        self, frames: tuple[Frame, ...], recipe: StudentRecipe, *, progress: PictureProgress | None = None
    ) -> Taught:
        """What the teacher sees in frames, of each as many views as the recipe says."""
        preprocess = self.checkpoint.facts.preprocess
        return taught_views(
            self.model,
            load_pictures(frames, preprocess),
            width=preprocess.width,
            height=preprocess.height,
            augment=recipe.augment,
            variants=recipe.variants,
            device=self.device,
            progress=progress,
        ).to(self.device)


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
    progress: PictureProgress | None = None,
) -> Teaching:
    """Compute the teacher's latents, and build the encoder."""
    train = teacher.taught(teacher.learned, recipe, progress=progress)
    held = teacher.taught(teacher.held, replace(recipe, variants=1)) if teacher.held else None
    if train.is_shared:
        recipe = replace(recipe, config=replace(recipe.config, branches="shared"))
    torch.manual_seed(seed)
    position, orientation = (int(half.shape[1]) for half in train.latents)
    encoder = PoseAutoencoder(
        recipe.config, latents=(position, orientation), scenes=len(teacher.checkpoint.facts.scenes)
    ).to(teacher.device)
    encoder.observe(training_poses(teacher), train.latents)
    lesson = Distillation(encoder, teacher.model, train, held, recipe.distillation)
    return Teaching(teacher, recipe, name, lesson, seed)


def training_poses(teacher: Teacher) -> tuple[Pose, ...]:
    """The poses of the frames that were learned from, of each place."""
    return (poses_of(teacher.learned),)


def teach(teaching: Teaching) -> Iterator[Round]:
    """Teach, let the held-out frames choose how to refine, and write it all beside the checkpoint.

    Nothing is written before the end.
    """
    recipe = teaching.recipe
    yield from learn(
        teaching.lesson, recipe.stage, batch_size=recipe.batch_size, seed=teaching.seed, measure_every=5
    )
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
    choice = choose_refinement(encoder, training_poses(teacher), held)
    truth = held.world_from_cam
    return replace(
        facts,
        answers=_errors(pose_error(held.answers, truth)),
        student=_errors(pose_error(decoded(teacher.model, encoder(truth, held.scene)), truth)),
        student_of_answers=_errors(
            pose_error(decoded(teacher.model, encoder(held.answers, held.scene)), truth)
        ),
        refined=choice.errors,
        settings=choice.settings,
    )


def _errors(error: PoseError) -> HeldOutErrors:
    return HeldOutErrors(float(error.meters.median()), float(error.degrees.median()))
