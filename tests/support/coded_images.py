"""Images whose first pixels say where they were taken in a synthetic room: features without extraction."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from camloc.geometry.pose import Pose
from camloc.mapping.features import Features
from camloc.mapping.scene_map import SceneMap
from tests.support.synthetic_map import CAMERA, Room, foreign, looking, map_of, room, seen

ROOMS = {"room": room(), "attic": room(seed=7)}
_COVERED = 255


def pose_of(step: int) -> Pose:
    """A camera that walks along a curve and turns; `step` from 0 to 99."""
    share = step / 20.0
    return looking(np.array([0.5 * np.sin(share), 0.4 * np.cos(share), 0.1]), 3.0 * step)


def coded_image(step: int, *, scene: str = "room", is_covered: bool = False) -> NDArray[np.uint8]:
    """An image of a scene at a step."""
    image = np.full((CAMERA.height, CAMERA.width, 3), 90, np.uint8)
    image[::2, ::3] = 170
    image[0, 0] = (step, list(ROOMS).index(scene), _COVERED if is_covered else 0)
    return image


class _Extractor:
    def extract(self, image: NDArray[np.uint8], mask: object = None) -> Features:
        del mask
        step, number, covered = image[0, 0].tolist()
        if covered == _COVERED or number >= len(ROOMS):
            return foreign(seed=step)
        of: Room = list(ROOMS.values())[number]
        return seen(of, pose_of(step), seed=step)


def read_codes(patch: pytest.MonkeyPatch) -> None:
    """From now on features are what the codes of images say."""
    for module in ("camloc.inference.localizer", "camloc.serve.app"):
        patch.setattr(f"{module}.feature_extractor", lambda _: _Extractor(), raising=False)


def scene_map(scene: str = "room") -> SceneMap:
    """The map of a scene."""
    return replace(map_of(ROOMS[scene]), scene=scene)


def write_run(folder: Path, scene: str = "room") -> Path:
    """A run of a map alone."""
    scene_map(scene).save(folder / "map" / "0")
    return folder
