"""Files of pretrained weights, read without running code, and whether their publisher can be reached."""

import socket
import warnings
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from threading import Event, Thread
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from camloc.errors import MissingExtraError

# How long to wait for a server before saying that it is not there.
_TIMEOUT_SECONDS = 2.0


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of a weights-only state dict of torch, by name.

    Raises:
        MissingExtraError: the file is not there, is damaged, would run code, or holds something else.
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
    """Copy weights by name; those that the network has not are left out.

    Raises:
        MissingExtraError: one that it has is missing, or is of another shape.
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
    """Whether something listens where a web address, or the proxy on the way to it, should be."""
    server = urlsplit(address)
    proxy = urlsplit(getproxies().get(server.scheme, ""))
    asked = proxy if proxy.hostname and not proxy_bypass(server.hostname or "") else server
    port = asked.port or (80 if asked.scheme == "http" else 443)
    answers = Event()

    def knock() -> None:
        with suppress(OSError):
            socket.create_connection((asked.hostname or "", port), timeout=_TIMEOUT_SECONDS).close()
            answers.set()

    # In a thread, since no timeout limits how long the server's name is looked up.
    thread = Thread(target=knock, daemon=True)
    thread.start()
    thread.join(_TIMEOUT_SECONDS)
    return answers.is_set()
