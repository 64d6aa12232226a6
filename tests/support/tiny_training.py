"""Images in memory and networks that learn from them in a fraction of a second."""

from dataclasses import replace

import numpy as np
import torch

from camloc.data.augment import Augment
from camloc.data.image_cache import ImageCache
from camloc.data.image_io import Preprocess
from camloc.models.hyperpose import HyperPose, HyperPoseConfig
from camloc.models.layers.hypernetwork import HypernetworkConfig
from camloc.models.losses import PoseLossConfig
from camloc.models.regressor import RegressionConfig
from camloc.training.recipe import Recipe, Stage
from tests.support.models import TINY_BACKBONE, some_poses

WIDTH, HEIGHT = 32, 24
MARGIN = 4

# Images of one recording.
RECORDING = 12


def tiny_images(count: int, *, seed: int = 0) -> ImageCache:
    """Noise, with poses that it does not depend on; a little larger than the network's image."""
    width, height = WIDTH + MARGIN, HEIGHT + MARGIN
    images = np.random.default_rng(seed).integers(0, 256, (count, 3, height, width), dtype=np.uint8)
    intrinsics = torch.tensor([[30.0, 0.0, width / 2], [0.0, 30.0, height / 2], [0.0, 0.0, 1.0]]).double()
    return ImageCache(
        images=images,
        world_from_cam=some_poses(count, seed=seed),
        intrinsics=intrinsics.expand(count, 3, 3),
        scene=torch.zeros(count, dtype=torch.int64),
        sequence=torch.arange(count) // RECORDING,
    )


def tiny_model(*, dropout: float = 0.0, seed: int = 0) -> HyperPose:
    """HyperPose on the smallest backbone that has batch norms, with weights of the seed."""
    torch.manual_seed(seed)
    config = HyperPoseConfig(
        backbone=TINY_BACKBONE,
        hidden=16,
        dropout=dropout,
        hypernetwork=HypernetworkConfig(position=8, orientation=8),
        regression=RegressionConfig(positions="standardised"),
    )
    model = HyperPose(config)
    model.observe(some_poses(9))
    return model


def window_model(*, seed: int = 0) -> HyperPose:
    """`tiny_model` with the relative loss between the frames of a window, as in AtLoc+."""
    torch.manual_seed(seed)
    relative = PoseLossConfig(distance="absolute", hemisphere_safe=False)
    regression = RegressionConfig("standardised", "log_quaternion", relative, relative)
    model = HyperPose(
        HyperPoseConfig(TINY_BACKBONE, hidden=16, dropout=0.2, hypernetwork=None, regression=regression)
    )
    model.observe(some_poses(9))
    return model


def recipe_for_images(*stages: Stage, batch_size: int = 4, augment: Augment | None = None) -> Recipe:
    """A recipe for `tiny_images` and any model in memory."""
    recipe = Recipe("hyperpose", None, Preprocess(WIDTH, HEIGHT), stages, batch_size=batch_size)
    return recipe if augment is None else replace(recipe, augment=augment)
