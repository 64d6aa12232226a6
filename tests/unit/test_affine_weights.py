"""Weights of neighbours: exact where they can be, and as published where they are asked for so."""

import pytest
import torch
from torch import Tensor

from camloc.refinement.position import affine_weights, anchored_weights, descended_weights


def drawn(batch: int, count: int, size: int = 12, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Latents of images and of their neighbours."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, size, generator=generator), torch.randn(batch, count, size, generator=generator)


def left(latent: Tensor, neighbours: Tensor, weights: Tensor) -> Tensor:
    """What a combination leaves of each latent."""
    away: Tensor = latent - (weights.unsqueeze(1) @ neighbours.double()).squeeze(1)
    return away.square().sum(-1).sqrt()


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_no_weights_of_sum_one_leave_less(count: int) -> None:
    latent, neighbours = drawn(4, count)
    weights = affine_weights(latent, neighbours, ridge=0.0)
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, dtype=torch.float64))
    least = left(latent, neighbours, weights)
    for seed in range(20):
        step = torch.randn(4, count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        step -= step.mean(-1, keepdim=True)  # the sum stays 1
        assert (left(latent, neighbours, weights + 0.01 * step) >= least - 1e-12).all()


def test_the_answer_is_that_of_least_squares_without_the_last_weight() -> None:
    latent, neighbours = drawn(3, 4, seed=1)
    known = neighbours.double()
    columns = (known[:, :-1] - known[:, -1:]).mT
    free = torch.linalg.lstsq(columns, (latent.double() - known[:, -1]).unsqueeze(-1)).solution.squeeze(-1)
    expected = torch.cat((free, 1.0 - free.sum(-1, keepdim=True)), dim=-1)
    torch.testing.assert_close(affine_weights(latent, neighbours, ridge=0.0), expected, rtol=1e-6, atol=1e-8)


def test_a_combination_is_found_again_negative_weights_included() -> None:
    _, neighbours = drawn(2, 3, seed=2)
    truth = torch.tensor([[0.7, 0.6, -0.3], [0.2, 0.3, 0.5]], dtype=torch.float64)
    latent = (truth.unsqueeze(1) @ neighbours.double()).squeeze(1)
    torch.testing.assert_close(affine_weights(latent, neighbours, ridge=1e-12), truth, rtol=0, atol=1e-5)


def test_equal_neighbours_count_alike() -> None:
    latent, neighbours = drawn(1, 1, seed=3)
    weights = affine_weights(latent, neighbours.expand(1, 4, -1))
    torch.testing.assert_close(weights, torch.full((1, 4), 0.25, dtype=torch.float64))
    exact = affine_weights(neighbours[:, 0], neighbours.expand(1, 4, -1))
    torch.testing.assert_close(exact, torch.full((1, 4), 0.25, dtype=torch.float64))


def test_much_ridge_makes_the_mean() -> None:
    latent, neighbours = drawn(2, 5, seed=4)
    weights = affine_weights(latent, neighbours, ridge=1e6)
    torch.testing.assert_close(weights, torch.full((2, 5), 0.2, dtype=torch.float64), rtol=0, atol=1e-5)


@pytest.mark.parametrize("constraint", ["rest", "softmax"])
def test_descent_comes_to_the_exact_weights_where_it_has_the_time(constraint: str) -> None:
    _, neighbours = drawn(2, 3, seed=5)
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


def test_three_steps_of_descent_are_hardly_more_than_the_mean() -> None:
    """At most a thousandth a step, so what the paper describes is nearly its own control."""
    latent, neighbours = drawn(2, 3, seed=6)
    weights = descended_weights(latent, neighbours)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, dtype=torch.float64))
    assert (weights - 1 / 3).abs().max() < 0.0065
    assert (weights - 1 / 3).abs().max() > 0.0005
    assert (
        left(latent, neighbours, weights) < left(latent, neighbours, torch.full_like(weights, 1 / 3))
    ).all()


def test_images_do_not_disturb_each_others_descent() -> None:
    latent, neighbours = drawn(3, 3, seed=7)
    together = descended_weights(latent, neighbours)
    alone = descended_weights(latent[1:2], neighbours[1:2])
    torch.testing.assert_close(together[1:2], alone)


def test_descent_works_where_nothing_else_has_gradients() -> None:
    latent, neighbours = drawn(2, 3, seed=8)
    expected = descended_weights(latent, neighbours)
    with torch.inference_mode():
        inside, around = drawn(2, 3, seed=8)
        assert torch.equal(descended_weights(inside, around), expected)
    assert descended_weights(latent, neighbours[:, :1]).tolist() == [[1.0], [1.0]]


def test_anchored_weights_walk_from_the_anchor_to_the_latents() -> None:
    latent, neighbours = drawn(2, 3, seed=9)
    anchor = neighbours.mean(1) + 0.5
    truth = torch.tensor([[0.3, -0.2, 0.6], [0.0, 0.1, 0.0]], dtype=torch.float64)
    away = neighbours.double() - anchor.double().unsqueeze(1)
    latent = anchor.double() + (truth.unsqueeze(1) @ away).squeeze(1)
    weights = anchored_weights(latent, anchor, neighbours, ridge=1e-10)
    torch.testing.assert_close(weights, truth, rtol=0, atol=1e-5)


def test_much_ridge_leaves_the_answer_where_it_is() -> None:
    latent, neighbours = drawn(2, 3, seed=10)
    weights = anchored_weights(latent, neighbours.mean(1), neighbours, ridge=1e9)
    assert weights.abs().max() < 1e-6
