"""A wrong focal length is seen: the answer's residual is larger by a factor, wherever the image is from.

The network is one that knows the embedded scene: its depths are the renderer's own, and its points of the
world are right but for a few percent of their distance, as a good network's are.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.support.demo_views import SMALL, pose_looking, shared_renderer
from tests.support.models import TINY_BACKBONE
from tests.support.networks import localizer_of
from torch import Tensor

from camloc.core.config import to_builtins
from camloc.data.image_io import Preprocess
from camloc.data.types import Located
from camloc.geometry import Camera, Pose, pixel_grid, pose_error, unproject
from camloc.models.base import Prediction
from camloc.models.checkpoint import Checkpoint
from camloc.models.decoding import PointMaps
from camloc.models.metadata import FORMAT, Metadata
from camloc.models.scene_geometry import SceneGeometry, SceneGeometryConfig

CONFIG = SceneGeometryConfig(TINY_BACKBONE, taps=(2, 3, 4), hidden=16, weights="alike")

# How far a point of the world is from where it should be, along each axis, as a share of its distance.
NOISE = 0.02
FACTOR = 2.0


class Knowing(SceneGeometry):
    """Predicts the same maps for every image."""

    def __init__(self, maps: PointMaps) -> None:
        super().__init__(CONFIG)
        self.maps = maps

    def predict(self, images: Tensor, *, novelty_detector: object = None) -> Prediction:
        """The given maps."""
        del images, novelty_detector
        return Prediction(self.maps)


def knowing(world_from_cam: NDArray[np.float64], depth: NDArray[np.float32]) -> Knowing:
    """The network for a view; cells that see the sky count for nothing."""
    half, step = CONFIG.stride // 2, CONFIG.stride
    depths = torch.from_numpy(depth)[half::step, half::step].double()
    rows, columns = depths.shape
    pixels = torch.from_numpy(pixel_grid(columns, rows, stride=step)).reshape(-1, 2)
    world = Pose.from_matrix(torch.from_numpy(world_from_cam)).apply(
        unproject(pixels, depths.flatten(), torch.from_numpy(SMALL.matrix()))
    )
    noise = torch.randn(world.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    world = world + NOISE * depths.reshape(-1, 1) * noise
    maps = PointMaps(world.T.reshape(1, 3, rows, columns), depths[None, None], (depths > 0).double()[None])
    return Knowing(maps)


def answer(folder: Path, world_from_cam: NDArray[np.float64], *, focal_factor: float) -> Located:
    """What is answered where the camera's focal length is taken to be so many times as long as it is."""
    view = shared_renderer().render_view(world_from_cam, SMALL)
    Image.fromarray(view.rgb).save(folder / "image.png")
    truth = Pose.from_matrix(torch.from_numpy(world_from_cam))
    metadata = Metadata(
        format=FORMAT,
        model="scene_geometry",
        config=to_builtins(CONFIG),
        preprocess=Preprocess(SMALL.width, SMALL.height),
        scenes=("corner",),
    )
    model = knowing(world_from_cam, view.depth).eval()
    around = [Pose(truth.rotation, truth.translation + step) for step in torch.eye(3).double()]
    localizer = localizer_of(Checkpoint(metadata, model, (Pose.stack(around),)))
    camera = Camera(
        SMALL.width, SMALL.height, focal_factor * SMALL.fx, focal_factor * SMALL.fy, SMALL.cx, SMALL.cy
    )
    estimate = localizer.locate(folder / "image.png", camera=camera)
    assert isinstance(estimate, Located)
    return estimate


@pytest.mark.parametrize("heading", [95.0, 120.0, 160.0])
@pytest.mark.parametrize("focal_factor", [1.3, 1 / 1.3])
def test_a_wrong_focal_length_more_than_doubles_the_residual(
    focal_factor: float, heading: float, tmp_path: Path
) -> None:
    for east, north in ((-3.0, 1.0), (-5.0, 2.0)):
        pose = pose_looking((east, north, 1.6), heading)
        right, wrong = (answer(tmp_path, pose, focal_factor=factor) for factor in (1.0, focal_factor))
        assert right.residual is not None
        assert wrong.residual is not None
        assert wrong.residual > FACTOR * right.residual
        truth = Pose.from_matrix(pose)
        assert pose_error(right.world_from_cam, truth).meters < 0.15
