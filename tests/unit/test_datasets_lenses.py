"""Numbers of a lens are used or refused by name; impossible intrinsics are refused with a likely reason."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from tests.support.damage import SCENE, refusal
from tests.support.layouts import CAMERA, FOCAL, HEIGHT, WIDTH, WRITERS, write_image, wxyz

from camloc.data import formats as datasets
from camloc.data.checks import check_camera
from camloc.data.types import Frame
from camloc.errors import DatasetError
from camloc.geometry import Camera

SIZE = {"width": WIDTH, "height": HEIGHT, "fx": FOCAL, "fy": FOCAL, "cx": WIDTH / 2, "cy": HEIGHT / 2}
POSE = "image,tx,ty,tz,qw_world_from_cam,qx_world_from_cam,qy_world_from_cam,qz_world_from_cam"


def table(root: Path, **columns: object) -> None:
    """A table of three frames with the same further columns."""
    lines = [",".join([POSE, *columns])]
    for number, matrix in enumerate(SCENE.all[:3]):
        write_image(root / f"{number}.png")
        cells = [f"{number}.png", *matrix[:3, 3].tolist(), *wxyz(matrix[:3, :3]), *columns.values()]
        lines.append(",".join(map(str, cells)))
    (root / "poses.csv").write_text("\n".join(lines) + "\n")


def camera_of_table(root: Path, **columns: object) -> Camera | None:
    table(root, **columns)
    (camera,) = {frame.camera for frame in datasets.load(root).train}
    return camera


def lens(model: str, *distortion: float) -> Camera:
    return Camera(WIDTH, HEIGHT, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2, model, distortion)


USED: list[tuple[dict[str, object], Camera]] = [
    ({"k1": -0.3, "k2": 0.1}, lens("OPENCV", -0.3, 0.1, 0, 0)),
    ({"k_1": -0.3, "k_2": 0.1, "p_1": 0.01, "p_2": 0.02}, lens("OPENCV", -0.3, 0.1, 0.01, 0.02)),
    (
        {"k1": -0.3, "k2": 0.1, "p1": 0, "p2": 0, "k3": -0.9},
        lens("FULL_OPENCV", -0.3, 0.1, 0, 0, -0.9, 0, 0, 0),
    ),
    ({"k1": 0.1, "k2": 0, "p1": 0, "p2": 0, "k3": 0, "k6": 2}, lens("FULL_OPENCV", 0.1, 0, 0, 0, 0, 0, 0, 2)),
    ({"k1": 0.1, "k2": 0, "k3": 0}, lens("OPENCV", 0.1, 0, 0, 0)),
    ({"model": "SIMPLE_RADIAL", "k1": -0.3}, lens("SIMPLE_RADIAL", -0.3)),
    ({"model": "SIMPLE_RADIAL", "k": -0.3}, lens("SIMPLE_RADIAL", -0.3)),
    ({"model": "RADIAL", "k1": -0.3, "k2": 0.1, "p1": 0, "p2": 0.0}, lens("RADIAL", -0.3, 0.1)),
    ({"model": "pinhole", "k1": 0, "k2": ""}, lens("PINHOLE")),
    ({"camera_model": "OPENCV_FISHEYE", "k1": 0.1, "k4": 0.2}, lens("OPENCV_FISHEYE", 0.1, 0, 0, 0.2)),
    ({"distortion": 0, "skew": "0.0"}, lens("PINHOLE")),
    ({"focal_mm": 4.25, "fov": 56}, lens("PINHOLE")),
]


@pytest.mark.parametrize(("columns", "expected"), USED)
def test_distortion_of_a_table_is_used(tmp_path: Path, columns: dict[str, object], expected: Camera) -> None:
    assert camera_of_table(tmp_path, **SIZE, **columns) == expected


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"model": "SIMPLE_RADIAL", "k1": -0.3, "k2": 0.1}, "k2 is 0.1"),
    ({"model": "RADIAL", "k1": -0.3, "p1": 0.01}, "p1 is 0.01"),
    ({"model": "OPENCV_FISHEYE", "k1": -0.3, "p2": 0.05}, "p2 is 0.05"),
    ({"model": "PINHOLE", "k1": -0.3}, "k1 is -0.3"),
    ({"model": "OPENCV", "k1": -0.3, "k3": 0.1}, "k3 is 0.1"),
    ({"distortion": "-0.3 0.1 0 0 0"}, "'distortion'"),
    ({"dist_coeffs": "[0.1 0.2]"}, "'dist_coeffs'"),
    ({"radial_1": 0.1}, "'radial_1'"),
    ({"d1": 0.1}, "'d1'"),
    ({"skew": 0.5}, "'skew'"),
]


@pytest.mark.parametrize(("columns", "sentence"), REFUSED)
def test_distortion_of_a_table_that_is_not_understood_is_refused(
    tmp_path: Path, columns: dict[str, object], sentence: str
) -> None:
    table(tmp_path, **SIZE, **columns)
    message = refusal(tmp_path)
    assert sentence in message
    assert "poses.csv, line 2" in message


@pytest.mark.parametrize(
    "columns", [{"focal_length": 30}, {"f_x": 30}, {"k1": 0.1}, {"cx": 16}, {"hfov": 60}]
)
def test_a_lens_without_a_focal_length_in_pixels_is_refused(
    tmp_path: Path, columns: dict[str, object]
) -> None:
    table(tmp_path, width=WIDTH, height=HEIGHT, **columns)
    assert f"'{next(iter(columns))}'" in refusal(tmp_path)


def test_other_programs_names_of_intrinsics_are_known(tmp_path: Path) -> None:
    columns = {"fl_x": 30, "fl_y": 30, "image_width": WIDTH, "image_height": HEIGHT}
    assert camera_of_table(tmp_path, **columns) == CAMERA


def transforms(root: Path, *, orientation: int = 1, **values: object) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / "0.png", exif=exif)
    frame = {"file_path": "0.png", "transform_matrix": np.eye(4).tolist()}
    (root / "transforms.json").write_text(json.dumps({**values, "frames": [frame]}))


def camera_of_transforms(root: Path, **values: Any) -> Camera | None:
    transforms(root, **values)
    return datasets.load(root).train[0].camera


def test_angles_of_view_are_focal_lengths(tmp_path: Path) -> None:
    across, down = np.degrees(2 * np.arctan([WIDTH / 2 / FOCAL, HEIGHT / 2 / FOCAL])).tolist()
    for values in (
        {"x_fov": across},
        {"y_fov": down},
        {"x_fov": across, "y_fov": down},
        {"camera_angle_y": np.radians(down)},
    ):
        camera = camera_of_transforms(tmp_path, **values)
        assert camera is not None
        np.testing.assert_allclose(camera.matrix(), CAMERA.matrix(), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"distortion_params": [0.1, 0.01, 0, 0]}, lens("OPENCV", 0.1, 0.01, 0, 0)),
        ({"distortion_params": [0.1, 0.01, 0, 0, 0.2, 0.3]}, lens("OPENCV", 0.1, 0.01, 0.2, 0.3)),
        (
            {"distortion_params": [0.1, 0.2, 0.3, 0.4], "camera_model": "OPENCV_FISHEYE"},
            lens("OPENCV_FISHEYE", 0.1, 0.2, 0.3, 0.4),
        ),
        ({"k5": 0, "k6": 0.0, "fov_x": 56.0}, lens("PINHOLE")),
    ],
)
def test_further_keys_of_a_lens_are_used(tmp_path: Path, values: dict[str, Any], expected: Camera) -> None:
    assert camera_of_transforms(tmp_path, fl_x=FOCAL, **values) == expected


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"fl_x": FOCAL, "k5": 0.2}, "'k5'"),
        ({"fl_x": FOCAL, "distortion_params": [0.1, 0, 0.2, 0]}, "distortion_params"),
        ({"fl_x": FOCAL, "distortion_params": [0.1]}, "distortion_params"),
        ({"fl_x": FOCAL, "distortion_params": [0.1, 0, 0, 0], "k1": 0.3}, "contradict"),
        ({"fl_x": FOCAL, "camera_model": "OPENCV_FISHEYE", "k1": 0.1, "p1": 0.2}, "p1 is 0.2"),
        ({"fl_x": FOCAL, "distortion": [0.1]}, "'distortion'"),
        ({"fl_x": FOCAL, "skew": 0.1}, "'skew'"),
        ({"fx": FOCAL}, "'fx'"),
        ({"focal_length": FOCAL}, "'focal_length'"),
        ({"fov": 60}, "'fov'"),
        ({"intrinsic_matrix": [[1]]}, "'intrinsic_matrix'"),
        ({"fl_x": FOCAL, "w": 1e30, "h": 1e30}, "1,000,000 pixels"),
        ({"x_fov": 190}, "below 180"),
    ],
)
def test_keys_of_a_lens_that_are_not_understood_are_refused(
    tmp_path: Path, values: dict[str, Any], sentence: str
) -> None:
    transforms(tmp_path, **values)
    message = refusal(tmp_path)
    assert sentence in message
    assert "frame 0" in message


def test_intrinsics_without_a_size_are_for_the_orientation_that_they_fit(tmp_path: Path) -> None:
    """A phone stores the pixels sideways; some programs reconstruct from the image as seen."""
    upright = camera_of_transforms(tmp_path, orientation=6, fl_x=FOCAL, cx=HEIGHT / 2 + 1, cy=WIDTH / 2)
    assert upright == Camera(HEIGHT, WIDTH, FOCAL, FOCAL, HEIGHT / 2 + 1, WIDTH / 2)
    stored = camera_of_transforms(tmp_path, orientation=6, fl_x=FOCAL, cx=WIDTH / 2, cy=HEIGHT / 2 - 1)
    assert stored == Camera(WIDTH, HEIGHT, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2 - 1)
    transforms(tmp_path, orientation=6, fl_x=FOCAL)
    assert "stored sideways" in refusal(tmp_path)
    assert camera_of_transforms(tmp_path, orientation=6, fl_x=FOCAL, w=WIDTH, h=HEIGHT) == CAMERA
    assert camera_of_transforms(tmp_path, orientation=3, fl_x=FOCAL) == CAMERA


IMPOSSIBLE: list[tuple[Camera, str]] = [
    (Camera(64, 48, 525, 525, 320, 240), "images of about 640 x 480"),
    (Camera(96, 54, 140, 140, 96, 54), "images of about 192 x 108"),
    (Camera(640, 480, 525, 525, -3, 240), "signs or the order"),
    (Camera(640, 480, 525, 525, 320, 470), "its principal point outside the image or at its border"),
    (Camera(4032, 3024, 4.25, 4.25, 2016, 1512), "millimetres"),
    (Camera(64, 48, 0.8, 0.8, 0.5, 0.5), "fractions of the image's size"),
    (Camera(640, 480, 0.8, 0.8, 320, 240), "fractions of the width"),
    (Camera(64, 48, 525, 525, 32, 24), "a calibration for larger images"),
    (Camera(640, 480, 1600, 200, 320, 240), "order of the numbers"),
    (Camera(640, 480, 4.25, 4.25, 320, 240, "OPENCV", (0.1, 0, 0, 0)), "millimetres"),
    (Camera(4000, 3000, 2.2, 2.2, 2000, 1500, "OPENCV_FISHEYE", (0, 0, 0, 0)), "too short for any fisheye"),
]


@pytest.mark.parametrize(("camera", "reason"), IMPOSSIBLE)
def test_impossible_intrinsics_are_refused_with_the_likely_reason(camera: Camera, reason: str) -> None:
    with pytest.raises(DatasetError, match="cameras, line 3: the camera of") as caught:
        check_camera(camera, "cameras, line 3")
    assert reason in str(caught.value)
    assert not str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "camera",
    [
        Camera(640, 480, 525, 525, 320, 240),
        Camera(640, 480, 60, 60, 320, 240),  # 159 degrees
        Camera(640, 480, 3600, 3600, 320, 240),  # 10.2 degrees
        Camera(480, 640, 525, 525, 200, 400),
        Camera(1000, 1000, 330, 330, 500, 500, "OPENCV_FISHEYE", (0, 0, 0, 0)),  # 174 degrees
        Camera(1920, 1080, 2000, 1000, 960, 540),
        Camera(2000, 200, 2000, 2000, 1000, 100),
    ],
)
def test_unusual_cameras_pass(camera: Camera) -> None:
    check_camera(camera, "cameras, line 3")


@pytest.mark.parametrize(
    "variant", ["cambridge", "colmap", "nerfstudio", "table", "tum", "twelvescenes", "ace"]
)
def test_every_layout_refuses_intrinsics_of_another_size(tmp_path: Path, variant: str) -> None:
    """The numbers in the files are for images of twenty times the size."""
    options = WRITERS[variant](tmp_path, SCENE)
    for path in (
        *tmp_path.rglob("*.txt"),
        *tmp_path.rglob("*.json"),
        *tmp_path.rglob("*.csv"),
        *tmp_path.rglob("*.nvm"),
    ):
        text = (
            path.read_text()
            .replace(f" {FOCAL}", " 600")
            .replace(f",{FOCAL}", ",600")
            .replace(f"\t{FOCAL}", "\t600")
        )
        if text.startswith(str(FOCAL)):
            text = "600" + text.removeprefix(str(FOCAL))
        path.write_text(text)
    assert "field of view" in refusal(tmp_path, **options)


@pytest.mark.parametrize("variant", ["colmap", "nerfstudio", "table", "twelvescenes"])
def test_intrinsics_of_images_of_another_shape_are_refused(tmp_path: Path, variant: str) -> None:
    options = WRITERS[variant](tmp_path, SCENE)
    first = datasets.load(tmp_path, **options).train[0]
    for frame in (*datasets.load(tmp_path, **options).train, *datasets.load(tmp_path, **options).test):
        Image.new("RGB", (40, 40)).save(frame.image)
    message = refusal(tmp_path, **options)
    assert "40 x 40 pixels" in message
    assert f"{WIDTH} x {HEIGHT}" in message
    assert first.camera == CAMERA


def own_recordings(root: Path, *, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    """One's own images in the folders of 7Scenes."""
    WRITERS["sevenscenes"](root, SCENE)
    for path in root.rglob("*.png"):
        Image.new("RGB", size).save(path)


def frames_of(root: Path, **options: Any) -> tuple[Frame, ...]:
    return datasets.load(root, **options).train


MATRIX = "28 0 15\n0 29 11\n0 0 1\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"K.txt": MATRIX}, Camera(WIDTH, HEIGHT, 28, 29, 15, 11)),
        ({"camera-intrinsics.txt": MATRIX}, Camera(WIDTH, HEIGHT, 28, 29, 15, 11)),
        ({"camera.json": json.dumps(SIZE), "K.txt": MATRIX}, CAMERA),
        (
            {"camera-intrinsics.txt": "585 0 320\n0 585 240\n0 0 1\n", "K.txt": MATRIX},
            Camera(WIDTH, HEIGHT, 28, 29, 15, 11),
        ),
    ],
)
def test_a_calibration_beside_7scenes_folders_is_used(
    tmp_path: Path, files: dict[str, str], expected: Camera
) -> None:
    own_recordings(tmp_path)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    scene = datasets.load(tmp_path)
    assert {frame.camera for frame in scene.train} == {expected}
    assert scene.notes == ()


def test_the_camera_of_7scenes_is_assumed_aloud_or_not_at_all(tmp_path: Path) -> None:
    own_recordings(tmp_path / "mine")
    (note,) = datasets.load(tmp_path / "mine").notes
    assert "the camera of 7Scenes is assumed" in note
    own_recordings(tmp_path / "chess")
    assert datasets.load(tmp_path / "chess").notes == ()
    own_recordings(tmp_path / "wide", size=(64, 36))
    assert "not the images of 7Scenes" in refusal(tmp_path / "wide")
    word = "PINHOLE,64,36,60,60,32,18"
    assert frames_of(tmp_path / "wide", camera=word)[0].camera == Camera(64, 36, 60, 60, 32, 18)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("good", "PINHOLE,640,480"),
        ("PINHOLE,64,36,60,60,32", "6 numbers, and 5"),
        ("NICE,64,36,60", "'NICE'"),
        ("PINHOLE,64,36,a,60,32,18", "'a'"),
    ],
)
def test_a_camera_as_a_word_is_checked(tmp_path: Path, word: str, sentence: str) -> None:
    own_recordings(tmp_path)
    message = refusal(tmp_path, camera=word)
    assert "the option camera" in message
    assert sentence in message


def test_a_camera_may_be_named_by_its_file(tmp_path: Path) -> None:
    own_recordings(tmp_path)
    (tmp_path / "lens.json").write_text(json.dumps(SIZE))
    assert frames_of(tmp_path, camera=str(tmp_path / "lens.json"))[0].camera == CAMERA
