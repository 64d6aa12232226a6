"""Positions refined by training poses: what moves, what does not, and what is refused."""

from dataclasses import replace

import pytest
import torch
from tests.support.models import some_poses
from torch import Tensor

from camloc.errors import RecipeError
from camloc.geometry import Pose, PoseMetric
from camloc.models.base import Latents
from camloc.refinement.pose_autoencoder import PoseAutoencoder, PoseAutoencoderConfig
from camloc.refinement.position import (
    REFINEMENT_METHODS,
    PositionRefinement,
    PositionRefiner,
    RefinementMethod,
)
from camloc.refinement.query import Query

TRAINING = some_poses(40)


def encoder(*, scenes: int = 1) -> PoseAutoencoder:
    torch.manual_seed(0)
    return PoseAutoencoder(
        PoseAutoencoderConfig(frequencies=3, hidden=(32,)), latents=(16, 16), scenes=scenes
    )


def answered(truth: Pose, *, off: float = 0.05, scene: int = 0) -> Query:
    """Answers beside the truth, with the latents that the encoder has for the truth."""
    with torch.no_grad():
        latents = encoder()(truth)
    generator = torch.Generator().manual_seed(4)
    moved = truth.translation + off * torch.randn(len(truth), 3, generator=generator, dtype=torch.float64)
    return Query(Pose(truth.rotation, moved), torch.full((len(truth),), scene), latents)


def refiner(way: RefinementMethod, **changes: object) -> PositionRefiner:
    return PositionRefiner(replace(PositionRefinement(way), **changes), (TRAINING,), encoder())  # type: ignore[arg-type]


def moved(query: Query, refined: Pose) -> Tensor:
    away: Tensor = (refined.translation - query.world_from_cam.translation).square().sum(-1).sqrt()
    return away


@pytest.mark.parametrize("way", REFINEMENT_METHODS)
def test_positions_move_and_orientations_do_not(way: RefinementMethod) -> None:
    query = answered(TRAINING[5:9])
    refined = refiner(way).refined(query)
    assert torch.equal(refined.rotation, query.world_from_cam.rotation)
    assert (moved(query, refined) > 1e-3).all()
    assert refined.translation.dtype == torch.float64


@pytest.mark.parametrize("way", ["affine", "anchored"])
def test_latents_of_a_training_pose_lead_to_its_position(way: RefinementMethod) -> None:
    """The image was taken where a training image was; the answer is beside it."""
    truth = TRAINING[5:9]
    query = answered(truth)
    refined = refiner(way, ridge=1e-9, neighbours=5).refined(query)
    torch.testing.assert_close(refined.translation, truth.translation, rtol=0, atol=1e-3)


def test_the_control_is_the_mean_of_the_nearest_positions_and_needs_no_latents() -> None:
    query = replace(answered(TRAINING[5:9]), latents=None)
    settings = PositionRefinement("neighbours", metric=PoseMetric(turn_weight=1e-9))
    refined = PositionRefiner(settings, (TRAINING,)).refined(query)
    for row in range(4):
        away = torch.linalg.vector_norm(TRAINING.translation - query.world_from_cam.translation[row], dim=-1)
        expected = TRAINING.translation[away.argsort()[:3]].mean(0)
        torch.testing.assert_close(refined.translation[row], expected)


def test_three_steps_of_adamw_are_nearly_the_control() -> None:
    query = answered(TRAINING[5:9])
    mean, descended, exact = (refiner(way).refined(query) for way in ("neighbours", "adamw", "affine"))
    aside = torch.linalg.vector_norm(descended.translation - mean.translation, dim=-1)
    far = torch.linalg.vector_norm(exact.translation - mean.translation, dim=-1)
    assert (aside > 0).all()
    assert aside.max() < 0.02 < far.max()


@pytest.mark.parametrize("way", REFINEMENT_METHODS)
def test_an_answer_is_refined_alike_alone_and_among_others(way: RefinementMethod) -> None:
    query = answered(TRAINING[5:9])
    together = refiner(way).refined(query)
    alone = refiner(way).refined(query[torch.tensor([2])])
    torch.testing.assert_close(together.translation[2:3], alone.translation)


@pytest.mark.parametrize("way", REFINEMENT_METHODS)
def test_what_was_not_answered_stays_unanswered(way: RefinementMethod) -> None:
    query = answered(TRAINING[5:9])
    rotation = query.world_from_cam.rotation.clone()
    rotation[1] = torch.nan
    broken = replace(query, world_from_cam=Pose(rotation, query.world_from_cam.translation))
    refined = refiner(way).refined(broken)
    assert refined.is_finite().tolist() == [True, False, True, True]
    whole = refiner(way).refined(query)
    torch.testing.assert_close(refined.translation[[0, 2, 3]], whole.translation[[0, 2, 3]])
    none = replace(query, world_from_cam=query.world_from_cam.without_orientation())
    assert not refiner(way).refined(none).is_finite().any()


def test_neighbours_are_of_the_scene_that_was_answered() -> None:
    far = Pose(TRAINING.rotation, TRAINING.translation + 100.0)
    both = PositionRefiner(PositionRefinement(), (TRAINING, far), encoder(scenes=2))
    query = answered(TRAINING[5:7])
    query = Query(
        Pose.cat([query.world_from_cam, far[5:7]]),
        torch.tensor([0, 0, 1, 1]),
        Latents(*(torch.cat((half, half)) for half in query.latents or ())),
    )
    neighbours = both.neighbours(query)
    assert (neighbours.translation[:2] < 50).all()
    assert (neighbours.translation[2:] > 50).all()
    assert torch.equal(neighbours[2:].translation[:, 0], far[5:7].translation)


def test_few_training_poses_are_all_neighbours() -> None:
    few = PositionRefiner(PositionRefinement("neighbours", neighbours=10), (TRAINING[:2],))
    refined = few.refined(answered(TRAINING[5:6]))
    torch.testing.assert_close(refined.translation, TRAINING.translation[:2].mean(0, keepdim=True))


@pytest.mark.parametrize("way", ["affine", "adamw", "anchored"])
def test_ways_that_compare_latents_say_what_they_lack(way: RefinementMethod) -> None:
    with pytest.raises(RecipeError, match="needs a pose auto-encoder"):
        PositionRefiner(PositionRefinement(way), (TRAINING,))
    with pytest.raises(RecipeError, match="exported network does not"):
        refiner(way).refined(replace(answered(TRAINING[:2]), latents=None))
