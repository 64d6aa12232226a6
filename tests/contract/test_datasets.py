"""Every reader of data sets reads the same poses from the same scene, whatever its layout."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.support.layouts import CAMERA, TARGET, WRITERS, Matrix, make_scene

from camloc.data import formats as datasets
from camloc.data.types import Frame, Scene, poses_of
from camloc.errors import DatasetError
from camloc.geometry import Camera

# Positions and entries of rotations; the files hold all digits of doubles.
TOLERANCE = 1e-6

SCENE = make_scene()
each_writer = pytest.mark.parametrize("variant", WRITERS)


def _written(root: Path, variant: str) -> Scene:
    options = WRITERS[variant](root, SCENE)
    return datasets.load(root, **options)


def _assert_equal(frames: tuple[Frame, ...], truth: tuple[Matrix, ...]) -> None:
    np.testing.assert_allclose(poses_of(frames).matrix(), np.stack(truth), rtol=0.0, atol=TOLERANCE)


def test_every_layout_has_a_writer_in_the_tests() -> None:
    own_making = {"demo"}
    assert {variant.partition(":")[0] for variant in WRITERS} == set(datasets.LAYOUTS) - own_making


@each_writer
def test_every_layout_gives_the_same_poses(tmp_path: Path, variant: str) -> None:
    scene = _written(tmp_path, variant)
    _assert_equal(scene.train, SCENE.train)
    _assert_equal(scene.test, SCENE.test)


@each_writer
def test_every_pose_says_where_the_camera_is_and_looks(tmp_path: Path, variant: str) -> None:
    """The target is in the middle of every image, and the world's up is up in it."""
    scene = _written(tmp_path, variant)
    for frame in (*scene.train, *scene.test):
        assert frame.camera is not None
        cam_from_world = frame.truth().inverse()
        points = np.stack([TARGET, TARGET + np.array([0.0, 0.0, 0.1])])
        target, above = frame.camera.project(cam_from_world.apply(points)).tolist()
        assert target == pytest.approx([CAMERA.cx, CAMERA.cy], abs=1e-6)
        assert above[1] < target[1]


@each_writer
def test_every_layout_gives_the_same_intrinsics(tmp_path: Path, variant: str) -> None:
    scene = _written(tmp_path, variant)
    for frame in (*scene.train, *scene.test):
        camera = frame.camera
        assert camera is not None
        assert (camera.width, camera.height, camera.model) == (CAMERA.width, CAMERA.height, CAMERA.model)
        np.testing.assert_allclose(camera.matrix(), CAMERA.matrix(), rtol=0.0, atol=1e-9)


@each_writer
def test_every_frame_is_an_image_named_by_its_path(tmp_path: Path, variant: str) -> None:
    scene = _written(tmp_path, variant)
    frames = (*scene.train, *scene.test)
    assert len({frame.name for frame in frames}) == len(frames)
    for frame in frames:
        assert frame.image.is_file()
        assert frame.image == tmp_path / frame.name


@each_writer
def test_every_pose_is_a_rotation_in_double_precision(tmp_path: Path, variant: str) -> None:
    rotation = poses_of(_written(tmp_path, variant).train).rotation
    assert rotation.dtype == np.float64
    np.testing.assert_allclose(rotation.mT @ rotation - np.eye(3), 0.0, rtol=0.0, atol=1e-12)
    assert (np.linalg.det(rotation) > 0).all()


@each_writer
def test_every_layout_is_recognised(tmp_path: Path, variant: str) -> None:
    WRITERS[variant](tmp_path, SCENE)
    assert datasets.detect(tmp_path) == variant.partition(":")[0]


@each_writer
def test_a_scene_is_called_as_its_folder_or_as_requested(tmp_path: Path, variant: str) -> None:
    root = tmp_path / "market"
    root.mkdir()
    options = WRITERS[variant](root, SCENE)
    assert datasets.load(root, **options).name == "market"
    assert datasets.load(root, scene="square", **options).name == "square"


@each_writer
def test_positions_are_in_metres_only_where_the_layout_or_the_user_says_so(
    tmp_path: Path, variant: str
) -> None:
    options = WRITERS[variant](tmp_path, SCENE)
    of_unknown_scale = variant.partition(":")[0] in (
        "colmap",
        "llff",
        "metashape",
        "nerfstudio",
        "opensfm",
        "realitycapture",
    )
    assert datasets.load(tmp_path, **options).unit == ("units" if of_unknown_scale else "m")
    if of_unknown_scale:
        assert datasets.load(tmp_path, unit="m", **options).unit == "m"
        with pytest.raises(DatasetError, match="unit is one of m, units, not 'feet'"):
            datasets.load(tmp_path, unit="feet", **options)


@each_writer
def test_every_layout_can_leave_a_frame_out(tmp_path: Path, variant: str) -> None:
    options = WRITERS[variant](tmp_path, SCENE)
    dropped = datasets.load(tmp_path, **options).train[1].name
    scene = datasets.load(tmp_path, exclude=(dropped,), **options)
    _assert_equal(scene.train, (SCENE.train[0], *SCENE.train[2:]))
    _assert_equal(scene.test, SCENE.test)


@each_writer
def test_every_layout_takes_lists_of_names(tmp_path: Path, variant: str) -> None:
    options = WRITERS[variant](tmp_path, SCENE)
    scene = datasets.load(tmp_path, **options)
    (tmp_path / "train_swapped.txt").write_text("".join(f"{frame.name}\n" for frame in scene.test))
    (tmp_path / "test_swapped.txt").write_text("".join(f"{frame.name}\n" for frame in scene.train))
    swapped = datasets.load(tmp_path, split="swapped", **options)
    _assert_equal(swapped.train, SCENE.test)
    _assert_equal(swapped.test, SCENE.train)
    own = datasets.load(tmp_path, test_list=tmp_path / "train_swapped.txt", **options)
    assert {frame.name for frame in own.train} == {frame.name for frame in scene.train}


@pytest.mark.parametrize("layout", sorted(set(datasets.LAYOUTS) - {"demo"}))
def test_every_layout_says_what_it_is(layout: str) -> None:
    module = importlib.import_module(f"camloc.data.formats.{layout}")
    assert isinstance(getattr(module, "SCENES", ()), tuple)
    assert module.LOOKS_FOR
    assert module.__doc__
    root, scene, *options = inspect.signature(module.load).parameters.values()
    assert (root.name, scene.name) == ("root", "scene")
    assert all(option.kind is option.KEYWORD_ONLY for option in options)


@pytest.mark.parametrize(
    ("layout", "file", "last", "cell"),
    [
        ("euroc", "mav0/state_groundtruth_estimate0/data.csv", -1, 4),
        ("kapture", "sensors/trajectories.txt", -1, 3),
        ("strayscanner", "odometry.csv", -1, 7),
    ],
)
def test_four_numbers_that_are_no_quaternion_are_refused(
    layout: str, file: str, last: int, cell: int, tmp_path: Path
) -> None:
    options = WRITERS[layout](tmp_path, SCENE)
    lines = (tmp_path / file).read_text().splitlines()
    cells = lines[last].split(",")
    cells[cell] = "1e30"
    lines[last] = ",".join(cells)
    (tmp_path / file).write_text("\n".join(lines))
    with pytest.raises(DatasetError, match=r"the quaternion has length 1e\+30"):
        datasets.load(tmp_path, layout=layout, **options)


def test_csv_with_other_line_ends_is_refused(tmp_path: Path) -> None:
    WRITERS["realitycapture"](tmp_path, SCENE)
    path = tmp_path / "cameras.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r"))
    with pytest.raises(DatasetError, match="ends of its lines"):
        datasets.load(tmp_path, layout="realitycapture")


def test_listing_the_layouts_imports_nothing_heavy() -> None:
    code = "import sys, camloc.data.formats; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_scenes_in_one_folder_are_read_by_name(tmp_path: Path) -> None:
    other = make_scene(seed=1)
    for name, scene in (("chess", SCENE), ("fire", other)):
        (tmp_path / name).mkdir()
        WRITERS["sevenscenes"](tmp_path / name, scene)
    assert datasets.detect(tmp_path) == "sevenscenes"
    fire = datasets.load(tmp_path, scene="fire")
    _assert_equal(fire.train, other.train)
    assert fire.train[0].name == "seq-01/frame-000000.color.png"


def test_the_colour_camera_of_7scenes_is_not_the_depth_camera(tmp_path: Path) -> None:
    WRITERS["sevenscenes"](tmp_path, SCENE)
    (tmp_path / "camera-intrinsics.txt").write_text("585 0 320\n0 585 240\n0 0 1\n")
    scene = datasets.load(tmp_path)
    assert {frame.camera for frame in scene.train} == {Camera(640, 480, 525.0, 525.0, 320.0, 240.0)}


def test_points_are_in_the_world(tmp_path: Path) -> None:
    for variant in ("colmap", "colmap:binary"):
        points = _written(tmp_path / variant.replace(":", "-"), variant).points
        assert points is not None
        np.testing.assert_array_equal(points, TARGET[None])
