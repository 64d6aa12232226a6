"""Poses on the earth: against places whose coordinates are known, and in the form of OGC GeoPose 1.0."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from camloc import Located, Pose
from camloc.data.geopose import Anchor, geopose, load_anchors
from camloc.errors import CheckpointError, DatasetError

PLACES = [
    (0.0, 0.0, 0.0),
    (48.1, 11.6, 520.0),
    (-33.9, 151.2, 10.0),
    (89.9999, -120.0, 4000.0),
    (-90.0, 0.0, 0.0),
]


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


@pytest.mark.parametrize("place", PLACES)
def test_the_origin_of_a_world_is_its_anchor_and_up_is_height(place: tuple[float, float, float]) -> None:
    anchor = Anchor(*place, Pose.identity())
    found = anchor.geopose(camera([0.0, 0.0, 0.0]))
    assert (found["position"]["lat"], found["position"]["h"]) == pytest.approx((place[0], place[2]), abs=1e-6)
    # Near a pole the longitude is not settled, and east turns with it.
    if abs(place[0]) < 89.0:
        assert found["position"]["lon"] == pytest.approx(place[1], abs=1e-9)
        np.testing.assert_allclose([found["quaternion"][name] for name in "xyzw"], [0, 0, 0, 1], atol=1e-9)
    above = anchor.geopose(camera([0.0, 0.0, 25.0]))
    assert above["position"]["h"] == pytest.approx(place[2] + 25.0, abs=1e-6)


def test_known_distances_are_degrees() -> None:
    equator = Anchor(0.0, 0.0, 0.0, Pose.identity())
    # A minute of arc: 1,855.325 m along the equator, 1,842.905 m along the meridian there (WGS 84).
    east = equator.geopose(camera([1855.3248, 0.0, 0.0]))["position"]
    north = equator.geopose(camera([0.0, 1842.9046, 0.0]))["position"]
    assert east["lon"] == pytest.approx(1 / 60, abs=1e-7)
    assert north["lat"] == pytest.approx(1 / 60, abs=1e-7)


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
