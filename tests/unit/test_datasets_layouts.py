"""What single layouts read beyond the common: several COLMAP models, ACE's folders, times, Excel's tables."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from tests.support.damage import SCENE, refusal
from tests.support.layouts import (
    CAMERA,
    FOCAL,
    HEIGHT,
    WIDTH,
    WRITERS,
    PosedScene,
    write_ace,
    write_colmap_binary,
    write_colmap_text,
    write_image,
    write_nerfstudio,
    write_tum,
    wxyz,
)

from camloc.data import formats as datasets
from camloc.data.formats import colmap
from camloc.data.types import Frame, Scene, poses_of
from camloc.errors import CamlocError
from camloc.geometry import Pose


def move_model(root: Path, target: str) -> None:
    """Move the model of `write_colmap_text` to another folder."""
    (root / target).parent.mkdir(parents=True, exist_ok=True)
    (root / "sparse" / "0").rename(root / "moved")
    (root / "sparse").rmdir()
    (root / target).parent.mkdir(parents=True, exist_ok=True)
    (root / "moved").rename(root / target)


@pytest.mark.parametrize(
    "target",
    ["sparse/1", "sparse/aligned", "colmap/sparse/0", "dense/0/sparse", "dense/sparse", "distorted/sparse/0"],
)
def test_a_model_is_found_where_colmap_and_its_users_put_it(tmp_path: Path, target: str) -> None:
    write_colmap_text(tmp_path, SCENE)
    move_model(tmp_path, target)
    assert datasets.detect(tmp_path) == "colmap"
    scene = datasets.load(tmp_path)
    np.testing.assert_allclose(poses_of(scene.train).matrix(), np.stack(SCENE.train), rtol=0, atol=1e-6)
    assert scene.train[0].name == "images/0000.png"


@pytest.mark.parametrize(
    ("folder", "model"), [("dense/0/images", "dense/0/sparse"), ("input", "sparse/0"), (".", "sparse/0")]
)
def test_images_are_found_beside_the_model_and_above_it(tmp_path: Path, folder: str, model: str) -> None:
    write_colmap_text(tmp_path, SCENE)
    move_model(tmp_path, model)
    for name in ("train.txt", "test.txt"):
        (tmp_path / name).unlink()
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for path in sorted((tmp_path / "images").iterdir()):
        path.rename(tmp_path / folder / path.name)
    (tmp_path / folder / "0000.png").unlink()  # the first image may be missing
    scene = datasets.load(tmp_path, missing="skip", split="none")
    assert len(scene.train) == len(SCENE.all) - 1
    assert scene.train[0].name == ("" if folder == "." else f"{folder}/") + "0001.png"


def test_the_largest_of_several_models_is_read_and_it_is_reported(tmp_path: Path) -> None:
    write_colmap_text(tmp_path, SCENE)
    small = tmp_path / "sparse" / "1"
    small.mkdir()
    (small / "cameras.txt").write_text((tmp_path / "sparse/0/cameras.txt").read_text())
    lines = (tmp_path / "sparse/0/images.txt").read_text().splitlines()
    (small / "images.txt").write_text("\n".join(lines[:5]) + "\n")
    (tmp_path / "sparse" / "0").rename(tmp_path / "sparse" / "2")
    scene = datasets.load(tmp_path)
    assert len(scene.train) + len(scene.test) == len(SCENE.all)
    assert "sparse/2 with 8 images is read, and not sparse/1 with 2" in scene.notes[0]
    chosen = datasets.load(tmp_path, model="sparse/1", split="none")
    assert len(chosen.train) == 2
    assert "the models found are sparse/1, sparse/2" in refusal(tmp_path, model="sparse/7")
    assert "leads out" in refusal(tmp_path, model="../other")


def test_a_colmap_model_of_nerfstudio_does_not_count_beside_transforms(tmp_path: Path) -> None:
    write_colmap_text(tmp_path, SCENE)
    move_model(tmp_path, "colmap/sparse/0")
    write_nerfstudio(tmp_path, SCENE)
    assert datasets.detect(tmp_path) == "nerfstudio"


def test_a_lost_line_of_features_is_noticed(tmp_path: Path) -> None:
    """An image whose name has blanks has as many words as a line of features could have."""
    write_colmap_text(tmp_path, SCENE)
    path = tmp_path / "sparse/0/images.txt"
    head, first, features, second, *rest = path.read_text().splitlines()
    second = second.replace(".png", " of the hall.png")
    assert len(second.split()) % 3 != 0
    second += " copy 2"
    for name in (second, second + " x", second + " x y"):
        path.write_text("\n".join([head, first, name, features, *rest]) + "\n")
        assert "images.txt, line 3: after an image" in refusal(tmp_path)


@pytest.mark.parametrize("form", ["binary", "text"])
def test_rigs_of_colmap_4_are_read_as_colmap_reads_them(tmp_path: Path, form: str) -> None:
    """Two cameras on a rig: the pose of an image is that of its frame and of its camera in the rig."""
    made = pycolmap.Reconstruction()
    for number in (1, 2):
        camera = pycolmap.Camera(
            model="PINHOLE", width=WIDTH, height=HEIGHT, params=[FOCAL, FOCAL, 16.0, 12.0]
        )
        camera.camera_id = number
        made.add_camera(camera)
    rig = pycolmap.Rig(rig_id=1)
    left, right = (pycolmap.sensor_t(type=pycolmap.SensorType.CAMERA, id=number) for number in (1, 2))
    rig.add_ref_sensor(left)
    offset = np.eye(4)[:3]
    offset[0, 3] = 0.25
    rig.add_sensor(right, pycolmap.Rigid3d(offset))
    made.add_rig(rig)
    for number, world_from_rig in enumerate(SCENE.train, start=1):
        frame = pycolmap.Frame(frame_id=number, rig_id=1)
        for camera_id in (1, 2):
            sensor = pycolmap.sensor_t(type=pycolmap.SensorType.CAMERA, id=camera_id)
            frame.add_data_id(pycolmap.data_t(sensor_id=sensor, id=2 * number + camera_id))
        frame.rig_from_world = pycolmap.Rigid3d(np.linalg.inv(world_from_rig)[:3])
        made.add_frame(frame)
        for camera_id in (1, 2):
            name = f"{'lr'[camera_id - 1]}{number}.png"
            image = pycolmap.Image(name=name, camera_id=camera_id, image_id=2 * number + camera_id)
            image.frame_id = number
            made.add_image(image)
            write_image(tmp_path / "images" / name)
        made.register_frame(number)
    (tmp_path / "sparse").mkdir()
    (made.write_text if form == "text" else made.write_binary)(str(tmp_path / "sparse"))
    expected = {image.name: image.cam_from_world().matrix() for image in made.images.values()}
    scene = datasets.load(tmp_path)
    assert len(scene.train) == len(expected) == 2 * len(SCENE.train)
    for found in scene.train:
        cam_from_world = found.truth().inverse().matrix()[:3]
        np.testing.assert_allclose(cam_from_world, expected[found.image.name], rtol=0, atol=1e-9)


SCENE_OF_FRAMES = Scene("scene", (Frame("a.png", Path("a.png"), CAMERA, Pose.identity()),))


def test_a_model_is_not_written_through_links(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "model").mkdir()
    for name in ("images.bin", "cameras.bin", "train.txt"):
        (tmp_path / "model" / name).symlink_to(precious)
    colmap.write(SCENE_OF_FRAMES, tmp_path / "model")
    assert precious.read_text() == "mine"
    assert len(colmap.read_images(tmp_path / "model")) == 1
    assert not [path for path in (tmp_path / "model").iterdir() if path.name.startswith(".")]


def test_a_full_disk_is_noticed_when_a_model_is_written(tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk that is full; COLMAP itself notices neither."""
    program = f"""
import resource, signal
from pathlib import Path
from camloc.data.formats import colmap
from camloc.data.types import Frame, Scene
from camloc.errors import CamlocError
from camloc.geometry import Camera, Pose
camera = Camera(32, 24, 30, 30, 16, 12)
frames = tuple(Frame(f"{{n}}.png", Path("a"), camera, Pose.identity()) for n in range(99))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    colmap.write(Scene("scene", frames), Path({str(tmp_path / "model")!r}))
except CamlocError as problem:
    print(problem)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "could not be written" in ended.stdout, ended.stderr
    assert not list((tmp_path / "model").glob("*.bin"))


def test_where_a_model_cannot_be_written_it_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CamlocError):
        colmap.write(SCENE_OF_FRAMES, tmp_path / "file")


def test_infinite_poses_of_ace_are_left_out_and_counted(tmp_path: Path) -> None:
    write_ace(tmp_path, SCENE)
    pose = tmp_path / "train/poses/seq-01-frame-000001.pose.txt"
    pose.write_text("inf inf inf inf\n" * 3 + "0 0 0 1\n")
    scene = datasets.load(tmp_path)
    assert len(scene.train) == len(SCENE.train) - 1
    assert "their pose is infinite: 1 of 8" in scene.notes[0]
    assert scene.train[0].sequence == "seq-01"


def test_files_of_ace_belong_together_by_their_names(tmp_path: Path) -> None:
    write_ace(tmp_path, SCENE)
    pose = tmp_path / "train/poses/seq-01-frame-000001.pose.txt"
    pose.rename(pose.with_name("seq-01-frame-000901.pose.txt"))
    assert "has no pose" in refusal(tmp_path)
    pose.with_name("seq-01-frame-000901.pose.txt").rename(pose)
    (tmp_path / "train/calibration/seq-01-frame-000001.calibration.txt").unlink()
    assert "has no calibration" in refusal(tmp_path)
    for side, folder in (("train", "rgb"), ("train", "poses")):
        for path in sorted((tmp_path / side / folder).iterdir()):
            ending = ".png" if folder == "rgb" else ".txt"
            path.rename(path.with_name(path.name.split(".")[0] + ending))
    for path in (tmp_path / "train/calibration").iterdir():
        path.unlink()
    scene = datasets.load(tmp_path)
    assert [frame.camera for frame in scene.train] == [None] * len(SCENE.train)
    np.testing.assert_allclose(poses_of(scene.train).matrix(), np.stack(SCENE.train), rtol=0, atol=1e-6)


def test_images_of_tum_without_a_pose_are_counted(tmp_path: Path) -> None:
    write_tum(tmp_path, SCENE)
    for name in ("a", "b"):
        write_image(tmp_path / "rgb" / f"{name}.png")
    with (tmp_path / "rgb.txt").open("a") as file:
        file.write("100.2 rgb/a.png\n100.3 rgb/b.png\n")
    scene = datasets.load(tmp_path)
    assert len(scene.train) + len(scene.test) == len(SCENE.all)
    assert scene.notes == ("left out because no pose is within 0.02 s of them: 2 of 10 images",)


@pytest.mark.parametrize(
    ("image_scale", "pose_scale"), [(10**9, 10**9), (10**9, 1), (1, 10**6), (10**3, 10**9)]
)
def test_times_in_parts_of_a_second_are_read(tmp_path: Path, image_scale: int, pose_scale: int) -> None:
    """As in recordings of ROS: Unix times, in nanoseconds or others."""
    write_tum(tmp_path, SCENE)
    for name, scale in (("rgb.txt", image_scale), ("groundtruth.txt", pose_scale)):
        lines = (tmp_path / name).read_text().splitlines()
        shifted = []
        for line in lines[1:]:
            time, rest = line.split(maxsplit=1)
            milliseconds = 1_403_636_579_000 + round(float(time) * 1000)
            shifted.append(f"{milliseconds * scale // 1000 if scale > 1 else milliseconds / 1000} {rest}")
        (tmp_path / name).write_text("\n".join(shifted) + "\n")
    scene = datasets.load(tmp_path)
    np.testing.assert_allclose(poses_of(scene.train).matrix(), np.stack(SCENE.train), rtol=0, atol=1e-6)
    assert scene.train[1].time == pytest.approx(1_403_636_680.0, abs=0.001)
    assert scene.notes == ()


def excel(root: Path, *, separator: str, decimal: str, first: str = "", encoding: str = "utf-8") -> None:
    """The scene as a spreadsheet program saves it."""
    lines = [first] if first else []
    lines.append(
        separator.join(
            ["image", "tx", "ty", "tz", *(f"{name}_world_from_cam" for name in ("qw", "qx", "qy", "qz"))]
        )
    )
    for number, matrix in enumerate(SCENE.all):
        write_image(root / f"{number}.png")
        pose = (*matrix[:3, 3], *wxyz(matrix[:3, :3]))
        numbers = [f"{value:.9f}".replace(".", decimal) for value in pose]
        lines.append(separator.join([f"{number}.png", *numbers]))
    (root / "poses.csv").write_bytes(("\r\n".join(lines) + "\r\n").encode(encoding))


@pytest.mark.parametrize(
    ("separator", "decimal", "first", "encoding"),
    [
        (";", ",", "", "utf-8-sig"),
        (";", ",", "sep=;", "utf-8"),
        (",", ".", "sep=,", "utf-8"),
        ("\t", ",", "", "utf-16"),
        ("\t", ".", "", "utf-16"),
        (";", ".", "", "utf-8"),
        (",", ".", "", "utf-16"),
    ],
)
def test_tables_of_spreadsheets_are_read(
    tmp_path: Path, separator: str, decimal: str, first: str, encoding: str
) -> None:
    excel(tmp_path, separator=separator, decimal=decimal, first=first, encoding=encoding)
    found = poses_of(datasets.load(tmp_path).train).matrix()
    np.testing.assert_allclose(found, np.stack(SCENE.all), rtol=0, atol=1e-7)


def test_commas_that_may_divide_thousands_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "0.png")
    path = tmp_path / "poses.csv"
    path.write_text("image;x;y;z\n0.png;1,200;0;0\n")
    assert "1,200" in refusal(tmp_path)
    path.write_text("image;x;y;z\n0.png;1,25;0.5;0\n")
    assert "1,25" in refusal(tmp_path)
    path.write_text("image;x;y;z\n0.png;1,25;0;0\n")
    assert datasets.load(tmp_path).train[0].truth().translation.tolist() == [1.25, 0.0, 0.0]


def test_pipes_of_every_layout_are_not_waited_for(tmp_path: Path) -> None:
    for number, (variant, file) in enumerate(
        [
            ("colmap:binary", "sparse/points3D.bin"),
            ("colmap", "sparse/0/points3D.txt"),
            ("sevenscenes", "seq-01/frame-000001.pose.txt"),
            ("cambridge", "reconstruction.nvm"),
            ("ace", "train/poses/seq-01-frame-000001.pose.txt"),
            ("twelvescenes", "split.txt"),
        ]
    ):
        root = tmp_path / str(number)
        root.mkdir()
        options = WRITERS[variant](root, SCENE)
        (root / file).unlink()
        os.mkfifo(root / file)
        assert "is a pipe or a device" in refusal(root, **options)


def test_a_binary_model_without_images_says_so(tmp_path: Path) -> None:
    write_colmap_binary(tmp_path, PosedScene((), ()))
    assert "no image" in refusal(tmp_path)
