"""Weights for a backbone: from a file, from the hub when asked, or none."""

from pathlib import Path
from typing import Literal

import huggingface_hub
import timm
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import LocalEntryNotFoundError
from torch import Tensor, nn

from camloc.errors import MissingExtraError
from camloc.models.parts.backbone import Backbone
from camloc.training.weight_files import fill_network, read_weights, server_answers

Weights = Path | Literal["none", "hub"]


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
    _fill(backbone.network, read_weights(weights), source=str(weights))
    return weights.name


def _fill(network: nn.Module, loaded: dict[str, Tensor], *, source: str) -> None:
    """Copy weights by name; a cut network takes its part."""
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
    """Weights that an earlier download left on this machine."""
    repository = getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None)
    found = try_to_load_from_cache(repository, "model.safetensors") if repository else None
    return read_weights(Path(found)) if isinstance(found, str) else None


def _downloaded(name: str) -> dict[str, Tensor] | None:
    """Weights fetched now; None at once where the hub does not answer."""
    if not server_answers(huggingface_hub.constants.ENDPOINT):
        return None
    return timm.create_model(name, pretrained=True).state_dict()
