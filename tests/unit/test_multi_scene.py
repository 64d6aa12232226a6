"""Scenes that are added later do not change predictions in the earlier scenes, to the last bit."""

from dataclasses import replace

import pytest
import torch
from tests.support.models import SCENES, small_config, some_poses
from torch import Tensor

from camloc.data.batch import Batch
from camloc.errors import RecipeError
from camloc.models import build_model
from camloc.models.base import Latents
from camloc.models.multi_scene import MultiSceneRegressor, group_sizes, latents_in

NAMES = ("ms_hyperpose", "ms_transformer", "ms_transposenet")


def images(count: int = 3) -> Tensor:
    return torch.rand(count, 3, 48, 64, generator=torch.Generator().manual_seed(0))


def shaken(model: MultiSceneRegressor, *, only: tuple[str, ...] = ("",)) -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(part in name for part in only):
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def built(name: str, groups: tuple[int, ...]) -> MultiSceneRegressor:
    torch.manual_seed(0)
    config = replace(small_config(name), scenes=sum(groups), groups=groups if len(groups) > 1 else ())
    model = build_model(name, config).eval()
    assert isinstance(model, MultiSceneRegressor)
    return model


def before_and_after(name: str) -> tuple[MultiSceneRegressor, MultiSceneRegressor]:
    """A model, and one with the same weights and two extended scenes."""
    earlier, extended = built(name, (SCENES,)), built(name, (SCENES, 1, 1))
    shaken(earlier)
    earlier.observe_scenes([some_poses(9, seed=number) for number in range(SCENES)])
    extended.observe_scenes([some_poses(9, seed=number) for number in range(SCENES + 2)])
    shaken(extended)
    state = extended.state_dict()
    for each, value in earlier.state_dict().items():
        state[each] = value if value.shape == state[each].shape else torch.cat((value, state[each][SCENES:]))
    extended.load_state_dict(state)
    return earlier, extended


@pytest.mark.parametrize("name", NAMES)
def test_poses_in_earlier_scenes_stay_the_same_to_the_last_bit(name: str) -> None:
    earlier, extended = before_and_after(name)
    with torch.no_grad():
        old, new = earlier.encode(images()), extended.encode(images())
        for number in range(SCENES):
            scene = torch.full((3,), number)
            before = earlier.pose_in(latents_in(old, scene), scene)
            after = extended.pose_in(latents_in(new, scene), scene)
            assert torch.equal(before.translation, after.translation)
            assert torch.equal(before.rotation, after.rotation)


@pytest.mark.parametrize("name", ["ms_hyperpose", "ms_transformer"])
def test_logits_of_earlier_scenes_stay_the_same(name: str) -> None:
    earlier, extended = before_and_after(name)
    with torch.no_grad():
        before, after = (model.scene_logits(model.encode(images())) for model in (earlier, extended))
    torch.testing.assert_close(after[:, :SCENES], before)


@pytest.mark.parametrize("name", NAMES)
def test_a_scene_of_the_same_group_changes_the_outputs_of_the_others_if_queries_attend_to_each_other(
    name: str,
) -> None:
    together, apart = built(name, (SCENES + 1,)), built(name, (SCENES, 1))
    shaken(together)
    state = together.state_dict()
    apart.load_state_dict(apart.state_dict() | state)
    with torch.no_grad():
        one, other = (model.encode(images()).orientation[:, :SCENES] for model in (together, apart))
    assert torch.allclose(one, other, atol=1e-6) == (name == "ms_transposenet")


@pytest.mark.parametrize("name", NAMES)
def test_the_layers_of_a_later_scene_start_without_effect_and_then_have_one(name: str) -> None:
    model = built(name, (SCENES, 1))
    output = model(images())
    latents = Latents(output.position_latents, output.orientation_latents)
    new, old = torch.full((3,), SCENES), torch.zeros(3, dtype=torch.int64)
    before = [model.regress_in(latents_in(latents, new), scene).position for scene in (new, old)]
    assert torch.equal(*before)  # the same heads and latents in either scene
    shaken(model, only=(".of_group.",))
    after = [model.regress_in(latents_in(latents, new), scene).position for scene in (new, old)]
    assert not torch.allclose(before[0], after[0])
    assert torch.equal(before[1], after[1])


@pytest.mark.parametrize("name", NAMES)
def test_all_layers_of_a_later_scene_get_a_gradient(name: str) -> None:
    model = built(name, (SCENES, 1)).train()
    shaken(model)
    scene = torch.arange(4) % (SCENES + 1)
    batch = Batch(images(4), some_poses(4), None, scene)
    torch.stack(list(model.losses(model(batch.images), batch).values())).sum().backward()
    later = {each: parameter for each, parameter in model.named_parameters() if ".of_group." in each}
    assert later
    for each, parameter in later.items():
        assert parameter.grad is not None, each
        assert parameter.grad.abs().max() > 0, each


@pytest.mark.parametrize("groups", [(2, 2), (3, 0), (4,)])
def test_groups_that_do_not_add_up_to_the_scenes_are_refused(groups: tuple[int, ...]) -> None:
    with pytest.raises(RecipeError, match="cannot be those of a model of 3"):
        group_sizes(3, groups)
    assert group_sizes(3, ()) == (3,)
    assert group_sizes(3, (2, 1)) == (2, 1)
