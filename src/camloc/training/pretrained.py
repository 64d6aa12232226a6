"""Weights for a backbone: from a file, from the hub when asked, or none."""

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

from camloc.errors import MissingExtraError
from camloc.models.parts.backbone import Backbone

Weights = Path | Literal["none", "hub"]

# How long to wait for the hub before saying that it is not there.
_HUB_TIMEOUT_SECONDS = 2.0


def load_pretrained(model: nn.Module, weights: Weights) -> str:
    """Load weights into a model's backbone. Returns what was loaded, for the record.

    Args:
        model: a network with a `backbone`.
        weights: a file (safetensors, or a weights-only state dict of torch) with timm's names;
            "hub" for timm's own pretrained weights; "none" to start from random ones.

    Raises:
        MissingExtraError: the file or the hub is not there, or holds another network's weights.
    """
    backbone = getattr(model, "backbone", None)
    if weights == "none" or not isinstance(backbone, Backbone):
        return "none"
    if weights == "hub":
        return _from_hub(backbone)
    _fill(backbone.network, _read(weights), source=str(weights))
    return weights.name


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise MissingExtraError(
            f"the backbone weights {path} do not exist; name a file that does, or leave it out"
        )
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


def _fill(network: nn.Module, loaded: dict[str, Tensor], *, source: str) -> None:
    """Copy weights by name. A cut network takes its part; a missing or misshapen one is refused."""
    inner = getattr(network, "model", network)  # a cut network of timm wraps the original
    wanted = inner.state_dict()
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
    inner.load_state_dict({name: loaded[name] for name in wanted})


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
    """Weights that an earlier download left on this machine."""
    repository = getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None)
    found = try_to_load_from_cache(repository, "model.safetensors") if repository else None
    return _read(Path(found)) if isinstance(found, str) else None


def _downloaded(name: str) -> dict[str, Tensor] | None:
    """Weights fetched now; None at once where the hub does not answer."""
    if not _hub_answers():
        return None
    return timm.create_model(name, pretrained=True).state_dict()


def _hub_answers() -> bool:
    """Whether something listens where the hub, or the proxy on the way to it, should be."""
    hub = urlsplit(huggingface_hub.constants.ENDPOINT)
    proxy = urlsplit(getproxies().get(hub.scheme, ""))
    address = proxy if proxy.hostname and not proxy_bypass(hub.hostname or "") else hub
    port = address.port or (80 if address.scheme == "http" else 443)
    answers = Event()

    def knock() -> None:
        with suppress(OSError):
            socket.create_connection((address.hostname or "", port), timeout=_HUB_TIMEOUT_SECONDS).close()
            answers.set()

    # In a thread, since no timeout limits how long the hub's name is looked up.
    thread = Thread(target=knock, daemon=True)
    thread.start()
    thread.join(_HUB_TIMEOUT_SECONDS)
    return answers.is_set()
