"""Weights for a segmentation network: from a file, or those that torchvision publishes when asked."""

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights

from camloc.errors import MissingExtraError
from camloc.training.weight_files import fill_network, read_weights, server_answers

# Where a network's last layers stand. Networks that were trained with a second classifier on an earlier
# map bring that along; it has no part in the answer.
_CLASSIFIER = "classifier."


def load_segmentation_weights(network: nn.Module, weights: Path | Literal["hub"], *, name: str) -> None:
    """Load weights into one of torchvision's segmentation networks.

    Args:
        network: what `segmentation_network` built.
        weights: a file (safetensors, or a weights-only state dict of torch) with torchvision's names, or
            "hub" for those that torchvision publishes.
        name: torchvision's, of the network.

    Raises:
        MissingExtraError: the file or the hub is not there, or holds weights of another network or for
            another number of classes.
    """
    if weights == "hub":
        found, source = _from_hub(name), f"the hub's {name}"
    else:
        found, source = read_weights(weights), str(weights)
    _refuse_other_classes(network, found, source=source)
    fill_network(network, found, source=source)


def _refuse_other_classes(network: nn.Module, found: dict[str, Tensor], *, source: str) -> None:
    """Tell of a last layer that differs in the number of its outputs alone."""
    for name, wanted in network.state_dict().items():
        loaded = found.get(name)
        if loaded is None or not name.startswith(_CLASSIFIER) or wanted.ndim != 4:
            continue
        if loaded.shape[1:] == wanted.shape[1:] and len(loaded) != len(wanted):
            raise MissingExtraError(
                f"{source} tells {len(loaded)} classes apart and not {len(wanted)}; name its classes in a "
                f"text file, one a line: --classes FILE"
            )


def _from_hub(name: str) -> dict[str, Tensor]:
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
    except (OSError, RuntimeError):  # it answers and does not deliver
        pass
    raise MissingExtraError(
        f"published weights for {name} are not on this machine and the hub cannot be reached; pass "
        f"--weights FILE"
    )
