"""Networks small enough to train in a test."""

from dataclasses import fields, replace
from typing import Any

import torch

from camloc.geometry import Pose
from camloc.models import config_class
from camloc.models.parts.backbone import BackboneConfig

TINY_BACKBONE = BackboneConfig("test_resnet")


def small_config(name: str) -> Any:
    """A model's default settings with the smallest backbone of timm."""
    config = config_class(name)()
    assert "backbone" in {field.name for field in fields(config)}
    changes: dict[str, Any] = {"backbone": TINY_BACKBONE}
    if "regression" in {field.name for field in fields(config)}:
        changes["regression"] = replace(config.regression, positions="standardised")
    return replace(config, **changes)


def some_poses(count: int, *, seed: int = 0) -> Pose:
    """Poses of a hand-held camera in a room, double precision."""
    generator = torch.Generator().manual_seed(seed)
    quaternion_wxyz = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return Pose.from_quaternion_wxyz(
        quaternion_wxyz, torch.randn(count, 3, generator=generator, dtype=torch.float64)
    )
