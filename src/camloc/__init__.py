"""camloc: find where a camera is from one image.

    from camloc import Localizer
    answer = Localizer.load("runs/demo").locate("image.jpg")

Poses are `world_from_cam`: camera axes right, down, forward; see `docs/conventions.md`. Public names
are imported when they are first used, so that `import camloc` is instant.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from camloc.api import build_map, evaluate, load_dataset, save_pretrained, train
    from camloc.data.query import NamedQuery, Query
    from camloc.data.types import Frame, Located, Lost, Scene
    from camloc.errors import CamlocError
    from camloc.geometry.camera import Camera
    from camloc.geometry.pose import Pose
    from camloc.inference.localizer import Localizer
    from camloc.inference.tracking import Track
    from camloc.recipes import find_recipe

__version__ = "0.1.0"

__all__ = [
    "Camera",
    "CamlocError",
    "Frame",
    "Localizer",
    "Located",
    "Lost",
    "NamedQuery",
    "Pose",
    "Query",
    "Scene",
    "Track",
    "__version__",
    "build_map",
    "evaluate",
    "find_recipe",
    "load_dataset",
    "save_pretrained",
    "train",
]

_HOMES = {
    "Camera": "camloc.geometry.camera",
    "CamlocError": "camloc.errors",
    "Frame": "camloc.data.types",
    "Localizer": "camloc.inference.localizer",
    "Located": "camloc.data.types",
    "Lost": "camloc.data.types",
    "NamedQuery": "camloc.data.query",
    "Pose": "camloc.geometry.pose",
    "Query": "camloc.data.query",
    "Scene": "camloc.data.types",
    "Track": "camloc.inference.tracking",
    "build_map": "camloc.api",
    "evaluate": "camloc.api",
    "find_recipe": "camloc.recipes",
    "load_dataset": "camloc.api",
    "save_pretrained": "camloc.api",
    "train": "camloc.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'camloc' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
