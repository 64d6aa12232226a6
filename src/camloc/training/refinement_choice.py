"""Which way of refining suits a place and its network: the one that is best on the held-out frames."""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from camloc.companions import PositionErrors
from camloc.geometry.pose import Pose
from camloc.geometry.pose_index import PoseMetric
from camloc.refiners.pose_autoencoder import PoseAutoencoder
from camloc.refiners.position import WAYS, PositionRefinement, PositionRefiner, Way
from camloc.refiners.query import Query, Refiner
from camloc.training.teacher import Taught

# What is tried. As published, neighbours are three, and which are near the paper leaves open. Anchored at
# the answer, more of them know better where latents change to, and the ridge says how far to trust them.
TURN_WEIGHTS = (0.03, 0.1, 0.3, 1.0)
NEIGHBOURS = (3, 10, 30)
RIDGES = (0.01, 0.1, 1.0, 3.0, 10.0)

# Held-out frames stand in blocks of a recording and are alike, so they prove less than their number says.
STANDARD_ERRORS = 3.0


def candidates(way: Way) -> Iterator[PositionRefinement]:
    """The settings of a way that compete."""
    for weight in TURN_WEIGHTS:
        published = PositionRefinement(way, metric=PoseMetric(turn_weight=weight))
        if way != "anchored":
            yield published
            continue
        for count, ridge in product(NEIGHBOURS, RIDGES):
            yield replace(published, neighbours=count, ridge=ridge)


def refined_errors(refiner: Refiner | None, held: Taught, *, images: Tensor | None = None) -> PositionErrors:
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
    encoder: PoseAutoencoder, training_poses: tuple[Pose, ...], held: Taught
) -> RefinementChoice:
    """Try everything on held-out frames, none of which may be among the training poses."""
    settings: dict[str, PositionRefinement] = {}
    errors = {"none": refined_errors(None, held)}
    for way in WAYS:
        tried = {
            each: refined_errors(PositionRefiner(each, training_poses, encoder), held)
            for each in candidates(way)
        }
        settings[way] = max(tried, key=lambda each: tried[each].sure_gain)
        errors[way] = tried[settings[way]]
    return RefinementChoice(settings, errors)
