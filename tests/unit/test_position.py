"""Position refinement: the refined poses, the weights of the neighbours, and the refusals."""

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
    PositionRefiner,
    affine_weights,
    anchored_weights,
    descended_weights,
)
from camloc.refinement.refiner import REFINEMENT_METHODS, PositionRefinement, Query, RefinementMethod

TRAINING = some_poses(40)


def encoder(*, scenes: int = 1) -> PoseAutoencoder:
    torch.manual_seed(0)
    return PoseAutoencoder(
        PoseAutoencoderConfig(frequencies=3, hidden=(32,)), latents=(16, 16), scenes=scenes
    )


def query_near(truth: Pose, *, off: float = 0.05, scene: int = 0) -> Query:
    """Predicted poses near the truth, with the encoder's latents of the truth."""
    with torch.no_grad():
        latents = encoder()(truth)
    generator = torch.Generator().manual_seed(4)
    translation = truth.translation + off * torch.randn(
        len(truth), 3, generator=generator, dtype=torch.float64
    )
    return Query(Pose(truth.rotation, translation), torch.full((len(truth),), scene), latents)


def refiner(method: RefinementMethod, **changes: object) -> PositionRefiner:
    return PositionRefiner(replace(PositionRefinement(method), **changes), (TRAINING,), encoder())  # type: ignore[arg-type]


def displacement(query: Query, refined: Pose) -> Tensor:
    away: Tensor = (refined.translation - query.world_from_cam.translation).square().sum(-1).sqrt()
    return away


@pytest.mark.parametrize("method", REFINEMENT_METHODS)
def test_positions_move_and_orientations_do_not(method: RefinementMethod) -> None:
    query = query_near(TRAINING[5:9])
    refined = refiner(method).refined(query)
    assert torch.equal(refined.rotation, query.world_from_cam.rotation)
    assert (displacement(query, refined) > 1e-3).all()
    assert refined.translation.dtype == torch.float64


@pytest.mark.parametrize("method", ["affine", "anchored"])
def test_latents_of_a_training_pose_lead_to_its_position(method: RefinementMethod) -> None:
    """The image is from the pose of a training image; the predicted pose is near it."""
    truth = TRAINING[5:9]
    query = query_near(truth)
    refined = refiner(method, ridge=1e-9, neighbours=5).refined(query)
    torch.testing.assert_close(refined.translation, truth.translation, rtol=0, atol=1e-3)


def test_the_control_is_the_mean_of_the_nearest_positions_and_needs_no_latents() -> None:
    query = replace(query_near(TRAINING[5:9]), latents=None)
    settings = PositionRefinement("neighbours", metric=PoseMetric(turn_weight=1e-9))
    refined = PositionRefiner(settings, (TRAINING,)).refined(query)
    for row in range(4):
        away = torch.linalg.vector_norm(TRAINING.translation - query.world_from_cam.translation[row], dim=-1)
        expected = TRAINING.translation[away.argsort()[:3]].mean(0)
        torch.testing.assert_close(refined.translation[row], expected)


def test_three_steps_of_adamw_are_nearly_the_control() -> None:
    query = query_near(TRAINING[5:9])
    mean, descended, exact = (refiner(method).refined(query) for method in ("neighbours", "adamw", "affine"))
    from_mean = torch.linalg.vector_norm(descended.translation - mean.translation, dim=-1)
    far = torch.linalg.vector_norm(exact.translation - mean.translation, dim=-1)
    assert (from_mean > 0).all()
    assert from_mean.max() < 0.02 < far.max()


@pytest.mark.parametrize("method", REFINEMENT_METHODS)
def test_a_refined_pose_does_not_depend_on_the_other_images(method: RefinementMethod) -> None:
    query = query_near(TRAINING[5:9])
    together = refiner(method).refined(query)
    alone = refiner(method).refined(query[torch.tensor([2])])
    torch.testing.assert_close(together.translation[2:3], alone.translation)


@pytest.mark.parametrize("method", REFINEMENT_METHODS)
def test_an_image_without_a_pose_stays_without(method: RefinementMethod) -> None:
    query = query_near(TRAINING[5:9])
    rotation = query.world_from_cam.rotation.clone()
    rotation[1] = torch.nan
    broken = replace(query, world_from_cam=Pose(rotation, query.world_from_cam.translation))
    refined = refiner(method).refined(broken)
    assert refined.is_finite().tolist() == [True, False, True, True]
    whole = refiner(method).refined(query)
    torch.testing.assert_close(refined.translation[[0, 2, 3]], whole.translation[[0, 2, 3]])
    none = replace(query, world_from_cam=query.world_from_cam.without_orientation())
    assert not refiner(method).refined(none).is_finite().any()


def test_neighbours_are_of_the_predicted_scene() -> None:
    far = Pose(TRAINING.rotation, TRAINING.translation + 100.0)
    both = PositionRefiner(PositionRefinement(), (TRAINING, far), encoder(scenes=2))
    query = query_near(TRAINING[5:7])
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
    refined = few.refined(query_near(TRAINING[5:6]))
    torch.testing.assert_close(refined.translation, TRAINING.translation[:2].mean(0, keepdim=True))


@pytest.mark.parametrize("method", ["affine", "adamw", "anchored"])
def test_methods_that_compare_latents_are_refused_without_them(method: RefinementMethod) -> None:
    with pytest.raises(RecipeError, match="needs a pose auto-encoder"):
        PositionRefiner(PositionRefinement(method), (TRAINING,))
    with pytest.raises(RecipeError, match="exported network does not"):
        refiner(method).refined(replace(query_near(TRAINING[:2]), latents=None))


def random_latents(batch: int, count: int, size: int = 12, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Latents of images and of their neighbours."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, size, generator=generator), torch.randn(batch, count, size, generator=generator)


def residual(latent: Tensor, neighbours: Tensor, weights: Tensor) -> Tensor:
    """The length of the difference between each latent and the combination."""
    away: Tensor = latent - (weights.unsqueeze(1) @ neighbours.double()).squeeze(1)
    return away.square().sum(-1).sqrt()


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_no_other_weights_of_sum_one_have_a_smaller_residual(count: int) -> None:
    latent, neighbours = random_latents(4, count)
    weights = affine_weights(latent, neighbours, ridge=0.0)
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, dtype=torch.float64))
    least = residual(latent, neighbours, weights)
    for seed in range(20):
        step = torch.randn(4, count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        step -= step.mean(-1, keepdim=True)  # the sum stays 1
        assert (residual(latent, neighbours, weights + 0.01 * step) >= least - 1e-12).all()


def test_affine_weights_are_those_of_least_squares_without_the_last_weight() -> None:
    latent, neighbours = random_latents(3, 4, seed=1)
    known = neighbours.double()
    columns = (known[:, :-1] - known[:, -1:]).mT
    free = torch.linalg.lstsq(columns, (latent.double() - known[:, -1]).unsqueeze(-1)).solution.squeeze(-1)
    expected = torch.cat((free, 1.0 - free.sum(-1, keepdim=True)), dim=-1)
    torch.testing.assert_close(affine_weights(latent, neighbours, ridge=0.0), expected, rtol=1e-6, atol=1e-8)


def test_the_weights_of_a_combination_are_found_negative_ones_included() -> None:
    _, neighbours = random_latents(2, 3, seed=2)
    truth = torch.tensor([[0.7, 0.6, -0.3], [0.2, 0.3, 0.5]], dtype=torch.float64)
    latent = (truth.unsqueeze(1) @ neighbours.double()).squeeze(1)
    torch.testing.assert_close(affine_weights(latent, neighbours, ridge=1e-12), truth, rtol=0, atol=1e-5)


def test_equal_neighbours_have_equal_weights() -> None:
    latent, neighbours = random_latents(1, 1, seed=3)
    weights = affine_weights(latent, neighbours.expand(1, 4, -1))
    torch.testing.assert_close(weights, torch.full((1, 4), 0.25, dtype=torch.float64))
    exact = affine_weights(neighbours[:, 0], neighbours.expand(1, 4, -1))
    torch.testing.assert_close(exact, torch.full((1, 4), 0.25, dtype=torch.float64))


def test_a_large_ridge_gives_the_mean() -> None:
    latent, neighbours = random_latents(2, 5, seed=4)
    weights = affine_weights(latent, neighbours, ridge=1e6)
    torch.testing.assert_close(weights, torch.full((2, 5), 0.2, dtype=torch.float64), rtol=0, atol=1e-5)


@pytest.mark.parametrize("constraint", ["rest", "softmax"])
def test_many_steps_of_descent_reach_the_exact_weights(constraint: str) -> None:
    _, neighbours = random_latents(2, 3, seed=5)
    truth = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]], dtype=torch.float64)
    latent = (truth.unsqueeze(1) @ neighbours.double()).squeeze(1)
    weights = descended_weights(
        latent,
        neighbours,
        iterations=2000,
        learning_rate=0.01,
        constraint=constraint,  # type: ignore[arg-type]
    )
    torch.testing.assert_close(weights, truth, rtol=0, atol=0.02)
    assert (weights > 0).all()


def test_three_steps_of_descent_stay_near_the_mean() -> None:
    """A step is at most 0.001, so that the published method is close to its own control."""
    latent, neighbours = random_latents(2, 3, seed=6)
    weights = descended_weights(latent, neighbours)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, dtype=torch.float64))
    assert (weights - 1 / 3).abs().max() < 0.0065
    assert (weights - 1 / 3).abs().max() > 0.0005
    assert (
        residual(latent, neighbours, weights) < residual(latent, neighbours, torch.full_like(weights, 1 / 3))
    ).all()


def test_the_descent_of_an_image_does_not_depend_on_the_others() -> None:
    latent, neighbours = random_latents(3, 3, seed=7)
    together = descended_weights(latent, neighbours)
    alone = descended_weights(latent[1:2], neighbours[1:2])
    torch.testing.assert_close(together[1:2], alone)


def test_descent_works_in_inference_mode() -> None:
    latent, neighbours = random_latents(2, 3, seed=8)
    expected = descended_weights(latent, neighbours)
    with torch.inference_mode():
        inside, around = random_latents(2, 3, seed=8)
        assert torch.equal(descended_weights(inside, around), expected)
    assert descended_weights(latent, neighbours[:, :1]).tolist() == [[1.0], [1.0]]


def test_anchored_weights_lead_from_the_anchor_to_the_latents() -> None:
    latent, neighbours = random_latents(2, 3, seed=9)
    anchor = neighbours.mean(1) + 0.5
    truth = torch.tensor([[0.3, -0.2, 0.6], [0.0, 0.1, 0.0]], dtype=torch.float64)
    away = neighbours.double() - anchor.double().unsqueeze(1)
    latent = anchor.double() + (truth.unsqueeze(1) @ away).squeeze(1)
    weights = anchored_weights(latent, anchor, neighbours, ridge=1e-10)
    torch.testing.assert_close(weights, truth, rtol=0, atol=1e-5)


def test_a_large_ridge_leaves_the_position_at_the_anchor() -> None:
    latent, neighbours = random_latents(2, 3, seed=10)
    weights = anchored_weights(latent, neighbours.mean(1), neighbours, ridge=1e9)
    assert weights.abs().max() < 1e-6
