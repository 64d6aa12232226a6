"""Pretrained weights of backbones and segmentation networks: from a file, or from the hub if requested."""

import socket
import warnings
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from threading import Event, Thread
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import huggingface_hub
import safetensors.torch
import timm
import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors import SafetensorError
from torch import Tensor, nn
from torchvision.models import get_model_weights

from camloc.errors import MissingExtraError
from camloc.models.layers.backbone import Backbone

# How long to wait for a server before it counts as unreachable.
_TIMEOUT_SECONDS = 2.0


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of a weights-only state dict of torch, by name.

    Raises:
        MissingExtraError: the file does not exist, is damaged, would run code, or holds something else.
    """
    if not path.is_file():
        raise MissingExtraError(f"the weights {path} do not exist; name a file that does")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, OSError, ValueError, RuntimeError, EOFError, LookupError):
        loaded = None
    if isinstance(loaded, dict) and "state_dict" in loaded:
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict):
        raise MissingExtraError(
            f"{path} is neither a safetensors file nor a state dict that can be read without running code"
        )
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or value.layout != torch.strided:
            entry = " ".join(repr(name).split())[:40]
            kinds = f"{type(name).__name__} with {type(value).__name__}"
            raise MissingExtraError(
                f"{path} is not a state dict, which has names and dense tensors: its entry {entry} pairs "
                f"{kinds}; save a network's state_dict() and name that file"
            )
    return loaded


def fill_network(network: nn.Module, loaded: dict[str, Tensor], *, source: str) -> None:
    """Copy weights by name; names that the network does not have are ignored.

    Raises:
        MissingExtraError: a weight of the network is missing, or has another shape.
    """
    wanted = network.state_dict()
    for name, tensor in wanted.items():
        if name.endswith("num_batches_tracked"):
            loaded.setdefault(name, tensor)
        if name not in loaded:
            raise MissingExtraError(f"{source} has no weights '{name}': it belongs to another network")
        if loaded[name].shape != tensor.shape:
            raise MissingExtraError(
                f"'{name}' in {source} has shape {tuple(loaded[name].shape)}, but the network needs "
                f"{tuple(tensor.shape)}: it belongs to another network"
            )
    network.load_state_dict({name: loaded[name] for name in wanted})


def server_answers(address: str) -> bool:
    """Whether a server, or the proxy in front of it, accepts connections at a web address."""
    server = urlsplit(address)
    proxy = urlsplit(getproxies().get(server.scheme, ""))
    target = proxy if proxy.hostname and not proxy_bypass(server.hostname or "") else server
    port = target.port or (80 if target.scheme == "http" else 443)
    answers = Event()

    def connect() -> None:
        with suppress(OSError):
            socket.create_connection((target.hostname or "", port), timeout=_TIMEOUT_SECONDS).close()
            answers.set()

    # In a thread, since no timeout limits the look-up of the server's name.
    thread = Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_TIMEOUT_SECONDS)
    return answers.is_set()


Weights = Path | Literal["none", "hub"]


def load_pretrained(model: nn.Module, weights: Weights) -> str:
    """Load weights into a model's backbone. Returns the name of the source, for the manifest of the run.

    Args:
        model: a network with a `backbone`.
        weights: a file (safetensors, or a weights-only state dict of torch) with timm's names;
            "hub" for timm's own pretrained weights; "none" to start from random ones.

    Raises:
        MissingExtraError: the file or the hub cannot be read, or holds another network's weights.
    """
    backbone = getattr(model, "backbone", None)
    if weights == "none" or not isinstance(backbone, Backbone):
        return "none"
    if weights == "hub":
        return _from_hub(backbone)
    _fill(backbone.network, read_weights(weights), source=str(weights))
    return weights.name


def _fill(network: nn.Module, loaded: dict[str, Tensor], *, source: str) -> None:
    """Copy weights by name into a network, or into the part of it that was kept."""
    inner = getattr(network, "model", network)  # a cut network of timm wraps the original
    fill_network(inner, loaded, source=source)


def _from_hub(backbone: Backbone) -> str:
    name = backbone.config.name
    try:
        weights = _cached(name) or _downloaded(name)
    except (LocalEntryNotFoundError, OSError, RuntimeError):
        weights = None
    if weights is None:
        raise MissingExtraError(
            f"pretrained weights for {name} are not on this machine and the hub cannot be reached; pass "
            f"--backbone-weights FILE, or leave the option out to start from random weights"
        )
    _fill(backbone.network, weights, source=f"the hub's {name}")
    return f"hub: {name}"


def _cached(name: str) -> dict[str, Tensor] | None:
    """Weights from an earlier download."""
    repository = getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None)
    found = try_to_load_from_cache(repository, "model.safetensors") if repository else None
    return read_weights(Path(found)) if isinstance(found, str) else None


def _downloaded(name: str) -> dict[str, Tensor] | None:
    """Weights downloaded now; None at once where the hub does not answer."""
    if not server_answers(huggingface_hub.constants.ENDPOINT):
        return None
    return timm.create_model(name, pretrained=True).state_dict()


# Prefix of the names of a network's last layers. Networks that were trained with a second classifier on an
# earlier map have its weights too; these are not loaded.
_CLASSIFIER = "classifier."


def load_segmentation_weights(network: nn.Module, weights: Path | Literal["hub"], *, name: str) -> None:
    """Load weights into one of torchvision's segmentation networks.

    Args:
        network: from `segmentation_network`.
        weights: a file (safetensors, or a weights-only state dict of torch) with torchvision's names, or
            "hub" for torchvision's own.
        name: torchvision's name of the network.

    Raises:
        MissingExtraError: the file or the hub cannot be read, or holds weights of another network or for
            another number of classes.
    """
    if weights == "hub":
        found, source = _segmentation_from_hub(name), f"the hub's {name}"
    else:
        found, source = read_weights(weights), str(weights)
    _refuse_other_classes(network, found, source=source)
    fill_network(network, found, source=source)


def _refuse_other_classes(network: nn.Module, found: dict[str, Tensor], *, source: str) -> None:
    """Raise the error for a last layer that differs in its number of outputs alone."""
    for name, wanted in network.state_dict().items():
        loaded = found.get(name)
        if loaded is None or not name.startswith(_CLASSIFIER) or wanted.ndim != 4:
            continue
        if loaded.shape[1:] == wanted.shape[1:] and len(loaded) != len(wanted):
            raise MissingExtraError(
                f"{source} has {len(loaded)} classes, not {len(wanted)}; name its classes in a "
                f"text file, one a line: --classes FILE"
            )


def _segmentation_from_hub(name: str) -> dict[str, Tensor]:
    published = get_model_weights(name).DEFAULT
    kept = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(published.url).path).name
    if kept.is_file():
        return read_weights(kept)
    try:
        if server_answers(published.url):
            downloaded: dict[str, Tensor] = published.get_state_dict(
                progress=False, check_hash=True, weights_only=True
            )
            return downloaded
    except (OSError, RuntimeError):  # it answers, but does not deliver
        pass
    raise MissingExtraError(
        f"published weights for {name} are not on this machine and the hub cannot be reached; pass "
        f"--weights FILE"
    )
