"""RobotCar: each image has the pose of its own time, and the published shift can be had and is seen."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.support.layouts import CAMERA, ROBOTCAR_TEST, ROBOTCAR_TRAIN, make_scene, write_robotcar

from camloc.data import formats
from camloc.data.formats.robotcar import SPLITS, demosaiced, developer
from camloc.data.types import Scene, poses_of
from camloc.errors import DatasetError

SCENE = make_scene()


def _load(root: Path, **options: Any) -> Scene:
    return formats.load(root, camera=CAMERA, **options)


def test_an_image_after_the_last_solution_is_left_out_and_counted(tmp_path: Path) -> None:
    write_robotcar(tmp_path, SCENE)
    scene = _load(tmp_path)
    assert len(scene.test) == len(SCENE.test)
    assert f"{ROBOTCAR_TEST}: left out because no INS solutions are around them: 1 of 4 images" in scene.notes


def test_the_published_shift_gives_images_the_poses_of_later_ones(tmp_path: Path) -> None:
    write_robotcar(tmp_path, SCENE)
    right, shifted = _load(tmp_path), _load(tmp_path, shift="published")
    assert [frame.name for frame in shifted.train] == [frame.name for frame in right.train[:-1]]
    own = poses_of(right.train).matrix()
    np.testing.assert_allclose(poses_of(shifted.train).matrix(), own[1:], atol=1e-9)
    np.testing.assert_allclose(own, np.stack(SCENE.train), atol=1e-6)
    assert any("shift=published" in note for note in shifted.notes)


def test_the_second_drive_of_a_list_is_shifted_by_two(tmp_path: Path) -> None:
    write_robotcar(tmp_path, SCENE)
    both = f"{ROBOTCAR_TEST},{ROBOTCAR_TRAIN}"
    right = _load(tmp_path, train_drives=both)
    shifted = _load(tmp_path, train_drives=both, shift="published")
    of = {frame.name: frame for frame in right.train}
    names = [name for name in of if name.startswith(ROBOTCAR_TRAIN)]
    moved = {frame.name: frame for frame in shifted.train}
    assert moved.keys() & set(names) == set(names[:-2])
    for name, later in zip(names, names[2:], strict=False):
        found, wanted = moved[name].truth(), of[later].truth()
        np.testing.assert_allclose(found.matrix(), wanted.matrix(), atol=1e-9)


def test_the_camera_s_pose_needs_its_mounting(tmp_path: Path) -> None:
    write_robotcar(tmp_path, SCENE)
    with pytest.raises(DatasetError, match=r"ins\.txt"):
        _load(tmp_path, frame="camera")
    (tmp_path / "extrinsics").mkdir()
    (tmp_path / "extrinsics" / "ins.txt").write_text("-1.7 0.1 1.2 0 0 0\n")
    ins, camera = _load(tmp_path).train[0].truth(), _load(tmp_path, frame="camera").train[0].truth()
    np.testing.assert_allclose(camera.rotation, ins.rotation, atol=1e-9)
    # The INS is 1.7 m behind the camera, 0.1 m to its right and 1.2 m below it.
    right_down_forward = ins.rotation.T @ (ins.translation - camera.translation)
    np.testing.assert_allclose(right_down_forward, [0.1, 1.2, -1.7], atol=1e-6)


def test_a_published_split_needs_all_its_drives(tmp_path: Path) -> None:
    write_robotcar(tmp_path, SCENE)
    with pytest.raises(DatasetError, match=SPLITS["loop"][0][1]):
        _load(tmp_path, scene="loop")


def test_a_gap_of_the_ins_is_not_bridged(tmp_path: Path) -> None:
    write_robotcar(tmp_path, replace(SCENE, test=()))
    path = tmp_path / ROBOTCAR_TRAIN / "gps" / "ins.csv"
    heading, *rows = path.read_text().splitlines()
    later = [f"{int(row.split(',')[0]) + 10**7},{row.partition(',')[2]}" for row in rows[6:]]
    path.write_text("\n".join([heading, *rows[:6], *later]) + "\n")
    assert len(_load(tmp_path, train_drives=ROBOTCAR_TRAIN).train) == 2


def test_raw_images_are_developed_and_undistorted(tmp_path: Path) -> None:
    mosaic = np.full((20, 30), 50, dtype=np.uint8)
    mosaic[1::2, 0::2] = 210
    Image.fromarray(mosaic).save(tmp_path / "raw.png")
    columns, rows = np.meshgrid(np.arange(30.0)[::-1], np.arange(20.0))
    np.concatenate([columns.ravel(), rows.ravel()]).tofile(tmp_path / "lut.bin")
    Image.fromarray(np.tile(np.arange(30, dtype=np.uint8) * 8, (20, 1))).save(tmp_path / "grey.png")
    colours = np.asarray(developer(demosaic=True, table=None)(tmp_path / "raw.png"))
    assert (colours == (210, 50, 50)).all()
    mirrored = np.asarray(developer(demosaic=False, table=tmp_path / "lut.bin")(tmp_path / "grey.png"))
    assert (mirrored[..., 1] == np.arange(30)[::-1] * 8).all()


def test_a_raw_image_becomes_colours() -> None:
    red, green, blue = 200, 120, 40
    mosaic = np.empty((6, 8), dtype=np.uint8)
    mosaic[0::2, 0::2] = mosaic[1::2, 1::2] = green
    mosaic[0::2, 1::2], mosaic[1::2, 0::2] = blue, red
    assert (demosaiced(mosaic) == (red, green, blue)).all()
