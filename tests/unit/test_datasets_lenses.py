"""Numbers of a lens are used or refused by name; impossible intrinsics are refused with a likely reason."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from tests.support.damage import SCENE, refusal
from tests.support.layouts import CAMERA, FOCAL, HEIGHT, WIDTH, WRITERS, write_image, wxyz

from camloc.data import formats as datasets
from camloc.data.checks import check_camera
from camloc.data.formats.parts.intrinsics import is_lens_name
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
    ({"hfov": 120}, "by hfov it is 9.2"),
    ({"fov_y": 0.1}, "by fov_y it is 239"),
    ({"cy": ""}, "the cell of cy is empty"),
]


@pytest.mark.parametrize(("columns", "sentence"), REFUSED)
def test_distortion_of_a_table_that_is_not_understood_is_refused(
    tmp_path: Path, columns: dict[str, object], sentence: str
) -> None:
    table(tmp_path, **(SIZE | columns))
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
        ({"undistorted": True, "lens_model": "pinhole", "distance": 3.0, "aabb_scale": 16}, lens("PINHOLE")),
        ({"camera_angle_x": 0.98, "fx": FOCAL}, lens("PINHOLE")),
        (
            {"camera_model": "FULL_OPENCV", "k1": 0.1, "k4": 0.2, "k6": 0.3},
            lens("FULL_OPENCV", 0.1, 0, 0, 0, 0, 0.2, 0, 0.3),
        ),
    ],
)
def test_further_keys_of_a_lens_are_used(tmp_path: Path, values: dict[str, Any], expected: Camera) -> None:
    assert camera_of_transforms(tmp_path, fl_x=FOCAL, **values) == expected


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"fl_x": FOCAL, "k1": 0.1, "k5": 0.2}, "k5 is 0.2"),
        ({"fl_x": FOCAL, "camera_angle_x": 1.6}, "by camera_angle_x it is 15.5"),
        ({"fl_x": FOCAL, "fl_y": FOCAL, "y_fov": 90}, "by y_fov it is 12"),
        ({"fl_x": FOCAL, "fx": 90}, "by fx it is 90"),
        ({"fl_x": FOCAL, "camera_model": "OPENCV", "is_fisheye": True}, "is_fisheye contradicts"),
        ({"camera_matrix": [[FOCAL, 0, 16], [0, FOCAL, 12], [0, 0, 1]]}, "'camera_matrix'"),
        ({"fl_x": FOCAL, "cx": 24, "cy": 18}, "images of about 48 x 36 pixels"),
        ({"fl_x": FOCAL, "distortion_params": [0.1, 0, 0.2, 0]}, "distortion_params"),
        ({"fl_x": FOCAL, "distortion_params": [0.1]}, "distortion_params"),
        ({"fl_x": FOCAL, "distortion_params": [0.1, 0, 0, 0], "k1": 0.3}, "contradict"),
        ({"fl_x": FOCAL, "camera_model": "OPENCV_FISHEYE", "k1": 0.1, "p1": 0.2}, "p1 is 0.2"),
        ({"fl_x": FOCAL, "distortion": [0.1]}, "'distortion'"),
        ({"fl_x": FOCAL, "skew": 0.1}, "'skew'"),
        ({"fx": FOCAL}, "'fx'"),
        ({"focal_length": FOCAL}, "'focal_length'"),
        ({"fov": 60}, "'fov'"),
        ({"FL_X": FOCAL}, "'FL_X'"),
        ({"fl_x": FOCAL, "CX": 9.0}, "'CX'"),
        ({"fl_x": FOCAL, "D": [0.1, 0, 0, 0]}, "'D'"),
        ({"fl_x": FOCAL, "lensDistortion": {"k1": 0.1}}, "'lensDistortion'"),
        ({"camera": {"fx": FOCAL, "k1": 0.1}}, "camera: the key 'fx'"),
        ({"cameras": [{"fx": FOCAL}]}, "cameras: the key 'fx'"),
        ({"fl_x": FOCAL, "fisheye": True}, "'fisheye'"),
        ({"fl_x": FOCAL, "lens_model": "equidistant"}, "'lens_model'"),
        ({"fl_x": FOCAL, "is_fisheye": "false", "k1": 0.1}, "must be true or false"),
        ({"fl_x": FOCAL, "width": 64, "height": 48}, "'width' is not understood; write both w and h"),
        ({"fl_x": FOCAL, "camera_convention": "opencv"}, "multiply the second and third columns"),
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


def test_frames_that_lack_a_part_of_the_intrinsics_are_refused(tmp_path: Path) -> None:
    """All of them may be missing, as for a frame of another camera."""
    WRITERS["nerfstudio"](tmp_path, SCENE)
    path = tmp_path / "transforms.json"
    content = json.loads(path.read_text())
    shared = {name: content.pop(name) for name in ("fl_x", "fl_y", "cx", "cy", "w", "h")}
    for frame in content["frames"]:
        frame.update(shared)
    for name in shared:
        del content["frames"][2][name]
    path.write_text(json.dumps(content))
    assert [frame.camera for frame in datasets.load(tmp_path).train] == [CAMERA, CAMERA, None, CAMERA, CAMERA]
    content["frames"][2]["fl_x"] = FOCAL
    path.write_text(json.dumps(content))
    message = refusal(tmp_path)
    assert "frame 2 (images/0002.png): cx, cy, fl_y is missing" in message


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
    (Camera(640, 480, 525, 525, 0.5, 0.5), "fractions of the image's size"),
    (Camera(640, 480, 787, 787, 478, 362), "images of about 956 x 724"),
    (Camera(640, 480, 525, 525, 238, 322), "images of 480 x 640 pixels, turned by 90°"),
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
        Camera(640, 480, 525, 525, 420, 240),
        Camera(640, 480, 525, 525, 350, 262),
        Camera(500, 480, 525, 525, 240, 250),
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


def test_a_calibration_of_another_name_beside_7scenes_folders_is_not_passed_over(tmp_path: Path) -> None:
    own_recordings(tmp_path)
    (tmp_path / "intrinsics.txt").write_text(MATRIX)
    assert "intrinsics.txt looks like a calibration" in refusal(tmp_path)
    (tmp_path / "intrinsics.txt").rename(tmp_path / "K.txt")
    assert datasets.load(tmp_path).train[0].camera == Camera(WIDTH, HEIGHT, 28, 29, 15, 11)


def replaced(path: str, old: str, new: str) -> Callable[[Path], None]:
    """Another text in a file."""

    def change(root: Path) -> None:
        text = (root / path).read_text()
        assert old in text
        (root / path).write_text(text.replace(old, new))

    return change


def added(pattern: str, **values: Any) -> Callable[[Path], None]:
    """Further keys in JSON files."""

    def change(root: Path) -> None:
        for path in root.glob(pattern):
            path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def of_opensfm(**values: Any) -> Callable[[Path], None]:
    """Further numbers of an OpenSfM camera."""

    def change(root: Path) -> None:
        path = root / "reconstruction.json"
        content = json.loads(path.read_text())
        for part in content:
            part["cameras"]["phone"].update(values)
        path.write_text(json.dumps(content))

    return change


def column(path: str, name: str, value: float) -> Callable[[Path], None]:
    """A further column of a table, or another value in it."""

    def change(root: Path) -> None:
        heading, *rows = (root / path).read_text().splitlines()
        lines = [f"{heading},{name}", *(f"{row},{value}" for row in rows)]
        (root / path).write_text("\n".join(lines) + "\n")

    return change


def all_of(*changes: Callable[[Path], None]) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        for each in changes:
            each(root)

    return change


def coefficient(text: str) -> Callable[[Path], None]:
    """A further coefficient of a Metashape calibration."""
    return replaced("cameras.xml", "<cx>0</cx>", f"{text}<cx>0</cx>")


SENSOR, SCANNET = "mav0/cam0/sensor.yaml", "intrinsic/intrinsic_color.txt"
INITIAL = f'<calibration type="frame" class="initial"><f>{FOCAL - 5}</f></calibration>'
ADJUSTED = '<calibration type="frame" class="adjusted">'
FISHEYE = replaced(SENSOR, "radial-tangential", "equidistant")

OTHER_LENSES: list[tuple[str, Callable[[Path], None], Camera]] = [
    ("metashape", coefficient("<b1>3</b1>"), replace(lens("PINHOLE"), fx=FOCAL + 3)),
    ("metashape", replaced("cameras.xml", ADJUSTED, INITIAL + ADJUSTED), lens("PINHOLE")),
    ("opensfm", of_opensfm(focal_prior=0.5, k1_prior=0.3), lens("PINHOLE")),
    (
        "opensfm",
        of_opensfm(projection_type="fisheye_opencv", k1=0.1, k4=0.2),
        lens("OPENCV_FISHEYE", 0.1, 0, 0, 0.2),
    ),
    (
        "opensfm",
        of_opensfm(projection_type="radial", focal_x=FOCAL / WIDTH, focal_y=1.0, k1=0.1, focal=FOCAL / WIDTH),
        replace(lens("OPENCV", 0.1, 0, 0, 0), fy=float(WIDTH)),
    ),
    ("euroc", FISHEYE, lens("OPENCV_FISHEYE", 0, 0, 0, 0)),
    (
        "euroc",
        all_of(FISHEYE, replaced(SENSOR, "[0, 0, 0, 0]", "[0.1, 0, 0, 0.2]")),
        lens("OPENCV_FISHEYE", 0.1, 0, 0, 0.2),
    ),
    (
        "record3d",
        added("metadata.json", perFrameIntrinsicCoeffs=[[33.0, 33.0, 16.0, 12.0]] * 8),
        Camera(WIDTH, HEIGHT, 33, 33, 16, 12),
    ),
    ("polycam", added("keyframes/cameras/*.json", blur_score=9, k1=0.0), lens("PINHOLE")),
]

REFUSED_LENSES: list[tuple[str, Callable[[Path], None], str]] = [
    ("metashape", coefficient("<k5>0.1</k5>"), "k5"),
    ("metashape", coefficient("<K1>0.1</K1>"), "K1"),
    ("metashape", coefficient("<skew>0.1</skew>"), "skew"),
    (
        "metashape",
        replaced("cameras.xml", '<sensor id="0" type="frame">', '<sensor type="fisheye" id="0">'),
        "frame",
    ),
    ("opensfm", of_opensfm(p1=0.1), "p1"),
    ("opensfm", of_opensfm(projection_type="brown", k4=0.1), "k4"),
    ("opensfm", of_opensfm(focal_x=1.5), "contradict"),
    ("euroc", replaced(SENSOR, "camera_model: pinhole", "camera_model: omni"), "omni"),
    ("euroc", replaced(SENSOR, "radial-tangential", "fov # not radial-tangential"), "fov"),
    ("realitycapture", column("cameras.csv", "k5", 0.1), "'k5'"),
    ("record3d", added("metadata.json", distortion=[0.1, 0.2]), "'distortion'"),
    ("polycam", added("keyframes/cameras/*.json", k1=0.1), "'k1'"),
    ("scannerapp", added("frame_*.json", lensDistortion=[0.1]), "'lensDistortion'"),
    ("strayscanner", column("odometry.csv", "fx", 20.0), "'fx'"),
    ("kitti", replaced("sequences/07/calib.txt", "P2: 30.0 0.0", "P2: 30.0 5.0"), "skew is 5"),
    ("scannet", replaced(SCANNET, "30.0 0.0 16.0", "30.0 5.0 16.0"), "skew is 5"),
    ("twelvescenes", replaced("info.txt", "30.0 0 16.0", "30.0 5 16.0"), "skew is 5"),
    (
        "twelvescenes",
        replaced("info.txt", "m_depthWidth", "m_distortion = 0.1 0\nm_depthWidth"),
        "m_distortion",
    ),
    ("table", column("poses.csv", "fisheye", 1), "'fisheye'"),
    ("table", column("poses.csv", "kappa1", 0.1), "'kappa1'"),
    ("table", column("poses.csv", "cam_k1", 0.1), "'cam_k1'"),
    ("table", column("poses.csv", "coeff1", 0.1), "'coeff1'"),
    ("table", column("poses.csv", "fx [px]", 50), "'fx' is there more than once"),
]


@pytest.mark.parametrize(("variant", "change", "expected"), OTHER_LENSES)
def test_a_lens_is_used_in_every_layout(
    tmp_path: Path, variant: str, change: Callable[[Path], None], expected: Camera
) -> None:
    options = WRITERS[variant](tmp_path, SCENE)
    change(tmp_path)
    (camera,) = {frame.camera for frame in datasets.load(tmp_path, **options).train}
    assert camera == expected


@pytest.mark.parametrize(("variant", "change", "sentence"), REFUSED_LENSES)
def test_a_lens_that_a_layout_has_no_place_for_is_refused_by_name(
    tmp_path: Path, variant: str, change: Callable[[Path], None], sentence: str
) -> None:
    options = WRITERS[variant](tmp_path, SCENE)
    change(tmp_path)
    assert sentence in refusal(tmp_path, **options)


def test_a_distortion_of_visualsfm_that_is_not_used_is_noted(tmp_path: Path) -> None:
    options = WRITERS["cambridge"](tmp_path, SCENE)
    assert not [note for note in datasets.load(tmp_path, **options).notes if "distortion" in note]
    replaced("reconstruction.nvm", "-0.01", "-0.35")(tmp_path)
    (note,) = [note for note in datasets.load(tmp_path, **options).notes if "distortion" in note]
    assert "by 3 pixels in the median" in note


@pytest.mark.parametrize(
    "name", ["k1", "K_2", "FL_X", "camera_k1", "distCoeffs", "fovX", "principalPointX", "D"]
)
def test_names_of_a_lens_are_known_however_they_are_written(name: str) -> None:
    assert is_lens_name(name)


@pytest.mark.parametrize(
    "name",
    ["distance", "undistorted", "is_calibrated", "d", "id", "kappa", "frame", "depth", "p", "time", "name"],
)
def test_other_names_are_not_taken_for_a_lens(name: str) -> None:
    assert not is_lens_name(name)


def test_a_calibration_of_another_name_beside_frames_without_intrinsics_is_noted(tmp_path: Path) -> None:
    table(tmp_path)
    (tmp_path / "calibration.yaml").write_text("fx: 30\n")
    (note,) = [note for note in datasets.load(tmp_path).notes if "calibration" in note]
    assert note.startswith("calibration.yaml looks like a calibration and is not read")
    (tmp_path / "K.txt").write_text(f"{FOCAL} 0 16\n0 {FOCAL} 12\n0 0 1\n")
    assert not [note for note in datasets.load(tmp_path).notes if "calibration" in note]
