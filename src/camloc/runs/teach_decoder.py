"""Teaching an image decoder from a run's auto-encoder, and the figure that it leaves."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from camloc.companions import DECODER, DecoderFacts, digest, load_autoencoder, save_decoder
from camloc.core.files import write_atomically
from camloc.core.model import Latents
from camloc.core.spread import evenly_spread
from camloc.errors import RecipeError
from camloc.evaluation.side_by_side import side_by_side
from camloc.recipes.student import DecoderRecipe
from camloc.refiners.image_decoder import ImageDecoder
from camloc.refiners.pose_autoencoder import PoseAutoencoder
from camloc.refiners.position import PositionRefinement, PositionRefiner
from camloc.refiners.query import Query
from camloc.runs.teacher import Places, Teacher, all_poses, scene_numbers
from camloc.training.decoding import Decoding, decoded_pictures, picture_error, small_pictures
from camloc.training.lesson import Round, learn

# Pictures side by side in the figure.
SHOWN = 6
PICTURES = "pictures.png"


def encoder_of(teacher: Teacher) -> PoseAutoencoder:
    """The auto-encoder of a run, frozen, where the teacher runs.

    Raises:
        RecipeError: none has learned from the run's weights.
    """
    found = load_autoencoder(teacher.run, teacher.checkpoint)
    if found is None:
        raise RecipeError(f"{teacher.run} has no pose auto-encoder of its weights; teach one first")
    return found[1].requires_grad_(False).to(teacher.device)


@torch.no_grad()
def encoded(encoder: PoseAutoencoder, places: Places) -> Latents:
    """The encodings of the true poses of frames, place after place."""
    scene = scene_numbers(places).to(next(encoder.parameters()).device)
    latents: Latents = encoder(all_poses(places), scene)
    return latents


def teach_decoder(teacher: Teacher, recipe: DecoderRecipe, *, seed: int = 0) -> Iterator[Round]:
    """Teach an image decoder, and write it with a figure of true and decoded pictures.

    Leaves `decoder/` in the run's folder: weights, facts and `pictures.png`.
    """
    encoder = encoder_of(teacher)
    train = _small(teacher, teacher.learned, recipe)
    held = _small(teacher, teacher.held, recipe) if teacher.holds_out else None
    latents = encoded(encoder, teacher.learned)
    torch.manual_seed(seed)
    is_shared = encoder.config.branches == "shared"
    decoder = ImageDecoder(recipe.config, latents=encoder.latents, is_shared=is_shared).to(teacher.device)
    decoder.observe(latents)
    asked = None if held is None else (encoded(encoder, teacher.held), held)
    lesson = Decoding(decoder, (latents, train), asked)
    yield from learn(lesson, recipe.stage, batch_size=recipe.batch_size, seed=seed, measure_every=5)
    facts = DecoderFacts(digest(encoder), recipe.config, encoder.latents, is_shared)
    latents, true = (latents, train) if asked is None else asked
    made = decoded_pictures(decoder, latents)
    if held is not None:
        facts = replace(facts, differences=_differences(teacher, train, held, made))
    rows = evenly_spread(len(true), SHOWN)
    write_atomically(teacher.run / DECODER / PICTURES, side_by_side(true[rows].cpu(), made[rows].cpu()))
    save_decoder(teacher.run, facts, decoder)


def _small(teacher: Teacher, places: Places, recipe: DecoderRecipe) -> Tensor:
    preprocess, config = teacher.checkpoint.facts.preprocess, recipe.config
    cut = (preprocess.width, preprocess.height)
    small = small_pictures(teacher.pictures(places), cut=cut, width=config.width, height=config.height)
    return small.to(teacher.device)


def _differences(teacher: Teacher, train: Tensor, held: Tensor, made: Tensor) -> dict[str, float]:
    """How far decoded pictures are from the true ones, beside pictures that need no decoder."""
    asked = Query(all_poses(teacher.held), scene_numbers(teacher.held))
    one = PositionRefinement("neighbours", neighbours=1)
    nearest = PositionRefiner(one, teacher.training_poses).nearest(asked)
    mean = train.float().mean(0).round().to(torch.uint8).expand_as(held)
    return {
        "decoded": picture_error(made, held),
        "nearest photograph": picture_error(train[nearest[:, 0].to(train.device)], held),
        "mean photograph": picture_error(mean, held),
    }
