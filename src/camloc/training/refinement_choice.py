"""Which way of refining suits a place and its network: the one that is best on the held-out frames."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Literal, NamedTuple

import torch

from camloc.geometry.pose import Pose
from camloc.geometry.pose_index import PoseMetric
from camloc.refiners.pose_autoencoder import PoseAutoencoder
from camloc.refiners.position import WAYS, PositionRefinement, PositionRefiner, Way
from camloc.refiners.query import Query
from camloc.training.teacher import Taught

# What is tried. As published, neighbours are three, and which are near the paper leaves open. Anchored at
# the answer, more of them know better where latents change to, and the ridge says how far to trust them.
TURN_WEIGHTS = (0.03, 0.1, 0.3, 1.0)
NEIGHBOURS = (3, 10, 30)
RIDGES = (0.01, 0.1, 1.0, 3.0)


class RefinedErrors(NamedTuple):
    """Position errors on held-out frames, in metres.

    Attributes:
        median: of all frames.
        mean: of all frames.
    """

    median: float
    mean: float

    @property
    def score(self) -> float:
        """What is made small: the median alone would choose among the luck of single frames."""
        return self.median + self.mean


def candidates(way: Way) -> Iterator[PositionRefinement]:
    """The settings of a way that compete."""
    for weight in TURN_WEIGHTS:
        published = PositionRefinement(way, metric=PoseMetric(turn_weight=weight))
        if way != "anchored":
            yield published
            continue
        for count, ridge in product(NEIGHBOURS, RIDGES):
            yield replace(published, neighbours=count, ridge=ridge)


def refined_errors(refiner: PositionRefiner | None, held: Taught) -> RefinedErrors:
    """The errors of the teacher's answers on held-out frames, refined; as they are without a refiner."""
    query = Query(held.answers.to("cpu"), held.scene.cpu(), held.latents)
    poses = query.world_from_cam if refiner is None else refiner.refined(query)
    away = torch.linalg.vector_norm(poses.translation - held.world_from_cam.to("cpu").translation, dim=-1)
    away = away.nan_to_num(nan=torch.inf)
    return RefinedErrors(float(away.median()), float(away.mean()))


class RefinementChoice(NamedTuple):
    """What held-out frames say about refining.

    Attributes:
        best: the way with the least errors; "none" where it is the network's own answer.
        settings: the best of every way.
        errors: of every way with these settings; "none" is the network's own answer.
    """

    best: Way | Literal["none"]
    settings: dict[str, PositionRefinement]
    errors: dict[str, RefinedErrors]


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
        settings[way] = min(tried, key=lambda each: tried[each].score)
        errors[way] = tried[settings[way]]
    best = min(WAYS, key=lambda way: errors[way].score)
    better = errors[best].score < errors["none"].score
    return RefinementChoice(best if better else "none", settings, errors)
