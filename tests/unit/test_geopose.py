"""Poses on the earth: against places whose coordinates are known, and in the form of OGC GeoPose 1.0."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from camloc import Located, Pose
from camloc.data.geopose import Anchor, geopose, load_anchors
from camloc.errors import CheckpointError, DatasetError
from camloc.geometry.geodesy import ecef_from_geodetic, enu_from_ecef, geodetic_from_ecef

PLACES = [
    (0.0, 0.0, 0.0),
    (48.1, 11.6, 520.0),
    (-33.9, 151.2, 10.0),
    (89.9999, -120.0, 4000.0),
    (-90.0, 0.0, 0.0),
]


def test_known_places_have_their_earth_fixed_coordinates() -> None:
    np.testing.assert_allclose(ecef_from_geodetic(0.0, 0.0, 0.0), [6378137.0, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(ecef_from_geodetic(90.0, 0.0, 0.0), [0.0, 0.0, 6356752.314245], atol=1e-6)
    np.testing.assert_allclose(ecef_from_geodetic(0.0, 90.0, 1.0), [0.0, 6378138.0, 0.0], atol=1e-6)


@pytest.mark.parametrize("place", PLACES)
def test_coordinates_come_back(place: tuple[float, float, float]) -> None:
    point = ecef_from_geodetic(*place)
    latitude, longitude, height = geodetic_from_ecef(point)
    assert (latitude, height) == pytest.approx((place[0], place[2]), abs=1e-6)
    np.testing.assert_allclose(ecef_from_geodetic(latitude, longitude, height), point, atol=1e-6)


def test_up_raises_the_height_and_north_the_latitude() -> None:
    place = (48.1, 11.6, 520.0)
    axes = enu_from_ecef(*place[:2])
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert geodetic_from_ecef(ecef_from_geodetic(*place) + axes[2])[2] == pytest.approx(521.0, abs=1e-6)
    assert geodetic_from_ecef(ecef_from_geodetic(*place) + axes[1])[0] > place[0]
    assert geodetic_from_ecef(ecef_from_geodetic(*place) + axes[0])[1] > place[1]


def camera(position: list[float]) -> Located:
    """A camera of a world with x east, y down, z north; it looks north."""
    return Located("square", Pose(np.eye(3), np.array(position)))


ENTRY = {
    "latitude_degrees": 48.1,
    "longitude_degrees": 11.6,
    "height_meters": 520.0,
    "enu_from_world": [[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]],
}


def write_anchor(folder: Path, entry: object) -> Path:
    (folder / "anchor.json").write_text(json.dumps({"square": entry}))
    return folder


def test_a_geopose_has_the_parts_and_the_meaning_of_a_basic_quaternion(tmp_path: Path) -> None:
    anchors = load_anchors(write_anchor(tmp_path, ENTRY))
    found = geopose(camera([0.0, -2.0, 111.2]), anchors)
    assert {key: set(part) for key, part in found.items()} == {
        "position": {"lat", "lon", "h"},
        "quaternion": {"x", "y", "z", "w"},
    }
    assert all(isinstance(number, float) for part in found.values() for number in part.values())
    assert found["position"]["lat"] == pytest.approx(48.101, abs=1e-6)
    assert found["position"]["lon"] == pytest.approx(11.6, abs=1e-9)
    assert found["position"]["h"] == pytest.approx(522.0, abs=0.01)
    rotation = Rotation.from_quat([found["quaternion"][name] for name in "xyzw"])
    np.testing.assert_allclose(rotation.apply([0, 0, 1]), [0, 1, 0], atol=1e-4)  # forward is north
    np.testing.assert_allclose(rotation.apply([0, 1, 0]), [0, 0, -1], atol=1e-4)  # down is down


def test_units_are_scaled_to_meters(tmp_path: Path) -> None:
    anchors = load_anchors(write_anchor(tmp_path, ENTRY | {"meters_per_unit": 10.0}))
    assert anchors["square"].geopose(camera([0.0, -1.0, 0.0]))["position"]["h"] == pytest.approx(530.0)


def test_a_scene_without_a_place_is_refused(tmp_path: Path) -> None:
    assert load_anchors(tmp_path) == {}
    with pytest.raises(DatasetError, match=r"anchor\.json"):
        geopose(camera([0.0, 0.0, 0.0]), {"other": Anchor(0.0, 0.0, 0.0, Pose.identity())})


@pytest.mark.parametrize(
    "change",
    [
        {"latitude_degrees": 91.0},
        {"latitude_degrees": "north"},
        {"height_meters": None},
        {"enu_from_world": [[1, 0], [0, 1]]},
        {"enu_from_world": [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]},
        {"meters_per_unit": 0.0},
        {"lattitude": 1.0},
    ],
)
def test_a_damaged_anchor_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"anchor\.json is not a valid anchor"):
        load_anchors(write_anchor(tmp_path, ENTRY | change))
    (tmp_path / "anchor.json").write_text("[1]")
    with pytest.raises(CheckpointError):
        load_anchors(tmp_path)
