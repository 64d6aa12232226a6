"""What needs no networks imports none: neither torch nor the libraries above it."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.layouts import WRITERS, make_scene

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


@pytest.mark.parametrize("variant", WRITERS)
def test_reading_a_data_set_and_its_images_loads_no_networks(variant: str, tmp_path: Path) -> None:
    options = WRITERS[variant](tmp_path, make_scene())
    assert_loads_no_networks(
        "from pathlib import Path\n"
        "from camloc.data import formats\n"
        "from camloc.data.image_io import Preprocess, read_image\n"
        "from camloc.data.types import oriented, poses_of\n"
        "from camloc.geometry import Camera\n"
        f"scene = formats.load(Path({str(tmp_path)!r}), **{options!r})\n"
        "assert len(poses_of(oriented(scene.train))) == len(scene.train)\n"
        "frame = scene.train[0]\n"
        "assert read_image(frame.image).shape[2] == 3\n"
        "assert Preprocess(24, 20).cut(frame).pixels.shape == (20, 24, 3)\n"
    )


def test_reading_the_demos_layout_loads_no_networks() -> None:
    assert_loads_no_networks("import camloc.data.formats.demo")


def test_masks_and_depth_are_read_without_networks(tmp_path: Path) -> None:
    assert_loads_no_networks(
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from PIL import Image\n"
        "from camloc.data.image_io import read_depth\n"
        "from camloc.data.image_io import Preprocess\n"
        "from camloc.data.masks import read_mask, write_mask\n"
        "from camloc.data.types import Frame\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(folder / 'a.png')\n"
        "Image.fromarray(np.full((24, 32), 1500, np.uint16)).save(folder / 'd.png')\n"
        "frame = Frame('a.png', folder / 'a.png')\n"
        "write_mask(folder, frame, np.zeros((24, 32), np.bool_))\n"
        "assert not read_mask(folder, frame, Preprocess(32, 24)).any()\n"
        "assert (read_depth(folder / 'd.png') == 1.5).all()\n"
    )
