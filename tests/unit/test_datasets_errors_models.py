"""What is wrong in COLMAP and nerfstudio is reported in one sentence that names file and line."""

from pathlib import Path

import pytest
from tests.support.damage import (
    MIRRORED,
    SHEARED,
    Case,
    Damage,
    check,
    cut,
    edited,
    frame_two,
    parameters,
    removed,
    replaced,
    transforms,
    word,
)

IMAGES = "sparse/0/images.txt"
CAMERAS = "sparse/0/cameras.txt"

CASES: list[Case] = [
    ("colmap", "no image", removed("images/0003.png"), (f"{IMAGES}, line", "0003.png", "does not exist")),
    ("colmap", "NaN", edited(IMAGES, 2, word(1, "nan")), (f"{IMAGES}, line 2", "NaN")),
    (
        "colmap",
        "zero quaternion",
        edited(IMAGES, 2, lambda line: " ".join((line.split()[0], "0 0 0 0", *line.split()[5:]))),
        (f"{IMAGES}, line 2", "zero"),
    ),
    (
        "colmap",
        "long quaternion",
        edited(IMAGES, 2, lambda line: " ".join((line.split()[0], "2 0 0 0", *line.split()[5:]))),
        (f"{IMAGES}, line 2", "length 2"),
    ),
    ("colmap", "short row", edited(IMAGES, 2, lambda _: "1 1 0 0"), (f"{IMAGES}, line 2", "image needs")),
    ("colmap", "no camera", edited(IMAGES, 2, word(8, "55")), (f"{IMAGES}, line 2", "camera 55")),
    ("colmap", "no features", edited(IMAGES, 3, lambda _: "1 2"), (f"{IMAGES}, line 3", "features")),
    ("colmap", "escapes", edited(IMAGES, 2, word(9, "../../x.png")), (f"{IMAGES}, line 2", "leads out")),
    ("colmap", "absolute", edited(IMAGES, 2, word(9, "/etc/passwd")), (f"{IMAGES}, line 2", "leads out")),
    ("colmap", "a frame twice", edited(IMAGES, 2, word(9, "0001.png")), (f"{IMAGES}, line", "second time")),
    ("colmap", "no image", replaced(IMAGES, "# nothing\n"), ("sparse/0", "no image")),
    (
        "colmap",
        "unknown model",
        edited(CAMERAS, 2, word(1, "FOO")),
        (f"{CAMERAS}, line 2", "'FOO'", "PINHOLE"),
    ),
    ("colmap", "panorama", edited(CAMERAS, 2, word(1, "EQUIRECTANGULAR")), (f"{CAMERAS}, line 2", "EQUIR")),
    ("colmap", "parameters", edited(CAMERAS, 2, lambda line: line + " 1"), (f"{CAMERAS}, line 2", "fx, fy")),
    ("colmap", "focal", edited(CAMERAS, 2, word(4, "-1")), (f"{CAMERAS}, line 2", "focal")),
    ("colmap", "size", edited(CAMERAS, 2, word(2, "1.5")), (f"{CAMERAS}, line 2", "'1.5'")),
    ("colmap", "short camera", edited(CAMERAS, 2, lambda _: "7 PINHOLE"), (f"{CAMERAS}, line 2", "size")),
    ("colmap", "infinite focal", edited(CAMERAS, 2, word(4, "inf")), (f"{CAMERAS}, line 2", "finite")),
    (
        "colmap",
        "NaN point",
        replaced("sparse/0/points3D.txt", "1 nan 0 0 0 0 0 1\n"),
        ("points3D.txt", "NaN"),
    ),
    ("colmap", "short point", replaced("sparse/0/points3D.txt", "1 2\n"), ("points3D.txt, line 1", "colour")),
    ("colmap", "list empty", replaced("test.txt", "# none\n"), ("test.txt", "names no frame")),
    (
        "colmap",
        "list wrong",
        replaced("test.txt", "images/0005.png\nx.png\n"),
        ("test.txt, line 2", "'x.png'"),
    ),
    (
        "colmap",
        "twice",
        replaced("test.txt", "images/0005.png\n" * 2),
        ("test.txt, line 2", "test.txt, line 1"),
    ),
    ("colmap", "leak", replaced("test.txt", "images/0000.png\n"), ("test.txt, line 1", "train.txt, line 1")),
    ("colmap", "list binary", replaced("test.txt", b"\x89PNG\r\n\x00"), ("test.txt, line 1", "UTF-8")),
    ("colmap:binary", "garbage", replaced("sparse/images.bin", b"\xff" * 99), ("images.bin", "cut short")),
    ("colmap:binary", "empty", replaced("sparse/images.bin", b""), ("images.bin", "cut short")),
    ("colmap:binary", "cut", cut("sparse/images.bin"), ("images.bin", "cut short")),
    (
        "colmap:binary",
        "cut points",
        cut("sparse/points3D.bin"),
        ("points3D.bin", "cut short"),
    ),
    (
        "colmap:binary",
        "cut cameras",
        cut("sparse/cameras.bin"),
        ("cameras.bin", "cut short"),
    ),
    (
        "colmap:binary",
        "unknown model",
        replaced("sparse/cameras.bin", (1).to_bytes(8, "little") + b"\x01\0\0\0\x63\0\0\0" + bytes(40)),
        ("cameras.bin, camera 1", "number 99"),
    ),
    ("nerfstudio", "not JSON", replaced("transforms.json", "{\n,"), ("transforms.json, line 2", "not JSON")),
    ("nerfstudio", "a list", replaced("transforms.json", "[1]"), ("transforms.json", "list", "object")),
    ("nerfstudio", "binary", replaced("transforms.json", b"\xff\xfe\x00"), ("transforms.json", "UTF-8")),
    ("nerfstudio", "deep", replaced("transforms.json", "[" * 200_000), ("transforms.json", "not JSON")),
    ("nerfstudio", "no frames", transforms(lambda c: c.pop("frames")), ("transforms.json", "frames")),
    ("nerfstudio", "frames empty", transforms(lambda c: c.update(frames=[])), ("transforms.json", "frames")),
    ("nerfstudio", "a frame is a word", transforms(lambda c: c["frames"].append("x")), ("frame 8", "object")),
    (
        "nerfstudio",
        "no name",
        transforms(lambda c: c["frames"][2].pop("file_path")),
        ("frame 2", "file_path"),
    ),
    ("nerfstudio", "no image", frame_two(file_path="images/x.png"), ("frame 2", "images/x.png", "exist")),
    ("nerfstudio", "escapes", frame_two(file_path="../../etc/passwd"), ("frame 2", "leads out")),
    ("nerfstudio", "drive", frame_two(file_path="C:\\data\\1.png"), ("frame 2", "leads out")),
    ("nerfstudio", "impossible name", frame_two(file_path="a\0b.png"), ("frame 2", "does not exist")),
    ("nerfstudio", "endless name", frame_two(file_path="a" * 5000), ("frame 2", "does not exist")),
    (
        "nerfstudio",
        "no matrix",
        transforms(lambda c: c["frames"][2].pop("transform_matrix")),
        ("frame 2", "matrix"),
    ),
    ("nerfstudio", "3x4", frame_two(transform_matrix=MIRRORED[:3]), ("frame 2 (images/0002.png)", "4 lists")),
    (
        "nerfstudio",
        "words",
        frame_two(transform_matrix=[["a"] * 4] * 4),
        ("frame 2 (images/0002.png)", "numbers"),
    ),
    (
        "nerfstudio",
        "mirrored",
        frame_two(transform_matrix=MIRRORED),
        ("frame 2 (images/0002.png)", "mirrored"),
    ),
    ("nerfstudio", "sheared", frame_two(transform_matrix=SHEARED), ("frame 2 (images/0002.png)", "rotation")),
    ("nerfstudio", "NaN", frame_two(transform_matrix=[[float("nan")] * 4] * 4), ("frame 2", "NaN")),
    ("nerfstudio", "huge", frame_two(transform_matrix=[[10**400] * 4] * 4), ("frame 2", "NaN or infinity")),
    ("nerfstudio", "twice", frame_two(file_path="images/0001.png"), ("frame 2", "second time", "frame 1")),
    (
        "nerfstudio",
        "model",
        frame_two(camera_model="VR180"),
        ("frame 2 (images/0002.png)", "'VR180'", "OPENCV"),
    ),
    ("nerfstudio", "bent pinhole", frame_two(camera_model="PINHOLE", k1=0.1), ("frame 2", "pinhole")),
    ("nerfstudio", "k4", frame_two(camera_model="OPENCV", k4=0.1), ("frame 2", "k4")),
    ("nerfstudio", "focal word", frame_two(fl_x="long"), ("frame 2", "fl_x", "'long'")),
    ("nerfstudio", "focal zero", frame_two(fl_x=0), ("frame 2", "focal")),
    ("nerfstudio", "size", frame_two(w=31.5), ("frame 2", "31.5", "whole")),
    (
        "nerfstudio",
        "list wrong",
        transforms(lambda c: c.update(test_filenames=["images/9.png"])),
        ("transforms.json, test_filenames", "'images/9.png'"),
    ),
    (
        "nerfstudio",
        "leak",
        transforms(lambda c: c.update(test_filenames=["images/0000.png"])),
        ("transforms.json, test_filenames", "images/0000.png", "trained"),
    ),
    (
        "nerfstudio",
        "list word",
        transforms(lambda c: c.update(train_filenames="x")),
        ("train_filenames", "list"),
    ),
]


@pytest.mark.parametrize(("variant", "damage", "message"), parameters(CASES))
def test_a_fault_is_reported_in_one_sentence(
    tmp_path: Path, variant: str, damage: Damage, message: tuple[str, ...]
) -> None:
    check(tmp_path, variant, damage, message)
