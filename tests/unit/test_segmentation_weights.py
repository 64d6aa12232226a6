"""Weights of a segmentation network: files that fit, files that do not, and no network."""

import socket
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from camloc.data.segmentation import published_classes, segmentation_network
from camloc.errors import MissingExtraError
from camloc.training.pretrained import load_segmentation_weights

NAME = "lraspp_mobilenet_v3_large"


def network(*, classes: int = 3, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return segmentation_network(NAME, classes=classes)


def saved(path: Path, weights: dict[str, Tensor]) -> Path:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(weights, path)
    else:
        torch.save(weights, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_fills_the_network(suffix: str, tmp_path: Path) -> None:
    wanted = network(seed=1).state_dict()
    path = saved(tmp_path / f"weights{suffix}", {**wanted, "aux_classifier.0.weight": torch.zeros(3)})
    filled = network()
    load_segmentation_weights(filled, path, name=NAME)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in filled.state_dict().items())


def test_a_file_for_another_number_of_classes_is_reported_with_both(tmp_path: Path) -> None:
    path = saved(tmp_path / "weights.safetensors", network(classes=19).state_dict())
    with pytest.raises(MissingExtraError, match=r"has 19 classes, not 3.*--classes FILE"):
        load_segmentation_weights(network(), path, name=NAME)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    other = segmentation_network("deeplabv3_mobilenet_v3_large", classes=3).state_dict()
    path = saved(tmp_path / "weights.safetensors", other)
    with pytest.raises(MissingExtraError, match=r"no weights 'classifier\.cbr.*another network"):
        load_segmentation_weights(network(), path, name=NAME)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_that_is_cut_short_is_refused(suffix: str, tmp_path: Path) -> None:
    path = saved(tmp_path / f"weights{suffix}", network().state_dict())
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(MissingExtraError, match="neither a safetensors file nor a state dict"):
        load_segmentation_weights(network(), path, name=NAME)


def test_a_hub_that_cannot_be_reached_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(MissingExtraError, match=r"not on this machine.*--weights FILE"):
        load_segmentation_weights(network(), "hub", name=NAME)


def test_an_earlier_download_is_used_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    classes = len(published_classes(NAME))
    wanted = network(classes=classes, seed=2).state_dict()
    saved(folder / "lraspp_mobilenet_v3_large-d234d4ea.pth", wanted)
    filled = network(classes=classes)
    load_segmentation_weights(filled, "hub", name=NAME)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in filled.state_dict().items())
