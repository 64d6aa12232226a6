"""Which frames are used: missing and excluded images, test frames by blocks, and the notes about them."""

import json
import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.support.command_line import camloc, refused
from tests.support.damage import SCENE, refusal
from tests.support.layouts import WRITERS, PosedScene, looking_at_target, write_image, write_nerfstudio, wxyz

from camloc.data import formats as datasets
from camloc.data.splits import FEWEST_TO_SPLIT
from camloc.data.types import Scene
from camloc.errors import DatasetError

each_writer = pytest.mark.parametrize("variant", WRITERS)

# LLFF names no image: poses belong to the images in the order of their names, and all must be there. Sessions
# of phones have images of some poses alone: those that are there.
_READ_FROM_THE_FOLDER = ("llff", "scannerapp", "arkitscenes")
each_that_names_images = pytest.mark.parametrize(
    "variant", [name for name in WRITERS if name not in _READ_FROM_THE_FOLDER]
)
Capture = pytest.CaptureFixture[str]

COLUMNS = "image,tx,ty,tz,qw_world_from_cam,qx_world_from_cam,qy_world_from_cam,qz_world_from_cam"


def write_table(root: Path, *, count: int, names: str = "{}.png", column: str = "") -> None:
    """Frames along a line that look at the target."""
    lines = [COLUMNS + (f",{column}" if column else "")]
    for number in range(count):
        matrix = looking_at_target(SCENE.train[0][:3, 3] + [0.01 * number, 0.0, 0.0])
        name = names.format(number)
        write_image(root / name)
        cells = [name, *matrix[:3, 3].tolist(), *wxyz(matrix[:3, :3]), *(["train"] if column else [])]
        lines.append(",".join(map(str, cells)))
    (root / "poses.csv").write_text("\n".join(lines) + "\n")


def names_of(scene: Scene) -> list[str]:
    return [frame.name for frame in (*scene.train, *scene.test)]


@each_that_names_images
def test_missing_images_are_counted_and_left_out_on_request(tmp_path: Path, variant: str) -> None:
    options = WRITERS[variant](tmp_path, SCENE)
    scene = datasets.load(tmp_path, **options)
    for frame in scene.train[1:3]:
        frame.image.unlink()
    message = refusal(tmp_path, **options)
    assert Path(scene.train[1].name).stem in message
    assert "1 more of" in message
    assert "missing=skip" in message
    found = datasets.load(tmp_path, missing="skip", **options)
    missing = {frame.name for frame in scene.train[1:3]}
    assert {*names_of(scene)} - {*names_of(found)} == missing
    (note,) = [note for note in found.notes if "do not exist" in note]
    assert ": 2 of" in note


@each_that_names_images
def test_without_any_image_missing_ones_are_not_skipped(tmp_path: Path, variant: str) -> None:
    options = WRITERS[variant](tmp_path, SCENE)
    scene = datasets.load(tmp_path, **options)
    for frame in (*scene.train, *scene.test):
        frame.image.unlink()
    assert "check the folder of the images" in refusal(tmp_path, missing="skip", **options)


@each_that_names_images
def test_frames_are_left_out_by_names_and_patterns_before_anything_is_checked(
    tmp_path: Path, variant: str
) -> None:
    options = WRITERS[variant](tmp_path, SCENE)
    scene = datasets.load(tmp_path, **options)
    first, second, third, *_ = scene.train
    first.image.unlink()
    second.image.unlink()
    pattern = f"*{Path(third.name).name}"
    matched = {frame.name for frame in (*scene.train, *scene.test) if frame.name.endswith(pattern[1:])}
    words = f"{first.name}, {second.name},{pattern}"
    found = datasets.load(tmp_path, exclude=words, **options)
    assert {*names_of(scene)} - {*names_of(found)} == {first.name, second.name, *matched}
    assert any("left out by the option exclude" in note for note in found.notes)
    with pytest.raises(DatasetError, match=r"'nothing\*'"):
        datasets.load(tmp_path, exclude="nothing*", **options)


def test_the_option_exclude_may_be_given_several_times(tmp_path: Path, capfd: Capture) -> None:
    write_table(tmp_path, count=5)
    (tmp_path / "1.png").unlink()
    (tmp_path / "3.png").unlink()
    assert "1.png" in refused(capfd, "datasets", tmp_path, "--option", "exclude=3.png")
    options = ("--option", "exclude=3.png", "--option", "exclude=1.png")
    ended = camloc(capfd, "datasets", tmp_path, *options)
    assert "3 training and 0 test frames" in ended.out
    assert "left out by the option exclude: 2 of 5 frames" in ended.out


@pytest.mark.parametrize("word", ["scene=x", "root=/tmp", "layout=table"])
def test_options_of_the_command_are_no_options_of_the_reader(
    tmp_path: Path, capfd: Capture, word: str
) -> None:
    write_table(tmp_path, count=3)
    assert word.partition("=")[0] in refused(capfd, "datasets", tmp_path, "--option", word, status=2)


@pytest.mark.parametrize(("listed", "stored"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFC", "NFC")])
def test_names_are_found_however_their_accents_are_stored(tmp_path: Path, listed: str, stored: str) -> None:
    name = "Küche/Bild é{}.png"
    write_table(tmp_path, count=3, names=unicodedata.normalize(stored, name))  # type: ignore[arg-type]
    path = tmp_path / "poses.csv"
    path.write_text(unicodedata.normalize(listed, path.read_text()))  # type: ignore[arg-type]
    (tmp_path / "test.txt").write_text(unicodedata.normalize(stored, name.format(1)))  # type: ignore[arg-type]
    scene = datasets.load(tmp_path)
    assert (len(scene.train), len(scene.test)) == (2, 1)
    assert all(frame.image.is_file() for frame in (*scene.train, *scene.test))
    assert scene.test[0].name == unicodedata.normalize("NFC", name.format(1))


def test_names_are_found_where_only_capital_letters_differ(tmp_path: Path) -> None:
    write_table(tmp_path, count=3, names="IMG_{}.PNG")
    path = tmp_path / "poses.csv"
    path.write_text(path.read_text().replace("IMG_", "img_").replace("PNG", "png"))
    assert [frame.image.name for frame in datasets.load(tmp_path).train] == [f"IMG_{n}.PNG" for n in range(3)]
    (tmp_path / "Img_1.png").write_bytes((tmp_path / "IMG_1.PNG").read_bytes())
    assert "img_1.png' does not exist" in refusal(tmp_path)


def test_absolute_paths_below_the_data_are_names(tmp_path: Path) -> None:
    write_table(tmp_path, count=3, names="images/{}.png")
    path = tmp_path / "poses.csv"
    path.write_text(path.read_text().replace("images/", f"{tmp_path}/images/"))
    assert names_of(datasets.load(tmp_path)) == [f"images/{number}.png" for number in range(3)]
    path.write_text(path.read_text().replace(str(tmp_path), "/somewhere"))
    assert "leads out" in refusal(tmp_path)


def test_without_lists_blocks_are_for_testing_and_it_is_reported(tmp_path: Path) -> None:
    write_table(tmp_path, count=80)
    scene = datasets.load(tmp_path)
    numbers = [int(frame.image.stem) for frame in scene.test]
    assert numbers == [*range(20, 25), *range(60, 65)]
    assert len(scene.train) == 70
    (note,) = scene.notes
    assert "10 frames in blocks" in note
    assert "split=none" in note
    without = datasets.load(tmp_path, split="none")
    assert (len(without.train), len(without.test)) == (80, 0)
    (tmp_path / "test.txt").write_text("7.png\n")
    listed = datasets.load(tmp_path)
    assert ([frame.name for frame in listed.test], listed.notes) == (["7.png"], ())
    blocks = datasets.load(tmp_path, split="blocks")
    assert [frame.name for frame in blocks.test] == [frame.name for frame in scene.test]


def test_few_frames_are_all_for_training_and_it_is_reported(tmp_path: Path) -> None:
    write_table(tmp_path, count=FEWEST_TO_SPLIT - 1)
    scene = datasets.load(tmp_path)
    assert (len(scene.train), len(scene.test)) == (FEWEST_TO_SPLIT - 1, 0)
    assert "no frame is for testing" in scene.notes[0]
    assert datasets.load(tmp_path, split="blocks").test
    write_table(tmp_path, count=4)
    assert "test.txt" in refusal(tmp_path, split="blocks")


def test_a_split_of_the_data_set_goes_before_blocks(tmp_path: Path) -> None:
    write_table(tmp_path, count=40, column="split")
    scene = datasets.load(tmp_path)
    assert (len(scene.train), len(scene.test), scene.notes) == (40, 0, ())


def test_lists_that_leave_frames_out_are_counted(tmp_path: Path) -> None:
    write_table(tmp_path, count=6)
    (tmp_path / "train.txt").write_text("0.png\n1.png\n")
    (tmp_path / "test.txt").write_text("2.png\n")
    assert datasets.load(tmp_path).notes == ("left out because neither list names them: 3 of 6 frames",)


def test_names_of_left_out_frames_do_not_count_in_lists(tmp_path: Path) -> None:
    write_table(tmp_path, count=6)
    (tmp_path / "train.txt").write_text("".join(f"{number}.png\n" for number in range(5)))
    (tmp_path / "test.txt").write_text("5.png\n")
    (tmp_path / "2.png").unlink()
    scene = datasets.load(tmp_path, missing="skip", exclude="0.png")
    assert names_of(scene) == ["1.png", "3.png", "4.png", "5.png"]


@pytest.mark.parametrize("name", ["../../up", "/etc", "a/b", "..", "a\\b", "C:x", "bell\x07"])
def test_a_scene_in_a_table_cannot_name_another_folder(tmp_path: Path, name: str) -> None:
    write_table(tmp_path, count=3)
    lines = (tmp_path / "poses.csv").read_text().splitlines()
    (tmp_path / "poses.csv").write_text(
        "\n".join([lines[0] + ",scene", *(f"{line},{name}" for line in lines[1:])])
    )
    assert "the name of a folder" in refusal(tmp_path)


@pytest.mark.parametrize("file", ["train.txt", "camera.json", "K.txt"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, file: str) -> None:
    write_table(tmp_path, count=3)
    os.mkfifo(tmp_path / file)
    assert "is a pipe or a device" in refusal(tmp_path)


@pytest.mark.parametrize("file", ["train.txt", "camera.json"])
def test_an_endless_file_is_refused(tmp_path: Path, file: str) -> None:
    write_table(tmp_path, count=3)
    (tmp_path / file).symlink_to("/dev/zero")
    assert "is a pipe or a device" in refusal(tmp_path)


@pytest.mark.parametrize("file", ["train.txt", "camera.json", "K.txt"])
def test_a_huge_file_is_refused_at_once(tmp_path: Path, file: str) -> None:
    write_table(tmp_path, count=3)
    with (tmp_path / file).open("wb") as written:
        written.truncate(1 << 40)
    assert "bytes, and at most" in refusal(tmp_path)


def test_an_endless_line_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path, count=3)
    (tmp_path / "train.txt").write_text("a" * (17 << 20))
    assert "it is not a list" in refusal(tmp_path)


def images_in(folder: Path, count: int) -> None:
    for number in range(count):
        write_image(folder / f"{number}.jpg")


def test_a_folder_of_images_says_that_it_needs_poses(tmp_path: Path) -> None:
    images_in(tmp_path / "photos", 5)
    message = refusal(tmp_path)
    assert "looks like 5 images without poses" in message
    assert f"camloc start {tmp_path}" in message
    assert f"camloc poses {tmp_path} --out SCENE" in message


def test_a_video_says_that_it_needs_poses(tmp_path: Path) -> None:
    (tmp_path / "walk.MP4").write_bytes(b"")
    assert "looks like a video without poses" in refusal(tmp_path)
    assert "camloc start" in refusal(tmp_path / "walk.MP4")


def test_a_folder_of_scenes_names_them(tmp_path: Path) -> None:
    for name in ("attic", "cellar"):
        write_nerfstudio(tmp_path / name, PosedScene(SCENE.train, ()))
    assert "its folders have one: attic, cellar" in refusal(tmp_path)


def test_every_image_is_opened_unless_quick(tmp_path: Path, capfd: Capture) -> None:
    write_table(tmp_path, count=6)
    for number in (2, 4):
        path = tmp_path / f"{number}.png"
        path.write_bytes(path.read_bytes()[:60])
    message = refused(capfd, "datasets", tmp_path)
    assert "2 of 6 images cannot be used" in message
    assert "2.png is damaged or cut short" in message
    assert "so are 4.png" in message
    assert "--option exclude=2.png,4.png" in message
    assert camloc(capfd, "datasets", tmp_path, "--quick").status == 0
    assert camloc(capfd, "datasets", tmp_path, "--option", "exclude=2.png,4.png").status == 0


@pytest.mark.parametrize("variant", ["colmap", "nerfstudio", "table"])
def test_images_of_another_shape_than_their_intrinsics_are_named(
    tmp_path: Path, variant: str, capfd: Capture
) -> None:
    WRITERS[variant](tmp_path, SCENE)
    (path,) = tmp_path.rglob("*5.png")
    write_image(path, (24, 32))
    message = refused(capfd, "datasets", tmp_path)
    assert "1 of 8 images cannot be used" in message
    assert "24 x 32 pixels, but its intrinsics are for 32 x 24" in message


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("poses.csv", "image,x,y,z\n0.jpg,1,2,3\n".encode("utf-16-le"), "UTF-16 text without its mark"),
        ("poses.csv", b"\xff\xfe", "does not start with the names of its columns"),
        ("poses.csv", b"name,a,b\n0.jpg,1,2\n", "does not start with the names of its columns"),
        ("transforms.json", None, "is a folder"),
    ],
)
def test_a_file_of_poses_that_cannot_be_read_says_why(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    images_in(tmp_path, 3)
    if content is None:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(content)
    message = refusal(tmp_path)
    assert name in message
    assert reason in message


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    write_nerfstudio(tmp_path, SCENE)
    path = tmp_path / "transforms.json"
    path.write_text(path.read_text().replace('"fl_x"', '"fl_x": 90, "fl_x"', 1))
    assert "the key 'fl_x' is there twice" in refusal(tmp_path)


def test_a_scene_without_scale_is_printed_in_units(tmp_path: Path, capfd: Capture) -> None:
    WRITERS["colmap"](tmp_path, SCENE)
    printed = camloc(capfd, "datasets", tmp_path).out
    assert " units and " in printed
    assert " m and " not in printed
    scaled = camloc(capfd, "datasets", tmp_path, "--option", "unit=m").out
    assert " m and " in scaled
    assert "units" not in scaled


def test_llff_needs_all_its_images(tmp_path: Path) -> None:
    WRITERS["llff"](tmp_path, SCENE)
    (tmp_path / "images" / "003.png").unlink()
    assert "8 poses" in refusal(tmp_path)


@pytest.mark.parametrize("variant", [name for name in WRITERS if name not in ("llff", "arkitscenes", "ace")])
def test_images_without_a_pose_beside_the_others_are_counted(tmp_path: Path, variant: str) -> None:
    """The writers' own images that are left out are not counted a second time, nor are masks and depth."""
    options = WRITERS[variant](tmp_path, SCENE)
    scene = datasets.load(tmp_path, **options)
    assert not [note for note in scene.notes if "without a pose" in note]
    folder = scene.train[0].image.parent
    for name in ("zz.JPG", "zz.depth.png", "mask_1.png", ".hidden.jpg"):
        write_image(folder / name)
    (note,) = [note for note in datasets.load(tmp_path, **options).notes if "without a pose" in note]
    assert note == "images in the same folders without a pose: 1, the first is zz.JPG"


@pytest.mark.parametrize(
    ("variant", "name"),
    [
        ("kapture", "sensors/records_data/cam/77.jpg"),
        ("metashape", "images/IMG_99.jpg"),
        ("opensfm", "images/99.jpg"),
        ("scannet", "color/99.jpg"),
        ("arkitscenes", "lowres_wide/1_0.500.png"),
    ],
)
def test_lists_may_name_images_whose_pose_is_not_known(tmp_path: Path, variant: str, name: str) -> None:
    options = WRITERS[variant](tmp_path, SCENE)
    write_image(tmp_path / name)
    with (tmp_path / "train.txt").open("a") as file:
        file.write(f"{name}\n")
    assert len(datasets.load(tmp_path, **options).train) == len(SCENE.train)


def _without_images(model: Path, kept: int) -> None:
    """A text model with its first images alone."""
    lines = (model / "images.txt").read_text().splitlines()
    (model / "images.txt").write_text("\n".join(lines[: 1 + 2 * kept]) + "\n")


@pytest.mark.parametrize("smaller", ["sparse/0", "sparse"])
def test_of_models_beside_and_in_sparse_the_larger_one_is_read(tmp_path: Path, smaller: str) -> None:
    WRITERS["colmap"](tmp_path, SCENE)
    for path in list((tmp_path / "sparse" / "0").iterdir()):
        shutil.copy(path, tmp_path / "sparse")
    _without_images(tmp_path / smaller, 2)
    scene = datasets.load(tmp_path)
    assert len(names_of(scene)) == len(SCENE.all)
    (note,) = [note for note in scene.notes if "COLMAP models" in note]
    assert f"not {smaller} with 2" in note


def test_a_copy_of_a_model_that_has_more_images_is_noted(tmp_path: Path) -> None:
    WRITERS["colmap"](tmp_path, SCENE)
    shutil.copytree(tmp_path / "sparse", tmp_path / "colmap" / "sparse")
    assert not [note for note in datasets.load(tmp_path).notes if "COLMAP models" in note]
    _without_images(tmp_path / "sparse" / "0", 2)
    for side in ("train", "test"):
        (tmp_path / f"{side}.txt").unlink()
    scene = datasets.load(tmp_path)
    assert len(names_of(scene)) == 2
    assert any("not colmap/sparse/0 with 8" in note for note in scene.notes)


def test_a_text_form_with_other_images_than_the_binary_form_is_noted(tmp_path: Path) -> None:
    WRITERS["colmap"](tmp_path, SCENE)
    WRITERS["colmap:binary"](tmp_path / "binary", SCENE)
    for path in (tmp_path / "binary" / "sparse").iterdir():
        shutil.copy(path, tmp_path / "sparse" / "0")
    shutil.rmtree(tmp_path / "binary")
    assert not [note for note in datasets.load(tmp_path).notes if "binary form" in note]
    _without_images(tmp_path / "sparse" / "0", 2)
    assert any("with 8 images is read, and not images.txt with 2" in n for n in datasets.load(tmp_path).notes)


def test_recordings_of_7scenes_may_have_any_names_and_lost_frames(tmp_path: Path) -> None:
    options = WRITERS["sevenscenes"](tmp_path, SCENE)
    for name in ("TrainSplit.txt", "TestSplit.txt"):
        (tmp_path / name).unlink()
    (tmp_path / "seq-02").rename(tmp_path / "Walk 2")
    (tmp_path / "seq-01" / "frame-000002.pose.txt").write_text("-inf -inf -inf -inf\n" * 4)
    scene = datasets.load(tmp_path, **options)
    assert {frame.sequence for frame in scene.train} == {"seq-01", "Walk 2"}
    assert len(scene.train) == len(SCENE.all) - 1
    assert any("pose is infinite: 1 of 8" in note for note in scene.notes)


@pytest.mark.parametrize("layout", ["ace", "scannet", "sevenscenes"])
def test_a_list_may_name_frames_whose_pose_is_infinite(tmp_path: Path, layout: str) -> None:
    options = WRITERS[layout](tmp_path, SCENE)
    scene = datasets.load(tmp_path, **options)
    frames = (*scene.train, *scene.test)
    chosen = tmp_path / "chosen.txt"
    chosen.write_text("".join(f"{frame.name}\n" for frame in frames))
    lost = next(path for path in sorted(tmp_path.rglob("*.txt")) if "pose" in str(path.relative_to(tmp_path)))
    lost.write_text("-inf -inf -inf -inf\n" * 4)
    found = datasets.load(tmp_path, train_list=chosen, **options)
    assert len(found.train) == len(frames) - 1
    assert any("their pose is infinite" in note for note in found.notes)


def test_a_camera_of_kapture_with_two_poses_at_one_time_is_refused(tmp_path: Path) -> None:
    WRITERS["kapture"](tmp_path, SCENE)
    path = tmp_path / "sensors" / "trajectories.txt"
    path.write_text(path.read_text() + "0, c0, 1, 0, 0, 0, 9, 9, 9\n")
    assert "another pose at this time" in refusal(tmp_path)


def _changed_table(root: Path, change: Callable[[list[list[str]]], str], name: str = "poses.csv") -> None:
    WRITERS["table"](root, SCENE)
    rows = [line.split(",") for line in (root / "poses.csv").read_text().splitlines()]
    (root / "poses.csv").unlink()
    (root / name).write_text(change(rows) + "\n")


def _joined(rows: list[list[str]], by: str = ",") -> str:
    return "\n".join(by.join(row) for row in rows)


def _with_units(rows: list[list[str]]) -> str:
    units = {"tx": " [m]", "ty": " (m)", "tz": "[m]", "fx": " (px)", "cy": " [px]"}
    return _joined([[name + units.get(name, "") for name in rows[0]], *rows[1:]])


@pytest.mark.parametrize(
    ("change", "name"),
    [(_with_units, "poses.csv"), (lambda rows: _joined(rows, "|"), "a.csv"), (_joined, "poses.txt")],
)
def test_tables_as_people_write_them_are_read(
    tmp_path: Path, change: Callable[[list[list[str]]], str], name: str
) -> None:
    _changed_table(tmp_path, change, name)
    scene = datasets.load(tmp_path)
    assert (len(scene.train), len(scene.test)) == (len(SCENE.train), len(SCENE.test))
    assert scene.train[0].camera is not None


def test_a_unit_that_is_not_metres_is_not_passed_over(tmp_path: Path) -> None:
    _changed_table(
        tmp_path, lambda rows: _joined([[f"{n} [mm]" if n == "tx" else n for n in rows[0]], *rows[1:]])
    )
    assert "does not start with the names of its columns" in refusal(tmp_path)


def test_a_table_with_two_positions_is_refused(tmp_path: Path) -> None:
    _changed_table(
        tmp_path,
        lambda rows: _joined([[*rows[0], "x", "y", "z"], *([*row, "9", "9", "9"] for row in rows[1:])]),
    )
    assert "more than one position (tx, ty, tz, x, y, z)" in refusal(tmp_path)


def test_a_spreadsheet_and_a_model_far_below_are_named(tmp_path: Path) -> None:
    WRITERS["colmap"](tmp_path / "a" / "b", SCENE)
    assert "its folders have one: a/b;" in refusal(tmp_path)
    write_image(tmp_path / "sheet" / "1.png")
    (tmp_path / "sheet" / "Poses.XLSX").write_bytes(b"PK")
    assert "Poses.XLSX is a spreadsheet, which is not read; save it as CSV" in refusal(tmp_path / "sheet")


def test_frames_of_transforms_may_name_their_split(tmp_path: Path) -> None:
    WRITERS["nerfstudio"](tmp_path, SCENE)
    path = tmp_path / "transforms.json"
    content = json.loads(path.read_text())
    for number, frame in enumerate(content["frames"]):
        frame["split"] = "test" if number < 2 else "train"
    path.write_text(json.dumps(content))
    assert len(datasets.load(tmp_path).test) == 2
    content["frames"][0]["split"] = "val"
    path.write_text(json.dumps(content))
    assert "split is 'val', and not train or test" in refusal(tmp_path)


def test_further_files_of_transforms_are_named(tmp_path: Path) -> None:
    WRITERS["nerfstudio:blender"](tmp_path, SCENE)
    shutil.copy(tmp_path / "transforms_test.json", tmp_path / "transforms_val.json")
    assert "not read: transforms_val.json" in datasets.load(tmp_path).notes


def _as_components(root: Path, *, apart: str) -> None:
    """The chunk's transform as that of a component; a camera of another component has none."""
    path = root / "cameras.xml"
    text = path.read_text()
    start, end = text.index("<transform><rotation>"), text.index("</chunk>")
    component = f'<components><component id="0">{text[start:end]}</component></components>'
    text = f"{text[:start]}{component}{text[end:]}".replace('sensor_id="0"', 'sensor_id="0" component_id="0"')
    text = text.replace(f'component_id="0" label="{apart}"', f'component_id="1" label="{apart}"')
    path.write_text(text)


def test_components_of_metashape_have_transforms_of_their_own(tmp_path: Path) -> None:
    WRITERS["metashape"](tmp_path, SCENE)
    before = datasets.load(tmp_path)
    _as_components(tmp_path, apart="IMG_1")
    after = datasets.load(tmp_path)
    assert names_of(after) == [name for name in names_of(before) if name != "images/IMG_1.jpg"]
    np.testing.assert_allclose(
        after.train[0].truth().matrix(), before.train[0].truth().matrix(), rtol=0, atol=1e-12
    )
    assert any("components without a place in the world: 1 of 9" in note for note in after.notes)


@pytest.mark.parametrize(
    ("variant", "name", "heading"),
    [
        ("tum", "rgb.txt", "timestamp filename"),
        ("tum", "groundtruth.txt", "Timestamp,tx,ty,tz,qx,qy,qz,qw"),
        ("euroc", "mav0/cam0/data.csv", "timestamp [ns],filename"),
    ],
)
def test_a_heading_need_not_be_a_comment(tmp_path: Path, variant: str, name: str, heading: str) -> None:
    WRITERS[variant](tmp_path, SCENE)
    path = tmp_path / name
    rows = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    path.write_text("\n".join([heading, *rows]) + "\n")
    assert len(names_of(datasets.load(tmp_path))) == len(SCENE.all)
