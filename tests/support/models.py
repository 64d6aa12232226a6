"""Networks small enough to train in a test."""

from dataclasses import fields, replace
from typing import Any

import torch

from camloc.geometry import Pose
from camloc.models import config_class
from camloc.models.layers.backbone import BackboneConfig
from camloc.models.layers.transformer import TransformerConfig

# Of models of several.
SCENES = 3

TINY_BACKBONE = BackboneConfig("test_resnet")


def small_config(name: str, *, layers: int = 2) -> Any:
    """A model's default settings with the smallest backbone of timm and small Transformers."""
    config = config_class(name)()
    names = {field.name for field in fields(config)}
    assert "backbone" in names
    changes: dict[str, Any] = {"backbone": TINY_BACKBONE}
    if "regression" in names:
        changes["regression"] = replace(config.regression, positions="standardised")
    if "encoder" in names:
        changes["encoder"] = _smaller(config.encoder, layers)
    if hasattr(getattr(config, "hypernetwork", None), "encoder"):
        hypernetwork = config.hypernetwork
        changes["hypernetwork"] = replace(hypernetwork, encoder=_smaller(hypernetwork.encoder, layers))
    if "transformer" in names:
        changes["transformer"] = _smaller(config.transformer, layers)
    if "layers" in names:
        changes["layers"] = (layers, layers)
    if "scenes" in names:
        changes["scenes"] = SCENES
    return replace(config, **changes)


def scene_names(config: Any) -> tuple[str, ...]:
    """Names for the scenes of a model with these settings."""
    return tuple(f"scene-{number}" for number in range(getattr(config, "scenes", 1)))


def _smaller(config: TransformerConfig, layers: int) -> TransformerConfig:
    return replace(config, width=32, layers=layers)


def some_poses(count: int, *, seed: int = 0) -> Pose:
    """Poses of a hand-held camera in a room, double precision."""
    generator = torch.Generator().manual_seed(seed)
    quaternion_wxyz = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return Pose.from_quaternion_wxyz(
        quaternion_wxyz, torch.randn(count, 3, generator=generator, dtype=torch.float64)
    )
