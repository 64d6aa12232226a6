"""Strided and large depthwise convolutions stay in single precision, other convolutions do not."""

import copy

import pytest
import torch
from torch import nn

from camloc.training.cpu.depthwise import keep_single


def depthwise(stride: int, *, groups: int = 8, kernel: int = 3) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(8, 8, kernel, stride=stride, padding=kernel // 2, groups=groups)


IMAGES = torch.randn(2, 8, 12, 16, generator=torch.Generator().manual_seed(1))


def in_bfloat16(network: nn.Module) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        found: torch.Tensor = network(IMAGES)
    return found


@pytest.mark.parametrize(("stride", "groups", "kernel"), [(1, 8, 3), (2, 1, 3), (2, 4, 3), (1, 1, 5)])
def test_other_convolutions_are_left_to_autocast(stride: int, groups: int, kernel: int) -> None:
    kept = keep_single(depthwise(stride, groups=groups, kernel=kernel))
    assert torch.equal(in_bfloat16(kept), in_bfloat16(depthwise(stride, groups=groups, kernel=kernel)))
    assert in_bfloat16(kept).dtype == torch.bfloat16


@pytest.mark.parametrize(("stride", "kernel"), [(2, 3), (1, 5)])
def test_these_compute_and_give_gradients_in_single_precision(stride: int, kernel: int) -> None:
    kept, plain = keep_single(depthwise(stride, kernel=kernel)), depthwise(stride, kernel=kernel)
    found, wanted = in_bfloat16(kept), plain(IMAGES)
    assert torch.equal(found, wanted)
    found.square().sum().backward()
    wanted.square().sum().backward()
    assert torch.equal(kept.get_parameter("weight").grad, plain.weight.grad)  # type: ignore[arg-type]
    assert not torch.equal(in_bfloat16(plain).float(), wanted)  # the result of autocast alone


def test_they_return_the_precision_of_their_input() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found = keep_single(depthwise(2))(IMAGES.bfloat16())
    assert found.dtype == torch.bfloat16


def test_a_copy_has_weights_of_its_own() -> None:
    network = keep_single(nn.Sequential(depthwise(2)))
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin.get_parameter("0.weight").zero_()
        twin.get_parameter("0.bias").zero_()
    assert not twin(IMAGES).any()
    assert network(IMAGES).any()
    assert list(twin.state_dict()) == ["0.weight", "0.bias"]
