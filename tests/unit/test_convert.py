"""Every writer is the inverse of its reader: poses, intrinsics and split come back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.layouts import CAMERA, WRITERS, make_scene

from camloc.data import formats
from camloc.data.convert import WRITTEN, Written, write_scene
from camloc.data.types import Scene, Unit, poses_of
from camloc.errors import DatasetError
from camloc.geometry import Camera

TRUTH = make_scene()


def _scene(folder: Path) -> Scene:
    folder.mkdir()
    return formats.load(folder, **WRITERS["sevenscenes"](folder, TRUTH))


@pytest.mark.parametrize("layout", WRITTEN)
def test_what_is_written_is_read_again(layout: Written, tmp_path: Path) -> None:
    scene = _scene(tmp_path / "scene")
    write_scene(scene, tmp_path / "new", layout)
    again = formats.load(tmp_path / "new")
    assert formats.detect(tmp_path / "new") == layout
    for before, after in ((scene.train, again.train), (scene.test, again.test)):
        np.testing.assert_allclose(poses_of(after).matrix(), poses_of(before).matrix(), rtol=0.0, atol=1e-12)
        assert {frame.camera for frame in after} == {CAMERA}
        for frame, source in zip(after, before, strict=True):
            assert frame.image.read_bytes() == source.image.read_bytes()
            assert layout == "kitti" or frame.name == source.name


@pytest.mark.parametrize("layout", ["tum", "kitti"])
def test_a_layout_of_one_camera_takes_no_two(layout: Written, tmp_path: Path) -> None:
    scene = _scene(tmp_path / "scene")
    first = replace(scene.train[0], camera=Camera(32, 24, 31.0, 31.0, 16.0, 12.0))
    with pytest.raises(DatasetError, match="one camera"):
        write_scene(replace(scene, train=(first, *scene.train[1:])), tmp_path / "new", layout)
    assert not (tmp_path / "new").exists()


def test_what_a_layout_cannot_hold_is_reported(tmp_path: Path) -> None:
    scene = _scene(tmp_path / "scene")
    more = replace(scene, points=np.zeros((3, 3)), conditions={"night": scene.test})
    assert write_scene(more, tmp_path / "new", "table") == (
        "test frames of the conditions night are not written",
        "3 points are not written; colmap holds them",
    )


@pytest.mark.parametrize("layout", WRITTEN)
@pytest.mark.parametrize("unit", ["m", "units"])
def test_the_unit_of_positions_is_kept_in_every_layout(tmp_path: Path, layout: Written, unit: Unit) -> None:
    write_scene(replace(_scene(tmp_path / "scene"), unit=unit), tmp_path / "new", layout)
    assert formats.load(tmp_path / "new").unit == unit
