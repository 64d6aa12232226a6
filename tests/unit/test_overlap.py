"""How much two cameras see of the same: by depth, by points, by frusta."""

import math

import pytest
import torch
from tests.support.strategies import rotation_about

from camloc.geometry import Camera, Pose
from camloc.geometry.visibility import in_view, overlap, points_of_depth, points_of_frustum

CAMERA = Camera(40, 40, 20.0, 20.0, 20.0, 20.0)  # sees 45 degrees to each side


def camera_at(*center: float, degrees: float = 0.0) -> Pose:
    """A camera that looks along z, turned to the right."""
    turned = rotation_about((0.0, 1.0, 0.0), math.radians(degrees))
    return Pose(turned, torch.tensor(center, dtype=torch.float64))


def one(pose: Pose) -> Pose:
    return Pose(pose.rotation[None], pose.translation[None])


def wall(distance: float) -> torch.Tensor:
    """What a camera in front of a wall measures."""
    return torch.full((40, 40), distance, dtype=torch.float64)


def test_a_depth_image_becomes_points_of_the_world() -> None:
    points = points_of_depth(wall(2.0), CAMERA, camera_at(1.0, 0.0, 5.0), stride=10)
    assert points.shape == (16, 3)
    torch.testing.assert_close(points[:, 2], torch.full((16,), 7.0, dtype=torch.float64))
    assert points[:, 0].min() == pytest.approx(1.0 + 2.0 * (5.5 - 20.0) / 20.0)
    unknown = wall(2.0)
    unknown[:20] = 0.0
    assert len(points_of_depth(unknown, CAMERA, camera_at(0.0, 0.0, 0.0), stride=10)) == 8


@pytest.mark.parametrize(("shift", "share"), [(0.0, 1.0), (1.0, 0.75), (2.0, 0.5), (4.0, 0.0)])
def test_a_camera_beside_another_sees_that_much_less_of_the_wall(shift: float, share: float) -> None:
    points = points_of_depth(wall(2.0), CAMERA, camera_at(0.0, 0.0, 0.0), stride=1)
    found = overlap(points, CAMERA, one(camera_at(shift, 0.0, 0.0)))
    assert found.item() == pytest.approx(share, abs=0.03)


def test_a_camera_that_looks_away_sees_nothing_of_it() -> None:
    points = points_of_depth(wall(2.0), CAMERA, camera_at(0.0, 0.0, 0.0), stride=4)
    turned = Pose.stack([camera_at(0.0, 0.0, 0.0, degrees=degrees) for degrees in (0.0, 45.0, 90.0, 180.0)])
    shares = overlap(points, CAMERA, turned)
    assert shares[0] == 1.0
    assert 0.4 < shares[1] < 0.6
    assert shares[2:].tolist() == [0.0, 0.0]


def test_what_a_nearer_wall_hides_is_not_seen() -> None:
    points = points_of_depth(wall(4.0), CAMERA, camera_at(0.0, 0.0, 0.0), stride=4)
    same = one(camera_at(0.0, 0.0, 0.0))
    assert in_view(points, CAMERA, same, depth=wall(4.0)).all()
    assert not in_view(points, CAMERA, same, depth=wall(1.0)).any()
    half = wall(4.0)
    half[:, :20] = 1.0
    assert in_view(points, CAMERA, same, depth=half).double().mean() == pytest.approx(0.5)
    assert in_view(points, CAMERA, same, depth=wall(0.0)).all()  # unknown depths hide nothing


def test_a_frustum_is_what_its_camera_sees() -> None:
    pose = camera_at(1.0, 2.0, 3.0, degrees=30.0)
    points = points_of_frustum(CAMERA, pose, depths=torch.tensor([1.0, 3.0]))
    assert points.shape == (128, 3)
    assert overlap(points, CAMERA, one(pose)).item() == 1.0
    behind = camera_at(1.0, 2.0, 3.0, degrees=210.0)
    assert overlap(points, CAMERA, one(behind)).item() == 0.0


def test_nothing_seen_is_nothing_in_common() -> None:
    assert overlap(torch.zeros(0, 3, dtype=torch.float64), CAMERA, Pose.identity(2).tensor()).tolist() == [
        0.0,
        0.0,
    ]
