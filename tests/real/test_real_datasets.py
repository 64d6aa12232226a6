"""Real data sets are read as their reference poses say, in whatever layout they are.

The references are tables with six decimals of a position, so one that is right is off by up to 5e-7 along
each axis and 8.7e-7 in all; their quaternions have eight decimals, which is right to 2e-8 radians.
"""

import csv
from pathlib import Path

import pytest
import torch
from scipy.spatial.transform import Rotation
from tests.support.real_data import real_data

from camloc.data import formats as datasets
from camloc.data.formats import colmap
from camloc.data.types import Frame, Scene, poses_of
from camloc.geometry import Camera, Pose, pose_error

METERS = 1e-6
RADIANS = 1e-6

# Layout, options, and numbers of frames for training and testing.
SETS = {
    "redkitchen": ("sevenscenes", {}, (750, 250)),
    "fox": ("nerfstudio", {}, (40, 10)),
    "hololens": ("table", {"rotation": "world_from_cam"}, (301, 72)),
}
each_set = pytest.mark.parametrize("name", SETS)


def _load(name: str) -> tuple[Path, Scene]:
    root = real_data(name)
    return root, datasets.load(root, **SETS[name][1])


def _reference(root: Path) -> dict[str, tuple[str, Pose]]:
    """Split and pose by the name of the image, read by SciPy and the csv module alone."""
    found = {}
    with (root / "reference_poses.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            rotation = Rotation.from_quat([float(row[f"q{axis}"]) for axis in "xyzw"]).as_matrix()
            centre = torch.tensor([float(row[f"t{axis}"]) for axis in "xyz"], dtype=torch.float64)
            found[row["image"]] = row["split_blocks"], Pose(torch.from_numpy(rotation.copy()), centre)
    return found


def _assert_close(frames: tuple[Frame, ...], expected: Pose, *, meters: float, radians: float) -> None:
    error = pose_error(poses_of(frames).tensor(), expected.tensor())
    assert error.meters.max().item() < meters
    assert torch.deg2rad(error.degrees).max().item() < radians


@each_set
def test_a_real_data_set_has_the_layout_it_has(name: str) -> None:
    assert datasets.detect(real_data(name)) == SETS[name][0]


@each_set
def test_poses_are_those_of_the_reference(name: str) -> None:
    root, scene = _load(name)
    reference = _reference(root)
    frames = (*scene.train, *scene.test)
    assert (len(scene.train), len(scene.test)) == SETS[name][2]
    assert {frame.name for frame in frames} == set(reference)
    expected = Pose.stack([reference[frame.name][1] for frame in frames])
    _assert_close(frames, expected, meters=METERS, radians=RADIANS)
    assert all(reference[frame.name][0] == "train" for frame in scene.train)
    assert all(reference[frame.name][0] == "test" for frame in scene.test)


@each_set
def test_the_reference_read_as_a_table_is_the_same(name: str) -> None:
    root, scene = _load(name)
    rotation = "world_from_cam"
    listed = datasets.load(root / "reference_poses.csv", layout="table", split="blocks", rotation=rotation)
    assert [frame.name for frame in listed.train] == [frame.name for frame in scene.train]
    _assert_close(listed.test, poses_of(scene.test), meters=METERS, radians=RADIANS)


def test_the_intrinsics_are_those_of_the_colour_camera() -> None:
    _, kitchen = _load("redkitchen")
    assert {frame.camera for frame in kitchen.train} == {Camera(640, 480, 525.0, 525.0, 320.0, 240.0)}
    assert sum(frame.depth is not None for frame in (*kitchen.train, *kitchen.test)) == 50
    _, office = _load("hololens")
    (camera,) = {frame.camera for frame in office.train}
    assert camera is not None
    assert (camera.width, camera.height) == (540, 360)
    assert (camera.fx, camera.cy) == pytest.approx((495.57, 169.19), abs=0.01)


def test_another_split_is_another_list() -> None:
    root = real_data("fox")
    scene = datasets.load(root, split="every5th")
    assert [frame.name for frame in scene.test] == (root / "test_every5th.txt").read_text().split()


@pytest.mark.parametrize("form", ["binary", "text"])
def test_the_fox_is_the_same_through_a_colmap_model(tmp_path: Path, form: str) -> None:
    root, scene = _load("fox")
    colmap.write(scene, tmp_path, form="text" if form == "text" else "binary")
    again = datasets.load(tmp_path, images=root)
    for mine, original in ((again.train, scene.train), (again.test, scene.test)):
        assert [frame.name for frame in mine] == [frame.name for frame in original]
        assert [frame.camera for frame in mine] == [frame.camera for frame in original]
        _assert_close(mine, poses_of(original), meters=1e-6, radians=1e-6)
