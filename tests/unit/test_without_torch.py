"""What needs no networks imports none: neither torch nor the libraries above it."""

import subprocess
import sys

import pytest

GEOMETRY = ("alignment", "arrays", "camera", "pose", "pose_search", "rotation", "visibility")


def assert_loads_no_networks(program: str) -> None:
    """A program runs in a process of its own, and torch, timm and roma are not loaded at its end."""
    check = "import sys; loaded = {'torch', 'timm', 'roma'} & set(sys.modules); assert not loaded, loaded"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{check}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", GEOMETRY)
def test_geometry_loads_no_networks(module: str) -> None:
    assert_loads_no_networks(f"import camloc.geometry.{module}")


def test_geometry_of_numpy_arrays_loads_no_networks() -> None:
    assert_loads_no_networks(
        "import numpy as np\n"
        "from camloc.geometry import Camera, Pose, PoseIndex, mean_pose, pose_error\n"
        "from camloc.geometry import umeyama, weighted_kabsch\n"
        "from camloc.geometry.visibility import overlap\n"
        "points = np.random.default_rng(0).normal(size=(9, 3))\n"
        "pose = Pose.from_quaternion_wxyz(np.array([1.0, 2.0, 3.0, 4.0]), np.ones(3))\n"
        "pose = weighted_kabsch(points, pose.apply(points), np.ones(9))\n"
        "several = Pose.stack([pose, pose.inverse()])\n"
        "print(pose, several, pose_error(mean_pose(several), pose), umeyama(points, 2 * points))\n"
        "print(PoseIndex(several).nearest(several, 1), several.quaternion_xyzw(), several.matrix())\n"
        "camera = Camera(640, 480, 500.0, 500.0, 320.0, 240.0, 'OPENCV', (0.1, 0.0, 0.0, 0.0))\n"
        "print(camera.unproject(camera.project(points + [0, 0, 9.0])), overlap(points, camera, several))\n"
    )
