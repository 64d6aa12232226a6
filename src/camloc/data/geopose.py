"""GeoPose: poses on the earth, of scenes whose place on it is known.

A run says where its scenes are in `anchor.json`, an object with one entry for each scene:

    {"kitchen": {"latitude_degrees": 48.1, "longitude_degrees": 11.6, "height_meters": 520.0,
                 "enu_from_world": [[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]],
                 "meters_per_unit": 1.0}}

`enu_from_world` is a rigid motion from the scene's world, scaled to metres, to east, north and up there. The
output is the basic quaternion form of OGC GeoPose 1.0 (OGC 21-056r11): the quaternion turns the camera's
axes (right, down, forward) into east, north and up at the camera.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from camloc.core.files import read_regular
from camloc.data.types import Located
from camloc.errors import CheckpointError, DatasetError, one_line
from camloc.geometry.pose import Pose

ANCHOR_FILE = "anchor.json"
_MOST_BYTES = 1 << 20
_NUMBERS = ("latitude_degrees", "longitude_degrees", "height_meters")
_KEYS = (*_NUMBERS, "enu_from_world", "meters_per_unit")


@dataclass(frozen=True, eq=False)
class Anchor:
    """The position and orientation of a scene's world on the earth.

    Attributes:
        latitude, longitude: of the origin of east, north and up, in degrees (WGS 84).
        height: above the ellipsoid, in metres.
        enu_from_world: rigid motion from the scene's world, in metres, to east, north and up.
        meters_per_unit: of the scene's positions.
    """

    latitude: float
    longitude: float
    height: float
    enu_from_world: Pose
    meters_per_unit: float = 1.0

    def geopose(self, located: Located) -> dict[str, Any]:
        """A pose of the scene as a GeoPose with a basic quaternion."""
        pose = located.world_from_cam.numpy()
        in_meters = Pose(pose.rotation.astype(np.float64), pose.translation * self.meters_per_unit)
        enu_from_cam = self.enu_from_world @ in_meters
        from camloc.geometry.colmap import pycolmap  # here because loading it takes a while

        ((latitude, longitude, height),) = (
            pycolmap.GPSTransform()
            .enu_to_ellipsoid(enu_from_cam.translation[None], self.latitude, self.longitude, self.height)
            .tolist()
        )
        # East, north and up turn from the anchor to the camera: a degree every 111 km.
        turn = _ecef_from_enu(latitude, longitude).inv() * _ecef_from_enu(self.latitude, self.longitude)
        x, y, z, w = (turn * Rotation.from_matrix(enu_from_cam.rotation)).as_quat().tolist()
        return {
            "position": {"lat": latitude, "lon": longitude, "h": height},
            "quaternion": {"x": x, "y": y, "z": z, "w": w},
        }


def _ecef_from_enu(latitude: float, longitude: float) -> Rotation:
    """The rotation from east, north and up at a place to earth-fixed axes."""
    return Rotation.from_euler("ZX", [90.0 + longitude, 90.0 - latitude], degrees=True)


def load_anchors(run: Path) -> Mapping[str, Anchor]:
    """The anchors of a run's scenes by their names; empty where the run has no `anchor.json`.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = run / ANCHOR_FILE
    if not path.is_file():
        return {}
    try:
        content = json.loads(read_regular(path, most_bytes=_MOST_BYTES))
        return {str(name): _anchor(entry) for name, entry in content.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError) as problem:
        raise CheckpointError(f"{path} is not a valid anchor: {one_line(problem)}") from None


def geopose(located: Located, anchors: Mapping[str, Anchor]) -> dict[str, Any]:
    """A pose as a GeoPose.

    Raises:
        DatasetError: the scene has no anchor.
    """
    if located.scene not in anchors:
        raise DatasetError(
            f"the scene {located.scene} has no place on the earth; write {ANCHOR_FILE} into the run "
            f"(docs/guides/outputs.md) or choose another --format"
        )
    return anchors[located.scene].geopose(located)


def _anchor(entry: Any) -> Anchor:
    if unknown := set(entry) - set(_KEYS):
        raise ValueError(f"the key {sorted(unknown)[0]!r} is not one of {', '.join(_KEYS)}")
    latitude, longitude, height = (float(entry[name]) for name in _NUMBERS)
    scale = float(entry.get("meters_per_unit", 1.0))
    motion = Pose.from_matrix(np.array(entry["enu_from_world"], dtype=np.float64).reshape(4, 4))
    is_finite = bool(motion.is_finite()) and math.isfinite(height) and math.isfinite(scale)
    if not (abs(latitude) <= 90 and abs(longitude) <= 180 and is_finite and scale > 0):
        raise ValueError("latitude, longitude, height, enu_from_world and meters_per_unit must be possible")
    return Anchor(latitude, longitude, height, motion, scale)
