"""Orientation representations: conversions are inverse, and the loss agrees with the angle."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.models import some_poses

from camloc.data.batch import Batch
from camloc.geometry import Pose
from camloc.geometry.rotation import rotation_angle
from camloc.models.decoding import OrientationForm, orientation_size, rotation_from_values
from camloc.models.losses import (
    PoseLossConfig,
    UncertaintyWeightedPoseLoss,
    comparable_values,
    equivalent_values,
    values_from_rotation,
)

FORMS: tuple[OrientationForm, ...] = ("quaternion", "4d_norm", "6d", "9d", "log_quaternion")
SEEDS = st.integers(0, 10_000)


@pytest.mark.parametrize("form", FORMS)
@given(seed=SEEDS)
@settings(max_examples=25)
def test_a_rotation_comes_back_from_its_numbers(form: OrientationForm, seed: int) -> None:
    rotation = some_poses(4, seed=seed).rotation
    values = values_from_rotation(form, rotation)
    assert values.shape == (4, orientation_size(form))
    assert float(rotation_angle(rotation_from_values(form, values), rotation).max()) < 1e-7


@pytest.mark.parametrize("form", FORMS)
@given(seed=SEEDS)
@settings(max_examples=25)
def test_any_numbers_stand_for_a_proper_rotation(form: OrientationForm, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(4, orientation_size(form), generator=generator, dtype=torch.float64)
    rotation = rotation_from_values(form, values)
    identity = torch.eye(3, dtype=torch.float64).expand(4, 3, 3)
    torch.testing.assert_close(rotation @ rotation.mT, identity, rtol=0, atol=1e-9)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(4).double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("form", ["quaternion", "4d_norm", "6d", "9d"])
@given(seed=SEEDS, scale=st.floats(0.1, 10.0))
@settings(max_examples=25)
def test_the_size_of_the_numbers_does_not_matter(form: OrientationForm, seed: int, scale: float) -> None:
    values = values_from_rotation(form, some_poses(4, seed=seed).rotation)
    compared = comparable_values(form, values)
    torch.testing.assert_close(comparable_values(form, scale * values), compared, rtol=0, atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
@given(seed=SEEDS)
@settings(max_examples=25)
def test_each_way_to_say_the_truth_is_the_same_rotation(form: OrientationForm, seed: int) -> None:
    rotation = some_poses(4, seed=seed).rotation
    for truth in equivalent_values(form, rotation):
        converted = truth.unflatten(-1, (3, 3)) if truth.shape[-1] == 9 else rotation_from_values(form, truth)
        assert float(rotation_angle(converted, rotation).max()) < 1e-7


def orientation_term(
    form: OrientationForm, values: torch.Tensor, truth: Pose, *, hemisphere_safe: bool = True
) -> float:
    loss = UncertaintyWeightedPoseLoss(
        PoseLossConfig(0.0, 0.0, hemisphere_safe=hemisphere_safe), form
    ).double()
    batch = Batch(torch.zeros(len(truth), 3, 2, 2), truth, None, torch.zeros(len(truth), dtype=torch.int64))
    terms = loss(truth.translation, values, truth.translation, batch)
    return float(terms["orientation"].detach())


@pytest.mark.parametrize("form", FORMS)
def test_the_loss_of_the_truth_is_zero_and_grows_with_the_angle(form: OrientationForm) -> None:
    truth = some_poses(1, seed=3)
    axis = torch.tensor([[0.6, 0.0, 0.8]], dtype=torch.float64)
    turns = [rotation_from_values("log_quaternion", 0.5 * angle * axis) for angle in (0.0, 0.1, 0.4, 1.0)]
    terms = [
        orientation_term(form, values_from_rotation(form, turn @ truth.rotation), truth) for turn in turns
    ]
    assert terms[0] == pytest.approx(0.0, abs=1e-6)
    assert terms == sorted(terms)
    assert terms[1] > 0.01


@pytest.mark.parametrize("form", ["quaternion", "log_quaternion"])
def test_the_other_sign_of_a_quaternion_costs_nothing_unless_published(form: OrientationForm) -> None:
    truth = some_poses(5, seed=1)
    other = equivalent_values(form, truth.rotation)[1]
    assert orientation_term(form, other, truth) == pytest.approx(0.0, abs=1e-7)
    assert orientation_term(form, other, truth, hemisphere_safe=False) > 1.0


@pytest.mark.parametrize("form", FORMS)
def test_the_loss_has_a_finite_gradient_at_the_truth_and_at_the_start(form: OrientationForm) -> None:
    truth = Pose(torch.eye(3).double().expand(2, 3, 3).clone(), torch.zeros(2, 3).double())
    right = values_from_rotation(form, truth.rotation)
    for values in (right, right + 0.3 * torch.randn(right.shape, generator=torch.Generator().manual_seed(1))):
        learned = values.clone().requires_grad_()
        loss = UncertaintyWeightedPoseLoss(PoseLossConfig(), form).double()
        batch = Batch(torch.zeros(2, 3, 2, 2), truth, None, torch.zeros(2, dtype=torch.int64))
        loss(truth.translation, learned, truth.translation, batch)["orientation"].backward()
        assert learned.grad is not None
        assert bool(learned.grad.isfinite().all())
