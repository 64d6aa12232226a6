"""Training on an accelerator: images are changed there, and nothing waits for it within a step.

A tensor on the device "meta" has a shape and no values. Code that waits for a value of an accelerator, or
mixes devices, fails there.
"""

from itertools import takewhile
from typing import Any, get_args

import pytest
import torch
from tests.support.models import TINY_BACKBONE
from tests.support.tiny_training import HEIGHT, WIDTH, recipe_for_images, tiny_images, tiny_model

from camloc.data.augment import Augment, Draws
from camloc.data.batch import Batch
from camloc.errors import RecipeError
from camloc.models.decoding import OrientationForm
from camloc.models.hyperpose import HyperPose, HyperPoseConfig
from camloc.models.losses import PoseLossConfig
from camloc.models.regressor import RegressionConfig
from camloc.training import loop
from camloc.training.loop import Epoch, fit
from camloc.training.optim import WarmedUpAverage
from camloc.training.recipe import Stage

META = torch.device("meta")
EVERYTHING = Augment(
    random_crop=True,
    yaw_degrees=5.0,
    zoom=1.1,
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
    cast=0.1,
    hue=0.1,
    erase=0.3,
)


def drawn(augment: Augment, device: torch.device) -> Batch:
    draws = Draws(torch.Generator().manual_seed(0), 4, slice(0, 4))
    return tiny_images(4).drawn(
        torch.arange(4), draws, augment=augment, width=WIDTH, height=HEIGHT, device=device
    )


def tensors_of(batch: Batch) -> list[torch.Tensor]:
    pose = batch.world_from_cam
    optional = [tensor for tensor in (batch.intrinsics, batch.inside) if tensor is not None]
    return [batch.images, pose.rotation, pose.translation, batch.scene, *optional]


@pytest.mark.parametrize("augment", [Augment(), Augment(random_crop=True), EVERYTHING])
def test_a_batch_is_drawn_on_a_device_without_reading_a_value(augment: Augment) -> None:
    there, here = drawn(augment, META), drawn(augment, torch.device("cpu"))
    assert here.images.shape == (4, 3, HEIGHT, WIDTH)
    for far, near in zip(tensors_of(there), tensors_of(here), strict=True):
        assert far.device == META
        assert (far.shape, far.dtype, far.stride()) == (near.shape, near.dtype, near.stride())


@pytest.mark.parametrize("form", get_args(OrientationForm))
@pytest.mark.parametrize("distance", ["euclidean", "absolute"])
def test_a_step_of_a_regressor_reads_no_value_from_the_device(form: OrientationForm, distance: Any) -> None:
    loss = PoseLossConfig(distance=distance)
    regression = RegressionConfig("standardised", form, loss, relative=loss)
    model = HyperPose(HyperPoseConfig(TINY_BACKBONE, regression=regression)).to(META)
    average = WarmedUpAverage(model, 0.9)
    batch = drawn(EVERYTHING, META).replace(window=2)
    for _ in range(2):
        losses = model.losses(model(batch.images), batch)
        torch.stack(list(losses.values())).sum().backward()
        average.update_parameters(model)
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("steps", [1, 3, 50])
def test_a_loss_that_is_seldom_checked_ends_a_training_that_diverged_all_the_same(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "steps_between_checks", lambda _: steps)
    recipe = recipe_for_images(Stage(epochs=5, learning_rate=1e30))
    events = fit(tiny_model(), tiny_images(16), recipe)
    with pytest.raises(RecipeError, match=r"diverged.*lower the learning rate"):
        list(takewhile(lambda event: event.epoch == 1, events))


def test_on_a_cpu_every_loss_is_checked() -> None:
    assert loop.steps_between_checks(torch.device("cpu")) == 1
    assert loop.steps_between_checks(torch.device("cuda")) > 1


def test_losses_do_not_depend_on_how_often_they_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def curve() -> list[dict[str, float]]:
        events = fit(tiny_model(), tiny_images(16), recipe_for_images(Stage(epochs=3, learning_rate=1e-3)))
        return [event.losses for event in events if isinstance(event, Epoch)]

    often = curve()
    monkeypatch.setattr(loop, "steps_between_checks", lambda _: 50)
    assert curve() == often
