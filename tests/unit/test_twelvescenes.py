"""12Scenes: which frames are for testing, which have no pose, and what its scenes are called."""

from pathlib import Path

import pytest
from tests.support.layouts import TEST, TRAIN, WRITERS, make_scene

from camloc.data import formats as datasets
from camloc.data.formats import twelvescenes
from camloc.errors import DatasetError
from camloc.evaluation.published import published_of
from camloc.geometry import Camera
from camloc.recipes import recipe_functions

SCENE = make_scene()


def test_frames_in_which_tracking_was_lost_are_left_out(tmp_path: Path) -> None:
    WRITERS["twelvescenes"](tmp_path, SCENE)
    scene = datasets.load(tmp_path)
    assert (len(scene.train), len(scene.test)) == (TRAIN, TEST)
    lost = f"data/frame-{TEST + 2:06d}.color.jpg"
    assert (tmp_path / lost).is_file()
    assert lost not in {frame.name for frame in scene.train}


def test_frames_are_of_the_sequence_that_has_begun(tmp_path: Path) -> None:
    WRITERS["twelvescenes"](tmp_path, SCENE)
    scene = datasets.load(tmp_path)
    assert [frame.sequence for frame in scene.test] == ["sequence0"] * TEST
    assert [frame.sequence for frame in scene.train] == ["sequence1"] * 2 + ["sequence2"] * (TRAIN - 2)


def test_lists_of_images_come_before_sequences(tmp_path: Path) -> None:
    WRITERS["twelvescenes"](tmp_path, SCENE)
    (tmp_path / "split.txt").unlink()
    names = sorted(f"data/{path.name}" for path in (tmp_path / "data").glob("*.jpg"))
    del names[TEST + 2]
    (tmp_path / "train.txt").write_text("\n".join(names[2:]))
    (tmp_path / "test.txt").write_text("\n".join(names[:2]))
    scene = datasets.load(tmp_path)
    assert [frame.name for frame in scene.test] == names[:2]
    assert [frame.name for frame in scene.train] == names[2:]


@pytest.mark.parametrize(
    ("root", "scene", "name"),
    [
        ("apt1/kitchen", "", "apt1-kitchen"),
        ("apt1", "kitchen", "apt1-kitchen"),
        (".", "apt1/kitchen", "apt1-kitchen"),
        ("apt1/kitchen", "cellar", "cellar"),
        ("elsewhere", "", "elsewhere"),
    ],
)
def test_scenes_are_called_by_building_and_room(tmp_path: Path, root: str, scene: str, name: str) -> None:
    for folder in ("apt1/kitchen", "elsewhere"):
        WRITERS["twelvescenes"](tmp_path / folder, SCENE)
    assert datasets.load(tmp_path / root, layout="twelvescenes", scene=scene).name == name


def test_the_whole_data_set_is_known_by_its_scenes(tmp_path: Path) -> None:
    WRITERS["twelvescenes"](tmp_path / "office2" / "5a", SCENE)
    WRITERS["twelvescenes"](tmp_path / "apt1" / "kitchen", SCENE)
    assert datasets.detect(tmp_path) == "twelvescenes"
    assert len(twelvescenes.SCENES) == 12
    assert datasets.scene_names(tmp_path) == ("apt1/kitchen", "office2/5a")
    assert datasets.scene_names(tmp_path / "apt1") == ("kitchen",)


def test_a_folder_of_several_scenes_says_what_they_are_called(tmp_path: Path) -> None:
    for folder in ("apt1/kitchen", "office2/5a"):
        WRITERS["twelvescenes"](tmp_path / folder, SCENE)
    with pytest.raises(DatasetError, match=r"holds the scenes apt1/kitchen, office2/5a; name the one"):
        datasets.load(tmp_path)
    with pytest.raises(DatasetError, match=r"no scene 'apt9/attic'; the scenes in it are apt1/kitchen"):
        datasets.load(tmp_path, scene="apt9/attic")


def test_depth_maps_stand_beside_images_and_a_camera_can_be_given(tmp_path: Path) -> None:
    WRITERS["twelvescenes"](tmp_path, SCENE)
    (tmp_path / "data" / "frame-000000.depth.png").write_bytes(b"")
    camera = Camera(1296, 968, 1170.0, 1170.0, 648.0, 484.0)
    scene = twelvescenes.load(tmp_path, camera=camera)
    assert [frame.depth is not None for frame in scene.test] == [True, False, False]
    assert {frame.camera for frame in (*scene.train, *scene.test)} == {camera}


def test_the_papers_rows_are_recipes() -> None:
    rows = {name: make() for name, make in recipe_functions().items() if "/twelve" in name}
    assert len(rows) == 10
    for name, recipe in rows.items():
        assert recipe.layout == "twelvescenes"
        (published,) = published_of(name)
        assert (published.scene, published.source.split(",")[1].strip()) == ("mean", "Table II")
