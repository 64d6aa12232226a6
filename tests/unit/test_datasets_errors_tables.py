"""What is wrong in tables and TUM is reported in one sentence with the file and the line or the frame."""

from pathlib import Path

import pytest
from tests.support.damage import Case, Damage, check, edited, parameters, replaced, word

CASES: list[Case] = [
    (
        "table",
        "no columns",
        edited("poses.csv", 1, lambda _: "a,b,c"),
        ("does not start with the names of its columns", "camloc poses"),
    ),
    ("table", "no row", replaced("poses.csv", "image,tx,ty,tz,qw,qx,qy,qz\n"), ("poses.csv", "no row")),
    ("table", "short row", edited("poses.csv", 4, lambda _: "2.png,1"), ("poses.csv, line 4", "2 columns")),
    ("table", "no number", edited("poses.csv", 4, word(1, "x", ",")), ("poses.csv, line 4", "'x'")),
    ("table", "no number", edited("poses.csv", 4, word(1, "", ",")), ("poses.csv, line 4", "''")),
    ("table", "NaN", edited("poses.csv", 4, word(1, "nan", ",")), ("poses.csv, line 4", "2.png", "NaN")),
    ("table", "length", edited("poses.csv", 4, word(7, "7", ",")), ("poses.csv, line 4", "length")),
    ("table", "no image", edited("poses.csv", 4, word(0, "x.png", ",")), ("poses.csv, line 4", "x.png")),
    ("table", "no name", edited("poses.csv", 4, word(0, "", ",")), ("poses.csv, line 4", "no name")),
    ("table", "twice", edited("poses.csv", 4, word(0, "1.png", ",")), ("line 4", "second time", "line 3")),
    ("table", "split", edited("poses.csv", 4, word(8, "val", ",")), ("poses.csv, line 4", "'val'", "train")),
    ("table", "width", edited("poses.csv", 4, word(9, "", ",")), ("poses.csv, line 4", "width")),
    ("table", "quotation", edited("poses.csv", 4, lambda line: '"' + line), ("poses.csv, line 4", "CSV")),
    ("table", "column twice", edited("poses.csv", 1, word(9, "tx", ",")), ("poses.csv, line 1", "'tx'")),
    ("table", "model", edited("poses.csv", 1, word(8, "model", ",")), ("poses.csv, line 2", "'TRAIN'")),
    (
        "tum",
        "short row",
        edited("groundtruth.txt", 3, lambda _: "1 2 3"),
        ("groundtruth.txt, line 3", "8 numb"),
    ),
    ("tum", "NaN time", edited("groundtruth.txt", 3, word(0, "nan")), ("groundtruth.txt, line 3", "time")),
    (
        "tum",
        "NaN",
        edited("groundtruth.txt", 2, word(1, "nan")),
        ("groundtruth.txt, line 2", "rgb/0.png", "NaN"),
    ),
    ("tum", "no pose", replaced("groundtruth.txt", "#\n"), ("groundtruth.txt", "no pose")),
    ("tum", "no image", edited("rgb.txt", 3, lambda _: "101 rgb/x.png"), ("rgb.txt, line 3", "x.png")),
    ("tum", "no name", edited("rgb.txt", 3, lambda _: "101"), ("rgb.txt, line 3", "name")),
    (
        "tum",
        "no times",
        replaced("groundtruth.txt", "5 0 0 0 0 0 0 1\n"),
        ("rgb.txt", "within 0.02 s", "100.000 s"),
    ),
    ("tum", "matrix", replaced("K.txt", "1 2\n3 4\n"), ("K.txt", "3x3")),
    ("tum", "skew", replaced("K.txt", "30 5 16\n0 30 12\n0 0 1\n"), ("K.txt", "calibration matrix")),
    ("tum", "camera keys", replaced("camera.json", '{"width": 1, "wdth": 2}'), ("camera.json", "'wdth'")),
    ("tum", "camera model", replaced("camera.json", '{"model": "X"}'), ("camera.json", "'X'")),
    ("tum", "camera word", replaced("camera.json", '{"width": "x"}'), ("camera.json", "width", "'x'")),
    ("tum", "no focal", replaced("camera.json", '{"width": 4, "height": 3}'), ("camera.json", "focal")),
]


@pytest.mark.parametrize(("variant", "damage", "message"), parameters(CASES))
def test_a_fault_is_reported_in_one_sentence(
    tmp_path: Path, variant: str, damage: Damage, message: tuple[str, ...]
) -> None:
    check(tmp_path, variant, damage, message)
