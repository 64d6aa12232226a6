"""Which frames are used: missing and excluded images, test frames by blocks, and the notes about them."""

import os
import unicodedata
from pathlib import Path

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
    ("name", "content", "told"),
    [
        ("poses.csv", "image,x,y,z\n0.jpg,1,2,3\n".encode("utf-16-le"), "UTF-16 text without its mark"),
        ("poses.csv", b"\xff\xfe", "does not start with the names of its columns"),
        ("poses.csv", b"name,a,b\n0.jpg,1,2\n", "does not start with the names of its columns"),
        ("transforms.json", None, "is a folder"),
    ],
)
def test_a_file_of_poses_that_cannot_be_read_says_why(
    tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    images_in(tmp_path, 3)
    if content is None:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(content)
    message = refusal(tmp_path)
    assert name in message
    assert told in message


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
