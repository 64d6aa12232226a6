"""What can refine a checkpoint's answers, from what stands beside it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from camloc.core.device import CPU
from camloc.errors import RecipeError
from camloc.geometry.pose import Pose
from camloc.geometry.pose_search import PoseMetric
from camloc.models.checkpoint import Checkpoint
from camloc.refinement.pose_autoencoder import PoseAutoencoder
from camloc.refinement.position import (
    REFINEMENT_METHODS,
    PositionRefinement,
    PositionRefiner,
    RefinementMethod,
)
from camloc.refinement.query import Query, Refiner
from camloc.refinement.relative_pose import RelativePoseRegressor
from camloc.refinement.storage import (
    AutoencoderMetadata,
    PositionErrors,
    RelativePoseMetadata,
    load_autoencoder,
    load_decoder,
    load_relative,
    run_around,
)
from camloc.refinement.train import TeacherOutputs
from camloc.refinement.virtual_view import VirtualViewRefiner

VIRTUAL = "virtual"

# Where no frames were held out that could choose.
UNTRIED = PositionRefinement("anchored", neighbours=10, ridge=1.0, metric=PoseMetric(turn_weight=0.3))


def refiners_of(run: Path, checkpoint: Checkpoint, *, device: torch.device = CPU) -> dict[str, Refiner]:
    """All that can refine a checkpoint's answers, by name; nothing without an auto-encoder of its own.

    Args:
        run: its folder.
        checkpoint: of it.
        device: where networks that look at images run; the small ones run on the CPU.

    Raises:
        CheckpointError: a companion is damaged.
    """
    found = load_autoencoder(run, checkpoint)
    if found is None:
        return {}
    metadata, encoder = found
    refiners: dict[str, Refiner] = {
        way: PositionRefiner(settings_of(way, metadata), checkpoint.training_poses, encoder)
        for way in REFINEMENT_METHODS
    }
    relative = load_relative(run, encoder)
    if relative is not None and (virtual := _virtual(run, checkpoint, encoder, relative, device)) is not None:
        refiners[VIRTUAL] = virtual
    return refiners


def chosen_refiner(
    run: Path, checkpoint: Checkpoint, refine: str, *, device: torch.device = CPU
) -> tuple[str, dict[str, Refiner]]:
    """The way that is meant, and what refines so: nothing for "none".

    Args:
        run: its folder, or an exported network.
        checkpoint: of it.
        refine: a way, "none", or "auto" for what was best on held-out frames.
        device: where networks that look at images run.

    Raises:
        CheckpointError: a companion is damaged.
        RecipeError: there is no such way, or no companion of these weights for it.
    """
    if refine == "none":
        return refine, {}
    known = ("none", "auto", *REFINEMENT_METHODS, VIRTUAL)
    if refine not in known:
        raise RecipeError(f"there is no way '{refine}' to refine positions; choose one of {', '.join(known)}")
    if refine == "neighbours":
        control = PositionRefinement("neighbours")
        return refine, {refine: PositionRefiner(control, checkpoint.training_poses)}
    refiners = refiners_of(run, checkpoint, device=device)
    if not refiners:
        raise RecipeError(
            f"{run_around(run)} has no pose auto-encoder that learned from its weights; teach one with "
            f"camloc autoencode, or refine by 'neighbours'"
        )
    way = best_method(run, checkpoint) if refine == "auto" else refine
    if way != "none" and way not in refiners:
        raise RecipeError(
            f"{run_around(run)} has no relative pose regressor; teach one with camloc autoencode --virtual"
        )
    return way, {} if way == "none" else {way: refiners[way]}


def best_method(run: Path, checkpoint: Checkpoint) -> str:
    """The way that is surest to help, on the frames held out of training; "none" where none is."""
    found = load_autoencoder(run, checkpoint)
    if found is None:
        return "none"
    relative = load_relative(run, found[1])
    errors = errors_of(found[0], None if relative is None else relative[0])
    return surest(errors)


def surest(errors: Mapping[str, PositionErrors]) -> str:
    """The way with the largest sure gain; "none" where there is no gain."""
    return max(errors, key=lambda way: errors[way].sure_gain) if errors else "none"


def errors_of(
    metadata: AutoencoderMetadata, relative: RelativePoseMetadata | None
) -> dict[str, PositionErrors]:
    """What every way reached on the held-out frames, by its name; "none" is the network's own."""
    if relative is None or relative.refined is None or not metadata.refined:
        return metadata.refined
    return {**metadata.refined, VIRTUAL: relative.refined}


def settings_of(way: RefinementMethod, metadata: AutoencoderMetadata) -> PositionRefinement:
    """The settings of a way that held-out frames chose, or usual ones."""
    return metadata.settings.get(way, UNTRIED if way == "anchored" else PositionRefinement(way))


def _virtual(
    run: Path,
    checkpoint: Checkpoint,
    encoder: PoseAutoencoder,
    relative: tuple[RelativePoseMetadata, RelativePoseRegressor],
    device: torch.device,
) -> VirtualViewRefiner | None:
    """Virtual relative pose regression, or None where the images that it looks at cannot be decoded."""
    metadata, regressor = relative
    decoder = load_decoder(run, encoder)
    if decoder is None and regressor.config.sees == "images":
        return None
    images = None if decoder is None else decoder[1].to(device)
    return VirtualViewRefiner(
        metadata.view, checkpoint.training_poses, encoder.to(device), regressor.to(device), images
    )


# What is tried. As published, neighbours are three, and which are near the paper leaves open. Anchored at
# the answer, more of them know better where latents change to, and the ridge says how far to trust them.
TURN_WEIGHTS = (0.03, 0.1, 0.3, 1.0)
NEIGHBOURS = (3, 10, 30)
RIDGES = (0.01, 0.1, 1.0, 3.0, 10.0)

# Held-out frames stand in blocks of a recording and are alike, so they prove less than their number says.
STANDARD_ERRORS = 3.0


def candidates(way: RefinementMethod) -> Iterator[PositionRefinement]:
    """The settings of a way that compete."""
    for weight in TURN_WEIGHTS:
        published = PositionRefinement(way, metric=PoseMetric(turn_weight=weight))
        if way != "anchored":
            yield published
            continue
        for count, ridge in product(NEIGHBOURS, RIDGES):
            yield replace(published, neighbours=count, ridge=ridge)


def refined_errors(
    refiner: Refiner | None, held: TeacherOutputs, *, images: Tensor | None = None
) -> PositionErrors:
    """The errors of the teacher's answers on held-out frames, refined; as they are without a refiner."""
    query = Query(held.answers.to("cpu"), held.scene.cpu(), held.latents, images)
    truth = held.world_from_cam.to("cpu")
    own, better = query.world_from_cam, query.world_from_cam if refiner is None else refiner.refined(query)
    before, after = (
        torch.linalg.vector_norm(poses.translation - truth.translation, dim=-1) for poses in (own, better)
    )
    gain = (before - after)[query.answered()]
    return PositionErrors(
        median=float(after.nan_to_num(nan=torch.inf).median()),
        mean=float(after.nan_to_num(nan=torch.inf).mean()),
        sure_gain=_sure(gain) if refiner is not None else 0.0,
    )


def _sure(gain: Float[Tensor, "n"]) -> float:
    """Its mean less so many standard errors."""
    if len(gain) < 2:
        return -math.inf
    return float(gain.mean() - STANDARD_ERRORS * gain.std() / math.sqrt(len(gain)))


class RefinementChoice(NamedTuple):
    """What held-out frames say about refining.

    Attributes:
        settings: the best of every way.
        errors: of every way with these settings; "none" is the network's own answer.
    """

    settings: dict[str, PositionRefinement]
    errors: dict[str, PositionErrors]


def choose_refinement(
    encoder: PoseAutoencoder, training_poses: tuple[Pose, ...], held: TeacherOutputs
) -> RefinementChoice:
    """Try everything on held-out frames, none of which may be among the training poses."""
    settings: dict[str, PositionRefinement] = {}
    errors = {"none": refined_errors(None, held)}
    for way in REFINEMENT_METHODS:
        tried = {
            each: refined_errors(PositionRefiner(each, training_poses, encoder), held)
            for each in candidates(way)
        }
        settings[way] = max(tried, key=lambda each: tried[each].sure_gain)
        errors[way] = tried[settings[way]]
    return RefinementChoice(settings, errors)
