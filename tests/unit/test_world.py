"""Scale and place of a world by GPS positions, and its file."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from camloc.data.photos import Place
from camloc.data.world import Georeference, Origin, World, georeference, read_world
from camloc.errors import DatasetError

ORIGIN = Origin(48.137, 11.575, 520.0)


def path(count: int = 40, extent: float = 60.0) -> np.ndarray:
    """A bent walk in metres east, north and up."""
    along = np.linspace(0.0, 3.0, count)
    return extent / 2 * np.stack((np.cos(along), np.sin(1.7 * along), 0.05 * np.sin(5 * along)), axis=1)


def places(walk: np.ndarray, *, noise: float = 0.0) -> list[Place | None]:
    noisy = walk + np.random.default_rng(0).normal(0.0, max(noise, 1e-12), walk.shape)
    rows = World("m", "GPS", ORIGIN).geodetic(noisy)
    return [Place(*map(float, row)) for row in rows]


def hidden(walk: np.ndarray) -> np.ndarray:
    """The same walk in a world of another scale, place and axes."""
    turned = 0.13 * walk @ Rotation.from_rotvec((0.3, -1.2, 0.7)).as_matrix().T
    return np.asarray(turned + np.array((3.0, -2.0, 1.0)))


def aligned(found: Georeference, centers: np.ndarray) -> np.ndarray:
    return np.asarray(found.world.geodetic(np.asarray(found.new_from_old.apply(centers))))


def test_gps_gives_metres_east_north_and_up_and_answers_in_degrees() -> None:
    walk = path()
    found = georeference(hidden(walk), places(walk))
    assert isinstance(found, Georeference)
    assert found.world.unit == "m"
    assert found.new_from_old.scale == pytest.approx(1 / 0.13, rel=1e-4)
    truth = World("m", "GPS", ORIGIN).geodetic(walk)
    np.testing.assert_allclose(aligned(found, hidden(walk))[:, :2], truth[:, :2], atol=1e-8)
    np.testing.assert_allclose(aligned(found, hidden(walk))[:, 2], truth[:, 2], atol=1e-3)


def test_wrong_gps_positions_and_missing_ones_are_left_out() -> None:
    walk = path()
    given = places(walk, noise=0.5)
    for row in (3, 17, 30):
        given[row] = Place(48.2, 11.6, 0.0)
    given[5] = None
    found = georeference(hidden(walk), given)
    assert isinstance(found, Georeference)
    assert found.used <= 36
    assert found.new_from_old.scale == pytest.approx(1 / 0.13, rel=0.03)


@pytest.mark.parametrize(
    ("walk", "noise", "message"),
    [
        (path(4), 0.0, "only 4 of 4"),
        (path(extent=2.0), 4.0, "too near|contradict"),
        (np.linspace(0, 1, 30)[:, None] * (50.0, 80.0, 0.0), 1.0, "one line"),
    ],
)
def test_gps_positions_that_give_no_scale_say_why(walk: np.ndarray, noise: float, message: str) -> None:
    found = georeference(hidden(walk), places(walk, noise=noise))
    assert isinstance(found, str)
    assert any(part in found for part in message.split("|"))


def test_photographs_without_gps_are_reported() -> None:
    assert georeference(np.zeros((6, 3)), [None] * 6) == (
        "none of 6 images have a GPS position, and 5 are needed"
    )


def test_the_file_is_read_as_it_was_written_and_damage_is_reported(tmp_path: Path) -> None:
    world = World("m", "GPS", ORIGIN, 2.5)
    world.save(tmp_path)
    assert read_world(tmp_path) == world
    assert read_world(tmp_path / "elsewhere") == World()
    (tmp_path / "world.json").write_text("{")
    with pytest.raises(DatasetError, match=r"world\.json cannot be read"):
        read_world(tmp_path)


def test_a_world_without_a_place_gives_no_degrees() -> None:
    with pytest.raises(DatasetError, match="no place on Earth"):
        World("m", "known distance").geodetic(np.zeros((1, 3)))
