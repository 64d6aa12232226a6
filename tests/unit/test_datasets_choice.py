"""Which layout, scene, frames and options are meant; and one sentence where that is not clear."""

from pathlib import Path

import pytest
from tests.support.damage import SCENE, refusal
from tests.support.layouts import WRITERS

from camloc.data import formats as datasets


@pytest.mark.parametrize("variant", WRITERS)
def test_a_list_that_names_a_frame_that_does_not_exist_is_named(tmp_path: Path, variant: str) -> None:
    options = WRITERS[variant](tmp_path, SCENE)
    wrong = tmp_path / "mine.txt"
    wrong.write_text("\n# mine\nnothing.png\n")
    message = refusal(tmp_path, train_list=wrong, **options)
    assert "mine.txt, line 3" in message
    assert "'nothing.png'" in message


@pytest.mark.parametrize("variant", WRITERS)
def test_a_frame_to_leave_out_must_exist(tmp_path: Path, variant: str) -> None:
    options = WRITERS[variant](tmp_path, SCENE)
    assert "'nothing.png'" in refusal(tmp_path, exclude=("nothing.png",), **options)


@pytest.mark.parametrize("variant", WRITERS)
def test_a_split_that_does_not_exist_is_named(tmp_path: Path, variant: str) -> None:
    options = WRITERS[variant](tmp_path, SCENE)
    assert "'every5th'" in refusal(tmp_path, split="every5th", **options)


def test_a_folder_of_nothing_is_answered_with_where_the_layouts_are_listed(tmp_path: Path) -> None:
    message = refusal(tmp_path)
    assert "no images" in message
    assert "`camloc datasets` lists the layouts" in message


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nowhere")


def test_two_layouts_in_one_folder_must_be_chosen_from(tmp_path: Path) -> None:
    WRITERS["nerfstudio"](tmp_path, SCENE)
    WRITERS["colmap"](tmp_path, SCENE)
    message = refusal(tmp_path)
    assert "colmap" in message
    assert "nerfstudio" in message
    assert len(datasets.load(tmp_path, layout="colmap").train) == len(SCENE.train)


def test_a_table_beside_data_in_a_layout_of_its_own_does_not_count(tmp_path: Path) -> None:
    WRITERS["table"](tmp_path, SCENE)
    assert datasets.detect(tmp_path) == "table"
    WRITERS["nerfstudio"](tmp_path, SCENE)
    assert datasets.detect(tmp_path) == "nerfstudio"


def test_a_rendered_scene_is_known_by_its_own_description(tmp_path: Path) -> None:
    WRITERS["table"](tmp_path, SCENE)
    (tmp_path / "scene.json").write_text("{}")
    assert datasets.detect(tmp_path) == "demo"


@pytest.mark.parametrize("layout", sorted(set(datasets.LAYOUTS) - {"demo"}))
def test_a_layout_that_a_folder_does_not_have_is_named(tmp_path: Path, layout: str) -> None:
    refusal(tmp_path, layout=layout)
    refusal(tmp_path / "nowhere", layout=layout)


def test_an_unknown_layout_lists_the_layouts(tmp_path: Path) -> None:
    message = refusal(tmp_path, layout="lidar")
    assert "'lidar'" in message
    assert "sevenscenes" in message


@pytest.mark.parametrize("name", ["parts", "__init__", "checks"])
def test_what_the_readers_share_is_no_layout(tmp_path: Path, name: str) -> None:
    assert name not in datasets.LAYOUTS
    assert f"'{name}'" in refusal(tmp_path, layout=name)


def test_an_unknown_option_lists_the_options(tmp_path: Path) -> None:
    WRITERS["nerfstudio"](tmp_path, SCENE)
    message = refusal(tmp_path, rotation="world_from_cam")
    assert "'rotation'" in message
    assert "images" in message


def test_options_may_come_as_text(tmp_path: Path) -> None:
    WRITERS["cambridge"](tmp_path, SCENE)
    scene = datasets.load(tmp_path, width="32", height="24", exclude="seq1/frame00001.png")
    assert len(scene.train) == len(SCENE.train) - 1
    (tmp_path / "some.txt").write_text("seq1/frame00002.png\n")
    listed = datasets.load(tmp_path, width="32", height="24", train_list=str(tmp_path / "some.txt"))
    assert [frame.name for frame in listed.train] == ["seq1/frame00002.png"]
    assert "'wide'" in refusal(tmp_path, width="wide", height="24")


def test_no_scene_of_that_name_lists_the_scenes(tmp_path: Path) -> None:
    for name in ("chess", "fire"):
        (tmp_path / name).mkdir()
        WRITERS["sevenscenes"](tmp_path / name, SCENE)
    assert "chess, fire" in refusal(tmp_path, scene="office")
    assert "chess, fire" in refusal(tmp_path)
    assert "'chess'" in refusal(tmp_path / "chess", scene="fire")
