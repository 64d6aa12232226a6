"""Which way of refining suits a place and its network: the one that is best on the held-out frames."""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import torch

from camloc.geometry.pose import Pose
from camloc.geometry.pose_index import PoseMetric
from camloc.refiners.pose_autoencoder import PoseAutoencoder
from camloc.refiners.position import WAYS, PositionRefinement, PositionRefiner
from camloc.refiners.query import Query
from camloc.training.teacher import Taught

# What is tried. As published, neighbours are three; more of them know better in which direction the latents
# change, and the ridge says how far they are trusted.
NEIGHBOURS = (3, 10, 30)
RIDGES = (0.01, 0.1, 1.0, 3.0)
TURN_WEIGHTS = (0.1, 0.3, 1.0)


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


def candidates() -> Iterator[PositionRefinement]:
    """The settings that compete with the network's own answer."""
    for count, ridge, weight in product(NEIGHBOURS, RIDGES, TURN_WEIGHTS):
        yield PositionRefinement(
            "anchored", neighbours=count, ridge=ridge, metric=PoseMetric(turn_weight=weight)
        )


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
        anchored: the best settings of that way.
        errors: of every way, by its name; "none" is the network's own answer, and all but "anchored" have
            the published settings.
    """

    best: str
    anchored: PositionRefinement
    errors: dict[str, RefinedErrors]


def choose_refinement(
    encoder: PoseAutoencoder, training_poses: tuple[Pose, ...], held: Taught
) -> RefinementChoice:
    """Try everything on held-out frames, none of which may be among the training poses."""
    errors = {"none": refined_errors(None, held)}
    tried = {
        settings: refined_errors(PositionRefiner(settings, training_poses, encoder), held)
        for settings in candidates()
    }
    anchored = min(tried, key=lambda settings: tried[settings].score)
    for way in WAYS:
        settings = anchored if way == "anchored" else PositionRefinement(way)
        errors[way] = refined_errors(PositionRefiner(settings, training_poses, encoder), held)
    best = min(errors, key=lambda way: errors[way].score)
    return RefinementChoice(best, anchored, errors)
