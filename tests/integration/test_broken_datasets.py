"""Damaged data sets: `camloc datasets` and `camloc train` give the same message, and leave nothing behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.support.command_line import camloc, listing, refused, sentence
from tests.support.damage import SCENE, Damage, edited, removed, replaced, turned_into_folder, word
from tests.support.layouts import WRITERS
from tests.unit import test_datasets_errors_folders as folders
from tests.unit import test_datasets_errors_models as models
from tests.unit import test_datasets_errors_tables as tables

from market_square.scene import SquareSettings
from market_square.writing import COLUMNS, scene_json

Capture = pytest.CaptureFixture[str]

# Facts that a reader cannot know from the files, as words of the command line.
OPTIONS = {"cambridge": ("--option", "width=32", "--option", "height=24")}

# The damages that the readers' own tests know.
KNOWN = [*folders.CASES, *models.CASES, *tables.CASES]


@pytest.fixture(autouse=True)
def workplace(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache is elsewhere."""
    monkeypatch.setenv("CAMLOC_CACHE", str(tmp_path_factory.mktemp("cache")))


def write_demo(root: Path) -> None:
    """A scene as `camloc demo` leaves it, with images of one colour."""
    rows = [",".join(COLUMNS)]
    for number in range(6):
        name = f"images/{number}.png"
        (root / "images").mkdir(exist_ok=True)
        Image.new("RGB", (64, 48), (number * 9, 90, 90)).save(root / name)
        split = "train" if number < 4 else "test"
        rows.append(f"{name},,{split},day,walk-1,{number}.0,1,0,0,0,{number}.5,0,0")
    (root / "frames.csv").write_text("\n".join(rows) + "\n")
    (root / "scene.json").write_text(scene_json(SquareSettings(), renderer="1"))


def write(root: Path, layout: str) -> None:
    if layout == "demo":
        write_demo(root)
    else:
        WRITERS[layout](root, SCENE)


def refused_by_both(capfd: Capture, folder: Path, root: Path, layout: str) -> str:
    """The sentence with which both commands refuse a folder."""
    options = OPTIONS.get(layout, ())
    before = listing(folder)
    message = refused(capfd, "datasets", root, *options)
    out = folder / "out"
    assert refused(capfd, "train", "demo/hyperpose", "--data", root, "--out", out, *options) == message
    assert listing(folder) == before
    return message


@pytest.mark.parametrize(
    ("layout", "damage"), [pytest.param(case[0], case[2], id=f"{case[0]}-{case[1]}") for case in KNOWN]
)
def test_a_damage_that_the_readers_know(layout: str, damage: Damage, tmp_path: Path, capfd: Capture) -> None:
    root = tmp_path / "data"
    root.mkdir()
    write(root, layout)
    damage(root)
    refused_by_both(capfd, tmp_path, root, layout)


def linked_to_nowhere(path: str) -> Damage:
    def damage(root: Path) -> None:
        (root / path).unlink()
        (root / path).symlink_to("the old disk")

    return damage


def without_folder(path: str) -> Damage:
    return lambda root: shutil.rmtree(root / path)


def scene_json_with(change: Callable[[dict[str, Any]], object]) -> Damage:
    def damage(root: Path) -> None:
        content = json.loads((root / "scene.json").read_text())
        change(content)
        (root / "scene.json").write_text(json.dumps(content))

    return damage


MORE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "7Scenes without sequences": ("sevenscenes", lambda root: [*map(shutil.rmtree, root.glob("seq-*"))]),
    "7Scenes list is a folder": ("sevenscenes", turned_into_folder("TrainSplit.txt")),
    "7Scenes list is a link to nowhere": ("sevenscenes", linked_to_nowhere("TestSplit.txt")),
    "COLMAP list is a link to nowhere": ("colmap", linked_to_nowhere("test.txt")),
    "7Scenes list is binary": ("sevenscenes", replaced("TrainSplit.txt", b"\x80\x02\x00")),
    "7Scenes sequence is gone": ("sevenscenes", without_folder("seq-02")),
    "12Scenes calibration is a folder": ("twelvescenes", turned_into_folder("info.txt")),
    "12Scenes recording is gone": ("twelvescenes", without_folder("data")),
    "12Scenes split is a link to nowhere": ("twelvescenes", linked_to_nowhere("split.txt")),
    "Cambridge list is gone": ("cambridge", removed("dataset_train.txt")),
    "Cambridge list is a folder": ("cambridge", turned_into_folder("dataset_test.txt")),
    "Cambridge images are gone": ("cambridge", without_folder("seq1")),
    "COLMAP cameras are gone": ("colmap", removed("sparse/0/cameras.txt")),
    "COLMAP list of images is gone": ("colmap", removed("sparse/0/images.txt")),
    "COLMAP cameras are a folder": ("colmap", turned_into_folder("sparse/0/cameras.txt")),
    "COLMAP images are gone": ("colmap", without_folder("images")),
    "COLMAP binary cameras are gone": ("colmap:binary", removed("sparse/cameras.bin")),
    "COLMAP binary is text": ("colmap:binary", replaced("sparse/images.bin", "# images\n")),
    "COLMAP binary is a folder": ("colmap:binary", turned_into_folder("sparse/images.bin")),
    "nerfstudio is empty": ("nerfstudio", replaced("transforms.json", "")),
    "nerfstudio is a folder": ("nerfstudio", turned_into_folder("transforms.json")),
    "nerfstudio is null": ("nerfstudio", replaced("transforms.json", "null")),
    "nerfstudio images are gone": ("nerfstudio", without_folder("images")),
    "Blender file is cut": ("nerfstudio:blender", replaced("transforms_train.json", '{"frames": [')),
    "Blender file is a list": ("nerfstudio:blender", replaced("transforms_test.json", "[]")),
    "Blender images are gone": ("nerfstudio:blender", without_folder("train")),
    "table is a folder": ("table", turned_into_folder("poses.csv")),
    "table is binary": ("table", replaced("poses.csv", b"image,tx,ty,tz,qw,qx,qy,qz\n\xff\xfe\x00")),
    "table is empty": ("table", replaced("poses.csv", "")),
    "table is not UTF-8": ("table", replaced("poses.csv", "image,tx,ty,tz,qw,qx,qy,qz\né".encode("latin1"))),
    "TUM trajectory is gone": ("tum", removed("groundtruth.txt")),
    "TUM list is a folder": ("tum", turned_into_folder("rgb.txt")),
    "TUM images are gone": ("tum", without_folder("rgb")),
    "TUM calibration is a folder": ("tum", turned_into_folder("K.txt")),
    "demo is no JSON": ("demo", replaced("scene.json", "scene")),
    "demo is a list": ("demo", replaced("scene.json", "[]")),
    "demo is deep": ("demo", replaced("scene.json", "[" * 200_000)),
    "demo is binary": ("demo", replaced("scene.json", b"\xff\xfe\x00")),
    "demo without scene": ("demo", scene_json_with(lambda content: content.pop("scene"))),
    "demo scene is a word": ("demo", scene_json_with(lambda content: content.update(scene="square"))),
    "demo without camera": ("demo", scene_json_with(lambda content: content.pop("camera"))),
    "demo camera is a word": ("demo", scene_json_with(lambda content: content.update(camera="good"))),
    "demo camera is unknown": ("demo", scene_json_with(lambda content: content["camera"].update(model="X"))),
    "demo camera has no width": ("demo", scene_json_with(lambda content: content["camera"].update(width=0))),
    "demo camera has an extra": ("demo", scene_json_with(lambda content: content["camera"].update(zoom=2))),
    "demo table is gone": ("demo", removed("frames.csv")),
    "demo table is a folder": ("demo", turned_into_folder("frames.csv")),
    "demo table is binary": ("demo", replaced("frames.csv", b"\x00\xff\n")),
    "demo table has other columns": ("demo", edited("frames.csv", 1, word(0, "photo", ","))),
    "demo table has no row": ("demo", replaced("frames.csv", ",".join(COLUMNS) + "\n")),
    "demo table has a short row": ("demo", edited("frames.csv", 3, lambda _: "images/1.png,,train")),
    "demo table has a word": ("demo", edited("frames.csv", 3, word(10, "north", ","))),
    "demo table has NaN": ("demo", edited("frames.csv", 3, word(10, "nan", ","))),
    "demo table has no rotation": ("demo", edited("frames.csv", 3, word(6, "0", ","))),
    "demo table has no time": ("demo", edited("frames.csv", 3, word(5, "noon", ","))),
    "demo table leads out": ("demo", edited("frames.csv", 3, word(0, "../../a.png", ","))),
    "demo table repeats": ("demo", edited("frames.csv", 3, word(0, "images/0.png", ","))),
}


@pytest.mark.parametrize("what", MORE)
def test_a_damage_of_whole_files(what: str, tmp_path: Path, capfd: Capture) -> None:
    layout, damage = MORE[what]
    root = tmp_path / "data"
    root.mkdir()
    write(root, layout)
    damage(root)
    refused_by_both(capfd, tmp_path, root, layout)


WRONG_VALUES: list[object] = [None, [], {}, "x", True, -1, 0, 10**400, [[]], ["a", "b"]]


@pytest.mark.parametrize("value", WRONG_VALUES, ids=lambda value: repr(value)[:12])
@pytest.mark.parametrize(
    "key",
    ["frames", "file_path", "transform_matrix", "fl_x", "w", "cx", "k1", "camera_model", "test_filenames"],
)
def test_a_value_of_another_type_is_read_or_refused(
    key: str, value: object, tmp_path: Path, capfd: Capture
) -> None:
    write(tmp_path, "nerfstudio")
    content = json.loads((tmp_path / "transforms.json").read_text())
    target = content["frames"][1] if key in ("file_path", "transform_matrix") else content
    target[key] = value
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    ended = camloc(capfd, "datasets", tmp_path)
    assert ended.status in (0, 1)
    if ended.status == 1:
        sentence(ended.err)
    else:
        assert ended.out.count("training and 3 test frames") + (key == "test_filenames")


def two_layouts(root: Path) -> None:
    write(root, "tum")
    write(root, "nerfstudio")


def images_alone(root: Path) -> None:
    write(root, "table")
    (root / "poses.csv").unlink()


def two_tables(root: Path) -> None:
    write(root, "table")
    (root / "poses.csv").rename(root / "a.csv")
    shutil.copy(root / "a.csv", root / "b.csv")


# What to name as the data set, and how that came to be what it is.
SCENES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "an empty folder": ("data", lambda _: None),
    "nothing": ("data/nowhere", lambda _: None),
    "an image": ("data/1.png", lambda root: write(root, "table")),
    "a text": ("data/notes.txt", replaced("notes.txt", "buy milk\n")),
    "two layouts": ("data", two_layouts),
    "images alone": ("data", images_alone),
    "two tables": ("data", two_tables),
    "a link in a circle": ("data/a", lambda root: (root / "a").symlink_to("a")),
}


@pytest.mark.parametrize("what", SCENES)
def test_a_scene_that_is_no_data_set(what: str, tmp_path: Path, capfd: Capture) -> None:
    (tmp_path / "data").mkdir()
    name, make = SCENES[what]
    make(tmp_path / "data")
    refused_by_both(capfd, tmp_path, tmp_path / name, "table")


IMAGES: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:70]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no image"),
    "a folder": lambda path: turned_into_folder(path.name)(path.parent),
    "of another shape": lambda path: Image.new("RGB", (48, 64)).save(path),
    "of one pixel": lambda path: Image.new("RGB", (1, 1)).save(path),
    "of depth": lambda path: Image.new("I;16", (32, 24)).save(path),
}


@pytest.mark.parametrize("what", IMAGES)
def test_a_training_image_that_is_broken(what: str, tmp_path: Path, capfd: Capture) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data", "sevenscenes")
    path = tmp_path / "data" / "seq-01" / "frame-000002.color.png"
    IMAGES[what](path)
    before = listing(tmp_path)
    out = tmp_path / "out"
    message = refused(capfd, "train", "demo/hyperpose", "--data", tmp_path / "data", "--out", out)
    assert path.name in message
    assert listing(tmp_path) == before


def test_a_data_set_is_imported_to_a_new_folder_alone(trained: Path, tmp_path: Path, capfd: Capture) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    before = listing(tmp_path)
    message = refused(capfd, "import", trained / "scene", tmp_path)
    assert "not an empty folder" in message
    assert str(tmp_path) in message
    assert listing(tmp_path) == before
