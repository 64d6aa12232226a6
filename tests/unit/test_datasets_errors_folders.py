"""What is wrong in 7Scenes, 12Scenes and Cambridge is reported in one sentence that names file and line."""

from pathlib import Path

import pytest
from tests.support.damage import (
    MIRRORED,
    SHEARED,
    TRANSPOSED,
    Case,
    Damage,
    check,
    edited,
    lines,
    parameters,
    removed,
    replaced,
    turned_into_folder,
    word,
)

POSE = "seq-01/frame-000002.pose.txt"
COLOUR = "seq-01/frame-000002.color.png"
MOMENT = "data/frame-000004.pose.txt"

CASES: list[Case] = [
    ("sevenscenes", "an image is missing", removed(COLOUR), (POSE, COLOUR, "does not exist")),
    ("sevenscenes", "an image is a folder", turned_into_folder(COLOUR), (COLOUR, "is a folder")),
    ("sevenscenes", "a pose is missing", removed(POSE), (COLOUR, "frame-000002.pose.txt")),
    ("sevenscenes", "NaN", edited(POSE, 2, word(1, "nan")), (POSE, "NaN or infinity")),
    ("sevenscenes", "infinity", edited(POSE, 3, word(3, "inf")), (POSE, "NaN or infinity")),
    ("sevenscenes", "no number", edited(POSE, 2, word(0, "-1.#IND")), (f"{POSE}, line 2", "'-1.#IND'")),
    ("sevenscenes", "a short row", edited(POSE, 3, lambda _: "0 0 1"), (f"{POSE}, line 3", "3 numbers")),
    ("sevenscenes", "a missing row", edited(POSE, 4, lambda _: ""), (POSE, "3 rows")),
    ("sevenscenes", "an empty pose", replaced(POSE, ""), (POSE, "0 rows")),
    ("sevenscenes", "mirrored", replaced(POSE, lines(MIRRORED)), (POSE, "mirrored")),
    ("sevenscenes", "sheared", replaced(POSE, lines(SHEARED)), (POSE, "not a rotation", "0.01")),
    ("sevenscenes", "all zero", replaced(POSE, "0 0 0 0\n" * 3 + "0 0 0 1\n"), (POSE, "not a rotation")),
    ("sevenscenes", "transposed", replaced(POSE, lines(TRANSPOSED)), (POSE, "0 0 0 1", "row by row")),
    ("sevenscenes", "huge", edited(POSE, 1, word(0, "1e300")), (POSE, "rotation")),
    ("sevenscenes", "binary", replaced(POSE, b"\x00\x01\x02"), (f"{POSE}, line 1", "binary")),
    ("sevenscenes", "UTF-16", replaced(POSE, "1 0 0 0".encode("utf-16")), (POSE, "1 rows")),
    ("sevenscenes", "broken UTF-16", replaced(POSE, b"\xff\xfe1"), (POSE, "UTF-16")),
    ("sevenscenes", "pose is a folder", turned_into_folder(POSE), (POSE, "is a folder")),
    ("sevenscenes", "far away", edited(POSE, 1, word(3, "3e9")), (POSE, "away from all others", "exclude")),
    ("sevenscenes", "list empty", replaced("TrainSplit.txt", "\n"), ("TrainSplit.txt", "no sequence")),
    ("sevenscenes", "list garbage", replaced("TestSplit.txt", "walk\n"), ("TestSplit.txt, line 1", "'walk'")),
    (
        "sevenscenes",
        "no such sequence",
        replaced("TestSplit.txt", "sequence2\nsequence9\n"),
        ("TestSplit.txt, line 2", "seq-09"),
    ),
    (
        "sevenscenes",
        "in both lists",
        replaced("TestSplit.txt", "sequence1"),
        ("TestSplit.txt", "both", "seq-01"),
    ),
    (
        "sevenscenes",
        "an image twice",
        replaced(COLOUR.replace(".png", ".jpg"), ""),
        ("frame-000002.color", "of the same frame"),
    ),
    ("twelvescenes", "a pose is missing", removed(MOMENT), ("frame-000004.color.jpg", "frame-000004.pose")),
    ("twelvescenes", "NaN", edited(MOMENT, 2, word(1, "nan")), (MOMENT, "NaN or infinity")),
    ("twelvescenes", "mirrored", replaced(MOMENT, lines(MIRRORED)), (MOMENT, "mirrored")),
    ("twelvescenes", "no size", edited("info.txt", 3, lambda _: ""), ("info.txt", "no width")),
    ("twelvescenes", "no focal length", edited("info.txt", 6, lambda _: ""), ("info.txt", "no focal")),
    ("twelvescenes", "a word", edited("info.txt", 4, word(2, "tall")), ("info.txt, line 4", "'tall'")),
    (
        "twelvescenes",
        "a short matrix",
        edited("info.txt", 6, lambda line: " ".join(line.split()[:9])),
        ("info.txt, line 6", "7 numbers", "16"),
    ),
    ("twelvescenes", "no split", removed("split.txt"), ("split.txt", "lists of images")),
    (
        "twelvescenes",
        "one sequence",
        replaced("split.txt", "sequence0 [frames=9] [start=0 ; end=8]\n"),
        ("split.txt", "no two sequences"),
    ),
    (
        "twelvescenes",
        "sequences in disorder",
        edited("split.txt", 3, lambda line: line.replace("start=5", "start=1")),
        ("split.txt, line 3", "before the one above"),
    ),
    ("twelvescenes", "garbage", edited("split.txt", 2, lambda _: "walk"), ("split.txt, line 2", "'walk'")),
    ("twelvescenes", "split is binary", replaced("split.txt", b"\x00\x01"), ("split.txt", "binary")),
    (
        "cambridge",
        "a short row",
        edited("dataset_train.txt", 5, lambda _: "a.png 1 2"),
        ("line 5", "7 numbers"),
    ),
    (
        "cambridge",
        "a short row without a heading",
        replaced("dataset_train.txt", "seq1/frame00000.png 1 2 3\n"),
        ("dataset_train.txt, line 1", "7 numbers"),
    ),
    ("cambridge", "no number", edited("dataset_train.txt", 5, word(2, "x")), ("train.txt, line 5", "'x'")),
    ("cambridge", "NaN", edited("dataset_test.txt", 6, word(4, "nan")), ("test.txt, line 6", "NaN")),
    ("cambridge", "no image", edited("dataset_train.txt", 4, word(0, "no.png")), ("line 4", "no.png")),
    (
        "cambridge",
        "zero quaternion",
        edited("dataset_train.txt", 4, lambda line: " ".join((*line.split()[:4], "0 0 0 0"))),
        ("dataset_train.txt, line 4", "quaternion", "zero"),
    ),
    (
        "cambridge",
        "long quaternion",
        edited("dataset_train.txt", 4, lambda line: " ".join((*line.split()[:4], "9 0 0 0"))),
        ("dataset_train.txt, line 4", "length 9"),
    ),
    (
        "cambridge",
        "far away",
        edited("dataset_train.txt", 6, word(1, "3e9")),
        ("dataset_train.txt, line 6", "3e+09 units", "exclude"),
    ),
    (
        "cambridge",
        "a frame twice",
        edited("dataset_test.txt", 4, lambda _: "seq1/frame00000.png 0 0 0 1 0 0 0"),
        ("dataset_test.txt, line 4", "second time", "dataset_train.txt, line 4"),
    ),
    ("cambridge", "no frame", replaced("dataset_train.txt", "a\nb\n\n"), ("dataset_train.txt", "no frame")),
    ("cambridge", "escapes", edited("dataset_train.txt", 4, word(0, "../a.png")), ("line 4", "leads out")),
    ("cambridge", "not NVM", replaced("reconstruction.nvm", "hello\n"), ("reconstruction.nvm", "NVM_V3")),
    (
        "cambridge",
        "NVM cut",
        replaced("reconstruction.nvm", "NVM_V3\n\n9\n"),
        ("reconstruction.nvm", "0 cam"),
    ),
    ("cambridge", "no focal", edited("reconstruction.nvm", 4, word(1, "-3")), ("nvm, line 4", "focal")),
    (
        "cambridge",
        "NVM short",
        edited("reconstruction.nvm", 5, lambda _: "a 1 2"),
        ("nvm, line 5", "10 numbers"),
    ),
]


@pytest.mark.parametrize(("variant", "damage", "message"), parameters(CASES))
def test_a_fault_is_reported_in_one_sentence(
    tmp_path: Path, variant: str, damage: Damage, message: tuple[str, ...]
) -> None:
    check(tmp_path, variant, damage, message)
