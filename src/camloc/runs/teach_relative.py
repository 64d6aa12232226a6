"""Teaching a relative pose regressor, and choosing how it refines."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, product

import torch

from camloc.companions import PositionErrors, RelativeFacts, digest, load_decoder, save_relative
from camloc.errors import RecipeError
from camloc.models.parts.balance import BalanceConfig
from camloc.recipes.student import RelativeRecipe, StudentRecipe
from camloc.refiners.image_decoder import ImageDecoder
from camloc.refiners.pose_autoencoder import PoseAutoencoder
from camloc.refiners.relative_pose import RelativePoseRegressor
from camloc.refiners.virtual_view import VirtualView, VirtualViewRefiner
from camloc.runs.sights import Sights
from camloc.runs.teach_decoder import encoder_of
from camloc.runs.teacher import PictureProgress, Teacher, all_poses
from camloc.training.lesson import Round, learn
from camloc.training.pairs import joined_pairs, overlapping_pairs
from camloc.training.refinement_choice import refined_errors
from camloc.training.relative_lesson import RelativeLesson, RelativeStudent

# How far towards the regressed position; 1 is the paper's.
SHARES = (1.0, 0.75, 0.5, 0.25)


def teach_relative(
    teacher: Teacher, recipe: StudentRecipe, *, seed: int = 0, progress: PictureProgress | None = None
) -> Iterator[Round]:
    """Teach a relative pose regressor, and let the held-out frames choose how it refines.

    Leaves `relative/` in the run's folder.

    Raises:
        RecipeError: the recipe has no such regressor, or there is no decoder for what it sees.
    """
    settings = recipe.relative
    if settings is None:
        raise RecipeError(
            "this recipe has no relative pose regressor; choose one that has, such as students/quick"
        )
    encoder = encoder_of(teacher)
    decoder = _decoder(teacher, encoder, settings)
    sights = Sights(teacher, recipe, settings, encoder, decoder, progress)
    torch.manual_seed(seed)
    regressor = RelativePoseRegressor(settings.config, latents=encoder.latents)
    _start_from(teacher, regressor)
    pairs = joined_pairs(
        [
            overlapping_pairs(frames, settings.pairs, points=scene.points, seed=seed)
            for frames, scene in zip(teacher.learned, teacher.scenes, strict=True)
        ],
        [len(frames) for frames in teacher.learned],
    )
    poses = all_poses(teacher.learned)
    regressor.observe(poses[pairs.reference], poses[pairs.query])
    student = RelativeStudent(regressor.to(teacher.device), BalanceConfig(0.0, -3.0)).to(teacher.device)
    lesson = RelativeLesson(
        student, pairs, query=sights.query, reference=sights.reference, held=sights.examination()
    )
    yield from learn(lesson, settings.stage, batch_size=settings.batch_size, seed=seed, measure_every=2)
    facts = RelativeFacts(digest(encoder), settings.config, encoder.latents)
    if teacher.holds_out:
        facts = _with_choice(facts, teacher, sights, encoder, regressor, decoder)
    save_relative(teacher.run, facts, regressor)


def _decoder(teacher: Teacher, encoder: PoseAutoencoder, settings: RelativeRecipe) -> ImageDecoder | None:
    if settings.config.sees != "pictures":
        return None
    found = load_decoder(teacher.run, encoder)
    if found is None:
        raise RecipeError(f"{teacher.run} has no image decoder of its auto-encoder; teach one first")
    return found[1].requires_grad_(False).to(teacher.device)


def _start_from(teacher: Teacher, regressor: RelativePoseRegressor) -> None:
    """Let a CNN of the teacher's kind start from the teacher's weights."""
    theirs = getattr(teacher.model, "backbone", None)
    if regressor.backbone is None or theirs is None:
        return
    weights, wanted = theirs.state_dict(), regressor.backbone.state_dict()
    if {name: value.shape for name, value in weights.items()} == {
        name: value.shape for name, value in wanted.items()
    }:
        regressor.backbone.load_state_dict(weights)


def views() -> Iterator[VirtualView]:
    """The settings of virtual relative pose regression that compete, the paper's first."""
    nearest = (VirtualView(neighbours=count) for count in (1, 3))
    repeated = (VirtualView("answer", iterations=count) for count in (1, 3))
    for view, share in product(chain(nearest, repeated), SHARES):
        yield replace(view, share=share)


def _with_choice(
    facts: RelativeFacts,
    teacher: Teacher,
    sights: Sights,
    encoder: PoseAutoencoder,
    regressor: RelativePoseRegressor,
    decoder: ImageDecoder | None,
) -> RelativeFacts:
    """The facts with the settings that are best on the held-out frames."""
    held = sights.held
    assert held is not None, "there is nothing to choose by"

    def errors(view: VirtualView) -> PositionErrors:
        refiner = VirtualViewRefiner(view, teacher.training_poses, encoder, regressor, decoder)
        return refined_errors(refiner, held, images=sights.held_images)

    tried = {view: errors(view) for view in views()}
    best = max(tried, key=lambda view: tried[view].sure_gain)
    return replace(facts, view=best, published=tried[VirtualView()], refined=tried[best])
