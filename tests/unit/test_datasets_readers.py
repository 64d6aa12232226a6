"""What the readers accept: text as people's programs write it, and the ways to say a direction."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.damage import SCENE, refusal
from tests.support.layouts import CAMERA, WRITERS, write_image, write_published_list, wxyz

from camloc.data import formats as datasets
from camloc.data.formats import cambridge, colmap, nerfstudio, table
from camloc.data.types import Frame, Scene, poses_of
from camloc.errors import CamlocError, DatasetError
from camloc.geometry import Camera, Pose

TEXT_FILES = ("*.txt", "*.csv", "*.nvm", "*.json")


def _assert_scene(scene: Scene) -> None:
    expected = np.stack([*SCENE.train, *SCENE.test])
    found = poses_of((*scene.train, *scene.test)).matrix()
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-6)
    assert len(scene.test) == len(SCENE.test)


@pytest.mark.parametrize("variant", [variant for variant in WRITERS if variant != "colmap:binary"])
def test_windows_line_ends_and_byte_order_marks_are_read(tmp_path: Path, variant: str) -> None:
    options = WRITERS[variant](tmp_path, SCENE)
    for pattern in TEXT_FILES:
        for path in tmp_path.rglob(pattern):
            path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    _assert_scene(datasets.load(tmp_path, **options))


@pytest.mark.parametrize("variant", ["sevenscenes", "cambridge", "table", "tum"])
def test_blank_lines_comments_and_trailing_blanks_are_read(tmp_path: Path, variant: str) -> None:
    options = WRITERS[variant](tmp_path, SCENE)
    for pattern in TEXT_FILES[:2]:
        for path in tmp_path.rglob(pattern):
            head, *rest = path.read_text().splitlines()
            path.write_text("\n".join([head, *(f"{line} \n\n# remark" for line in rest)]) + "\n\n")
    if variant == "cambridge":  # its heading is three lines, whatever is in them
        for side in ("train", "test"):
            path = tmp_path / f"dataset_{side}.txt"
            path.write_text("a\nb\n\n" + "".join(path.read_text().splitlines(keepends=True)[7:]))
    _assert_scene(datasets.load(tmp_path, **options))


@pytest.mark.parametrize(("variant", "file"), [("cambridge", "dataset_train.txt"), ("tum", "rgb.txt")])
def test_back_slashes_in_names_are_read(tmp_path: Path, variant: str, file: str) -> None:
    options = WRITERS[variant](tmp_path, SCENE)
    path = tmp_path / file
    path.write_text(path.read_text().replace("/", "\\"))
    scene = datasets.load(tmp_path, **options)
    _assert_scene(scene)
    assert "\\" not in scene.train[0].name


def test_cambridge_lists_without_their_heading_lose_no_frame(tmp_path: Path) -> None:
    options = WRITERS["cambridge"](tmp_path, SCENE)
    for side in ("train", "test"):
        path = tmp_path / f"dataset_{side}.txt"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[3:]))
    _assert_scene(datasets.load(tmp_path, **options))


def test_cambridge_is_read_without_focal_lengths(tmp_path: Path) -> None:
    WRITERS["cambridge"](tmp_path, SCENE)
    (tmp_path / "reconstruction.nvm").unlink()
    assert datasets.load(tmp_path).train[0].camera is None


def test_the_known_broken_frame_of_great_court_is_left_out(tmp_path: Path) -> None:
    root = tmp_path / "GreatCourt"
    root.mkdir()
    WRITERS["cambridge"](root, SCENE)
    (name,) = cambridge.BROKEN_FRAMES["GreatCourt"]
    write_image(root / name)
    with (root / "dataset_train.txt").open("a") as file:
        file.write(f"{name} 3e9 0 0 1 0 0 0\n")
    _assert_scene(datasets.load(tmp_path, scene="GreatCourt", width=32, height=24))
    assert name in refusal(root, scene="elsewhere", width=32, height=24)


def test_a_table_that_does_not_say_the_direction_needs_the_option(tmp_path: Path) -> None:
    names = _table(tmp_path, "poses.csv", "image,tx,ty,tz,qw,qx,qy,qz")
    assert len(names) == len(SCENE.all)
    message = refusal(tmp_path)
    assert "poses.csv" in message
    assert "world_from_cam or cam_from_world" in message
    scene = datasets.load(tmp_path, rotation="world_from_cam")
    other = datasets.load(tmp_path, rotation="cam_from_world")
    np.testing.assert_allclose(
        poses_of(scene.train).rotation, poses_of(other.train).rotation.mT, rtol=0, atol=1e-12
    )
    assert "'c2w'" in refusal(tmp_path, rotation="c2w")


def test_a_table_and_the_option_may_not_contradict_each_other(tmp_path: Path) -> None:
    WRITERS["table"](tmp_path, SCENE)
    assert "cam_from_world" in refusal(tmp_path, rotation="world_from_cam")
    _assert_scene(datasets.load(tmp_path, rotation="cam_from_world"))


@pytest.mark.parametrize("separator", [",", ";", "\t", " ", ", "])
def test_columns_are_separated_by_what_is_between_them(tmp_path: Path, separator: str) -> None:
    _table(tmp_path, "poses.csv", "#image,x,y,z,qw,qx,qy,qz".replace(",", separator), separator=separator)
    scene = datasets.load(tmp_path, rotation="world_from_cam")
    expected = np.stack(SCENE.all)
    np.testing.assert_allclose(poses_of(scene.train).matrix(), expected, rtol=0.0, atol=1e-9)


def test_numbered_quaternions_need_their_order(tmp_path: Path) -> None:
    _table(tmp_path, "poses.csv", "image,x,y,z,q1,q2,q3,q4")
    assert "wxyz or xyzw" in refusal(tmp_path, rotation="world_from_cam")
    first = datasets.load(tmp_path, rotation="world_from_cam", quaternion="wxyz")
    assert np.allclose(first.train[0].truth().matrix(), SCENE.train[0])
    last = datasets.load(tmp_path, rotation="world_from_cam", quaternion="xyzw")
    assert not np.allclose(last.train[0].truth().matrix(), SCENE.train[0])


@pytest.mark.parametrize(
    ("scene", "rotation"), [("chess", "world_from_cam"), ("KingsCollege", "cam_from_world")]
)
def test_the_published_lists_are_known_by_their_scenes(tmp_path: Path, scene: str, rotation: str) -> None:
    path = write_published_list(tmp_path, SCENE, scene=scene, rotation=rotation)
    found = datasets.load(path)
    _assert_scene(found)
    assert found.name == scene
    assert found.train[0].sequence == "seq1"
    assert f"{scene}" in refusal(path, scene="fire")


def test_a_published_list_of_another_scene_needs_the_option(tmp_path: Path) -> None:
    path = write_published_list(tmp_path, SCENE, scene="market", rotation="world_from_cam")
    assert "rotation" in refusal(path)
    _assert_scene(datasets.load(path, rotation="world_from_cam"))


def test_several_splits_in_a_table_must_be_chosen_from(tmp_path: Path) -> None:
    _table(
        tmp_path, "poses.csv", "image,x,y,z,qw,qx,qy,qz,split_a,split_b", more=["train", "test"], last="test"
    )
    assert "split_a, split_b" in refusal(tmp_path, rotation="world_from_cam")
    scene = datasets.load(tmp_path, rotation="world_from_cam", split="a")
    assert (len(scene.train), len(scene.test)) == (len(SCENE.all) - 1, 1)
    assert "train on" in refusal(tmp_path, rotation="world_from_cam", split="b")


@pytest.mark.parametrize("prefix", ["", "sub/../"])
def test_intrinsics_beside_a_table_are_of_all_its_images(tmp_path: Path, prefix: str) -> None:
    _table(tmp_path, "poses.csv", "image,x,y,z,qw,qx,qy,qz")
    (tmp_path / "sub").mkdir()
    content = {
        "model": "OPENCV",
        "width": 32,
        "height": 24,
        "fx": 30,
        "fy": 31,
        "cx": 15,
        "cy": 11,
        "k1": 0.1,
    }
    (tmp_path / "camera.json").write_text(json.dumps(content))
    scene = datasets.load(tmp_path / f"{prefix}poses.csv", rotation="world_from_cam")
    lens = Camera(32, 24, 30.0, 31.0, 15.0, 11.0, "OPENCV", (0.1, 0.0, 0.0, 0.0))
    assert {frame.camera for frame in scene.train} == {lens}


def _table(
    root: Path, file: str, header: str, *, separator: str = ",", more: list[str] | None = None, last: str = ""
) -> list[str]:
    """A table of the scene, with `world_from_cam` quaternions; `last` is the first split of the last row."""
    lines, names = [header], []
    for number, matrix in enumerate(SCENE.all):
        names.append(f"{number}.png")
        write_image(root / names[-1])
        ending = list(more or [])
        if ending and last and number == len(SCENE.all) - 1:
            ending[0] = last
        cells: list[Any] = [names[-1], *matrix[:3, 3].tolist(), *wxyz(matrix[:3, :3]), *ending]
        lines.append(separator.join(map(str, cells)))
    (root / file).write_text("\n".join(lines) + "\n")
    return names


INTRINSICS: list[tuple[dict[str, Any], Camera | None]] = [
    ({}, None),
    ({"fl_x": 30, "w": 32, "h": 24}, CAMERA),
    ({"fl_x": 30}, CAMERA),
    ({"camera_angle_x": 2 * np.arctan(16 / 30)}, CAMERA),
    ({"camera_angle_x": 2 * np.arctan(16 / 30), "camera_angle_y": 2 * np.arctan(12 / 30)}, CAMERA),
    ({"fl_x": 30, "k1": 0, "p1": 0.0, "camera_model": "SIMPLE_PINHOLE"}, CAMERA),
    ({"fl_x": 30, "k1": 0.1}, Camera(32, 24, 30, 30, 16, 12, "OPENCV", (0.1, 0, 0, 0))),
    (
        {"fl_x": 30, "k1": 0.1, "k3": 0.2},
        Camera(32, 24, 30, 30, 16, 12, "FULL_OPENCV", (0.1, 0, 0, 0, 0.2, 0, 0, 0)),
    ),
    (
        {"fl_x": 30, "k1": 0.1, "k4": 0.2, "is_fisheye": True},
        Camera(32, 24, 30, 30, 16, 12, "OPENCV_FISHEYE", (0.1, 0, 0, 0.2)),
    ),
    (
        {"fl_x": 30, "k1": 0.1, "camera_model": "RADIAL"},
        Camera(32, 24, 30, 30, 16, 12, "OPENCV", (0.1, 0, 0, 0)),
    ),
]


@pytest.mark.parametrize("per_frame", [False, True])
@pytest.mark.parametrize(("values", "expected"), INTRINSICS)
def test_intrinsics_of_transforms_are_shared_or_of_the_frame(
    tmp_path: Path, values: dict[str, Any], expected: Camera | None, per_frame: bool
) -> None:
    write_image(tmp_path / "1.png")
    frame = {"file_path": "1.png", "transform_matrix": np.eye(4).tolist()}
    content = (
        {"frames": [{**frame, **values}], "fl_x": 99}
        if per_frame and values
        else {**values, "frames": [frame]}
    )
    if per_frame and "fl_x" not in values:
        content.pop("fl_x", None)
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    (found,) = datasets.load(tmp_path).train
    if expected is None or found.camera is None:
        assert found.camera is expected
        return
    assert (found.camera.model, found.camera.distortion) == (expected.model, expected.distortion)
    np.testing.assert_allclose(found.camera.matrix(), expected.matrix(), rtol=0.0, atol=1e-9)


def test_sequences_of_7scenes_that_no_list_names_are_left_out(tmp_path: Path) -> None:
    options = WRITERS["sevenscenes"](tmp_path, SCENE)
    (tmp_path / "seq-03").mkdir()
    (tmp_path / "seq-03" / "frame-000000.pose.txt").write_text("garbage")
    _assert_scene(datasets.load(tmp_path, **options))


def test_depth_images_are_found_where_they_are(tmp_path: Path) -> None:
    WRITERS["sevenscenes"](tmp_path, SCENE)
    depth = tmp_path / "seq-01" / "frame-000001.depth.png"
    write_image(depth)
    assert [frame.depth for frame in datasets.load(tmp_path).train[:3]] == [None, depth, None]


def _scene(*frames: Frame) -> Scene:
    return Scene("scene", frames)


@pytest.mark.parametrize(
    ("write", "frame", "sentence"),
    [
        (colmap.write, Frame("1.png", Path("1.png"), None, Pose.identity()), "intrinsics"),
        (colmap.write, Frame("1.png", Path("1.png"), CAMERA), "pose"),
        (nerfstudio.write, Frame("1.png", Path("1.png"), CAMERA), "pose"),
        (table.write, Frame("1.png", Path("1.png"), CAMERA), "pose"),
        (table.write, Frame("#1.png", Path("1.png"), CAMERA, Pose.identity()), "starts with #"),
        (table.write, Frame("a\nb.png", Path("1.png"), CAMERA, Pose.identity()), "line break"),
    ],
)
def test_what_a_layout_cannot_hold_is_not_written(
    tmp_path: Path, write: Any, frame: Frame, sentence: str
) -> None:
    with pytest.raises(DatasetError, match=sentence):
        write(_scene(frame), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_with_blanks_are_not_written_as_colmap_text(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="blank"):
        colmap.write(_scene(Frame("a b.png", Path("a"), CAMERA, Pose.identity())), tmp_path, form="text")


def test_a_lens_that_transforms_json_has_no_name_for_is_not_written(tmp_path: Path) -> None:
    lens = Camera(32, 24, 30, 30, 16, 12, "FOV", (0.4,))
    with pytest.raises(DatasetError, match="FOV"):
        nerfstudio.write(_scene(Frame("a.png", Path("a"), lens, Pose.identity())), tmp_path / "t.json")


@pytest.mark.parametrize("write", [colmap.write, nerfstudio.write, table.write])
def test_where_nothing_can_be_written_is_reported_in_a_sentence(tmp_path: Path, write: Any) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CamlocError, match="could not be written"):
        write(_scene(Frame("a.png", Path("a"), CAMERA, Pose.identity())), tmp_path / "file" / "below")


def test_the_conditions_of_the_extended_cambridge_landmarks(tmp_path: Path) -> None:
    WRITERS["cambridge"](tmp_path, SCENE)
    plain = datasets.load(tmp_path, width=32, height=24)
    assert (plain.test_name, dict(plain.conditions)) == ("test", {})
    for frame in plain.test:
        write_image(tmp_path / "winter" / frame.name.replace(".png", ".jpg"))
    write_image(tmp_path / "evening" / plain.test[0].name)
    scene = datasets.load(tmp_path, width=32, height=24)
    assert scene.test_name == "original"
    assert {name: len(frames) for name, frames in scene.conditions.items()} == {"winter": 3, "evening": 1}
    assert scene.conditions["winter"][1].truth() is scene.test[1].truth()
    assert scene.conditions["winter"][1].image == tmp_path / scene.conditions["winter"][1].name
    assert "evening lacks 2 of 3 test images" in scene.notes
