"""Tables with rows of which only the position is known, as GPS gives it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.damage import SCENE, refusal
from tests.support.layouts import CAMERA, write_image, wxyz

from camloc.data import formats as datasets
from camloc.data.formats import colmap, nerfstudio, table
from camloc.data.types import Frame, Scene, poses_of
from camloc.errors import DatasetError
from camloc.geometry import Pose

NAMES = "image,x,y,z,qw_world_from_cam,qx_world_from_cam,qy_world_from_cam,qz_world_from_cam,split"
POSITIONS = [matrix[:3, 3].tolist() for matrix in SCENE.all]


def write_table(root: Path, *, position_only: set[int], name: str = "poses.csv") -> None:
    """The scene, with empty cells for the quaternions of some rows."""
    lines = [NAMES]
    for number, matrix in enumerate(SCENE.all):
        write_image(root / f"{number}.png")
        quaternion = [""] * 4 if number in position_only else wxyz(matrix[:3, :3])
        cells = [f"{number}.png", *POSITIONS[number], *quaternion, SCENE.side(number)]
        lines.append(",".join(map(str, cells)))
    (root / name).write_text("\n".join(lines) + "\n")


def write_positions(root: Path, *, names: str = "image,x,y,z", name: str = "gps.csv") -> None:
    """The scene, with no columns for quaternions."""
    rows = [f"{number}.png,{x},{y},{z}" for number, (x, y, z) in enumerate(POSITIONS)]
    for number in range(len(rows)):
        write_image(root / f"{number}.png")
    (root / name).write_text("\n".join([names, *rows]) + "\n")


def test_rows_with_an_empty_quaternion_are_positions_alone(tmp_path: Path) -> None:
    write_table(tmp_path, position_only={1, 3})
    scene = datasets.load(tmp_path)
    assert [frame.is_position_only for frame in scene.train] == [False, True, False, True, False]
    assert not any(frame.is_position_only for frame in scene.test)
    found = poses_of(scene.train)
    np.testing.assert_allclose(found.translation, POSITIONS[:5], rtol=0, atol=1e-12)
    whole = found[found.has_orientation()].rotation
    for rotation, number in zip(whole, (0, 2, 4), strict=True):
        assert abs(rotation - SCENE.all[number][:3, :3]).max() < 1e-9


def test_a_table_without_columns_for_quaternions_is_of_positions_alone(tmp_path: Path) -> None:
    write_positions(tmp_path)
    scene = datasets.load(tmp_path)
    assert len(scene.train) == len(SCENE.all)
    assert all(frame.is_position_only for frame in scene.train)


def test_a_table_with_quaternions_goes_before_positions_beside_it(tmp_path: Path) -> None:
    write_positions(tmp_path)
    write_table(tmp_path, position_only=set(), name="cameras.csv")
    assert not any(frame.is_position_only for frame in datasets.load(tmp_path).train)


def test_a_test_frame_needs_its_whole_pose(tmp_path: Path) -> None:
    write_table(tmp_path, position_only={6})
    message = refusal(tmp_path)
    assert "poses.csv, line 8" in message
    assert "6.png has no quaternion" in message
    assert len(datasets.load(tmp_path, exclude=["6.png"]).test) == 2


def test_a_test_list_may_not_name_a_position_alone(tmp_path: Path) -> None:
    write_positions(tmp_path)
    (tmp_path / "test.txt").write_text("2.png\n")
    assert "gps.csv, line 4" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [(("1", "", "0", "0"), "'' is not a number"), (("nan",) * 4, "NaN"), (("0",) * 4, "1.png is zero")],
)
def test_half_a_quaternion_or_none_that_turns_is_still_refused(
    tmp_path: Path, cells: tuple[str, ...], sentence: str
) -> None:
    write_table(tmp_path, position_only={1})
    path = tmp_path / "poses.csv"
    path.write_text(path.read_text().replace(",,,,,", f",{','.join(cells)},"))
    message = refusal(tmp_path)
    assert "poses.csv, line 3" in message
    assert sentence in message


def test_a_position_that_is_no_number_or_far_away_is_refused(tmp_path: Path) -> None:
    write_positions(tmp_path)
    path = tmp_path / "gps.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], "1.png,nan,0,0", *lines[3:]]) + "\n")
    assert "gps.csv, line 3" in refusal(tmp_path)
    path.write_text("\n".join([*lines[:2], "1.png,9e6,0,0", *lines[3:]]) + "\n")
    assert "away from all others" in refusal(tmp_path)


@pytest.mark.parametrize(
    "columns",
    [
        ("qw",),
        ("roll", "pitch", "yaw"),
        ("Yaw (deg)",),
        ("omega", "phi", "kappa"),
        ("r11", "r12"),
        ("rx", "ry", "rz"),
        ("qw_w2c", "qx_w2c", "qy_w2c", "qz_w2c"),
        ("quaternion",),
        ("rotation_x",),
        ("heading",),
    ],
)
def test_an_orientation_that_is_not_understood_is_not_dropped(
    tmp_path: Path, columns: tuple[str, ...]
) -> None:
    write_positions(tmp_path)
    path = tmp_path / "gps.csv"
    first, *rows = path.read_text().splitlines()
    numbers = ["0.5"] * len(columns)
    path.write_text("\n".join([",".join([first, *columns]), *(",".join([row, *numbers]) for row in rows)]))
    message = refusal(tmp_path)
    assert ", ".join(columns).lower() in message
    assert "qw, qx, qy, qz" in message


def test_positions_alone_are_written_and_read_again(tmp_path: Path) -> None:
    write_table(tmp_path, position_only={0, 4})
    scene = datasets.load(tmp_path)
    table.write(scene, tmp_path / "again.csv")
    again = datasets.load(tmp_path / "again.csv")
    np.testing.assert_allclose(
        poses_of(again.train).matrix(), poses_of(scene.train).matrix(), equal_nan=True, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("write", [colmap.write, nerfstudio.write])
def test_layouts_of_whole_poses_do_not_hold_positions_alone(tmp_path: Path, write: Any) -> None:
    frame = Frame("1.png", tmp_path / "1.png", CAMERA, Pose.identity().without_orientation())
    with pytest.raises(DatasetError, match="whole pose"):
        write(Scene("scene", (frame,)), tmp_path / "out")
