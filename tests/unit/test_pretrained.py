"""Weights for a backbone: files that fit, files that do not, files that would run code, and no network."""

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tests.support.models import TINY_BACKBONE
from tests.support.tiny_training import tiny_model
from torch import Tensor, nn

from camloc.errors import MissingExtraError
from camloc.models.layers.backbone import MOBILENETV2_TENSORFLOW, Backbone, BackboneConfig
from camloc.training import pretrained
from camloc.training.pretrained import load_pretrained

WEIGHTS_VARIABLE = "CAMLOC_TEST_WEIGHTS"


def backbone_weights(*, seed: int) -> dict[str, Tensor]:
    """Weights in timm's names, classifier included, as a pretrained file has them."""
    model = tiny_model(seed=seed)
    assert isinstance(model.backbone, Backbone)
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.randn(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor
        for name, tensor in model.backbone.network.state_dict().items()
    }
    return {**weights, "fc.weight": torch.zeros(10, 3), "fc.bias": torch.zeros(10)}


def assert_has(model: Any, weights: dict[str, Tensor]) -> None:
    for name, tensor in model.backbone.network.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


class Wrapped(nn.Module):
    """A network around a backbone."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone


def test_a_safetensors_file_fills_the_backbone_and_nothing_else(tmp_path: Path) -> None:
    weights = backbone_weights(seed=1)
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(weights, path)
    model = tiny_model()
    head = model.position_head.weight.clone()
    assert load_pretrained(model, path) == "weights.safetensors"
    assert_has(model, weights)
    assert torch.equal(model.position_head.weight, head)


@pytest.mark.parametrize("nested", [False, True])
def test_a_state_dict_of_torch_fills_the_backbone(nested: bool, tmp_path: Path) -> None:
    weights = backbone_weights(seed=2)
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": weights} if nested else weights, path)
    model = tiny_model()
    load_pretrained(model, path)
    assert_has(model, weights)


def test_a_cut_network_takes_its_part(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    weights = backbone_weights(seed=3)
    safetensors.torch.save_file(weights, path)
    model = Wrapped(Backbone(TINY_BACKBONE, taps=(1,)))
    load_pretrained(model, path)
    loaded = {
        name.removeprefix("model."): tensor for name, tensor in model.backbone.network.state_dict().items()
    }
    assert 0 < len(loaded) < len(weights)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in loaded.items())


class Code:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".safetensors"])
def test_a_file_that_would_run_code_is_refused_and_runs_none(suffix: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    path = tmp_path / f"weights{suffix}"
    torch.save({**backbone_weights(seed=1), "extra": Code(ran)}, path)
    model = tiny_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(MissingExtraError, match="without running code"):
        load_pretrained(model, path)
    assert not ran.exists()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    torch.load(path.rename(tmp_path / "proof.pth"), weights_only=False)
    assert ran.exists(), "the file would have run code"


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04" + bytes(200), bytes(range(256)) * 8])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_file_is_refused(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(MissingExtraError, match="weights") as refused:
        load_pretrained(tiny_model(), path)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_is_cut_short_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(backbone_weights(seed=1), path)
    else:
        safetensors.torch.save_file(backbone_weights(seed=1), path)
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.999):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(MissingExtraError):
            load_pretrained(tiny_model(), path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({0: torch.zeros(3)}, "entry 0 pairs int with Tensor"),
        ({"epoch": 3}, "entry 'epoch' pairs str with int"),
        ({"state_dict": {"epoch": None}}, "entry 'epoch' pairs str with NoneType"),
        ({("a", 1): torch.zeros(3)}, "pairs tuple with Tensor"),
        ({"conv1.weight": torch.zeros(3, 3).to_sparse()}, "entry 'conv1.weight' pairs str with Tensor"),
        ({"state_dict": [torch.zeros(3)]}, "neither a safetensors file nor a state dict"),
        ([1, 2], "neither a safetensors file nor a state dict"),
        (torch.zeros(3), "neither a safetensors file nor a state dict"),
    ],
)
def test_a_file_without_a_state_dict_is_reported_with_its_odd_entry(
    content: object, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    whole = backbone_weights(seed=1)
    torch.save({**whole, **content} if isinstance(content, dict) else content, path)
    with pytest.raises(MissingExtraError, match=r"weights\.pth") as refused:
        load_pretrained(tiny_model(), path)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"nowhere\.safetensors do not exist"):
        load_pretrained(tiny_model(), tmp_path / "nowhere.safetensors")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match="name a file"):
        load_pretrained(tiny_model(), tmp_path)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    weights = backbone_weights(seed=1)
    del weights["layer2.0.conv1.weight"]
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(weights, path)
    with pytest.raises(MissingExtraError, match=r"no weights 'layer2\.0\.conv1\.weight'.*another network"):
        load_pretrained(tiny_model(), path)


def test_a_misshapen_tensor_is_named_with_both_shapes(tmp_path: Path) -> None:
    weights = backbone_weights(seed=1)
    weights["layer2.0.conv1.weight"] = torch.zeros(5, 7)
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(weights, path)
    with pytest.raises(
        MissingExtraError, match=r"'layer2\.0\.conv1\.weight'.*\(5, 7\).*\(\d+, .*another network"
    ):
        load_pretrained(tiny_model(), path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(backbone_weights(seed=1), path)
    with pytest.raises(MissingExtraError, match="another network"):
        load_pretrained(Wrapped(Backbone(BackboneConfig("test_efficientnet"))), path)


def test_none_leaves_the_weights_as_they_are() -> None:
    model = tiny_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert load_pretrained(model, "none") == "none"
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.fixture
def empty_hub_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "try_to_load_from_cache", lambda *_: None)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def assert_hub_is_missed_soon() -> None:
    started = time.monotonic()
    with pytest.raises(MissingExtraError, match="hub cannot be reached") as message:
        load_pretrained(tiny_model(), "hub")
    assert time.monotonic() - started < 4.0
    assert "--backbone-weights FILE" in str(message.value)


@pytest.mark.usefixtures("empty_hub_cache")
@pytest.mark.parametrize(
    "problem", [ConnectionRefusedError(), TimeoutError(), socket.gaierror(-2, "unknown")]
)
def test_a_hub_that_cannot_be_reached_is_reported_at_once(
    problem: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr(socket, "create_connection", refuse)
    assert_hub_is_missed_soon()


@pytest.mark.usefixtures("empty_hub_cache")
def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def silence(*_: object, **__: object) -> list[Any]:
        time.sleep(5.0)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", silence)
    assert_hub_is_missed_soon()


@pytest.mark.usefixtures("empty_hub_cache")
def test_a_hub_that_answers_but_does_not_deliver_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests run with the hub's client offline: it fails as it does when a download breaks."""
    contacted: list[tuple[str, int]] = []

    class Connection:
        def close(self) -> None: ...

    def answer(address: tuple[str, int], **_: object) -> Connection:
        contacted.append(address)
        return Connection()

    monkeypatch.setattr(socket, "create_connection", answer)
    assert_hub_is_missed_soon()
    assert [port for _, port in contacted] == [443]


@pytest.mark.usefixtures("empty_hub_cache")
def test_behind_a_proxy_the_proxy_is_contacted(monkeypatch: pytest.MonkeyPatch) -> None:
    contacted: list[tuple[str, int]] = []

    def refuse(address: tuple[str, int], **_: object) -> None:
        contacted.append(address)
        raise ConnectionRefusedError

    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setattr(socket, "create_connection", refuse)
    assert_hub_is_missed_soon()
    assert contacted == [("proxy.example", 3128)]


def test_an_earlier_download_is_used_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = backbone_weights(seed=4)
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(weights, path)
    monkeypatch.setattr(pretrained, "try_to_load_from_cache", lambda *_: str(path))
    model = tiny_model()
    assert load_pretrained(model, "hub") == "hub: test_resnet"
    assert_has(model, weights)


def test_real_weights_of_mobilenetv2_fit() -> None:
    shared = Path(__file__).parents[2].parent / "shared" / "weights"
    folder = Path(os.environ.get(WEIGHTS_VARIABLE) or shared)
    path = folder / "mobilenetv2_100.imagenet.timm.safetensors"
    if not path.is_file():
        pytest.skip(f"{path} is absent; set {WEIGHTS_VARIABLE} to the folder of pretrained weights")
    model = Wrapped(Backbone(MOBILENETV2_TENSORFLOW))
    assert load_pretrained(model, path) == path.name
    weights = safetensors.torch.load_file(path)
    loaded = model.backbone.network.state_dict()
    tensors = [name for name in loaded if not name.endswith("num_batches_tracked")]
    assert all(torch.equal(loaded[name], weights[name]) for name in tensors)
    with torch.no_grad():
        (maps,) = model.backbone.eval()(torch.rand(1, 3, 97, 97, generator=torch.Generator().manual_seed(0)))
    assert maps.shape == (1, 1280, 4, 4)
    assert 0.01 < maps.std() < 10.0, "trained activations are of moderate size"
