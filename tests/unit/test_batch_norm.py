"""Batch norm with statistics over all processes, against torch's own on one process."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
from tests.support.tiny_training import tiny_model
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from camloc.training.cpu.batch_norm import synchronise_batch_norm
from camloc.training.optim import WarmedUpAverage

CHANNELS = 5


@pytest.fixture(autouse=True)
def one_process(tmp_path: Path) -> Iterator[None]:
    """A group of one process: sums over processes are sums over the batch."""
    meeting = f"file://{tmp_path / 'meeting'}"
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def norms(**settings: Any) -> list[nn.BatchNorm2d]:
    generator = torch.Generator().manual_seed(0)
    made = [
        nn.BatchNorm2d(CHANNELS, **settings),
        BatchNormAct2d(CHANNELS, act_layer=nn.SiLU, **settings),
    ]
    for norm in made:
        if norm.affine:
            nn.init.normal_(norm.weight, generator=generator)
            nn.init.normal_(norm.bias, generator=generator)
    return made


def images(*, seed: int = 0, mean: float = 3.0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(4, CHANNELS, 6, 7, generator=generator, dtype=torch.float64) * 2 + mean).to(dtype)


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize(
    "settings", [{}, {"momentum": 0.3}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}]
)
def test_outputs_gradients_and_statistics_are_torchs_own(kind: int, settings: dict[str, Any]) -> None:
    native = norms(**settings)[kind].double().train()
    ours = synchronise_batch_norm(deepcopy(native)).train()
    for seed in range(3):
        inputs = [images(seed=seed).requires_grad_() for _ in range(2)]
        outputs = [norm(each) for norm, each in zip((native, ours), inputs, strict=True)]
        torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-10, atol=1e-10)
        for output in outputs:
            (output**3).sum().backward()
        assert inputs[0].grad is not None
        torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-8, atol=1e-8)
    for name, tensor in native.state_dict().items():
        torch.testing.assert_close(tensor, ours.state_dict()[name], rtol=1e-10, atol=1e-10)
    for one, other in zip(native.parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-8, atol=1e-8)


def test_a_large_mean_does_not_cancel_in_single_precision() -> None:
    native = norms()[0].train()
    ours = synchronise_batch_norm(deepcopy(native)).train()
    values = images(mean=5000.0, dtype=torch.float32)
    torch.testing.assert_close(native(values), ours(values), rtol=0, atol=5e-3)


def test_half_precision_is_summed_in_single_precision() -> None:
    native = norms()[0].train()
    ours = synchronise_batch_norm(deepcopy(native)).train()
    values = images(dtype=torch.bfloat16).repeat(1, 1, 30, 30)
    out = ours(values)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), native(values.float()), rtol=0.01, atol=0.02)
    assert native.running_var is not None
    torch.testing.assert_close(ours.get_buffer("running_var"), native.running_var, rtol=1e-4, atol=1e-4)


def test_evaluation_uses_the_running_statistics() -> None:
    for norm in norms():
        expected = deepcopy(norm).eval()(images(dtype=torch.float32))
        assert torch.equal(synchronise_batch_norm(norm).eval()(images(dtype=torch.float32)), expected)


def test_every_batch_norm_of_a_network_is_converted_and_its_weights_keep_their_names() -> None:
    model = tiny_model()
    names = list(model.state_dict())
    expected = [deepcopy(model).train()(torch.rand(4, 3, 24, 32, generator=torch.Generator().manual_seed(0)))]
    synchronise_batch_norm(model)
    assert list(model.state_dict()) == names
    found = model.train()(torch.rand(4, 3, 24, 32, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(found.position, expected[0].position, rtol=1e-3, atol=1e-4)


def test_a_copy_for_averaging_uses_its_own_statistics() -> None:
    norm = norms()[0].double()
    synchronise_batch_norm(norm)
    average = WarmedUpAverage(norm, 0.9)
    norm.train()
    for seed in range(5):
        norm(images(seed=seed))
    average.update_parameters(norm)
    copy = average.module
    copy.get_buffer("running_mean").fill_(100.0)
    out = copy.eval()(images())
    expected = nn.functional.batch_norm(
        images(),
        torch.full((CHANNELS,), 100.0).double(),
        norm.get_buffer("running_var"),
        norm.weight,
        norm.bias,
    )
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-9)
    assert norm.get_buffer("running_mean").max() < 10.0
