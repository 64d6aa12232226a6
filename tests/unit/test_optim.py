"""Stages: the parameters that train, their rates and modes, and the average of weights."""

import math
from typing import Any

import pytest
import torch
from tests.support.tiny_training import recipe_for_images, tiny_images, tiny_model
from torch import Tensor, nn

from camloc.errors import RecipeError
from camloc.training.loop import fit
from camloc.training.optim import WarmedUpAverage, set_learning_rate, set_modes, start_stage
from camloc.training.recipe import Schedule, Stage


def stage(**settings: Any) -> Stage:
    return Stage(**{"epochs": 1, "learning_rate": 1e-3, **settings})


def training_names(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def batch_norms(model: nn.Module) -> dict[str, nn.BatchNorm2d]:
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}


def statistics(model: nn.Module) -> dict[str, Tensor]:
    return {name: module.get_buffer("running_mean").clone() for name, module in batch_norms(model).items()}


def statistics_after_a_step(settings: Stage) -> dict[str, bool]:
    """For each batch norm, whether one training step changes its running statistics."""
    model = tiny_model()
    before = statistics(model)
    for _ in fit(model, tiny_images(4), recipe_for_images(settings)):
        pass
    after = statistics(model)
    return {name: not torch.equal(mean, after[name]) for name, mean in before.items()}


@pytest.mark.parametrize("settings", [{"trains": ("*", "heads.*")}, {"frozen": ("backbone.conv9.*",)}])
def test_a_pattern_that_matches_nothing_fails(settings: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"heads\.\*|conv9") as refused:
        start_stage(stage(**settings), tiny_model())
    assert "matches no parameter" in str(refused.value)


def test_parameters_that_no_pattern_matches_are_frozen() -> None:
    model = tiny_model()
    start_stage(stage(trains=("position_*", "pose_loss.position")), model)
    expected = {name for name, _ in model.named_parameters() if name.startswith("position_")}
    assert training_names(model) == expected | {"pose_loss.position"}
    assert len(expected) > 4


def test_frozen_patterns_win_over_training_patterns() -> None:
    model = tiny_model()
    everything = {name for name, _ in model.named_parameters()}
    start_stage(stage(frozen=("backbone.*", "hidden.*")), model)
    frozen = everything - training_names(model)
    assert frozen == {name for name in everything if name.startswith(("backbone.", "hidden."))}


def test_a_later_stage_trains_parameters_that_an_earlier_one_froze() -> None:
    model = tiny_model()
    start_stage(stage(trains=("position_*",)), model)
    start_stage(stage(trains=("orientation_*",)), model)
    assert all(name.startswith("orientation_") for name in training_names(model))


def test_training_changes_training_parameters_and_no_others() -> None:
    model = tiny_model()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    for _ in fit(
        model, tiny_images(8), recipe_for_images(stage(trains=("position_*", "hidden.*"), epochs=2))
    ):
        pass
    changed = {
        name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])
    }
    assert changed == {name for name in before if name.startswith(("position_", "hidden."))}


def test_frozen_modules_are_in_evaluation_mode() -> None:
    model = tiny_model(dropout=0.2)
    chosen = stage(trains=("position_*", "backbone.network.layer1.0.conv1.*"))
    start_stage(chosen, model)
    model.eval()
    set_modes(chosen, model)
    assert not any(module.training for module in batch_norms(model).values())
    assert not model.orientation_head.training
    assert model.position_head.training
    assert model.dropout.training


def test_statistics_of_training_batch_norms_change() -> None:
    assert all(statistics_after_a_step(stage()).values())


def test_statistics_of_frozen_modules_do_not_change() -> None:
    assert not any(statistics_after_a_step(stage(trains=("*head*", "*hyper*"))).values())
    changed = statistics_after_a_step(stage(frozen=("backbone.network.layer1.*",)))
    assert not any(has_changed for name, has_changed in changed.items() if ".layer1." in name)
    assert all(has_changed for name, has_changed in changed.items() if ".layer1." not in name)


def test_frozen_batch_norms_keep_their_statistics_and_train_their_scale() -> None:
    settings = stage(batch_norm="frozen")
    assert not any(statistics_after_a_step(settings).values())
    model = tiny_model()
    start_stage(settings, model)
    assert all(module.weight.requires_grad for module in batch_norms(model).values())


def test_the_losses_own_weights_are_not_decayed() -> None:
    model = tiny_model()
    optimizer = start_stage(stage(weight_decay=0.1, optimizer="adamw"), model)
    names = {parameter: name for name, parameter in model.named_parameters()}
    decays = {
        names[parameter]: group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert decays.keys() == set(names.values()), "every parameter is in one group"
    assert {name for name, decay in decays.items() if decay == 0.0} == {
        "pose_loss.position",
        "pose_loss.orientation",
    }
    assert set(decays.values()) == {0.0, 0.1}


def test_the_rates_of_backbone_and_balance_reach_the_optimiser() -> None:
    """Adam's first step changes every weight by the learning rate, whatever its gradient."""
    model = tiny_model()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    settings = stage(learning_rate=1e-3, backbone_rate=0.1, loss_rate=5.0)
    for _ in fit(model, tiny_images(4), recipe_for_images(settings)):
        pass

    def largest_change(prefix: str) -> float:
        changes = [
            float((parameter.detach() - before[name]).abs().max())
            for name, parameter in model.named_parameters()
            if name.startswith(prefix)
        ]
        return max(changes)

    assert largest_change("backbone.") == pytest.approx(1e-4, rel=0.02)
    assert largest_change("pose_loss.") == pytest.approx(5e-3, rel=0.02)
    assert largest_change("position_head.") == pytest.approx(1e-3, rel=0.02)


def test_settings_of_the_optimiser_are_the_stages() -> None:
    model = tiny_model()
    adam = start_stage(stage(betas=(0.8, 0.9), epsilon=1e-10, weight_decay=1e-4), model)
    assert type(adam) is torch.optim.Adam
    assert adam.defaults["betas"] == (0.8, 0.9)
    assert adam.defaults["eps"] == 1e-10
    assert type(start_stage(stage(optimizer="adamw"), model)) is torch.optim.AdamW


@pytest.mark.parametrize(
    ("schedule", "at_start", "in_the_middle", "at_the_end"),
    [
        ("constant", 1.0, 1.0, 1.0),
        ("step", 1.0, 0.5**2, 0.5**4),
        ("cosine", 1.0, 0.5, 0.0),
        # Up over the first 20 steps, from 0.04 and one step; down over the other 80.
        ("one_cycle", 0.04 + 0.96 / 20, 0.5 * (1 + math.cos(math.pi * 30 / 80)), 0.0),
    ],
)
def test_schedules_at_start_middle_and_end(
    schedule: Schedule, at_start: float, in_the_middle: float, at_the_end: float
) -> None:
    """100 steps in 10 epochs."""
    settings = stage(epochs=10, schedule=schedule, step_epochs=2, step_factor=0.5, warm_up=0.2)
    rates = [settings.rate_factor(step, steps=100, epoch=step // 10) for step in range(100)]
    assert rates[0] == pytest.approx(at_start)
    assert rates[50] == pytest.approx(in_the_middle, abs=1e-6)
    assert rates[99] == pytest.approx(at_the_end, abs=1e-3)
    assert max(rates) == pytest.approx(1.0)
    assert min(rates) >= 0.0


def test_one_cycle_is_at_its_highest_when_the_warm_up_ends() -> None:
    settings = stage(schedule="one_cycle", warm_up=0.2)
    rates = [settings.rate_factor(step, steps=100, epoch=0) for step in range(100)]
    assert rates[19] == rates[20] == 1.0
    assert rates[:20] == sorted(rates[:20])
    assert rates[20:] == sorted(rates[20:], reverse=True)


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "one_cycle"])
def test_schedules_of_a_single_step_have_the_full_rate(schedule: Schedule) -> None:
    assert stage(schedule=schedule).rate_factor(0, steps=1, epoch=0) == 1.0


def test_every_group_follows_the_schedule_with_its_own_factor() -> None:
    optimizer = start_stage(stage(backbone_rate=0.1, loss_rate=5.0), tiny_model())
    set_learning_rate(optimizer, 0.02)
    assert sorted(group["lr"] for group in optimizer.param_groups) == pytest.approx([0.002, 0.02, 0.1])


def test_loss_weights_leave_a_term_out() -> None:
    """Without the orientation term, the weights that only this term depends on stay the same."""
    model = tiny_model()
    before = model.orientation_head.weight.detach().clone()
    settings = stage(loss_weights={"orientation": 0.0})
    for _ in fit(model, tiny_images(4), recipe_for_images(settings)):
        pass
    assert torch.equal(model.orientation_head.weight, before)


class Counter(nn.Module):
    """One weight, one statistic, one count."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.register_buffer("statistic", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def become(self, value: float) -> None:
        with torch.no_grad():
            self.weight.fill_(value)
            self.get_buffer("statistic").fill_(10 * value)
            self.get_buffer("seen").fill_(int(value))


def numbers(module: nn.Module) -> tuple[float, float, int]:
    """The weight, the statistic and the count."""
    state = {name: tensor.item() for name, tensor in module.state_dict().items()}
    return state["weight"], state["statistic"], state["seen"]


def averages(values: list[float], *, decay: float) -> list[tuple[float, float, int]]:
    model = Counter()
    model.become(1000.0)
    average = WarmedUpAverage(model, decay)
    found = []
    for value in values:
        model.become(value)
        average.update_parameters(model)
        found.append(numbers(average.module))
    return found


def test_the_first_update_forgets_the_first_weights() -> None:
    assert averages([3.0], decay=0.99) == [(3.0, 30.0, 3)]


def test_the_decay_rises_from_nearly_nothing() -> None:
    found = averages([2.0, 4.0, 8.0], decay=0.99)
    second = 2 / 11 * 2.0 + 9 / 11 * 4.0
    third = 3 / 12 * second + 9 / 12 * 8.0
    assert [weight for weight, _, _ in found] == pytest.approx([2.0, second, third], rel=1e-12)
    assert [statistic for _, statistic, _ in found] == pytest.approx([20.0, 10 * second, 10 * third])
    assert [seen for _, _, seen in found] == [2, 4, 8], "counts are not averaged"


def test_the_decay_rises_to_its_setting_and_no_further() -> None:
    found = averages([0.0] * 40 + [1.0], decay=0.5)
    assert found[-1][0] == pytest.approx(0.5)


def test_the_model_itself_is_left_alone() -> None:
    model = Counter()
    average = WarmedUpAverage(model, 0.9)
    for value in (1.0, 2.0):
        model.become(value)
        average.update_parameters(model)
    assert numbers(model)[0] == 2.0
    assert numbers(average.module)[0] != 2.0
